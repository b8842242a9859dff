//! What Python makes of a value: its type's name, how it prints, compares and iterates.

use std::cmp::Ordering;
use std::fmt;

use minijinja::value::{Tuple, ValueKind};
use minijinja::{Error, State, Value};
use updraft_core::python::{float_repr, str_repr};

use super::context::Record;
use super::date::{Date, Time};
use super::error::{invalid, limit, undefined};
use super::interval::Span;
use super::moment::Moment;
use super::object::{Dict, List, View, ViewPrint, is_undefined};
use super::sequence_filters::Group;
use super::work::spend;

/// The longest text that one value may print.
const MAX_PRINT: usize = 16 * 1024 * 1024;
/// How many values one comparison may look at: shared containers can hold more than memory does.
const MAX_COMPARE: usize = 1_000_000;

/// The type's name, as Python's errors say it.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value.kind() {
        ValueKind::Undefined => "StrictUndefined",
        ValueKind::None => "NoneType",
        ValueKind::Bool => "bool",
        ValueKind::Number if value.is_integer() => "int",
        ValueKind::Number => "float",
        ValueKind::String => "str",
        ValueKind::Bytes => "bytes",
        _ if value.is_tuple() => "tuple",
        _ if value.downcast_object_ref::<List>().is_some() => "list",
        _ if value.downcast_object_ref::<Dict>().is_some() => "dict",
        _ => {
            if let Some(view) = value.downcast_object_ref::<View>() {
                match view.print {
                    ViewPrint::Items(name) => name,
                    ViewPrint::Text(_) => "range",
                }
            } else if let Some(moment) = value.downcast_object_ref::<Moment>() {
                moment.type_name()
            } else if value.downcast_object_ref::<Span>().is_some() {
                "timedelta"
            } else if value.downcast_object_ref::<Date>().is_some() {
                "Date"
            } else if value.downcast_object_ref::<Time>().is_some() {
                "Time"
            } else if let Some(record) = value.downcast_object_ref::<Record>() {
                record.type_name()
            } else {
                match value.kind() {
                    ValueKind::Map => "dict",
                    ValueKind::Seq | ValueKind::Iterable => "list",
                    _ => "object",
                }
            }
        }
    }
}

/// The error that a value has no such attribute, in Jinja2's words.
pub(super) fn no_attribute(value: &Value, name: &str) -> Error {
    if value.is_none() {
        return undefined(format!("'None' has no attribute '{name}'"));
    }
    undefined(format!("'{} object' has no attribute '{name}'", type_name(value)))
}

/// A number as a float; True is 1.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value.kind() {
        ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        ValueKind::Number => f64::try_from(value.clone()).ok().or_else(|| integer(value).map(|n| n as f64)),
        _ => None,
    }
}

/// An integer; True is 1, a float is none.
pub(super) fn integer(value: &Value) -> Option<i128> {
    match value.kind() {
        ValueKind::Bool => Some(i128::from(value.is_true())),
        ValueKind::Number if value.is_integer() => i128::try_from(value.clone()).ok(),
        _ => None,
    }
}

/// An integer as small as minijinja would hold it.
pub(super) fn from_integer(integer: i128) -> Value {
    match i64::try_from(integer) {
        Ok(small) => Value::from(small),
        Err(_) => Value::from(integer),
    }
}

/// Python's `str()`.
pub(super) fn print(state: &mut State, value: &Value) -> Result<String, Error> {
    let mut out = String::new();
    push(&mut out, value, false)?;
    spend(state, out.len())?;
    Ok(out)
}

/// Python's `repr()`.
pub(super) fn repr(state: &mut State, value: &Value) -> Result<String, Error> {
    let mut out = String::new();
    push(&mut out, value, true)?;
    spend(state, out.len())?;
    Ok(out)
}

/// For minijinja's own printing of our objects.
pub(super) fn render(value: &Value, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut out = String::new();
    push(&mut out, value, true).map_err(|_| fmt::Error)?;
    f.write_str(&out)
}

