//! Datasets and their events.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::{Dag, DagRun, DatasetCondition, DatasetNode, Schedule, Task};
use crate::id::{DagId, TaskId};

/// Longest URI.
const MAX_URI: usize = 3000;

/// A dataset as a DAG declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// What it is known by.
    pub uri: String,
    /// Facts about it, for people.
    pub extra: Map<String, Value>,
}

impl Dataset {
    /// A dataset without further facts.
    pub fn new(uri: impl Into<String>) -> Self {
        Self { uri: uri.into(), extra: Map::new() }
    }

    /// The same dataset with a fact more.
    #[must_use]
    pub fn with_extra(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(name.into(), value.into());
        self
    }

    /// As [`Task::outlets`] keep it: the URI alone, if there is nothing else.
    pub fn into_value(self) -> Value {
        if self.extra.is_empty() {
            return self.uri.into();
        }
        json!({"__type__": "airflow.datasets.Dataset", "uri": self.uri, "extra": self.extra})
    }

    /// Reads what [`Task::outlets`] keep; `None` for what is no dataset, as an alias.
    pub fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::String(uri) => Some(Self::new(uri)),
            Value::Object(members) if members.get("__type__")?.as_str()?.ends_with(".Dataset") => {
                let extra = members.get("extra").and_then(Value::as_object).cloned().unwrap_or_default();
                Some(Self { uri: members.get("uri")?.as_str()?.into(), extra })
            }
            _ => None,
        }
    }
}

impl From<&str> for Dataset {
    fn from(uri: &str) -> Self {
        Self::new(uri)
    }
}

impl From<String> for Dataset {
    fn from(uri: String) -> Self {
        Self::new(uri)
    }
}

impl Task {
    /// The datasets that it updates.
    pub fn outlet_datasets(&self) -> impl Iterator<Item = Dataset> {
        self.outlets.iter().filter_map(Dataset::from_value)
    }

    /// The updates that its success makes, as URI and extra: one for each mention among its outlets, with what the try `said`
    /// of the dataset, if it said anything (Airflow 2.11, `models/taskinstance.py`, `_register_dataset_changes`).
    pub fn updates<'a>(
        &'a self,
        said: &'a [OutletEvent],
    ) -> impl Iterator<Item = (String, Map<String, Value>)> + use<'a> {
        self.outlet_datasets().map(|Dataset { uri, .. }| {
            let extra = said.iter().find(|event| event.uri == uri).map(|event| event.extra.clone());
            (uri, extra.unwrap_or_default())
        })
    }
}

impl Dag {
    /// The URIs of the datasets that its schedule waits for, each as often as it is mentioned.
    pub fn consumed_uris(&self) -> impl Iterator<Item = &str> {
        self.dataset_condition().into_iter().flat_map(DatasetCondition::uris)
    }

    /// The condition over datasets that its schedule has.
    pub fn dataset_condition(&self) -> Option<&DatasetCondition> {
        match &self.schedule {
            Schedule::Datasets { condition } | Schedule::DatasetOrTime { condition, .. } => Some(condition),
            _ => None,
        }
    }
}

impl DatasetCondition {
    /// Whether the condition holds when the datasets for which `is_updated` says so were updated. What is no condition, as an
    /// operator without its operands, does not hold.
    pub fn holds(&self, is_updated: impl Fn(&str) -> bool) -> bool {
        let mut operands: Vec<bool> = Vec::new();
        for node in &self.postfix {
            let (count, any) = match node {
                DatasetNode::Uri(uri) => {
                    operands.push(is_updated(uri));
                    continue;
                }
                DatasetNode::All(count) => (count, false),
                DatasetNode::Any(count) => (count, true),
            };
            let first = usize::try_from(*count).ok().and_then(|count| operands.len().checked_sub(count));
            let Some(first) = first else { return false };
            let mut last = operands.drain(first..);
            let holds = if any { last.any(|holds| holds) } else { last.all(|holds| holds) };
            drop(last);
            operands.push(holds);
        }
        operands == [true]
    }
}

/// A dataset as the storage knows it. One that no DAG uses any more stays, with what happened to it.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetRecord {
    /// The storage's key, in the order of creation.
    pub id: i64,
    /// What it is known by.
    pub uri: String,
    /// Facts about it, as the first DAG that used it declared them.
    pub extra: Map<String, Value>,
    /// When it became known.
    pub created_at: DateTime<Utc>,
    /// When a DAG that uses it was last declared anew.
    pub updated_at: DateTime<Utc>,
    /// DAGs whose schedules wait for it, by id.
    pub consuming_dags: Vec<DatasetConsumer>,
    /// Tasks that update it, by DAG and task.
    pub producing_tasks: Vec<DatasetProducer>,
}

/// A DAG whose schedule waits for a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetConsumer {
    /// The DAG.
    pub dag_id: DagId,
    /// Since when.
    pub created_at: DateTime<Utc>,
}

