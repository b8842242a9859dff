//! The arguments of a call, bound to parameters as Python binds them.

use minijinja::value::Kwargs;
use minijinja::{Error, Value};

use super::error::invalid;
use super::python;

/// What a call was given: by position, and by name.
pub(super) struct Args {
    pub(super) positional: Vec<Value>,
    pub(super) named: Vec<(String, Value)>,
}

impl Args {
    pub(super) fn new(values: &[Value]) -> Args {
        let (positional, named) = match values.split_last() {
            Some((last, rest)) if last.is_kwargs() => (rest, Some(last)),
            _ => (values, None),
        };
        let named = named.and_then(Value::as_object).and_then(|kwargs| kwargs.try_iter_pairs());
        let named = named.into_iter().flatten().map(|(key, value)| (key.to_string(), value)).collect();
        Args { positional: positional.to_vec(), named }
    }

    /// Binds to the parameters of a function; one too many or unknown is an error.
    pub(super) fn bind<const N: usize>(
        self,
        function: &str,
        parameters: [&str; N],
    ) -> Result<[Option<Value>; N], Error> {
        if self.positional.len() > N {
            return Err(match N {
                0 => invalid(format!("{function}() takes no arguments ({} given)", self.positional.len())),
                _ => invalid(format!("{function}() takes at most {N} arguments ({} given)", self.positional.len())),
            });
        }
        let mut bound = [const { None }; N];
        for (slot, value) in bound.iter_mut().zip(self.positional) {
            *slot = Some(value);
        }
        for (name, value) in self.named {
            match parameters.iter().position(|parameter| *parameter == name) {
                Some(index) if bound[index].is_none() => bound[index] = Some(value),
                Some(_) => return Err(invalid(format!("{function}() got multiple values for argument '{name}'"))),
                None => return Err(invalid(format!("{function}() got an unexpected keyword argument '{name}'"))),
            }
        }
        Ok(bound)
    }

    /// Binds where one parameter at least is needed.
    pub(super) fn one(self, function: &str) -> Result<Value, Error> {
        let [value] = self.bind(function, ["value"])?;
        value.ok_or_else(|| invalid(format!("{function}() takes exactly one argument (0 given)")))
    }
}

/// Puts named values into the engine's own form of them.
pub(super) fn kwargs(named: Vec<(String, Value)>) -> Value {
    Value::from(named.into_iter().collect::<Kwargs>())
}

/// An argument that must be there.
pub(super) fn needed(value: Option<Value>, function: &str, name: &str) -> Result<Value, Error> {
    value.ok_or_else(|| invalid(format!("{function}() missing required argument: '{name}'")))
}

/// An argument that is a text.
pub(super) fn text(value: &Value, function: &str) -> Result<String, Error> {
    match value.as_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(invalid(format!("{function}() argument must be str, not {}", python::type_name(value)))),
    }
}

/// An optional argument that is an integer; None counts as absent.
pub(super) fn integer(value: Option<Value>, default: i64) -> Result<i64, Error> {
    match value {
        None => Ok(default),
        Some(value) if value.is_none() => Ok(default),
        Some(value) => python::integer(&value).and_then(|number| i64::try_from(number).ok()).ok_or_else(|| {
            invalid(format!("'{}' object cannot be interpreted as an integer", python::type_name(&value)))
        }),
    }
}

/// An optional argument that is true or false.
pub(super) fn flag(value: Option<Value>) -> bool {
    value.is_some_and(|value| value.is_true())
}
