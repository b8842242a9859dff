//! The tokens of an expression, as Jinja2's lexer cuts them.

use super::error::TemplateError;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'s> {
    Name(&'s str),
    Text(String),
    Integer(String),
    Float(f64),
    Operator(&'static str),
    /// The end of the tag or of the print statement, with its white space control (`-`, `+` or nothing).
    End(&'s str),
}

impl Token<'_> {
    /// The token as an error names it.
    pub(super) fn describe(&self) -> String {
        match self {
            Token::Name(name) => format!("'{name}'"),
            Token::Text(_) => "'string'".to_owned(),
            Token::Integer(_) => "'integer'".to_owned(),
            Token::Float(_) => "'float'".to_owned(),
            Token::Operator(operator) => format!("'{operator}'"),
            Token::End(_) => "the end of the statement".to_owned(),
        }
    }
}

/// Cuts the inside of one `{{ … }}` or `{% … %}` into tokens, one ahead of its reader.
pub(super) struct Lexer<'s> {
    source: &'s str,
    position: usize,
    closing: &'static str,
    balance: Vec<u8>,
    peeked: Option<(Token<'s>, usize)>,
    /// Where the token last taken ends.
    last_end: usize,
}

const OPERATORS: [&str; 24] = [
    "**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<", ">", "=", ".", ",", ":", "|", "(", ")", "[",
    "]", "{",
];

impl<'s> Lexer<'s> {
    /// Starts at `position` of `source`, inside a tag that `closing` (`}}` or `%}`) ends.
    pub(super) fn new(source: &'s str, position: usize, closing: &'static str) -> Self {
        Lexer { source, position, closing, balance: Vec::new(), peeked: None, last_end: position }
    }

    /// The end of the last token taken, as an offset in the source.
    pub(super) fn last_end(&self) -> usize {
        self.last_end
    }

    /// Where the next token starts.
    pub(super) fn next_start(&mut self) -> usize {
        let rest = &self.source[self.last_end..];
        self.last_end + (rest.len() - rest.trim_start().len())
    }

    pub(super) fn error(&self, message: impl Into<String>) -> TemplateError {
        TemplateError::syntax(message, line_at(self.source, self.last_end))
    }

    pub(super) fn peek(&mut self) -> Result<&Token<'s>, TemplateError> {
        let (token, _) = match self.peeked.take() {
            Some(peeked) => self.peeked.insert(peeked),
            None => {
                let token = self.lex()?;
                let end = self.position;
                self.peeked.insert((token, end))
            }
        };
        Ok(token)
    }

    pub(super) fn next(&mut self) -> Result<Token<'s>, TemplateError> {
        self.peek()?;
        match self.peeked.take() {
            // The end stays, so that a parser that goes on reading sees it again.
            Some((token @ Token::End(_), end)) => {
                self.last_end = end;
                self.peeked = Some((token.clone(), end));
                Ok(token)
            }
            Some((token, end)) => {
                self.last_end = end;
                Ok(token)
            }
            None => Err(self.error("unexpected end of template")),
        }
    }

    pub(super) fn is_operator(&mut self, operator: &str) -> Result<bool, TemplateError> {
        Ok(matches!(self.peek()?, Token::Operator(found) if *found == operator))
    }

    pub(super) fn is_name(&mut self, name: &str) -> Result<bool, TemplateError> {
        Ok(matches!(self.peek()?, Token::Name(found) if *found == name))
    }

    pub(super) fn skip_operator(&mut self, operator: &str) -> Result<bool, TemplateError> {
        let found = self.is_operator(operator)?;
        if found {
            self.next()?;
        }
        Ok(found)
    }

    pub(super) fn skip_name(&mut self, name: &str) -> Result<bool, TemplateError> {
        let found = self.is_name(name)?;
        if found {
            self.next()?;
        }
        Ok(found)
    }

    pub(super) fn expect_operator(&mut self, operator: &str) -> Result<(), TemplateError> {
        if self.skip_operator(operator)? {
            return Ok(());
        }
        let found = self.peek()?.describe();
        Err(self.error(format!("expected '{operator}', got {found}")))
    }

    pub(super) fn expect_name(&mut self) -> Result<&'s str, TemplateError> {
        match self.next()? {
            Token::Name(name) => Ok(name),
            other => Err(self.error(format!("expected a name, got {}", other.describe()))),
        }
    }

    pub(super) fn expect_end(&mut self) -> Result<&'s str, TemplateError> {
        match self.next()? {
            Token::End(control) => Ok(control),
            other => Err(self.error(format!("expected the end of the statement, got {}", other.describe()))),
        }
    }

    fn lex(&mut self) -> Result<Token<'s>, TemplateError> {
        let rest = &self.source[self.position..];
        let rest = rest.trim_start();
        let start = self.source.len() - rest.len();
        let fail = |message: String| Err(TemplateError::syntax(message, line_at(self.source, start)));
        let Some(first) = rest.chars().next() else {
            return fail("unexpected end of template".to_owned());
        };
        if self.balance.is_empty() {
            for control in ["-", "+", ""] {
                let ends = rest.strip_prefix(control).is_some_and(|after| after.starts_with(self.closing));
                if ends && (control != "+" || self.closing == "%}") {
                    self.position = start + control.len() + self.closing.len();
                    return Ok(Token::End(&rest[..control.len()]));
                }
            }
        }
        if first.is_ascii_digit() {
            let after_dot = self.source[..start].ends_with('.');
            let (token, length) = number(rest, after_dot);
            self.position = start + length;
            return Ok(token);
        }
        if first == '_' || first.is_alphanumeric() {
            let length = rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(rest.len());
            self.position = start + length;
            return Ok(Token::Name(&rest[..length]));
        }
        if first == '\'' || first == '"' {
            let mut escaped = false;
            for (offset, c) in rest.char_indices().skip(1) {
                if escaped {
                    escaped = false;
                } else if c == '\\' {
                    escaped = true;
                } else if c == first {
                    self.position = start + offset + 1;
                    return match unescape(&rest[1..offset]) {
                        Some(text) => Ok(Token::Text(text)),
                        None => fail("invalid escape in a string".to_owned()),
                    };
                }
            }
            return fail(format!("unexpected char {first:?}: the string does not end"));
        }
        if first == '}' {
            if self.balance.pop() != Some(b'{') {
                return fail("unexpected '}'".to_owned());
            }
            self.position = start + 1;
            return Ok(Token::Operator("}"));
        }
        for operator in OPERATORS {
            if rest.starts_with(operator) {
                match operator {
                    "(" | "[" | "{" => self.balance.push(operator.as_bytes()[0]),
                    ")" | "]" => {
                        let opening = if operator == ")" { b'(' } else { b'[' };
                        if self.balance.pop() != Some(opening) {
                            return fail(format!("unexpected '{operator}'"));
                        }
                    }
                    _ => {}
                }
                self.position = start + operator.len();
                return Ok(Token::Operator(operator));
            }
        }
        fail(format!("unexpected char {first:?}"))
    }
}

