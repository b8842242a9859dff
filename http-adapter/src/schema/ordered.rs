//! JSON that remembers the order of its members, because Python shows them in that order.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use updraft_core::python;

/// How wide Python's `pprint` lets a line become where `jsonschema` uses it.
const WIDTH: usize = 72;

/// A JSON value whose members keep the order in which they were written.
///
/// Its methods recurse, so it is only made from what a parser with a limit on depth accepted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ordered {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Ordered>),
    Object(Vec<(String, Ordered)>),
}

impl Ordered {
    pub(crate) fn get(&self, key: &str) -> Option<&Ordered> {
        self.members().iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The members of an object; none of anything else.
    pub(crate) fn members(&self) -> &[(String, Ordered)] {
        match self {
            Ordered::Object(members) => members,
            _ => &[],
        }
    }

    /// The items of an array; none of anything else.
    pub(crate) fn items(&self) -> &[Ordered] {
        match self {
            Ordered::Array(items) => items,
            _ => &[],
        }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Ordered::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn is_true(&self) -> bool {
        *self == Ordered::Bool(true)
    }

    pub(crate) fn as_u64(&self) -> Option<u64> {
        match self {
            Ordered::Number(number) => number.as_u64(),
            _ => None,
        }
    }

    pub(crate) fn to_value(&self) -> Value {
        match self {
            Ordered::Null => Value::Null,
            Ordered::Bool(flag) => Value::Bool(*flag),
            Ordered::Number(number) => Value::Number(number.clone()),
            Ordered::String(text) => Value::String(text.clone()),
            Ordered::Array(items) => Value::Array(items.iter().map(Ordered::to_value).collect()),
            Ordered::Object(members) => {
                Value::Object(members.iter().map(|(key, value)| (key.clone(), value.to_value())).collect::<Map<_, _>>())
            }
        }
    }

    /// Python's `repr`.
    pub(crate) fn repr(&self) -> String {
        let mut out = String::new();
        self.write_repr(&mut out);
        out
    }

    fn write_repr(&self, out: &mut String) {
        match self {
            Ordered::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index > 0 { ", " } else { "" });
                    item.write_repr(out);
                }
                out.push(']');
            }
            Ordered::Object(members) => {
                out.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    out.push_str(if index > 0 { ", " } else { "" });
                    out.push_str(&quote(key));
                    out.push_str(": ");
                    value.write_repr(out);
                }
                out.push('}');
            }
            scalar => out.push_str(&python::repr(&scalar.to_value())),
        }
    }

    /// Python's `pprint.pformat(value, width=72, sort_dicts=False)`.
    pub(crate) fn pretty(&self) -> String {
        let mut out = String::new();
        self.write_pretty(&mut out, 0, 0, 1);
        out
    }

    fn write_pretty(&self, out: &mut String, indent: usize, allowance: usize, level: usize) {
        let repr = self.repr();
        if indent + repr.chars().count() + allowance <= WIDTH {
            out.push_str(&repr);
            return;
        }
        match self {
            Ordered::Array(items) if !items.is_empty() => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    let last = index + 1 == items.len();
                    if index > 0 {
                        out.push_str(&format!(",\n{}", " ".repeat(indent + 1)));
                    }
                    item.write_pretty(out, indent + 1, if last { allowance + 1 } else { 1 }, level + 1);
                }
                out.push(']');
            }
            Ordered::Object(members) if !members.is_empty() => {
                out.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    let last = index + 1 == members.len();
                    if index > 0 {
                        out.push_str(&format!(",\n{}", " ".repeat(indent + 1)));
                    }
                    let key = quote(key);
                    out.push_str(&key);
                    out.push_str(": ");
                    let inner = indent + 1 + key.chars().count() + 2;
                    value.write_pretty(out, inner, if last { allowance + 1 } else { 1 }, level + 1);
                }
                out.push('}');
            }
            Ordered::String(text) => write_long_string(out, text, indent, allowance, level),
            _ => out.push_str(&repr),
        }
    }
}

/// Python's `repr` of a string.
pub(crate) fn quote(text: &str) -> String {
    python::repr(&Value::String(text.to_owned()))
}

