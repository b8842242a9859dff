//! What a template asks the host for while it is rendered.

use std::fmt::{self, Write};

use serde_json::Value as Json;

/// Why a look-up could not be answered: the storage is away, for instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupError(pub String);

/// `ti.xcom_pull(…)` as it was called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XComPull {
    /// The tasks to pull from; none means any.
    pub task_ids: Option<Vec<String>>,
    /// The DAG to pull from; none means the task's own.
    pub dag_id: Option<String>,
    /// The run to pull from; none means the task's own.
    pub run_id: Option<String>,
    /// The key; none means any.
    pub key: Option<String>,
    /// The map indexes to pull from; none means what the pulled task has.
    pub map_indexes: Option<Vec<i64>>,
    /// Whether earlier runs count as well.
    pub include_prior_dates: bool,
    /// Whether several tasks or several map indexes were given: then all that match are asked for.
    pub many: bool,
}

/// The answer to a pull.
#[derive(Clone, Debug, PartialEq)]
pub enum Pulled {
    /// No XCom matches a pull from one task.
    Nothing,
    /// The newest XCom that matches a pull from one task that is not mapped.
    One(Json),
    /// The XComs of several tasks in the order of the ids, or of a mapped task in the order of its indexes.
    Many(Vec<Json>),
}

/// A connection as templates see it, its secrets in the clear.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TemplateConnection {
    /// Its id.
    pub conn_id: String,
    /// Its type, as `postgres`.
    pub conn_type: String,
    /// What it is for.
    pub description: Option<String>,
    /// The host.
    pub host: Option<String>,
    /// The user.
    pub login: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// The schema, which is the database for most types.
    pub schema: Option<String>,
    /// The port.
    pub port: Option<i64>,
    /// More, as JSON.
    pub extra: Option<String>,
}

/// The host's answers. The calls may block: render where that is allowed.
pub trait Lookup: Send + Sync {
    /// Finds XComs.
    fn xcom_pull(&self, pull: &XComPull) -> Result<Pulled, LookupError>;
    /// Stores an XCom of the task that is rendered.
    fn xcom_push(&self, key: &str, value: Json) -> Result<(), LookupError>;
    /// Finds a variable.
    fn variable(&self, key: &str) -> Result<Option<String>, LookupError>;
    /// Finds a connection.
    fn connection(&self, conn_id: &str) -> Result<Option<TemplateConnection>, LookupError>;
}

/// Percent-encodes for a URI; a query writes a space as a plus sign.
fn encoded(text: &str, in_query: bool) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => out.push(char::from(byte)),
            b' ' if in_query => out.push('+'),
            other => {
                let _ = write!(out, "%{other:02X}");
            }
        }
    }
    out
}

impl fmt::Debug for TemplateConnection {
    /// Leaves the secrets out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TemplateConnection").field("conn_id", &self.conn_id).finish_non_exhaustive()
    }
}

impl TemplateConnection {
    /// The connection as a URI, in Airflow's form.
    pub fn uri(&self) -> String {
        let mut uri = match self.conn_type.as_str() {
            "" => "//".to_owned(),
            kind => format!("{}://", kind.to_lowercase().replace('_', "-")),
        };
        let host = self.host.as_deref().unwrap_or_default();
        let host = match host.split_once("://") {
            Some((protocol, host)) => {
                let _ = write!(uri, "{protocol}://");
                host
            }
            None => host,
        };
        let mut authority = self.login.as_deref().map(|login| encoded(login, false)).unwrap_or_default();
        if let Some(password) = &self.password {
            let _ = write!(authority, ":{}", encoded(password, false));
        }
        if !authority.is_empty() {
            authority.push('@');
        }
        uri.push_str(&authority);
        uri.push_str(&encoded(host, false));
        if let Some(port) = self.port.filter(|port| *port != 0) {
            let at = if host.is_empty() && authority.is_empty() { "@" } else { "" };
            let _ = write!(uri, "{at}:{port}");
        }
        let schema = self.schema.as_deref().unwrap_or_default();
        if !schema.is_empty() {
            let _ = write!(uri, "/{}", encoded(schema, false));
        }
        if let Some(extra) = self.extra.as_deref().filter(|extra| !extra.is_empty()) {
            uri.push_str(if schema.is_empty() { "/?" } else { "?" });
            // Texts alone survive a query; anything else travels whole.
            let pairs: Option<Vec<String>> = match serde_json::from_str(extra) {
                Ok(Json::Object(map)) if !map.is_empty() => map
                    .iter()
                    .map(|(key, value)| Some(format!("{}={}", encoded(key, true), encoded(value.as_str()?, true))))
                    .collect(),
                _ => None,
            };
            match pairs {
                Some(pairs) => uri.push_str(&pairs.join("&")),
                None => {
                    let _ = write!(uri, "__extra__={}", encoded(extra, true));
                }
            }
        }
        uri
    }
}
