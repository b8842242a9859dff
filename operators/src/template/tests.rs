//! Jinja2's tests: what stands after `is`.

use std::sync::Arc;

use minijinja::value::{Rest, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, Value};

use super::args::{Args, needed};
use super::error::invalid;
use super::object::{Dict, List, is_undefined};
use super::operators::{calculate, holds, is_callable};
use super::python::{self, integer};
use super::sequence_filters::is_iterable;

type Test = fn(&mut State, &Value, Args) -> Result<bool, Error>;

/// Makes every test known to an environment.
pub(super) fn register(env: &mut Environment<'_>) {
    let tests: [(&'static str, Test); 39] = [
        ("defined", |_, value, _| Ok(!is_undefined(value))),
        ("undefined", |_, value, _| Ok(is_undefined(value))),
        ("none", |_, value, _| Ok(value.is_none())),
        ("boolean", |_, value, _| Ok(value.kind() == ValueKind::Bool)),
        ("true", |_, value, _| Ok(value.kind() == ValueKind::Bool && value.is_true())),
        ("false", |_, value, _| Ok(value.kind() == ValueKind::Bool && !value.is_true())),
        ("number", |_, value, _| Ok(python::number(value).is_some())),
        ("integer", |_, value, _| Ok(value.kind() == ValueKind::Number && value.is_integer())),
        ("float", |_, value, _| Ok(value.kind() == ValueKind::Number && !value.is_integer())),
        ("string", |_, value, _| Ok(value.as_str().is_some())),
        ("mapping", |_, value, _| Ok(value.kind() == ValueKind::Map)),
        ("sequence", |_, value, _| {
            Ok(matches!(value.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::String) && !is_undefined(value))
        }),
        ("iterable", |_, value, _| Ok(is_iterable(value))),
        ("callable", |_, value, _| Ok(is_callable(value))),
        ("escaped", |_, value, _| Ok(value.is_safe())),
        ("odd", |state, value, _| remainder(state, value, &Value::from(2)).map(|rest| rest == Some(1))),
        ("even", |state, value, _| remainder(state, value, &Value::from(2)).map(|rest| rest == Some(0))),
        ("divisibleby", |state, value, args| {
            let divisor = args.one("divisibleby")?;
            remainder(state, value, &divisor).map(|rest| rest == Some(0))
        }),
        ("lower", |state, value, _| {
            let text = python::print(state, value)?;
            Ok(text.chars().any(char::is_lowercase) && !text.chars().any(char::is_uppercase))
        }),
        ("upper", |state, value, _| {
            let text = python::print(state, value)?;
            Ok(text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase))
        }),
        ("sameas", |_, value, args| {
            let other = args.one("sameas")?;
            // Containers are one only if a change of either shows in both.
            let (a, b) = (value.downcast_object::<List>(), other.downcast_object::<List>());
            let (c, d) = (value.downcast_object::<Dict>(), other.downcast_object::<Dict>());
            Ok(match (a, b, c, d) {
                (Some(a), Some(b), ..) => Arc::ptr_eq(&a, &b),
                (.., Some(a), Some(b)) => Arc::ptr_eq(&a, &b),
                _ => value.kind() == other.kind() && python::equal(value, &other),
            })
        }),
        ("==", |state, value, args| compare(state, value, "==", args)),
        ("eq", |state, value, args| compare(state, value, "==", args)),
        ("equalto", |state, value, args| compare(state, value, "==", args)),
        ("!=", |state, value, args| compare(state, value, "!=", args)),
        ("ne", |state, value, args| compare(state, value, "!=", args)),
        (">", |state, value, args| compare(state, value, ">", args)),
        ("gt", |state, value, args| compare(state, value, ">", args)),
        ("greaterthan", |state, value, args| compare(state, value, ">", args)),
        (">=", |state, value, args| compare(state, value, ">=", args)),
        ("ge", |state, value, args| compare(state, value, ">=", args)),
        ("<", |state, value, args| compare(state, value, "<", args)),
        ("lt", |state, value, args| compare(state, value, "<", args)),
        ("lessthan", |state, value, args| compare(state, value, "<", args)),
        ("<=", |state, value, args| compare(state, value, "<=", args)),
        ("le", |state, value, args| compare(state, value, "<=", args)),
        ("in", |state, value, args| compare(state, value, "in", args)),
        ("filter", |state, value, _| {
            Ok(match value.as_str() {
                Some(name) => {
                    state.apply_filter(name, &[]).is_err_and(|error| error.kind() != ErrorKind::UnknownFilter)
                }
                None => false,
            })
        }),
        // Ours all refuse to be called without a value: any other error means that there is none of that name.
        ("test", |state, value, _| {
            Ok(match value.as_str() {
                Some(name) => state.perform_test(name, &[]).is_err_and(|error| error.kind() != ErrorKind::UnknownTest),
                None => false,
            })
        }),
    ];
    for (name, test) in tests {
        env.add_test(name, move |state: &mut State, values: Rest<ValueOrKwargs>| {
            let mut args = Args::new(&values.into_values());
            if args.positional.is_empty() {
                return Err(invalid(format!("test '{name}' needs a value")));
            }
            let value = args.positional.remove(0);
            test(state, &value, args)
        });
    }
    for name in ["safe", "startingwith", "endingwith", "int"] {
        env.remove_test(name);
    }
}

fn compare(state: &mut State, value: &Value, operator: &str, args: Args) -> Result<bool, Error> {
    let [other] = args.bind("test", ["other"])?;
    let other = needed(other, "test", "other")?;
    if value.is_undefined() || other.is_undefined() {
        return Err(super::error::undefined("a value to compare is undefined"));
    }
    holds(state, value, operator, &other)
}

fn remainder(state: &mut State, value: &Value, divisor: &Value) -> Result<Option<i128>, Error> {
    if python::number(value).is_none() {
        return Err(invalid("not all arguments converted during string formatting"));
    }
    let rest = calculate(state, value, "%", divisor)?;
    Ok(integer(&rest).or_else(|| python::number(&rest).filter(|rest| rest.fract() == 0.0).map(|rest| rest as i128)))
}
