//! Lists of texts as Python shows them.

use updraft_core::python::str_repr;

/// Strings as Python prints a list (`[…]`) or set (`{…}`) of them.
pub(crate) fn repr_all<'a>(open: char, texts: impl IntoIterator<Item = &'a str>, close: char) -> String {
    let texts: Vec<String> = texts.into_iter().map(str_repr).collect();
    format!("{open}{}{close}", texts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_print_as_in_python() {
        assert_eq!(repr_all('[', ["echo 'a' \"b\"\n\\\u{1}ü"], ']'), r#"['echo \'a\' "b"\n\\\x01ü']"#);
        assert_eq!(repr_all('{', ["it's", "b"], '}'), r#"{"it's", 'b'}"#);
        assert_eq!(repr_all('[', ["/usr/bin/bash", "-c", "echo \"x\""], ']'), r#"['/usr/bin/bash', '-c', 'echo "x"']"#);
    }
}
