//! What the event log keeps of a request.

use std::future::Future;

use serde_json::{Map, Value};
use updraft_core::model::AuditEntry;

use super::call::Call;
use super::json;
use super::operation::Answer;
use super::query::Parameters;

/// What has a column of its own in the event log.
const COLUMNS: &[&str] =
    &["csrf_token", "_csrf_token", "is_paused", "dag_id", "task_id", "dag_run_id", "run_id", "execution_date"];

/// Parts of names whose values nobody is to read.
const SECRETS: &[&str] = &[
    "access_token",
    "api_key",
    "apikey",
    "authorization",
    "keyfile_dict",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "secret",
    "service_account",
    "token",
];

/// How deep Airflow looks for secrets.
const MAX_DEPTH: usize = 5;

/// Answers a call. What changes something is logged with its change; a call that is refused changes nothing, and is
/// logged here.
pub(super) async fn log_refusal<F>(event: &str, call: Call, handler: impl FnOnce(Call) -> F) -> Answer
where
    F: Future<Output = Answer>,
{
    let service = call.service().clone();
    let text = |name| call.path.text(name).map(str::to_owned);
    let entry = AuditEntry {
        dag_id: text("dag_id").map(Into::into),
        run_id: text("dag_run_id"),
        task_id: text("task_id"),
        ..call.actor().audit(event)
    };
    let answer = handler(call).await;
    if answer.as_ref().is_err_and(|problem| problem.is_refusal())
        && let Err(error) = service.record(entry).await
    {
        tracing::warn!(%error, "a refused request was not logged");
    }
    answer
}

/// The path, the query and the body of a request as JSON text, without what is secret.
pub(crate) fn extra(path: &Parameters, query: &Parameters, body: &Value) -> String {
    let mut extra = Map::new();
    for (name, value) in query.iter().chain(path.iter()) {
        if !COLUMNS.contains(&name) {
            extra.insert(name.to_owned(), redact(name, &as_sent(value), 0));
        }
    }
    if let Value::Object(members) = body {
        for (name, value) in members {
            extra.insert(name.clone(), redact(name, value, 0));
        }
    }
    json::dumps(&Value::Object(extra))
}

/// Lists in a query are sent as one text.
fn as_sent(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",").into(),
        value => value.clone(),
    }
}

fn redact(name: &str, value: &Value, depth: usize) -> Value {
    if is_secret(name) {
        return hide(value, depth);
    }
    match value {
        Value::Object(members) if depth < MAX_DEPTH => {
            let members = members.iter().map(|(name, value)| (name.clone(), redact(name, value, depth + 1)));
            Value::Object(members.collect())
        }
        Value::Array(items) if depth < MAX_DEPTH => items.iter().map(|item| redact("", item, depth + 1)).collect(),
        value => value.clone(),
    }
}

fn hide(value: &Value, depth: usize) -> Value {
    match value {
        Value::String(_) => "***".into(),
        Value::Object(_) | Value::Array(_) if depth >= MAX_DEPTH => "***".into(),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| (name.clone(), hide(value, depth + 1)));
            Value::Object(members.collect())
        }
        Value::Array(items) => items.iter().map(|item| hide(item, depth + 1)).collect(),
        value => value.clone(),
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.trim().to_lowercase();
    SECRETS.iter().any(|secret| name.contains(secret))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_request_is_kept_without_its_secrets() {
        let mut path = Parameters::default();
        path.insert("dag_id", json!("d"));
        path.insert("map_index", json!(1));
        let mut query = Parameters::default();
        query.insert("update_mask", json!(["a", "b"]));
        let body = json!({"conf": {"db_password": "x", "n": [{"Token": {"a": ["b", 1]}}]}, "dag_run_id": "r"});
        assert_eq!(
            extra(&path, &query, &body),
            r#"{"conf": {"db_password": "***", "n": [{"Token": {"a": ["***", 1]}}]}, "dag_run_id": "r", "map_index": 1, "update_mask": "a,b"}"#
        );
        assert_eq!(extra(&Parameters::default(), &Parameters::default(), &Value::Null), "{}");
    }
}
