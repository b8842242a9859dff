use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::MASK;

/// Parts of names whose values nobody is to read, as Airflow has them.
const DEFAULT: [&str; 14] = [
    "access_token",
    "api_key",
    "apikey",
    "authorization",
    "keyfile_dict",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "proxies",
    "proxy",
    "secret",
    "service_account",
    "token",
];

/// Which names of fields and variables are those of secrets. Clones share the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SensitiveNames(Arc<BTreeSet<String>>);

impl Default for SensitiveNames {
    /// Airflow's list.
    fn default() -> Self {
        Self(Arc::new(DEFAULT.map(str::to_owned).into()))
    }
}

impl SensitiveNames {
    /// These beside Airflow's list (its `sensitive_var_conn_names`).
    pub fn with<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Self {
        let names = names.into_iter().map(|name| name.as_ref().trim().to_lowercase()).filter(|name| !name.is_empty());
        Self(Arc::new(DEFAULT.map(str::to_owned).into_iter().chain(names).collect()))
    }

    /// Whether what has this name is a secret: one of the list is a part of it.
    pub fn is_sensitive(&self, name: &str) -> bool {
        let name = name.trim().to_lowercase();
        self.0.iter().any(|part| name.contains(part.as_str()))
    }

    /// The value of a field as it may be shown: texts of secrets are hidden, at whatever depth; numbers and the like are
    /// not.
    pub fn redact(&self, name: &str, mut value: Value) -> Value {
        self.redact_texts(name, &mut value, |_| {});
        value
    }

    /// Hides the texts of secrets, and hands all others to `others`.
    pub(super) fn redact_texts(&self, name: &str, value: &mut Value, others: impl Fn(&mut String)) {
        let mut waiting = vec![(value, self.is_sensitive(name))];
        while let Some((value, is_secret)) = waiting.pop() {
            match value {
                Value::String(text) if is_secret => MASK.clone_into(text),
                Value::String(text) => others(text),
                Value::Array(items) => waiting.extend(items.iter_mut().map(|item| (item, is_secret))),
                Value::Object(members) => {
                    let members = members.iter_mut();
                    waiting.extend(members.map(|(name, value)| (value, is_secret || self.is_sensitive(name))));
                }
                Value::Null | Value::Bool(_) | Value::Number(_) => {}
            }
        }
    }

    /// A connection's extra as it may be shown: `None` if it is no JSON.
    pub fn redact_extra(&self, extra: &str) -> Option<Value> {
        serde_json::from_str(extra).ok().map(|extra| self.redact("", extra))
    }

    /// Each text in `value` that is a secret, as Airflow looks for them: the names nearest to it count.
    pub(super) fn texts_of_secrets<'a>(&self, name: &'a str, value: &'a Value) -> Vec<&'a str> {
        let mut found = Vec::new();
        let mut waiting = vec![(name, value)];
        while let Some((name, value)) = waiting.pop() {
            match value {
                Value::String(text) if self.is_sensitive(name) => found.push(text.as_str()),
                Value::Array(items) => waiting.extend(items.iter().map(|item| (name, item))),
                Value::Object(members) => waiting.extend(members.iter().map(|(name, value)| (name.as_str(), value))),
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_sensitive_by_their_parts() {
        let names = SensitiveNames::with([" Pin ", ""]);
        for name in ["password", " DB_PassWord_2 ", "myApiKey", "x-authorization", "http_proxy", "secrets", "spin"] {
            assert!(names.is_sensitive(name), "{name}");
        }
        for name in ["", "pass", "login", "key", "api key"] {
            assert!(!names.is_sensitive(name), "{name}");
        }
        assert!(!SensitiveNames::default().is_sensitive("pin"));
    }

    #[test]
    fn texts_below_sensitive_names_are_hidden() {
        let names = SensitiveNames::default();
        let value = json!({"conf": {"db_password": "x", "n": [{"Token": {"a": ["b", 1, null]}}, "c"]}, "k": "v"});
        let hidden = json!({"conf": {"db_password": "***", "n": [{"Token": {"a": ["***", 1, null]}}, "c"]}, "k": "v"});
        assert_eq!(names.redact("", value), hidden);
        assert_eq!(names.redact("secret", json!(["a", 1])), json!(["***", 1]));
        assert_eq!(names.redact_extra("not json"), None);
    }

    #[test]
    fn depth_is_no_hiding_place() {
        let mut value = json!({"token": "canary"});
        for _ in 0..100_000 {
            value = Value::Array(vec![value]);
        }
        let mut value = SensitiveNames::default().redact("", value);
        // Dropping it recurses in serde_json itself, so take it apart.
        while let Value::Array(mut items) = value {
            value = items.pop().unwrap();
        }
        assert_eq!(value, json!({"token": "***"}));
    }

    #[test]
    fn the_nearest_name_tells_a_secret() {
        let names = SensitiveNames::default();
        let value =
            json!({"keyfile_dict": {"project": "p", "private_key": "k"}, "tokens": ["a", ["b"]], "n": {"x": 1}});
        let mut found = names.texts_of_secrets("", &value);
        found.sort_unstable();
        assert_eq!(found, ["a", "b", "k"]);
    }
}
