//! JSON as Airflow writes it: members sorted, two spaces a level, ASCII only, a newline at the end.

use std::io;

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::ser::{CharEscape, Formatter, PrettyFormatter};
use serde_json::{Map, Value};
use updraft_core::python::float_repr;

/// Writes `value` as the body of an answer.
pub(crate) fn to_vec(value: &Value) -> Vec<u8> {
    written(&Sorted(value))
}

/// As [`to_vec`], what has its members in order already: nothing is built before it is written. Builds for tests see to the
/// order.
pub(crate) fn ordered_to_vec(value: &impl Serialize) -> Vec<u8> {
    let out = written(value);
    debug_assert!(
        serde_json::to_value(value).is_ok_and(|value| written(&Sorted(&value)) == out),
        "members are in order: {}",
        String::from_utf8_lossy(&out)
    );
    out
}

fn written(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, AirflowFormatter(PrettyFormatter::new()));
    value.serialize(&mut serializer).expect("a JSON value written to memory cannot fail");
    out.push(b'\n');
    out
}

/// A value of the user's as a member of what has its members in order.
pub(crate) fn sorted<S: Serializer>(value: &Value, serializer: S) -> Result<S::Ok, S::Error> {
    Sorted(value).serialize(serializer)
}

/// The members of what is written as an object.
pub(crate) fn members(value: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(value) {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    }
}

/// Writes `value` on one line without blanks, and a newline at the end.
#[cfg(feature = "director")]
pub(crate) fn compact(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let formatter = AirflowFormatter(serde_json::ser::CompactFormatter);
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    Sorted(value).serialize(&mut serializer).expect("a JSON value written to memory cannot fail");
    out.push(b'\n');
    out
}

/// Sorts members even where a host turned on `serde_json/preserve_order`.
pub(crate) struct Sorted<'a>(pub(crate) &'a Value);

impl Serialize for Sorted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(items) => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    seq.serialize_element(&Sorted(item))?;
                }
                seq.end()
            }
            Value::Object(members) => {
                let mut sorted: Vec<_> = members.iter().collect();
                sorted.sort_unstable_by_key(|(key, _)| *key);
                let mut map = serializer.serialize_map(Some(sorted.len()))?;
                for (key, value) in sorted {
                    map.serialize_entry(key, &Sorted(value))?;
                }
                map.end()
            }
            scalar => scalar.serialize(serializer),
        }
    }
}

/// Writes `value` as Python's `json.dumps(indent=4)` does.
pub(crate) fn dumps_indented(value: &Value) -> String {
    let mut out = Vec::with_capacity(256);
    let formatter = AirflowFormatter(PrettyFormatter::with_indent(b"    "));
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    Sorted(value).serialize(&mut serializer).expect("a JSON value written to memory cannot fail");
    String::from_utf8(out).expect("JSON is UTF-8")
}

/// Writes `value` as Python's `json.dumps` does: on one line, with a blank after commas and colons.
pub(crate) fn dumps(value: &Value) -> String {
    let mut out = Vec::with_capacity(64);
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, AirflowFormatter(OneLine));
    Sorted(value).serialize(&mut serializer).expect("a JSON value written to memory cannot fail");
    String::from_utf8(out).expect("JSON is UTF-8")
}

/// Writes `value` on one line, its members in their order.
pub(crate) fn dumps_unsorted(value: &Value) -> String {
    let mut out = Vec::with_capacity(64);
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, AirflowFormatter(OneLine));
    value.serialize(&mut serializer).expect("a JSON value written to memory cannot fail");
    String::from_utf8(out).expect("JSON is UTF-8")
}

/// How Python separates.
struct OneLine;

impl Formatter for OneLine {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

/// Numbers and escapes as Python writes them; the rest as `F` does.
struct AirflowFormatter<F>(F);

impl<F: Formatter> Formatter for AirflowFormatter<F> {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(float_repr(value).as_bytes())
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if fragment.is_ascii() {
            return writer.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some(at) = rest.find(|c: char| !c.is_ascii()) {
            let (ascii, tail) = rest.split_at(at);
            writer.write_all(ascii.as_bytes())?;
            let mut chars = tail.chars();
            let mut units = [0; 2];
            for unit in chars.next().into_iter().flat_map(|c| c.encode_utf16(&mut units).to_vec()) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_char_escape<W: ?Sized + io::Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        self.0.write_char_escape(writer, escape)
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_line_is_as_python_dumps_it() {
        let value = json!({"b": [1, "é"], "a": {}, "c": {"d": null, "e": []}});
        let expected = r#"{"a": {}, "b": [1, "\u00e9"], "c": {"d": null, "e": []}}"#;
        assert_eq!(dumps(&value), expected);
    }

    #[test]
    fn answers_look_as_airflow_writes_them() {
        let value = json!({"b": [], "a": {"é✓😀\n\"": 1.0}, "c": [1e16, null, true, {}]});
        let expected = "{\n  \"a\": {\n    \"\\u00e9\\u2713\\ud83d\\ude00\\n\\\"\": 1.0\n  },\n  \"b\": [],\n  \"c\": [\n    1e+16,\n    null,\n    true,\n    {}\n  ]\n}\n";
        assert_eq!(String::from_utf8(to_vec(&value)).unwrap(), expected);
    }
}
