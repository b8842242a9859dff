//! Why a value does not fit a DAG's parameter, in the words of Python's `jsonschema`.

use serde_json::{Map, Value};

use crate::schema::{self, Ordered};

/// Keywords in the order in which people write them; texts show schemas, and those do not keep their order in a DAG.
const ORDER: &[&str] = &["type", "format", "enum", "minimum", "maximum", "minLength", "maxLength", "pattern", "items"];

/// What Python says of `value`; none where this check finds nothing wrong.
pub(crate) fn explain(value: Option<&Value>, schema: &Map<String, Value>) -> Option<String> {
    let value = value?;
    let mut members: Vec<_> = schema.iter().map(|(name, value)| (name.clone(), Ordered::from(value))).collect();
    let rank = |name: &str| ORDER.iter().position(|known| *known == name).unwrap_or(ORDER.len());
    members.sort_by_key(|(name, _)| rank(name));
    schema::complaint(&Ordered::Object(members), value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_words_are_those_of_python() {
        let schema = json!({"maximum": 10, "minimum": 1, "title": "how often", "type": "integer"});
        assert_eq!(
            explain(Some(&json!(99)), schema.as_object().unwrap()).as_deref(),
            Some(
                "99 is greater than the maximum of 10\n\nFailed validating 'maximum' in schema:\n    {'type': \
                 'integer', 'minimum': 1, 'maximum': 10, 'title': 'how often'}\n\nOn instance:\n    99"
            )
        );
    }
}
