//! Checks JSON against JSON schemas, and words what is wrong as Python's `jsonschema` does.
//!
//! Airflow and Director show that library's texts to their callers. The checking is the `jsonschema` crate's; here are
//! the order in which Python finds violations, its words, and what OpenAPI adds (`nullable`, `readOnly`).

mod best;
mod format;
mod ordered;
mod violation;
mod wording;

use jsonschema::{Draft, Keyword, ValidationError, Validator};
use serde_json::{Map, Value, json};

pub(crate) use best::complaint;
pub(crate) use ordered::{Ordered, quote};
pub(crate) use violation::Violation;

/// How many violations of one value are looked at before the one to show is chosen.
const MAX_VIOLATIONS: usize = 4096;

/// What a schema means, besides its draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// A request's body by OpenAPI 3.0: `readOnly` members must not be sent.
    Request,
    /// A response's body by OpenAPI 3.0.
    #[cfg_attr(not(test), allow(dead_code, reason = "answers are checked in tests only"))]
    Response,
    /// A parameter: plain draft 4.
    Parameter,
}

/// A compiled schema.
#[derive(Debug)]
pub(crate) struct Schema {
    document: Ordered,
    validator: Validator,
}

/// A schema that cannot be compiled.
#[derive(Debug, thiserror::Error)]
#[error("not a usable JSON schema: {0}")]
pub(crate) struct SchemaError(String);

impl Schema {
    /// Compiles a schema that holds no references any more.
    pub(crate) fn compile(document: Ordered, flavour: Flavour) -> Result<Self, SchemaError> {
        let plain = match flavour {
            Flavour::Request | Flavour::Response => translate(&document, flavour),
            Flavour::Parameter => document.to_value(),
        };
        let mut options = jsonschema::options()
            .with_draft(Draft::Draft4)
            .should_validate_formats(true)
            .should_ignore_unknown_formats(true)
            .with_format("date-time", format::is_date_time)
            .with_format("email", format::is_email);
        if flavour == Flavour::Request {
            options = options.with_keyword("readOnly", |_, _, _| Ok(Box::new(ReadOnly)));
        }
        let validator = options.build(&plain).map_err(|error| SchemaError(error.to_string()))?;
        Ok(Self { document, validator })
    }

    /// Compiles a schema as Python's `validator_for` takes it: of the draft that it names, or else the newest; formats are
    /// not checked.
    #[cfg(feature = "director")]
    pub(crate) fn document(schema: &Value) -> Result<Self, SchemaError> {
        let options = jsonschema::options().should_validate_formats(false).should_ignore_unknown_formats(true);
        let validator = options.build(schema).map_err(|error| SchemaError(error.to_string()))?;
        Ok(Self { document: Ordered::from(schema), validator })
    }

    /// What Python's `iter_errors` says of `instance`, in its order; nothing if it fits.
    #[cfg(feature = "director")]
    pub(crate) fn messages(&self, instance: &Value, source: impl FnOnce() -> Ordered) -> Vec<String> {
        if self.validator.is_valid(instance) {
            return Vec::new();
        }
        let source = source();
        let mut errors: Vec<_> = self.validator.iter_errors(instance).take(MAX_VIOLATIONS).collect();
        errors.sort_by_cached_key(|error| violation::position(&self.document, error));
        errors.iter().map(|error| Violation::new(&self.document, &source, error).message().to_owned()).collect()
    }

    /// Checks `instance`; the error is the one that Python's `Validator.validate` raises: the first in its own order.
    ///
    /// `source` gives the instance with the order of its members, which texts show; it is asked for at most once.
    pub(crate) fn check(&self, instance: &Value, source: impl FnOnce() -> Ordered) -> Result<(), Box<Violation>> {
        if self.validator.is_valid(instance) {
            return Ok(());
        }
        let errors = self.validator.iter_errors(instance).take(MAX_VIOLATIONS);
        let first = errors.min_by_key(|error| violation::position(&self.document, error));
        match first {
            Some(error) => Err(Box::new(Violation::new(&self.document, &source(), &error))),
            None => Ok(()),
        }
    }
}

/// A member that only the server sets.
struct ReadOnly;

impl Keyword for ReadOnly {
    fn validate<'i>(&self, _: &'i Value) -> Result<(), ValidationError<'i>> {
        Err(ValidationError::custom("Property is read-only"))
    }

    fn is_valid(&self, _: &Value) -> bool {
        false
    }
}

