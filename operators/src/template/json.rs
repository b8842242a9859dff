//! Python's `json.dumps` and `json.loads`.

use minijinja::value::{Tuple, ValueKind};
use minijinja::{Error, State, Value};
use updraft_core::python::float_repr;

use super::args::integer as integer_argument;
use super::error::invalid;
use super::object::{Dict, Key, List, from_json};
use super::python::{self, integer, number, type_name};
use super::work::spend;

/// How `dumps` writes.
pub(super) struct Style {
    pub(super) sort_keys: bool,
    pub(super) indent: Option<String>,
    pub(super) ascii: bool,
    pub(super) item_separator: Option<String>,
    pub(super) key_separator: String,
}

impl Default for Style {
    fn default() -> Self {
        Style { sort_keys: false, indent: None, ascii: true, item_separator: None, key_separator: ": ".to_owned() }
    }
}

/// The `indent` argument: a number of spaces, or a text.
pub(super) fn indent_of(value: Option<Value>) -> Result<Option<String>, Error> {
    match value {
        None => Ok(None),
        Some(value) if value.is_none() => Ok(None),
        Some(value) => match value.as_str() {
            Some(text) => Ok(Some(text.to_owned())),
            None => {
                let count = integer_argument(Some(value), 0)?.clamp(0, 1000);
                Ok(Some(" ".repeat(usize::try_from(count).unwrap_or_default())))
            }
        },
    }
}

/// `json.dumps`. Recursion is bounded by the depth that containers may have.
pub(super) fn dumps(state: &mut State, value: &Value, style: &Style) -> Result<String, Error> {
    let mut out = String::new();
    push(state, &mut out, value, style, 0)?;
    Ok(out)
}

fn push(state: &mut State, out: &mut String, value: &Value, style: &Style, level: usize) -> Result<(), Error> {
    spend(state, 4)?;
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => push_number(out, value),
        ValueKind::String => push_text(state, out, value.as_str().unwrap_or_default(), style)?,
        _ => {
            if let Some(dict) = value.downcast_object_ref::<Dict>() {
                let mut entries: Vec<(Key, Value)> = dict.lock().clone().into_iter().collect();
                if style.sort_keys {
                    let pairs = entries.into_iter().map(|(key, value)| super::object::tuple(vec![key.0, value]));
                    let sorted = super::list_methods::sort(pairs.collect(), |pair| pair.get_item_by_index(0), false)?;
                    entries = sorted
                        .iter()
                        .filter_map(|pair| {
                            Some((Key(pair.get_item_by_index(0).ok()?), pair.get_item_by_index(1).ok()?))
                        })
                        .collect();
                }
                push_items(state, out, style, level, ('{', '}'), &entries, |state, out, (key, item)| {
                    push_key(state, out, &key.0, style)?;
                    out.push_str(&style.key_separator);
                    push(state, out, item, style, level + 1)
                })?;
            } else {
                let items = match (value.downcast_object_ref::<List>(), value.downcast_object_ref::<Tuple>()) {
                    (Some(list), _) => list.items(),
                    (_, Some(tuple)) => tuple.to_vec(),
                    _ => {
                        let found = type_name(value);
                        let found = found.rsplit('.').next().unwrap_or(found);
                        return Err(invalid(format!("Object of type {found} is not JSON serializable")));
                    }
                };
                push_items(state, out, style, level, ('[', ']'), &items, |state, out, item| {
                    push(state, out, item, style, level + 1)
                })?;
            }
        }
    }
    Ok(())
}

fn push_items<T>(
    state: &mut State,
    out: &mut String,
    style: &Style,
    level: usize,
    (opening, closing): (char, char),
    items: &[T],
    mut push_item: impl FnMut(&mut State, &mut String, &T) -> Result<(), Error>,
) -> Result<(), Error> {
    out.push(opening);
    let default_separator = if style.indent.is_some() { "," } else { ", " };
    let separator = style.item_separator.as_deref().unwrap_or(default_separator);
    let new_line = |state: &mut State, out: &mut String, level: usize| -> Result<(), Error> {
        if let Some(indent) = &style.indent {
            spend(state, indent.len().saturating_mul(level))?;
            out.push('\n');
            out.push_str(&indent.repeat(level));
        }
        Ok(())
    };
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(separator);
        }
        new_line(state, out, level + 1)?;
        push_item(state, out, item)?;
    }
    if !items.is_empty() {
        new_line(state, out, level)?;
    }
    out.push(closing);
    Ok(())
}

fn push_number(out: &mut String, value: &Value) {
    match (integer(value), number(value)) {
        (Some(integer), _) => out.push_str(&integer.to_string()),
        (_, Some(float)) if float.is_nan() => out.push_str("NaN"),
        (_, Some(float)) if float.is_infinite() => out.push_str(if float > 0.0 { "Infinity" } else { "-Infinity" }),
        (_, float) => out.push_str(&float_repr(float.unwrap_or_default())),
    }
}

fn push_key(state: &mut State, out: &mut String, key: &Value, style: &Style) -> Result<(), Error> {
    match key.kind() {
        ValueKind::String => push_text(state, out, key.as_str().unwrap_or_default(), style),
        ValueKind::None | ValueKind::Bool | ValueKind::Number => {
            out.push('"');
            push(state, out, key, style, 0)?;
            out.push('"');
            Ok(())
        }
        _ => Err(invalid(format!("keys must be str, int, float, bool or None, not {}", type_name(key)))),
    }
}

fn push_text(state: &mut State, out: &mut String, text: &str, style: &Style) -> Result<(), Error> {
    spend(state, text.len())?;
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c if c.is_ascii() || !style.ascii => out.push(c),
            c => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    out.push('"');
    Ok(())
}

/// `json.loads`.
pub(super) fn loads(state: &mut State, text: &str) -> Result<Value, Error> {
    spend(state, text.len())?;
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(json) => from_json(&json),
        Err(error) => Err(invalid(format!("not valid JSON: {error}"))),
    }
}

/// `json.dumps(value, …)` with its options by name.
pub(super) fn dumps_call(state: &mut State, args: super::args::Args) -> Result<Value, Error> {
    let names = ["obj", "sort_keys", "indent", "ensure_ascii", "separators", "default"];
    let [value, sort_keys, indent, ascii, separators, _default] = args.bind("dumps", names)?;
    let value = super::args::needed(value, "dumps", "obj")?;
    let mut style = Style {
        sort_keys: super::args::flag(sort_keys),
        indent: indent_of(indent)?,
        ascii: ascii.is_none_or(|ascii| ascii.is_true()),
        ..Style::default()
    };
    if let Some(separators) = separators.filter(|separators| !separators.is_none()) {
        match python::iterate(state, &separators)?.as_slice() {
            [item, key] => {
                style.item_separator = Some(python::print(state, item)?);
                style.key_separator = python::print(state, key)?;
            }
            _ => return Err(invalid("separators must be a pair")),
        }
    }
    dumps(state, &value, &style).map(Value::from)
}