/// A task that updates a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetProducer {
    /// Its DAG.
    pub dag_id: DagId,
    /// The task.
    pub task_id: TaskId,
    /// Since when.
    pub created_at: DateTime<Utc>,
}

/// An update of a dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct DatasetEvent {
    /// The storage's key, in the order of writing.
    pub id: i64,
    /// The key of the dataset.
    pub dataset_id: i64,
    /// Its URI.
    pub dataset_uri: String,
    /// Facts about the update.
    pub extra: Map<String, Value>,
    /// The task instance that made it; `None` for an update from outside.
    pub source: Option<DatasetEventSource>,
    /// When.
    pub timestamp: DateTime<Utc>,
    /// The runs that it took part in causing, oldest first.
    pub created_dag_runs: Vec<DagRun>,
}

/// The task instance that updated a dataset. It may be gone by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetEventSource {
    /// Its DAG.
    pub dag_id: DagId,
    /// Its task.
    pub task_id: TaskId,
    /// The text id of its run.
    pub run_id: String,
    /// Its map index; −1 if it is not mapped.
    pub map_index: i32,
}

/// What a try says of its update of a dataset (Airflow's `outlet_events`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutletEvent {
    /// The URI of one of the task's outlets; others are ignored.
    pub uri: String,
    /// Facts about the update.
    pub extra: Map<String, Value>,
}

/// That a dataset was updated, kept for a DAG until its schedule's condition holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedDatasetEvent {
    /// The DAG.
    pub dag_id: DagId,
    /// The URI of the dataset.
    pub uri: String,
    /// When the first update came that waits.
    pub created_at: DateTime<Utc>,
}

/// The form of a URI by which its dataset is known (Airflow 2.11, `datasets/__init__.py`): of what looks like a URL, the
/// scheme in small letters, without credentials, slashes at the end and fragment, the query sorted.
///
/// # Errors
/// What is wrong with it; the text completes a sentence that begins with the URI.
pub fn normal_uri(uri: &str) -> Result<String, String> {
    if uri.chars().all(char::is_whitespace) {
        return Err("must not be empty".into());
    }
    if !uri.is_ascii() {
        return Err("must consist of ASCII characters".into());
    }
    if uri.bytes().any(|byte| byte == 0) {
        return Err("must not hold a NUL".into());
    }
    let normal = normalize(uri)?;
    if normal.len() > MAX_URI {
        return Err(format!("is longer than {MAX_URI} characters"));
    }
    Ok(normal)
}

