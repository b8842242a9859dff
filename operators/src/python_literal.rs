//! Reads Python's literals, as `ast.literal_eval` does: what templates that render to objects become.

use serde_json::{Map, Number, Value};
use updraft_core::python;

/// How deep containers may nest; Python's own parser stops at 200.
const MAX_DEPTH: usize = 100;

/// The value of a text that is one literal of Python; `None` for any other text, and for what JSON has no value for.
pub(crate) fn parse(text: &str) -> Option<Value> {
    // Python takes leading spaces for an indentation, which is an error.
    if text.starts_with([' ', '\t']) {
        return None;
    }
    let mut parser = Parser { rest: text, is_nested: false };
    let value = parser.tuple_or_value()?;
    parser.is_nested = true;
    parser.skip_space();
    parser.rest.is_empty().then_some(value)
}

struct Parser<'t> {
    rest: &'t str,
    /// Whether lines may end here: only within brackets do they not end the expression.
    is_nested: bool,
}

impl Parser<'_> {
    fn skip_space(&mut self) {
        let nested = self.is_nested;
        self.rest =
            self.rest.trim_start_matches(|c| matches!(c, ' ' | '\t' | '\x0c') || nested && matches!(c, '\n' | '\r'));
    }

    fn take(&mut self, token: char) -> bool {
        self.skip_space();
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// A tuple may go without its parentheses at the top.
    fn tuple_or_value(&mut self) -> Option<Value> {
        let first = self.value(0)?;
        if !self.take(',') {
            return Some(first);
        }
        let mut items = vec![first];
        loop {
            self.skip_space();
            if self.rest.trim_start().is_empty() {
                return Some(Value::Array(items));
            }
            items.push(self.value(0)?);
            if !self.take(',') {
                return Some(Value::Array(items));
            }
        }
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.skip_space();
        match self.rest.chars().next()? {
            open @ ('[' | '(' | '{') => {
                self.rest = &self.rest[1..];
                let outer = std::mem::replace(&mut self.is_nested, true);
                let value = match open {
                    '[' => self.items(']', depth)?.0.into(),
                    '(' => match self.items(')', depth)? {
                        (mut items, false) if items.len() == 1 => items.pop()?,
                        (items, _) => items.into(),
                    },
                    _ => self.dict_or_set(depth)?,
                };
                self.is_nested = outer;
                Some(value)
            }
            '\'' | '"' | 'r' | 'R' | 'u' | 'U' => self.texts(),
            '+' | '-' | '.' | '0'..='9' => self.number(),
            _ => self.name(),
        }
    }

    /// The items up to the closing bracket, and whether there was a comma.
    fn items(&mut self, close: char, depth: usize) -> Option<(Vec<Value>, bool)> {
        let (mut items, mut has_comma) = (Vec::new(), false);
        while !self.take(close) {
            items.push(self.value(depth + 1)?);
            if self.take(',') {
                has_comma = true;
            } else if self.take(close) {
                break;
            } else {
                return None;
            }
        }
        // `()` is a tuple, too.
        Some((items, has_comma))
    }

    fn dict_or_set(&mut self, depth: usize) -> Option<Value> {
        let mut map = Map::new();
        if self.take('}') {
            return Some(Value::Object(map));
        }
        let first = self.value(depth + 1)?;
        if !self.take(':') {
            let mut items = vec![first];
            if self.take(',') {
                items.extend(self.items('}', depth)?.0);
            } else if !self.take('}') {
                return None;
            }
            return Some(Value::Array(items));
        }
        map.insert(key(&first)?, self.value(depth + 1)?);
        loop {
            let has_comma = self.take(',');
            if self.take('}') {
                return Some(Value::Object(map));
            }
            if !has_comma {
                return None;
            }
            let name = self.value(depth + 1)?;
            if !self.take(':') {
                return None;
            }
            map.insert(key(&name)?, self.value(depth + 1)?);
        }
    }

    fn name(&mut self) -> Option<Value> {
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        match name {
            "None" => Some(Value::Null),
            "True" => Some(true.into()),
            "False" => Some(false.into()),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<Value> {
        let unsigned = self.rest.trim_start_matches(['+', '-', ' ']);
        let signs = &self.rest[..self.rest.len() - unsigned.len()];
        let is_negative = signs.matches('-').count() % 2 == 1;
        let mut end = 0;
        let bytes = unsigned.as_bytes();
        while let Some(&byte) = bytes.get(end) {
            let is_exponent = end > 0 && matches!(bytes[end - 1], b'e' | b'E') && !unsigned.starts_with("0x");
            if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.') || is_exponent && matches!(byte, b'+' | b'-')
            {
                end += 1;
            } else {
                break;
            }
        }
        let (written, rest) = unsigned.split_at(end);
        self.rest = rest;
        if written.starts_with('_') || written.ends_with('_') || written.contains("__") {
            return None;
        }
        let digits = written.replace('_', "");
        let prefix = digits.get(..2).map(str::to_ascii_lowercase);
        let radix = match prefix.as_deref() {
            Some("0x") => Some(16),
            Some("0o") => Some(8),
            Some("0b") => Some(2),
            _ => None,
        };
        if let Some(radix) = radix {
            return integer(i128::from_str_radix(&digits[2..], radix).ok()?, is_negative);
        }
        if digits.bytes().all(|byte| byte.is_ascii_digit()) {
            // `007` is no number of Python's.
            if digits.len() > 1 && digits.starts_with('0') && digits.bytes().any(|byte| byte != b'0') {
                return None;
            }
            return integer(digits.parse().ok()?, is_negative);
        }
        if !digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')) {
            return None;
        }
        let number: f64 = digits.parse().ok()?;
        Number::from_f64(if is_negative { -number } else { number }).map(Value::Number)
    }

    /// Texts beside one another are one.
    fn texts(&mut self) -> Option<Value> {
        let mut out = String::new();
        loop {
            self.text(&mut out)?;
            self.skip_space();
            if !self.rest.starts_with(['\'', '"', 'r', 'R', 'u', 'U']) {
                return Some(Value::String(out));
            }
        }
    }

    fn text(&mut self, out: &mut String) -> Option<()> {
        let is_raw = self.rest.starts_with(['r', 'R']);
        let body = self.rest.strip_prefix(['r', 'R', 'u', 'U']).unwrap_or(self.rest);
        let quote = body.get(..1)?;
        if quote != "'" && quote != "\"" {
            return None;
        }
        let triple = quote.repeat(3);
        let (end, mut body) = match body.strip_prefix(triple.as_str()) {
            Some(body) => (triple.as_str(), body),
            None => (quote, &body[1..]),
        };
        loop {
            if let Some(rest) = body.strip_prefix(end) {
                self.rest = rest;
                return Some(());
            }
            let mut chars = body.chars();
            match chars.next()? {
                '\n' if end.len() == 1 => return None,
                '\\' if is_raw => {
                    out.push('\\');
                    out.push(chars.next()?);
                    body = chars.as_str();
                }
                '\\' => body = escape(chars.as_str(), out)?,
                other => {
                    out.push(other);
                    body = chars.as_str();
                }
            }
        }
    }
}

/// What stands behind a backslash; returns the rest.
fn escape<'t>(text: &'t str, out: &mut String) -> Option<&'t str> {
    let kind = text.chars().next()?;
    let rest = &text[kind.len_utf8()..];
    let simple = match kind {
        '\n' => return Some(rest),
        '\\' | '\'' | '"' => kind,
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'v' => '\x0b',
        'x' | 'u' | 'U' => {
            let digits = match kind {
                'x' => 2,
                'u' => 4,
                _ => 8,
            };
            let code = u32::from_str_radix(rest.get(..digits)?, 16).ok()?;
            out.push(char::from_u32(code)?);
            return rest.get(digits..);
        }
        '0'..='7' => {
            let digits = text.bytes().take(3).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
            out.push(char::from_u32(u32::from_str_radix(&text[..digits], 8).ok()?)?);
            return text.get(digits..);
        }
        // Names of characters are not known here.
        'N' => return None,
        other => {
            out.push('\\');
            other
        }
    };
    out.push(simple);
    Some(rest)
}