/// Says in draft 4 what an OpenAPI 3.0 schema says.
fn translate(schema: &Ordered, flavour: Flavour) -> Value {
    let nullable = schema.get("nullable").is_some_and(Ordered::is_true);
    let mut out = Map::new();
    for (key, value) in schema.members() {
        let translated = match (key.as_str(), value) {
            ("type", Ordered::String(name)) if nullable => json!([name, "null"]),
            ("enum", Ordered::Array(options)) if nullable && !options.contains(&Ordered::Null) => {
                let mut options: Vec<_> = options.iter().map(Ordered::to_value).collect();
                options.push(Value::Null);
                Value::Array(options)
            }
            ("required", Ordered::Array(names)) => {
                let asked: Vec<_> =
                    names.iter().filter(|name| !is_other_side(schema, name, flavour)).map(Ordered::to_value).collect();
                if asked.is_empty() {
                    continue;
                }
                Value::Array(asked)
            }
            ("readOnly", value) if flavour == Flavour::Request && !value.is_true() => continue,
            ("properties", Ordered::Object(members)) => members
                .iter()
                .map(|(name, member)| (name.clone(), translate(member, flavour)))
                .collect::<Map<_, _>>()
                .into(),
            ("items" | "not", Ordered::Object(_)) => translate(value, flavour),
            ("additionalProperties", Ordered::Object(_)) => translate(value, flavour),
            ("allOf" | "anyOf" | "oneOf", Ordered::Array(options)) => {
                Value::Array(options.iter().map(|option| translate(option, flavour)).collect())
            }
            // Words and hints for people and generators; some would not be valid in draft 4.
            ("example" | "default" | "description" | "discriminator" | "deprecated" | "nullable", _) => continue,
            (_, value) => value.to_value(),
        };
        out.insert(key.clone(), translated);
    }
    Value::Object(out)
}

/// Whether a required member is one that this side of the exchange does not send.
fn is_other_side(schema: &Ordered, name: &Ordered, flavour: Flavour) -> bool {
    let member = schema.get("properties").zip(name.as_str()).and_then(|(members, name)| members.get(name));
    let mark = match flavour {
        Flavour::Request => "readOnly",
        Flavour::Response | Flavour::Parameter => "writeOnly",
    };
    member.and_then(|member| member.get(mark)).is_some_and(Ordered::is_true)
}

#[cfg(all(test, feature = "director"))]
mod messages_test {
    use super::*;

