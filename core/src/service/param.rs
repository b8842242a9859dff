//! Whether a run's conf fits the parameters of its DAG.

use jsonschema::Draft;
use serde_json::{Map, Value};

use super::{Result, ServiceError};
use crate::model::Param;

/// Checks each parameter's value: the conf's, or else the default. What the conf holds besides is free.
///
/// # Errors
/// `InvalidParam`, for the first parameter in the order of declaration.
pub(super) fn check_params(params: &[Param], conf: &Map<String, Value>) -> Result<()> {
    params.iter().try_for_each(|param| check_param(param, conf.get(&param.name)))
}

fn check_param(param: &Param, given: Option<&Value>) -> Result<()> {
    let invalid = |value: Option<&Value>, message: String| ServiceError::InvalidParam {
        name: param.name.clone(),
        value: value.cloned(),
        schema: param.schema.clone(),
        message,
    };
    let Some(value) = given.or(param.value.as_ref()) else {
        return Err(invalid(None, "No value passed and Param has no default value".into()));
    };
    if param.schema.is_empty() {
        return Ok(());
    }
    let validator = jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .should_ignore_unknown_formats(true)
        .build(&Value::Object(param.schema.clone()))
        .map_err(|error| invalid(Some(value), format!("its schema is not usable: {error}")))?;
    validator.validate(value).map_err(|error| invalid(Some(value), error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(schema: Value, default: Option<Value>, conf: Value) -> Option<String> {
        let Value::Object(schema) = schema else { panic!("not a schema") };
        let Value::Object(conf) = conf else { panic!("not a conf") };
        let param = Param { name: "p".into(), value: default, description: None, schema };
        check_params(&[param], &conf).err().map(|error| error.to_string())
    }

    #[test]
    fn values_are_checked_against_the_schema() {
        let schema = || json!({"type": "integer", "minimum": 1, "maximum": 10});
        assert_eq!(check(schema(), Some(json!(3)), json!({})), None);
        assert_eq!(check(schema(), Some(json!(3)), json!({"p": 5, "other": []})), None);
        assert!(check(schema(), Some(json!(3)), json!({"p": 99})).is_some_and(|text| text.contains("99")));
        assert!(check(schema(), None, json!({})).is_some());
        assert!(check(json!({"type": 5}), Some(json!(3)), json!({})).is_some());
        assert!(check(json!({}), Some(json!(3)), json!({"p": "x"})).is_none());
    }
}
