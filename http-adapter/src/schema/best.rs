//! The violation that Python's `jsonschema.validate` shows: not the first, but the one that tells most.

use std::cmp::Ordering;

use jsonschema::error::ValidationErrorKind as Kind;
use jsonschema::paths::LocationSegment;
use jsonschema::{Draft, ValidationError};
use serde_json::Value;

use super::ordered::Ordered;
use super::violation::{self, Violation};
use super::{MAX_VIOLATIONS, format};

/// What Airflow says of a value that does not fit the schema of a DAG's parameter; none if it fits.
pub(crate) fn complaint(schema: &Ordered, value: &Value) -> Option<String> {
    let validator = jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .should_ignore_unknown_formats(true)
        .with_format("date-time", format::is_date_time)
        .with_format("email", format::is_email)
        .build(&schema.to_value());
    let validator = match validator {
        Ok(validator) => validator,
        Err(error) => return Some(format!("its schema cannot be used: {error}")),
    };
    let errors: Vec<_> = validator.iter_errors(value).take(MAX_VIOLATIONS).collect();
    let (best, parent) = best_match(schema, errors.iter().collect())?;
    Some(Violation::within(schema, &Ordered::from(value), best, parent).long())
}

/// The best of the errors, and the `anyOf` or `oneOf` that it is a part of.
fn best_match<'e, 'i>(
    document: &Ordered,
    errors: Vec<&'e ValidationError<'i>>,
) -> Option<(&'e ValidationError<'i>, Option<&'e ValidationError<'i>>)> {
    let errors = in_order(document, errors);
    // Of equals, Python's `max` takes the first and Rust's the last.
    let mut best = errors.into_iter().rev().max_by(|a, b| relevance(document, a, b))?;
    let mut parent = None;
    loop {
        // Of alternatives the deepest mistake counts, unless two are as deep.
        let mut parts = in_order(document, parts(best));
        parts.sort_by(|a, b| relevance(document, a, b));
        match parts.as_slice() {
            [] => return Some((best, parent)),
            [first, second, ..] if relevance(document, first, second) == Ordering::Equal => {
                return Some((best, parent));
            }
            [first, ..] => {
                parent = Some(best);
                best = first;
            }
        }
    }
}

fn in_order<'e, 'i>(document: &Ordered, mut errors: Vec<&'e ValidationError<'i>>) -> Vec<&'e ValidationError<'i>> {
    errors.sort_by_cached_key(|error| violation::position(document, error));
    errors
}

fn parts<'e, 'i>(error: &'e ValidationError<'i>) -> Vec<&'e ValidationError<'i>> {
    match error.kind() {
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => context.iter().flatten().collect(),
        _ => Vec::new(),
    }
}

/// Which error tells more: the one less deep, later among siblings, not about alternatives, about another type.
fn relevance(document: &Ordered, a: &ValidationError<'_>, b: &ValidationError<'_>) -> Ordering {
    let (path_a, path_b): (Vec<_>, Vec<_>) = (a.instance_path().iter().collect(), b.instance_path().iter().collect());
    let weak = |error: &ValidationError<'_>| {
        matches!(error.kind(), Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } | Kind::OneOfMultipleValid { .. })
    };
    let by_path = || {
        let steps = path_a.iter().zip(&path_b).map(|(a, b)| match (a, b) {
            (LocationSegment::Index(a), LocationSegment::Index(b)) => a.cmp(b),
            _ => a.to_string().cmp(&b.to_string()),
        });
        steps.fold(Ordering::Equal, Ordering::then)
    };
    path_b
        .len()
        .cmp(&path_a.len())
        .then_with(by_path)
        .then_with(|| weak(b).cmp(&weak(a)))
        .then_with(|| violation::is_of_type(document, b).cmp(&violation::is_of_type(document, a)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Each as Python's jsonschema 4.26 says it.
    #[test]
    fn complaints_are_those_of_python() {
        for (schema, value, expected) in [
            (
                json!({"maximum": 10, "minimum": 1, "type": "integer"}),
                json!(99),
                "99 is greater than the maximum of 10\n\nFailed validating 'maximum' in schema:\n    {'maximum': 10, 'minimum': 1, 'type': 'integer'}\n\nOn instance:\n    99",
            ),
            (
                json!({"anyOf": [{"type": "string"}, {"minimum": 5, "type": "integer"}]}),
                json!(3),
                "3 is less than the minimum of 5\n\nFailed validating 'minimum' in schema[1]:\n    {'minimum': 5, 'type': 'integer'}\n\nOn instance:\n    3",
            ),
            (
                json!({"type": ["null", "string"]}),
                json!(1),
                "1 is not of type 'null', 'string'\n\nFailed validating 'type' in schema:\n    {'type': ['null', 'string']}\n\nOn instance:\n    1",
            ),
            (
                json!({"items": {"type": "string"}, "maxItems": 1}),
                json!([1, 2]),
                "[1, 2] is too long\n\nFailed validating 'maxItems' in schema:\n    {'items': {'type': 'string'}, 'maxItems': 1}\n\nOn instance:\n    [1, 2]",
            ),
            (
                json!({"properties": {"a": {"oneOf": [{"type": "string"}, {"type": "null"}]}}}),
                json!({"a": 1}),
                "1 is not valid under any of the given schemas\n\nFailed validating 'oneOf' in schema['properties']['a']:\n    {'oneOf': [{'type': 'string'}, {'type': 'null'}]}\n\nOn instance['a']:\n    1",
            ),
            (
                json!({"items": {"type": "string"}}),
                json!([1, "a", 2]),
                "2 is not of type 'string'\n\nFailed validating 'type' in schema['items']:\n    {'type': 'string'}\n\nOn instance[2]:\n    2",
            ),
        ] {
            assert_eq!(complaint(&Ordered::from(&schema), &value).as_deref(), Some(expected), "{schema} {value}");
        }
        assert_eq!(complaint(&Ordered::from(&json!({"type": "integer"})), &json!(1)), None);
        assert!(complaint(&Ordered::from(&json!({"type": "nope"})), &json!(1)).is_some());
    }
}
