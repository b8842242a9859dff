//! Checks of requests against the document, in the order and with the words of connexion 2, which Airflow is built on.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::{Number, Value};

use super::document::{Kind, OperationSpec, Parameter, Place};
use super::problem::Problem;
use super::query::Parameters;
use crate::schema::Ordered;

/// The body of a request, once it fits the operation's schema.
pub(super) fn body(spec: &OperationSpec, headers: &HeaderMap, bytes: &[u8]) -> Result<Value, Problem> {
    let Some(schema) = &spec.body else {
        return Ok(Value::Null);
    };
    if bytes.is_empty() {
        return Err(Problem::bad_request("Request body must not be empty"));
    }
    let content_type = headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let content_type = content_type.unwrap_or_default();
    if !is_json(&content_type) {
        return Err(Problem::not_json(&content_type));
    }
    // Python's parser takes a mark of the byte order.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let value: Value = serde_json::from_slice(bytes).map_err(|error| {
        // The parser stops at 128 levels, before any code of ours could recurse over them.
        if error.to_string().starts_with("recursion limit") {
            Problem::bad_request("Request body is nested too deeply")
        } else {
            Problem::bad_request("Request body is not valid JSON")
        }
    })?;
    if value.is_null() {
        return Err(Problem::bad_request("Request body is not valid JSON"));
    }
    if has_nul(&value) {
        return Err(Problem::bad_request("Request body holds a NUL character"));
    }
    let source = || serde_json::from_slice(bytes).unwrap_or_else(|_| Ordered::from(&value));
    schema.check(&value, source).map_err(|violation| Problem::bad_request(violation.with_path()))?;
    Ok(value)
}

pub(crate) fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.strip_prefix("application/") {
        Some(subtype) => subtype == "json" || subtype.ends_with("+json"),
        None => false,
    }
}

/// PostgreSQL keeps no NUL in texts.
pub(crate) fn has_nul(value: &Value) -> bool {
    let mut waiting = vec![value];
    while let Some(value) = waiting.pop() {
        match value {
            Value::String(text) if text.contains('\0') => return true,
            Value::Array(items) => waiting.extend(items),
            Value::Object(members) => {
                if members.keys().any(|key| key.contains('\0')) {
                    return true;
                }
                waiting.extend(members.values());
            }
            _ => {}
        }
    }
    false
}

/// The query parameters of a request, once they fit the operation's.
pub(super) fn query(spec: &OperationSpec, query: &str) -> Result<Parameters, Problem> {
    let mut checked = Parameters::default();
    if spec.parameters.is_empty() {
        // Airflow does not look at the query of such operations at all.
        return Ok(checked);
    }
    let given: Vec<(String, String)> =
        form_urlencoded::parse(query.as_bytes()).map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    let known = |name: &str| spec.parameters_in(Place::Query).any(|parameter| parameter.name == name);
    let mut extra: Vec<&str> = given.iter().map(|(name, _)| name.as_str()).filter(|name| !known(name)).collect();
    if !extra.is_empty() {
        extra.sort_unstable();
        extra.dedup();
        return Err(Problem::extra_parameters(&extra));
    }
    if given.iter().any(|(_, value)| value.contains('\0')) {
        return Err(Problem::bad_request("A query parameter holds a NUL character"));
    }
    for parameter in spec.parameters_in(Place::Query) {
        let values: Vec<&str> =
            given.iter().filter(|(name, _)| *name == parameter.name).map(|(_, value)| value.as_str()).collect();
        let Some(last) = values.last() else {
            if parameter.required {
                return Err(Problem::bad_request(format!("Missing query parameter '{}'", parameter.name)));
            }
            continue;
        };
        let value = match parameter.kind {
            Kind::Array { explode: true } => array(&values.join(",")),
            Kind::Array { explode: false } => array(last),
            _ => scalar(parameter, last)?,
        };
        let source = || Ordered::from(&value);
        parameter.schema.check(&value, source).map_err(|violation| Problem::bad_request(violation.long()))?;
        checked.insert(&parameter.name, value);
    }
    Ok(checked)
}

