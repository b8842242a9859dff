//! The methods of Python's dict.

use std::sync::Arc;

use minijinja::value::ValueKind;
use minijinja::{Error, State, Value};

use super::args::{Args, needed};
use super::error::invalid;
use super::object::{Dict, Entries, Key, List, View, ViewPrint, tuple};
use super::python;

pub(super) fn call(dict: &Arc<Dict>, state: &mut State, method: &str, values: &[Value]) -> Result<Value, Error> {
    let args = Args::new(values);
    match method {
        "get" => {
            let [key, default] = args.bind("get", ["key", "default"])?;
            let key = key.ok_or_else(|| invalid("get expected at least 1 argument, got 0"))?;
            Key::new(key.clone())?;
            Ok(dict.get(&key).or(default).unwrap_or_else(|| Value::from(())))
        }
        "keys" => {
            args.bind("keys", [])?;
            Ok(View::value(dict.keys(), ViewPrint::Items("dict_keys")))
        }
        "values" => {
            args.bind("values", [])?;
            let items = dict.lock().values().cloned().collect();
            Ok(View::value(items, ViewPrint::Items("dict_values")))
        }
        "items" => {
            args.bind("items", [])?;
            Ok(View::value(pairs(dict), ViewPrint::Items("dict_items")))
        }
        "copy" => Dict::value(dict.lock().clone()),
        "update" => {
            let changes = entries_of(state, args, "update")?;
            for (key, value) in changes {
                let value = dict.admit(state, &value)?;
                dict.lock().insert(key, value);
            }
            Ok(Value::from(()))
        }
        "setdefault" => {
            let [key, default] = args.bind("setdefault", ["key", "default"])?;
            let key = needed(key, "setdefault", "key")?;
            if let Some(found) = dict.get(&key) {
                return Ok(found);
            }
            let value = dict.admit(state, &default.unwrap_or_else(|| Value::from(())))?;
            dict.lock().insert(Key::new(key)?, value.clone());
            Ok(value)
        }
        "pop" => {
            let [key, default] = args.bind("pop", ["key", "default"])?;
            let key = needed(key, "pop", "key")?;
            let removed = dict.lock().shift_remove(&Key(key.clone()));
            match removed.or(default) {
                Some(value) => Ok(value),
                None => Err(invalid(python::repr(state, &key)?)),
            }
        }
        "popitem" => match dict.lock().pop() {
            Some((key, value)) => Ok(tuple(vec![key.0, value])),
            None => Err(invalid("popitem(): dictionary is empty")),
        },
        "clear" => {
            dict.lock().clear();
            Ok(Value::from(()))
        }
        _ => match dict.get(&Value::from(method)) {
            Some(value) if super::operators::is_callable(&value) => value.call(state, values),
            Some(value) => Err(invalid(format!("'{}' object is not callable", python::type_name(&value)))),
            None => Err(python::no_attribute(&Value::from_dyn_object(dict.clone()), method)),
        },
    }
}

/// The entries as pairs.
pub(super) fn pairs(dict: &Dict) -> Vec<Value> {
    dict.lock().iter().map(|(key, value)| tuple(vec![key.0.clone(), value.clone()])).collect()
}

/// The entries that `dict(…)` and `update(…)` are given: a mapping or pairs, and named ones.
pub(super) fn entries_of(state: &mut State, args: Args, function: &str) -> Result<Entries, Error> {
    let mut entries = Entries::new();
    if args.positional.len() > 1 {
        return Err(invalid(format!("{function} expected at most 1 argument, got {}", args.positional.len())));
    }
    if let Some(source) = args.positional.first() {
        if let Some(dict) = source.downcast_object_ref::<Dict>() {
            entries = dict.lock().clone();
        } else if let (ValueKind::Map, Some(object)) = (source.kind(), source.as_object()) {
            for (key, value) in object.try_iter_pairs().into_iter().flatten() {
                entries.insert(Key::new(key)?, value);
            }
        } else {
            for pair in python::iterate(state, source)? {
                match python::iterate(state, &pair)?.as_slice() {
                    [key, value] => entries.insert(Key::new(key.clone())?, value.clone()),
                    _ => return Err(invalid("dictionary update sequence elements must be pairs")),
                };
            }
        }
    }
    for (name, value) in args.named {
        entries.insert(Key(Value::from(name)), value);
    }
    Ok(entries)
}

/// `dict(…)`.
pub(super) fn make(state: &mut State, values: &[Value]) -> Result<Value, Error> {
    Dict::value(entries_of(state, Args::new(values), "dict")?)
}

/// `list(…)` as the filter of that name makes it.
pub(super) fn listed(state: &mut State, value: &Value) -> Result<Value, Error> {
    List::value(python::iterate(state, value)?)
}
