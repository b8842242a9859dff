//! JSON values written as Python writes them: what a template prints, and what Airflow's API shows of rendered fields.

use serde_json::{Number, Value};

/// Writes a value as Python's `str()` does: a string stays bare, anything else is its [`repr`].
pub fn str(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => repr(other),
    }
}

/// Writes a value as Python's `repr()` does: `None`, `True`, `1.0`, `'text'`, `['a', 1]`, `{'a': 1}`.
///
/// Nested values are walked with a stack of their own, so depth costs memory, not the thread's stack.
pub fn repr(value: &Value) -> String {
    enum Step<'a> {
        Value(&'a Value),
        Key(&'a str),
        Text(&'static str),
    }
    let mut out = String::new();
    let mut steps = vec![Step::Value(value)];
    while let Some(step) = steps.pop() {
        match step {
            Step::Text(text) => out.push_str(text),
            Step::Key(key) => {
                push_str_repr(&mut out, key);
                out.push_str(": ");
            }
            Step::Value(Value::Null) => out.push_str("None"),
            Step::Value(Value::Bool(true)) => out.push_str("True"),
            Step::Value(Value::Bool(false)) => out.push_str("False"),
            Step::Value(Value::Number(number)) => push_number(&mut out, number),
            Step::Value(Value::String(text)) => push_str_repr(&mut out, text),
            Step::Value(Value::Array(items)) => {
                out.push('[');
                steps.push(Step::Text("]"));
                for (index, item) in items.iter().enumerate().rev() {
                    steps.push(Step::Value(item));
                    if index > 0 {
                        steps.push(Step::Text(", "));
                    }
                }
            }
            Step::Value(Value::Object(map)) => {
                out.push('{');
                steps.push(Step::Text("}"));
                let first = steps.len();
                for (key, item) in map {
                    if steps.len() > first {
                        steps.push(Step::Text(", "));
                    }
                    steps.push(Step::Key(key));
                    steps.push(Step::Value(item));
                }
                steps[first..].reverse();
            }
        }
    }
    out
}

fn push_number(out: &mut String, number: &Number) {
    match number.as_f64() {
        Some(float) if number.is_f64() => out.push_str(&float_repr(float)),
        _ => out.push_str(&number.to_string()),
    }
}

/// Writes a float as Python does: the shortest digits that read back, with an exponent below 1e-4 and from 1e16 on.
pub fn float_repr(float: f64) -> String {
    if float.is_nan() {
        return "nan".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{float:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if float != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    let mut text = float.to_string();
    if !text.contains('.') {
        text.push_str(".0");
    }
    text
}

/// Writes a string as Python's `repr()` does, with its choice of quotes and its escapes.
pub fn str_repr(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_str_repr(&mut out, text);
    out
}

fn push_str_repr(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if is_printable(c) => out.push(c),
            c => {
                let code = u32::from(c);
                out.push_str(&match code {
                    0..=0xff => format!("\\x{code:02x}"),
                    0x100..=0xffff => format!("\\u{code:04x}"),
                    _ => format!("\\U{code:08x}"),
                });
            }
        }
    }
    out.push(quote);
}

/// Python's `str.isprintable` for one character.
///
/// The standard library has the same table behind `escape_debug`; a leading letter keeps it from escaping combining marks.
pub fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    let mut buffer = [b'a'; 5];
    let len = 1 + c.encode_utf8(&mut buffer[1..]).len();
    std::str::from_utf8(&buffer[..len]).is_ok_and(|text| text.escape_debug().nth(1) == Some(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn scalars_print_as_in_python() {
        for (value, expected) in [
            (json!(null), "None"),
            (json!(true), "True"),
            (json!(false), "False"),
            (json!(0), "0"),
            (json!(-7), "-7"),
            (json!(18_446_744_073_709_551_615_u64), "18446744073709551615"),
            (json!(1.0), "1.0"),
            (json!(-0.0), "-0.0"),
            (json!(0.1), "0.1"),
            (json!(1e15), "1000000000000000.0"),
            (json!(1e16), "1e+16"),
            (json!(1.5e300), "1.5e+300"),
            (json!(0.0001), "0.0001"),
            (json!(0.00001), "1e-05"),
            (json!(1.25e-7), "1.25e-07"),
            (json!(123456.789), "123456.789"),
        ] {
            assert_eq!(repr(&value), expected);
        }
        assert_eq!(float_repr(f64::INFINITY), "inf");
        assert_eq!(float_repr(f64::NEG_INFINITY), "-inf");
        assert_eq!(float_repr(f64::NAN), "nan");
    }

    #[test]
    fn strings_are_quoted_only_inside_repr() {
        assert_eq!(str(&json!("it's")), "it's");
        for (text, expected) in [
            ("a", "'a'"),
            ("it's", "\"it's\""),
            ("say \"hi\"", "'say \"hi\"'"),
            ("it's \"both\"", "'it\\'s \"both\"'"),
            ("back\\slash", "'back\\\\slash'"),
            ("a\nb\tc\r", "'a\\nb\\tc\\r'"),
            ("\0\u{1b}\u{7f}\u{a0}\u{ad}", "'\\x00\\x1b\\x7f\\xa0\\xad'"),
            ("ünïcödé ✓ 😀", "'ünïcödé ✓ 😀'"),
            ("\u{200b}\u{2028}\u{feff}", "'\\u200b\\u2028\\ufeff'"),
            ("e\u{301}", "'e\u{301}'"),
            ("\u{e0001}", "'\\U000e0001'"),
        ] {
            assert_eq!(str_repr(text), expected);
        }
    }

    #[test]
    fn containers_nest() {
        assert_eq!(repr(&json!([])), "[]");
        assert_eq!(repr(&json!({})), "{}");
        assert_eq!(
            str(&json!({"a": [1, "x", null, [true], {}], "b": {"c": 1.0}})),
            "{'a': [1, 'x', None, [True], {}], 'b': {'c': 1.0}}"
        );
    }

    #[test]
    fn depth_is_no_danger() {
        let mut value = json!(1);
        for _ in 0..100_000 {
            value = Value::Array(vec![value]);
        }
        assert_eq!(repr(&value).len(), 200_001);
        // Dropping it recurses in serde_json itself, so take it apart.
        while let Value::Array(mut items) = value {
            value = items.pop().unwrap_or_default();
        }
    }
}