// Recursion is bounded by the depth that containers may have.
fn push(out: &mut String, value: &Value, quoted: bool) -> Result<(), Error> {
    if out.len() > MAX_PRINT {
        return Err(limit("the value is too large to print"));
    }
    match value.kind() {
        ValueKind::Undefined => out.push_str("Undefined"),
        ValueKind::None => out.push_str("None"),
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number => match integer(value) {
            Some(integer) => out.push_str(&integer.to_string()),
            None => out.push_str(&number(value).map_or_else(|| value.to_string(), float_repr)),
        },
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            if quoted {
                out.push_str(&str_repr(text));
            } else {
                out.push_str(text);
            }
        }
        ValueKind::Bytes => push_bytes(out, value.as_bytes().unwrap_or_default()),
        _ => push_object(out, value, quoted)?,
    }
    Ok(())
}

fn push_bytes(out: &mut String, bytes: &[u8]) {
    out.push_str("b'");
    for byte in bytes {
        match byte {
            b'\'' | b'\\' => {
                out.push('\\');
                out.push(char::from(*byte));
            }
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x20..=0x7e => out.push(char::from(*byte)),
            other => out.push_str(&format!("\\x{other:02x}")),
        }
    }
    out.push('\'');
}

fn push_object(out: &mut String, value: &Value, quoted: bool) -> Result<(), Error> {
    if let Some(list) = value.downcast_object_ref::<List>() {
        push_sequence(out, "[", &list.items(), "]")
    } else if let Some(dict) = value.downcast_object_ref::<Dict>() {
        let entries = dict.lock().clone();
        out.push('{');
        for (index, (key, item)) in entries.iter().enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            push(out, &key.0, true)?;
            out.push_str(": ");
            push(out, item, true)?;
        }
        out.push('}');
        Ok(())
    } else if let Some(tuple) = value.downcast_object_ref::<Tuple>() {
        push_sequence(out, "(", tuple, if tuple.len() == 1 { ",)" } else { ")" })
    } else if let Some(view) = value.downcast_object_ref::<View>() {
        match &view.print {
            ViewPrint::Items(name) => {
                out.push_str(name);
                push_sequence(out, "([", &view.items, "])")
            }
            ViewPrint::Text(text) => {
                out.push_str(text);
                Ok(())
            }
        }
    } else if let Some(moment) = value.downcast_object_ref::<Moment>() {
        out.push_str(&if quoted { moment.repr() } else { moment.to_string() });
        Ok(())
    } else if let Some(span) = value.downcast_object_ref::<Span>() {
        out.push_str(&if quoted { span.repr() } else { span.to_string() });
        Ok(())
    } else if let Some(date) = value.downcast_object_ref::<Date>() {
        out.push_str(&if quoted { date.repr() } else { date.to_string() });
        Ok(())
    } else if let Some(time) = value.downcast_object_ref::<Time>() {
        out.push_str(&if quoted { time.repr() } else { time.to_string() });
        Ok(())
    } else if let Some(group) = value.downcast_object_ref::<Group>() {
        push(out, &group.pair(), quoted)
    } else if let (ValueKind::Map, Some(object)) = (value.kind(), value.as_object()) {
        // The engine's own maps: a macro's kwargs.
        out.push('{');
        for (index, (key, item)) in object.try_iter_pairs().into_iter().flatten().enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            push(out, &key, true)?;
            out.push_str(": ");
            push(out, &item, true)?;
        }
        out.push('}');
        Ok(())
    } else {
        let text = value.to_string();
        out.push_str(&text);
        Ok(())
    }
}

fn push_sequence(out: &mut String, opening: &str, items: &[Value], closing: &str) -> Result<(), Error> {
    out.push_str(opening);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        push(out, item, true)?;
    }
    out.push_str(closing);
    Ok(())
}

/// Whether two values are equal, as `==` says.
pub(super) fn equal(a: &Value, b: &Value) -> bool {
    compare_with(a, b, &mut { MAX_COMPARE }) == Some(Ordering::Equal)
}

/// The order of two values; an error if Python has none for them.
pub(super) fn order(a: &Value, b: &Value, operator: &str) -> Result<Option<Ordering>, Error> {
    if number(a).is_some_and(f64::is_nan) || number(b).is_some_and(f64::is_nan) {
        return Ok(None);
    }
    match (comparable(a, b), compare_with(a, b, &mut { MAX_COMPARE })) {
        (true, Some(ordering)) => Ok(Some(ordering)),
        _ => Err(invalid(format!(
            "'{operator}' not supported between instances of '{}' and '{}'",
            type_name(a),
            type_name(b)
        ))),
    }
}

/// Whether the two have an order, rather than equality alone.
fn comparable(a: &Value, b: &Value) -> bool {
    let is_dict = |value: &Value| value.kind() == ValueKind::Map || value.is_none();
    !is_dict(a) && !is_dict(b)
}