/// A string too long for its line is shown as several, broken after white space.
fn write_long_string(out: &mut String, text: &str, mut indent: usize, mut allowance: usize, level: usize) {
    if level == 1 {
        indent += 1;
        allowance += 1;
    }
    let room = WIDTH.saturating_sub(indent);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut chunks: Vec<String> = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let last_line = index + 1 == lines.len();
        let whole = quote(line);
        let fits = if last_line { room.saturating_sub(allowance) } else { room };
        if whole.chars().count() <= fits {
            chunks.push(whole);
            continue;
        }
        let words = words(line);
        let mut current = String::new();
        for (at, word) in words.iter().enumerate() {
            let candidate = format!("{current}{word}");
            let last_word = last_line && at + 1 == words.len();
            let fits = if last_word { room.saturating_sub(allowance) } else { room };
            if quote(&candidate).chars().count() > fits {
                if !current.is_empty() {
                    chunks.push(quote(&current));
                }
                current = (*word).to_owned();
            } else {
                current = candidate;
            }
        }
        if !current.is_empty() {
            chunks.push(quote(&current));
        }
    }
    if let [only] = chunks.as_slice() {
        out.push_str(only);
        return;
    }
    let joined = chunks.join(&format!("\n{}", " ".repeat(indent)));
    if level == 1 {
        out.push_str(&format!("({joined})"));
    } else {
        out.push_str(&joined);
    }
}

/// Cuts after each run of white space.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut start = 0;
    let mut in_space = false;
    for (at, c) in line.char_indices() {
        if in_space && !c.is_whitespace() {
            words.push(&line[start..at]);
            start = at;
        }
        in_space = c.is_whitespace();
    }
    if start < line.len() {
        words.push(&line[start..]);
    }
    words
}

impl From<&Value> for Ordered {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Ordered::Null,
            Value::Bool(flag) => Ordered::Bool(*flag),
            Value::Number(number) => Ordered::Number(number.clone()),
            Value::String(text) => Ordered::String(text.clone()),
            Value::Array(items) => Ordered::Array(items.iter().map(Ordered::from).collect()),
            Value::Object(members) => {
                Ordered::Object(members.iter().map(|(key, value)| (key.clone(), Ordered::from(value))).collect())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OrderedVisitor;

        impl<'de> Visitor<'de> for OrderedVisitor {
            type Value = Ordered;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_unit<E>(self) -> Result<Ordered, E> {
                Ok(Ordered::Null)
            }

            fn visit_none<E>(self) -> Result<Ordered, E> {
                Ok(Ordered::Null)
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Ordered, D::Error> {
                Ordered::deserialize(deserializer)
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Ordered, E> {
                Ok(Ordered::Bool(flag))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Ordered, E> {
                Ok(Ordered::Number(number.into()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Ordered, E> {
                Ok(Ordered::Number(number.into()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Ordered, E> {
                Ok(Number::from_f64(number).map_or(Ordered::Null, Ordered::Number))
            }

            fn visit_str<E>(self, text: &str) -> Result<Ordered, E> {
                Ok(Ordered::String(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Ordered, E> {
                Ok(Ordered::String(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Ordered, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Ordered::Array(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
                let mut members: Vec<(String, Ordered)> = Vec::new();
                let mut places: BTreeMap<String, usize> = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, Ordered>()? {
                    // As in Python, the last of two members of one name wins and stands where the first stood.
                    match places.get(&key) {
                        Some(place) => members[*place].1 = value,
                        None => {
                            places.insert(key.clone(), members.len());
                            members.push((key, value));
                        }
                    }
                }
                Ok(Ordered::Object(members))
            }
        }

        deserializer.deserialize_any(OrderedVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Ordered {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn members_keep_their_order_in_reprs() {
        assert_eq!(parse(r#"{"b": [1, null, true], "a": "it's"}"#).repr(), r#"{'b': [1, None, True], 'a': "it's"}"#);
        assert_eq!(parse(r#"{"b": 1, "a": 2, "b": 3}"#).repr(), "{'b': 3, 'a': 2}");
    }

    #[test]
    fn long_values_break_as_pprint_breaks_them() {
        let schema =
            parse(r#"{"type": "integer", "readOnly": true, "description": "The number of free slots at the moment."}"#);
        assert_eq!(
            schema.pretty(),
            "{'type': 'integer',\n 'readOnly': True,\n 'description': 'The number of free slots at the moment.'}"
        );
        let words = Ordered::String("word ".repeat(20));
        assert_eq!(words.pretty(), format!("('{}'\n '{}')", "word ".repeat(13), "word ".repeat(7)));
        let nested = Ordered::Array((0..30).map(|n| Ordered::Number(n.into())).collect());
        assert!(nested.pretty().starts_with("[0,\n 1,\n 2,"));
    }
}