fn array(text: &str) -> Value {
    text.split(',').map(Value::from).collect()
}

fn scalar(parameter: &Parameter, text: &str) -> Result<Value, Problem> {
    let (value, expected) = match parameter.kind {
        Kind::Integer => (python_integer(text).map(Value::from), "integer"),
        Kind::Number => (python_float(text).map(Value::Number), "number"),
        Kind::Boolean if text.eq_ignore_ascii_case("true") => (Some(Value::Bool(true)), "boolean"),
        Kind::Boolean if text.eq_ignore_ascii_case("false") => (Some(Value::Bool(false)), "boolean"),
        Kind::Boolean => (None, "boolean"),
        Kind::Path | Kind::Text | Kind::Array { .. } => return Ok(Value::from(text)),
    };
    value.ok_or_else(|| {
        Problem::bad_request(format!("Wrong type, expected '{expected}' for query parameter '{}'", parameter.name))
    })
}

/// What Python's `int()` takes. Numbers that are too large are as large as can be: nothing is that large anyway.
fn python_integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let groups_are_digits =
        digits.split('_').all(|group| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit()));
    if !groups_are_digits {
        return None;
    }
    let digits = digits.replace('_', "");
    Some(match digits.parse::<i64>() {
        Ok(number) if negative => -number,
        Ok(number) => number,
        Err(_) if negative => i64::MIN,
        Err(_) => i64::MAX,
    })
}

/// What Python's `float()` takes, but nothing infinite.
fn python_float(text: &str) -> Option<Number> {
    let text = text.trim();
    if text.starts_with('_') || text.ends_with('_') || text.contains("__") {
        return None;
    }
    text.replace('_', "").parse::<f64>().ok().and_then(Number::from_f64)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::airflow::document::Document;

    /// Bodies and queries with what connexion 2.15 and jsonschema 4.26 say of them by Airflow's document.
    #[test]
    fn complaints_are_those_of_connexion() {
        let cases = std::env::var("UPDRAFT_CHECKS").map(|file| std::fs::read_to_string(file).unwrap());
        let cases = cases.unwrap_or_else(|_| include_str!("../../tests/data/checks.json").to_owned());
        let cases: Value = serde_json::from_str(&cases).unwrap();
        let document = Document::load().unwrap();
        let json = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let mut wrong = Vec::new();
        for kind in ["bodies", "queries"] {
            for case in cases[kind].as_array().unwrap() {
                let spec = document.operations.iter().find(|spec| case[0] == spec.id.as_str()).unwrap();
                let given = case[1].as_str().unwrap();
                let problem = match kind {
                    "bodies" => body(spec, &json, given.as_bytes()).err(),
                    _ => query(spec, given).err(),
                };
                let said = problem.map_or(Value::Null, |problem| problem.body()["detail"].clone());
                if said != case[2] {
                    wrong.push(format!("{} {given}\n  ours   {said}\n  theirs {}", spec.id, case[2]));
                }
            }
        }
        assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong[..wrong.len().min(20)].join("\n"));
    }

    #[test]
    fn integers_are_read_as_python_reads_them() {
        for (text, expected) in [
            ("5", Some(5)),
            (" +5 ", Some(5)),
            ("-1", Some(-1)),
            ("1_000", Some(1000)),
            ("99999999999999999999", Some(i64::MAX)),
            ("", None),
            ("1.5", None),
            ("abc", None),
            ("_1", None),
            ("1__0", None),
            ("+", None),
            ("0x1", None),
        ] {
            assert_eq!(python_integer(text), expected, "{text}");
        }
        assert_eq!(python_float(" 1_0.5e1 "), Number::from_f64(105.0));
        assert_eq!(python_float("nan"), None);
        assert_eq!(python_float("x"), None);
    }

    #[test]
    fn json_is_told_by_its_media_type() {
        for (content_type, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/vnd.api+json", true),
            ("text/json", false),
            ("", false),
            ("application/x-www-form-urlencoded", false),
        ] {
            assert_eq!(is_json(content_type), expected, "{content_type}");
        }
    }
}