/// The sequence behind a list or a tuple.
fn sequence(value: &Value) -> Option<Vec<Value>> {
    if let Some(list) = value.downcast_object_ref::<List>() {
        Some(list.items())
    } else {
        value.downcast_object_ref::<Tuple>().map(|tuple| tuple.to_vec())
    }
}

// None says: not equal, and without an order. Recursion is bounded by the depth that containers may have.
fn compare_with(a: &Value, b: &Value, left: &mut usize) -> Option<Ordering> {
    *left = left.checked_sub(1)?;
    if let (Some(a), Some(b)) = (integer(a), integer(b)) {
        return Some(a.cmp(&b));
    }
    if let (Some(a), Some(b)) = (number(a), number(b)) {
        return a.partial_cmp(&b);
    }
    if let (Some(a), Some(b)) = (a.as_str(), b.as_str()) {
        return Some(a.cmp(b));
    }
    if a.is_none() && b.is_none() {
        return Some(Ordering::Equal);
    }
    if is_undefined(a) && is_undefined(b) {
        return Some(Ordering::Equal);
    }
    if let (Some(a), Some(b)) = (a.downcast_object_ref::<Moment>(), b.downcast_object_ref::<Moment>()) {
        return a.compare(b);
    }
    if let (Some(a), Some(b)) = (a.downcast_object_ref::<Span>(), b.downcast_object_ref::<Span>()) {
        return Some(a.microseconds().cmp(&b.microseconds()));
    }
    if let (Some(a), Some(b)) = (a.downcast_object_ref::<Date>(), b.downcast_object_ref::<Date>()) {
        return Some(a.0.cmp(&b.0));
    }
    if let (Some(a), Some(b)) = (a.downcast_object_ref::<Time>(), b.downcast_object_ref::<Time>()) {
        return Some(a.0.cmp(&b.0));
    }
    if a.is_tuple() == b.is_tuple()
        && let (Some(a), Some(b)) = (sequence(a), sequence(b))
    {
        for (a, b) in a.iter().zip(&b) {
            match compare_with(a, b, left) {
                Some(Ordering::Equal) => {}
                other => return other,
            }
        }
        return Some(a.len().cmp(&b.len()));
    }
    if let (Some(a), Some(b)) = (a.downcast_object::<Dict>(), b.downcast_object::<Dict>()) {
        if std::sync::Arc::ptr_eq(&a, &b) {
            return Some(Ordering::Equal);
        }
        let (a, b) = (a.lock().clone(), b.lock().clone());
        let same = a.len() == b.len()
            && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| compare_with(a, b, left) == Some(Ordering::Equal)));
        return same.then_some(Ordering::Equal);
    }
    match (a.downcast_object_ref::<Record>(), b.downcast_object_ref::<Record>()) {
        (Some(a), Some(b)) if a.shown() == b.shown() => Some(Ordering::Equal),
        _ => None,
    }
}

/// The items of anything that Python iterates: characters of a text, keys of a dictionary.
pub(super) fn iterate(state: &mut State, value: &Value) -> Result<Vec<Value>, Error> {
    if value.is_undefined() {
        return Err(undefined("the value to iterate over is undefined"));
    }
    if let Some(text) = value.as_str() {
        spend(state, text.len())?;
        return Ok(text.chars().map(|c| Value::from(c.to_string())).collect());
    }
    let items = match value.kind() {
        ValueKind::Map | ValueKind::Seq | ValueKind::Iterable => {
            let size = value.len().unwrap_or(0);
            spend(state, size)?;
            value.try_iter().ok()
        }
        _ => None,
    };
    match items {
        Some(items) => Ok(items.collect()),
        None => Err(invalid(format!("'{}' object is not iterable", type_name(value)))),
    }
}

/// Python's `len()`.
pub(super) fn length(value: &Value) -> Result<usize, Error> {
    if let Some(text) = value.as_str() {
        return Ok(text.chars().count());
    }
    let length = match value.kind() {
        ValueKind::Map | ValueKind::Seq | ValueKind::Iterable => value.len(),
        ValueKind::Bytes => value.as_bytes().map(<[u8]>::len),
        _ => None,
    };
    length.ok_or_else(|| invalid(format!("object of type '{}' has no len()", type_name(value))))
}
