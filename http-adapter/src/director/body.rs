//! What a launch says.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};

use super::answer::Problem;
use crate::airflow::check::{has_nul, is_json};
use crate::schema::{Ordered, Schema};

const INVALID: &str = "Error validating against schema";

/// As Director has it, and that it is an object with a comment that fits Director's column.
pub(super) fn launch_schema() -> Value {
    json!({
        "type": "object",
        "required": ["project", "name", "payload"],
        "additionalProperties": false,
        "properties": {
            "project": { "type": "string" },
            "name": { "type": "string" },
            "payload": { "type": "object" },
            "comment": { "type": "string", "maxLength": 255 },
        },
    })
}

/// A workflow to be launched.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) project: String,
    pub(super) name: String,
    pub(super) payload: Map<String, Value>,
    pub(super) comment: Option<String>,
}

impl Launch {
    pub(super) fn fullname(&self) -> String {
        format!("{}.{}", self.project, self.name)
    }

    /// Reads a request's body.
    pub(super) fn read(headers: &HeaderMap, bytes: &[u8], schema: &Schema) -> Result<Self, Problem> {
        let content_type = headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
        if !is_json(&content_type.unwrap_or_default()) {
            return Err(Problem::not_json());
        }
        // The parser stops at 128 levels, before any code of ours could recurse over them.
        let value: Value = serde_json::from_slice(bytes).map_err(|_| Problem::malformed())?;
        if has_nul(&value) {
            return Err(Problem::malformed());
        }
        let source = || serde_json::from_slice(bytes).unwrap_or_else(|_| Ordered::from(&value));
        let errors = schema.messages(&value, source);
        if !errors.is_empty() {
            return Err(Problem::invalid(INVALID, errors));
        }
        let Value::Object(mut members) = value else { return Err(Problem::malformed()) };
        let mut text = |name: &str| match members.remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let (project, name, comment) = (text("project"), text("name"), text("comment"));
        let Some(Value::Object(payload)) = members.remove("payload") else { return Err(Problem::malformed()) };
        let (Some(project), Some(name)) = (project, name) else { return Err(Problem::malformed()) };
        Ok(Self { project, name, payload, comment })
    }
}

/// Refuses a payload that does not fit its workflow's schema.
pub(super) fn check_payload(schema: &Value, payload: &Map<String, Value>) -> Result<(), Problem> {
    let payload = Value::Object(payload.clone());
    let errors = match Schema::document(schema) {
        Ok(schema) => schema.messages(&payload, || Ordered::from(&payload)),
        Err(error) => vec![error.to_string()],
    };
    if errors.is_empty() { Ok(()) } else { Err(Problem::invalid("Payload is not valid", errors)) }
}