fn integer(magnitude: i128, is_negative: bool) -> Option<Value> {
    let number = if is_negative { -magnitude } else { magnitude };
    i64::try_from(number).map(Value::from).or_else(|_| u64::try_from(number).map(Value::from)).ok()
}

/// A key as Python's `json` writes it; containers cannot be keys.
fn key(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) => Some(python::repr(value)),
        Value::Null | Value::Bool(_) => Some(value.to_string()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::parse;

    #[test]
    fn literals_are_read_as_python_reads_them() {
        for (text, value) in [
            ("1", json!(1)),
            ("-1_000", json!(-1000)),
            ("0x1F", json!(31)),
            ("1.5e-3", json!(0.0015)),
            (".5", json!(0.5)),
            ("None", json!(null)),
            ("[1, 'a', (2,), True, ]\n", json!([1, "a", [2], true])),
            ("(1)", json!(1)),
            ("()", json!([])),
            ("1, 2", json!([1, 2])),
            ("{'a': {1, 2}, 'b': {}, 3: None}", json!({"a": [1, 2], "b": {}, "3": null})),
            ("'it\\'s' \"\\u00e4\\x41\\101\\q\"", json!("it's\u{e4}AA\\q")),
            ("r'\\n'", json!("\\n")),
            ("'''a\nb'''", json!("a\nb")),
            ("[\n1,\n2\n]", json!([1, 2])),
        ] {
            assert_eq!(parse(text), Some(value), "{text}");
        }
        for text in [
            "",
            " 1",
            "true",
            "null",
            "2024-01-01",
            "007",
            "hello",
            "1 2",
            "[1",
            "{'a'}x",
            "{[1]: 2}",
            "'a",
            "1__0",
            "echo 1",
            "[1,,2]",
            "f'x'",
            "1.2.3",
            "r",
            "u",
            "-",
            "1\n2",
            "inf",
            "(,)",
            "\u{e4}",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&"[".repeat(100_000)), None);
    }
}
