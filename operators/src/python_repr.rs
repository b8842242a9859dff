//! Texts as Python shows them.

/// A string as Python's `repr` prints it.
pub(crate) fn repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut shown = String::with_capacity(text.len() + 2);
    shown.push(quote);
    for c in text.chars() {
        match c {
            '\\' => shown.push_str("\\\\"),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if c == quote => shown.extend(['\\', c]),
            c if c.is_control() => shown.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => shown.push(c),
        }
    }
    shown.push(quote);
    shown
}

/// Strings as Python prints a list (`[…]`) or set (`{…}`) of them.
pub(crate) fn repr_all<'a>(open: char, texts: impl IntoIterator<Item = &'a str>, close: char) -> String {
    let texts: Vec<String> = texts.into_iter().map(repr).collect();
    format!("{open}{}{close}", texts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_print_as_in_python() {
        assert_eq!(repr("echo 'a' \"b\"\n\\\u{1}ü"), r#"'echo \'a\' "b"\n\\\x01ü'"#);
        assert_eq!(repr("it's"), "\"it's\"");
        assert_eq!(repr_all('[', ["/usr/bin/bash", "-c", "echo \"x\""], ']'), r#"['/usr/bin/bash', '-c', 'echo "x"']"#);
    }
}