fn normalize(uri: &str) -> Result<String, String> {
    // What Python's urlsplit takes away.
    let trimmed: String = uri.trim_start_matches(|c: char| c <= ' ').replace(['\t', '\r', '\n'], "");
    let is_scheme = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    let Some((scheme, rest)) = trimmed.split_once(':').filter(|(scheme, _)| is_scheme(scheme)) else {
        return Ok(uri.into());
    };
    let scheme = scheme.to_ascii_lowercase();
    if scheme.starts_with("x-") {
        return Ok(uri.into());
    }
    if scheme == "airflow" {
        return Err("has the scheme 'airflow', which is reserved".into());
    }
    let (rest, has_authority) = match rest.strip_prefix("//") {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = match has_authority {
        true => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        false => ("", rest),
    };
    if authority.contains('[') != authority.contains(']') {
        return Err("has a bracket without the other one".into());
    }
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let path = path.trim_end_matches('/');
    let mut normal = format!("{scheme}:");
    if !authority.is_empty() || (HAVE_AUTHORITY.contains(&scheme.as_str()) && !path.starts_with("//")) {
        normal += "//";
        normal += authority;
        if !path.is_empty() && !path.starts_with('/') {
            normal.push('/');
        }
    }
    normal += if path.is_empty() { "/" } else { path };
    let query = sorted_query(query);
    if !query.is_empty() {
        normal.push('?');
        normal += &query;
    }
    Ok(normal)
}

/// Schemes that Python writes with `//` even where no host follows.
const HAVE_AUTHORITY: [&str; 24] = [
    "ftp", "http", "gopher", "nntp", "telnet", "imap", "wais", "file", "mms", "https", "shttp", "snews", "prospero",
    "rtsp", "rtspu", "rsync", "svn", "svn+ssh", "sftp", "nfs", "git", "git+ssh", "ws", "wss",
];

/// The members of a query in order; members without a value fall away.
fn sorted_query(query: &str) -> String {
    let members = query.split('&').filter_map(|member| member.split_once('='));
    let mut members: Vec<(String, String)> =
        members.filter(|(_, value)| !value.is_empty()).map(|(name, value)| (unquote(name), unquote(value))).collect();
    members.sort();
    let members: Vec<_> = members.iter().map(|(name, value)| format!("{}={}", quote(name), quote(value))).collect();
    members.join("&")
}

fn unquote(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = code.filter(|digits| first == b'%' && digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match code.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(if first == b'+' { b' ' } else { first });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => quoted.push('+'),
            b'_' | b'.' | b'-' | b'~' => quoted.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => quoted.push(char::from(byte)),
            _ => quoted += &format!("%{byte:02X}"),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_normalized_as_in_python() {
        // What `airflow.datasets.Dataset(uri).uri` is in Airflow 2.11.2.
        for (uri, normal) in NORMAL {
            assert_eq!(normal_uri(uri).as_deref(), Ok(*normal), "{uri}");
            assert_eq!(normal_uri(normal).as_deref(), Ok(*normal), "{normal} stays");
        }
        for wrong in ["", "  ", "s3://ä", "airflow://x", "AIRFLOW:x", "s3://[x", "a\0", &"a".repeat(3001)] {
            assert!(normal_uri(wrong).is_err(), "{wrong}");
        }
    }

    const NORMAL: &[(&str, &str)] = &[
        ("s3://lab/one.csv", "s3://lab/one.csv"),
        ("s3://lab/dir/", "s3://lab/dir"),
        ("s3://lab//dir///", "s3://lab//dir"),
        ("S3://Lab/One", "s3://Lab/One"),
        ("s3://user:pw@lab/x", "s3://lab/x"),
        ("one", "one"),
        ("  one ", "  one "),
        ("a/b/", "a/b/"),
        ("file:///tmp/x/", "file:///tmp/x"),
        ("file:/tmp/x", "file:///tmp/x"),
        ("file:tmp/x", "file:///tmp/x"),
        ("FILE:///tmp//", "file:///tmp"),
        ("http://h", "http://h/"),
        ("http://h?b=2&a=1&c=", "http://h/?a=1&b=2"),
        ("http://h/p?x=%41+b%20c&y=~*#frag", "http://h/p?x=A+b+c&y=~%2A"),
        ("x-a://Q/", "x-a://Q/"),
        ("urn:isbn:123", "urn:isbn:123"),
        ("s3:///x", "s3:/x"),
        ("s3:x", "s3:x"),
        ("s3:/x", "s3:/x"),
        ("s3://h?a=%C3%A9", "s3://h/?a=%C3%A9"),
        ("postgres://u@h:5432/db/t/", "postgres://h:5432/db/t"),
        ("//host/p", "//host/p"),
        ("weird:", "weird:/"),
        ("s3://a/b;c=1", "s3://a/b;c=1"),
        ("a:b:c", "a:b:c"),
        ("1a:b", "1a:b"),
        (" s3://lab/x", "s3://lab/x"),
        ("http://h?a", "http://h/"),
        ("mysql://h/db/t", "mysql://h/db/t"),
        ("s3://h?b=1&a=2;c=3", "s3://h/?a=2%3Bc%3D3&b=1"),
    ];

    #[test]
    fn conditions_are_computed_from_the_inside_out() {
        use DatasetNode::{All, Any};
        let uri = |uri: &str| DatasetNode::Uri(uri.into());
        let holds = |nodes: &[DatasetNode], updated: &[&str]| {
            DatasetCondition { postfix: nodes.to_vec() }.holds(|uri| updated.contains(&uri))
        };
        // a & (b | c)
        let nested = [uri("a"), uri("b"), uri("c"), Any(2), All(2)];
        for (updated, expected) in
            [(&["a"][..], false), (&["b", "c"], false), (&["a", "c"], true), (&["a", "b"], true), (&[], false)]
        {
            assert_eq!(holds(&nested, updated), expected, "{updated:?}");
        }
        assert!(holds(&[uri("a")], &["a"]));
        // What stands before the operands stays.
        assert!(!holds(&[uri("a"), uri("b"), Any(1), All(2)], &["b"]));
        assert!(holds(&[uri("a"), uri("b"), Any(1), Any(2)], &["b"]));
        for wrong in [&[][..], &[All(1)], &[uri("a"), Any(2)], &[uri("a"), uri("a")]] {
            assert!(!holds(wrong, &["a"]), "{wrong:?}");
        }
        let deep: Vec<_> = std::iter::once(uri("a")).chain(std::iter::repeat_n(All(1), 100_000)).collect();
        assert!(holds(&deep, &["a"]));
    }

    #[test]
    fn datasets_are_kept_as_values() {
        let plain = Dataset::new("s3://a");
        assert_eq!(plain.clone().into_value(), json!("s3://a"));
        let rich = Dataset::new("s3://a").with_extra("rows", 7);
        for dataset in [plain, rich] {
            assert_eq!(Dataset::from_value(&dataset.clone().into_value()), Some(dataset));
        }
        for other in [json!({"__type__": "airflow.datasets.DatasetAlias", "name": "a"}), json!({"uri": "a"}), json!(1)]
        {
            assert_eq!(Dataset::from_value(&other), None, "{other}");
        }
    }
}