/// The line of an offset, from 1.
pub(super) fn line_at(source: &str, offset: usize) -> usize {
    1 + source.as_bytes()[..offset.min(source.len())].iter().filter(|byte| **byte == b'\n').count()
}

fn number<'s>(rest: &str, after_dot: bool) -> (Token<'s>, usize) {
    let bytes = rest.as_bytes();
    let lower: String = rest.chars().take(2).map(|c| c.to_ascii_lowercase()).collect();
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if lower == prefix {
            let digits = rest[2..].find(|c: char| c != '_' && !c.is_digit(radix)).unwrap_or(rest.len() - 2);
            if let Ok(value) = u128::from_str_radix(&rest[2..2 + digits].replace('_', ""), radix) {
                return (Token::Integer(value.to_string()), 2 + digits);
            }
        }
    }
    let run = |from: usize| {
        let mut end = from;
        while end < bytes.len()
            && (bytes[end].is_ascii_digit()
                || (bytes[end] == b'_' && end > from && bytes.get(end + 1).is_some_and(u8::is_ascii_digit)))
        {
            end += 1;
        }
        end
    };
    let whole = run(0);
    let mut end = whole;
    if !after_dot {
        if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
            end = run(end + 1);
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            if bytes.get(end + 1 + sign).is_some_and(u8::is_ascii_digit) {
                end = run(end + 1 + sign);
            }
        }
    }
    let text = rest[..end].replace('_', "");
    if end > whole {
        (Token::Float(text.parse().unwrap_or(f64::INFINITY)), end)
    } else {
        let digits = text.trim_start_matches('0');
        (Token::Integer(if digits.is_empty() { "0".to_owned() } else { digits.to_owned() }), end)
    }
}

/// Python's escapes in a string literal; an unknown one stays as it is. None: an escape that names no character.
fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let Some(escape) = chars.next() else {
            out.push('\\');
            break;
        };
        match escape {
            '\n' => {}
            '\\' | '\'' | '"' => out.push(escape),
            'a' => out.push('\u{7}'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'v' => out.push('\u{b}'),
            'x' | 'u' | 'U' => {
                let count = match escape {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                };
                let mut code = 0_u32;
                for _ in 0..count {
                    code = code.checked_mul(16)? + chars.next()?.to_digit(16)?;
                }
                out.push(char::from_u32(code)?);
            }
            '0'..='7' => {
                let mut code = escape.to_digit(8)?;
                for _ in 0..2 {
                    match chars.peek().and_then(|c| c.to_digit(8)) {
                        Some(digit) => {
                            code = code * 8 + digit;
                            chars.next();
                        }
                        None => break,
                    }
                }
                out.push(char::from_u32(code)?);
            }
            other => {
                out.push('\\');
                out.push(other);
            }
        }
    }
    Some(out)
}