    /// Schema, instance, and what Python's jsonschema 4.26 says of them, one after the other.
    #[test]
    fn messages_are_those_of_python() {
        let cases: Vec<(Value, Value, Vec<String>)> =
            serde_json::from_str(include_str!("messages_test.json")).expect("a list of cases");
        let mut wrong = Vec::new();
        for (schema, instance, expected) in cases {
            let compiled = Schema::document(&schema).expect("a schema");
            let found = compiled.messages(&instance, || Ordered::from(&instance));
            if found != expected {
                wrong.push(format!("{schema} {instance}: {found:?}, in Python {expected:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violation(schema: &str, flavour: Flavour, instance: &str) -> Option<Box<Violation>> {
        let schema = Schema::compile(serde_json::from_str(schema).unwrap(), flavour).unwrap();
        let value: Value = serde_json::from_str(instance).unwrap();
        schema.check(&value, || serde_json::from_str(instance).unwrap()).err()
    }

    fn body(schema: &str, instance: &str) -> String {
        violation(schema, Flavour::Request, instance).map(|found| found.with_path()).unwrap_or_default()
    }

    #[test]
    fn words_are_those_of_python() {
        for (schema, instance, expected) in [
            (r#"{"type":"object"}"#, "[]", "[] is not of type 'object'"),
            (r#"{"type":["string","boolean"]}"#, "1.50", "1.5 is not of type 'string', 'boolean'"),
            (r#"{"properties":{"a":{"type":"integer"}}}"#, r#"{"a":true}"#, "True is not of type 'integer' - 'a'"),
            (r#"{"properties":{"a":{"type":"integer"}}}"#, r#"{"a":1.0}"#, "1.0 is not of type 'integer' - 'a'"),
            (
                r#"{"items":{"type":"string"}}"#,
                r#"["x",{"b":1,"a":2}]"#,
                "{'b': 1, 'a': 2} is not of type 'string' - '1'",
            ),
            (r#"{"items":{"items":{"enum":["a",null]}}}"#, r#"[["b"]]"#, "'b' is not one of ['a', None] - '0.0'"),
            (r#"{"minimum":1}"#, "0", "0 is less than the minimum of 1"),
            (r#"{"maximum":1}"#, "2.5", "2.5 is greater than the maximum of 1"),
            (r#"{"minItems":1}"#, "[]", "[] should be non-empty"),
            (r#"{"minItems":2}"#, "[1]", "[1] is too short"),
            (r#"{"maxItems":0}"#, "[1]", "[1] is expected to be empty"),
            (r#"{"minLength":1}"#, r#""""#, "'' should be non-empty"),
            (r#"{"maxLength":1}"#, r#""ab""#, "'ab' is too long"),
            (r#"{"pattern":"^a$"}"#, r#""b""#, "'b' does not match '^a$'"),
            (r#"{"format":"date-time"}"#, r#""x""#, "'x' is not a 'date-time'"),
            (r#"{"required":["a","b"]}"#, "{}", "'a' is a required property"),
            (
                r#"{"additionalProperties":false}"#,
                r#"{"b":1,"a":1}"#,
                "Additional properties are not allowed ('a', 'b' were unexpected)",
            ),
            (
                r#"{"additionalProperties":false}"#,
                r#"{"b":1}"#,
                "Additional properties are not allowed ('b' was unexpected)",
            ),
            (r#"{"anyOf":[{"type":"string"},{"type":"null"}]}"#, "1", "1 is not valid under any of the given schemas"),
            (r#"{"uniqueItems":true}"#, "[1,1]", "[1, 1] has non-unique elements"),
            (r#"{"multipleOf":2}"#, "3", "3 is not a multiple of 2"),
            (r#"{"not":{"type":"string"}}"#, r#""a""#, "'a' should not be valid under {'type': 'string'}"),
        ] {
            assert_eq!(body(schema, instance), expected, "{schema} {instance}");
        }
    }

    #[test]
    fn the_first_violation_is_the_one_that_stands_first_in_the_schema() {
        let schema = r#"{"type":"object","properties":{"z":{"type":"string","readOnly":true},"a":{"type":"integer"}}}"#;
        assert_eq!(body(schema, r#"{"a":"x","z":"y"}"#), "Property is read-only - 'z'");
        assert_eq!(body(schema, r#"{"a":"x","z":1}"#), "1 is not of type 'string' - 'z'");
        let list = r#"{"items":{"minLength":3,"type":"string"}}"#;
        assert_eq!(body(list, r#"["ab", 1]"#), "'ab' is too short - '0'");
    }

    #[test]
    fn openapi_marks_are_honoured() {
        assert_eq!(body(r#"{"type":"string","nullable":true}"#, "null"), "");
        assert_eq!(body(r#"{"type":"string","nullable":true}"#, "1"), "1 is not of type 'string'");
        assert_eq!(body(r#"{"type":"string","nullable":true,"enum":["a"]}"#, "null"), "");
        let schema = r#"{"required":["id","name"],"properties":{"id":{"type":"integer","readOnly":true}}}"#;
        assert_eq!(body(schema, "{}"), "'name' is a required property");
        assert_eq!(body(schema, r#"{"name":1}"#), "");
        assert!(violation(schema, Flavour::Response, r#"{"name":1}"#).is_some());
    }

    #[test]
    fn the_long_text_shows_the_schema_and_the_instance() {
        let found = violation(r#"{"type":"integer","minimum":0}"#, Flavour::Parameter, "-1").unwrap();
        assert_eq!(
            found.long(),
            "-1 is less than the minimum of 0\n\nFailed validating 'minimum' in schema:\n    {'type': 'integer', 'minimum': 0}\n\nOn instance:\n    -1"
        );
        let nested = r#"{"properties":{"a":{"items":{"type":"string"}}}}"#;
        let found = violation(nested, Flavour::Parameter, r#"{"a":["x",2]}"#).unwrap();
        assert_eq!(
            found.long(),
            "2 is not of type 'string'\n\nFailed validating 'type' in schema['properties']['a']['items']:\n    {'type': 'string'}\n\nOn instance['a'][1]:\n    2"
        );
    }
}
