//! What the event log keeps of a request.

use std::future::Future;

use serde_json::{Map, Value};
use updraft_core::mask::SensitiveNames;
use updraft_core::model::AuditEntry;

use super::call::Call;
use super::json;
use super::operation::Answer;
use super::query::Parameters;

/// What has a column of its own in the event log.
const COLUMNS: &[&str] =
    &["csrf_token", "_csrf_token", "is_paused", "dag_id", "task_id", "dag_run_id", "run_id", "execution_date"];

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
        ..call.actor_of(event).audit(event)
    };
    let answer = handler(call).await;
    if answer.as_ref().is_err_and(|problem| problem.is_refusal())
        && let Err(error) = service.record(entry).await
    {
        tracing::warn!(%error, "a refused request was not logged");
    }
    answer
}

/// What the event log keeps of a request, as JSON text without what is secret: the query, the path and the body, in
/// this order; of changes to variables and connections the body alone, where there is one.
pub(crate) fn extra(
    event: &str,
    path: &Parameters,
    query: &Parameters,
    body: &Value,
    names: &SensitiveNames,
) -> String {
    let kind = event.split('.').next().unwrap_or_default();
    let body = body.as_object().filter(|body| !body.is_empty());
    let mut extra = Map::new();
    if body.is_none() || !matches!(kind, "variable" | "connection") {
        let query = query.iter().map(|(name, value)| (name, as_sent(value)));
        let parameters = query.chain(path.iter().map(|(name, value)| (name, value.clone())));
        for (name, value) in parameters.filter(|(name, _)| !COLUMNS.contains(name)) {
            extra.insert(name.to_owned(), names.redact(name, value));
        }
    }
    for (name, value) in body.into_iter().flatten() {
        let shown = match (kind, name.as_str(), value) {
            // A variable's key is the name of its value.
            ("variable", "value", value) => {
                let key = body.and_then(|body| body.get("key")).and_then(Value::as_str).unwrap_or_default();
                without_inner_secrets(names.redact(key, value.clone()), names)
            }
            ("variable", _, value) => value.clone(),
            ("connection", "extra", Value::String(text)) if !text.is_empty() => {
                names.redact_extra(text).unwrap_or_else(|| "Encountered non-JSON in `extra` field".into())
            }
            (_, name, value) => names.redact(name, value.clone()),
        };
        extra.insert(name.clone(), shown);
    }
    json::dumps_unsorted(&Value::Object(extra))
}

/// A text that is JSON has names of its own; it stays as it is where nothing in it is secret.
fn without_inner_secrets(value: Value, names: &SensitiveNames) -> Value {
    let Some(inner) = value.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok()) else { return value };
    let shown = names.redact("", inner.clone());
    if shown == inner { value } else { json::dumps_unsorted(&shown).into() }
}

/// What a query holds is text.
fn as_sent(value: &Value) -> Value {
    match value {
        Value::Bool(_) | Value::Number(_) => value.to_string().into(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",").into(),
        value => value.clone(),
    }
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
        query.insert("only_active", json!(false));
        let body = json!({"conf": {"db_password": "x", "n": [{"Token": {"a": ["b", 1]}}]}, "dag_run_id": "r"});
        assert_eq!(
            extra("patch_x", &path, &query, &body, &SensitiveNames::default()),
            r#"{"only_active": "false", "update_mask": "a,b", "map_index": 1, "conf": {"db_password": "***", "n": [{"Token": {"a": ["***", 1]}}]}, "dag_run_id": "r"}"#
        );
        let none = Parameters::default();
        assert_eq!(extra("", &none, &none, &Value::Null, &SensitiveNames::default()), "{}");
    }

    #[test]
    fn variables_and_connections_are_kept_in_their_own_ways() {
        let mut path = Parameters::default();
        path.insert("connection_id", json!("c"));
        let shown = |event, body| extra(event, &path, &Parameters::default(), &body, &SensitiveNames::default());
        for (event, body, expected) in [
            ("connection.delete", Value::Null, r#"{"connection_id": "c"}"#),
            (
                "connection.create",
                json!({"connection_id": "d", "password": "x", "login": "l", "extra": r#"{"token": "x", "a": {"b": 1}}"#}),
                r#"{"connection_id": "d", "password": "***", "login": "l", "extra": {"token": "***", "a": {"b": 1}}}"#,
            ),
            (
                "connection.edit",
                json!({"extra": "password=x", "password": null}),
                r#"{"extra": "Encountered non-JSON in `extra` field", "password": null}"#,
            ),
            ("connection.edit", json!({"extra": ""}), r#"{"extra": ""}"#),
            ("connection.edit", json!({}), r#"{"connection_id": "c"}"#),
            ("variable.edit", json!({"key": "k", "value": "v"}), r#"{"key": "k", "value": "v"}"#),
            ("variable.create", json!({"value": "v", "key": "my_token"}), r#"{"value": "***", "key": "my_token"}"#),
            (
                "variable.create",
                json!({"key": "k", "value": r#"{"host":"h","token":"x"}"#}),
                r#"{"key": "k", "value": "{\"host\": \"h\", \"token\": \"***\"}"}"#,
            ),
        ] {
            assert_eq!(shown(event, body), expected, "{event}");
        }
    }
}
