//! Walks a template's tags and lowers the expressions in them; text, comments and raw blocks stay as they are.

use std::fmt::Write;

use super::error::TemplateError;
use super::expression::Expressions;
use super::lexer::{Lexer, Token, line_at};

/// How deep tags may nest; each level costs stack in the engine's parser.
const MAX_NESTING: usize = 60;
/// How many branches an `if` may have: each is a level in the engine's tree.
const MAX_BRANCHES: usize = 100;
/// Text inside tags is emitted in pieces of at most this many bytes: the engine pays the same for each, so that a loop
/// over a large text cannot outgrow the limit of work.
const MAX_TEXT: usize = 64;

/// Lowers a whole template.
pub(super) fn lower(template: &str) -> Result<String, TemplateError> {
    let source = template.replace("\r\n", "\n").replace('\r', "\n");
    let source = source.strip_suffix('\n').unwrap_or(&source);
    let mut out = String::with_capacity(source.len() * 2);
    let mut tags = Tags { source, open: Vec::new() };
    let mut position = 0;
    while let Some(found) = find_tag(&source[position..]) {
        let start = position + found;
        tags.text(&mut out, position, start);
        position = match source.as_bytes()[start + 1] {
            b'#' => {
                let Some(end) = source[start + 2..].find("#}") else {
                    return Err(TemplateError::syntax("Missing end of comment tag", line_at(source, start)));
                };
                let end = start + 2 + end + 2;
                out.push_str(&source[start..end]);
                end
            }
            b'{' => tags.print(&mut out, start)?,
            _ => match raw_block(source, start)? {
                Some(end) => {
                    out.push_str(&source[start..end]);
                    end
                }
                None => tags.tag(&mut out, start)?,
            },
        };
    }
    tags.text(&mut out, position, source.len());
    if let Some(open) = tags.open.last() {
        let message =
            format!("Unexpected end of template. The innermost block that needs to be closed is '{}'", open.name);
        return Err(TemplateError::syntax(message, line_at(source, source.len())));
    }
    // The engine drops one newline at the end, as Jinja2 does; ours is gone already.
    if source.ends_with('\n') {
        out.push('\n');
    }
    Ok(out)
}

pub(super) fn find_tag(text: &str) -> Option<usize> {
    text.as_bytes().windows(2).position(|pair| pair[0] == b'{' && matches!(pair[1], b'{' | b'%' | b'#'))
}

/// The end of a raw block that starts here, if one does.
fn raw_block(source: &str, start: usize) -> Result<Option<usize>, TemplateError> {
    let Some(body) = bare_tag(&source[start..], "raw") else { return Ok(None) };
    let mut position = start + body;
    while let Some(next) = source[position..].find("{%") {
        if let Some(length) = bare_tag(&source[position + next..], "endraw") {
            return Ok(Some(position + next + length));
        }
        position += next + 2;
    }
    Err(TemplateError::syntax("Missing end of raw directive", line_at(source, start)))
}

/// The length of a tag of nothing but `name` at the start of `text`.
fn bare_tag(text: &str, name: &str) -> Option<usize> {
    let rest = text.strip_prefix("{%")?;
    let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    let rest = rest.trim_start().strip_prefix(name)?.trim_start();
    let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    Some(text.len() - rest.strip_prefix("%}")?.len())
}

struct Open {
    name: &'static str,
    branches: usize,
}

struct Tags<'s> {
    source: &'s str,
    open: Vec<Open>,
}

impl<'s> Tags<'s> {
    /// Copies text, which ends where a tag starts or the source does.
    fn text(&self, out: &mut String, start: usize, end: usize) {
        let text = &self.source[start..end];
        if self.open.is_empty() || text.len() <= MAX_TEXT {
            out.push_str(text);
            return;
        }
        // Tags that strip white space look at the piece beside them only, so that is done here.
        let strips = |bytes: Option<&[u8]>, sign: usize| bytes.is_some_and(|bytes| bytes[sign] == b'-');
        let bytes = self.source.as_bytes();
        let strip_start = strips(start.checked_sub(3).map(|from| &bytes[from..start]), 0);
        let strip_end = strips(bytes.get(end..end + 3), 2);
        let trimmed = if strip_start { text.trim_start() } else { text };
        let mut rest = if strip_end { trimmed.trim_end() } else { trimmed };
        let lines = text.matches('\n').count() - rest.matches('\n').count();
        while rest.len() > MAX_TEXT {
            let mut cut = MAX_TEXT;
            // Not after a brace: with the comment's own it would start a tag.
            while !rest.is_char_boundary(cut) || rest[..cut].ends_with('{') {
                cut -= 1;
            }
            out.push_str(&rest[..cut]);
            out.push_str("{##}");
            rest = &rest[cut..];
        }
        out.push_str(rest);
        if lines > 0 {
            let _ = write!(out, "{{#{}#}}", "\n".repeat(lines));
        }
    }

    /// Lowers `{{ … }}`; returns where it ends.
    fn print(&mut self, out: &mut String, start: usize) -> Result<usize, TemplateError> {
        let control = control_at(self.source, start + 2);
        let mut lexer = Lexer::new(self.source, start + 2 + control.len(), "}}");
        let value = Expressions::new(&mut lexer, self.source).tuple(true)?.required();
        let closing = lexer.expect_end()?;
        let end = lexer.last_end();
        let _ = write!(out, "{{{{{control} {value}");
        self.keep_lines(out, start, end, &value);
        let _ = write!(out, " {closing}}}}}");
        Ok(end)
    }

    /// Lowers `{% … %}`; returns where it ends.
    fn tag(&mut self, out: &mut String, start: usize) -> Result<usize, TemplateError> {
        let control = control_at(self.source, start + 2);
        let inside = start + 2 + control.len();
        let mut lexer = Lexer::new(self.source, inside, "%}");
        let keyword = match lexer.next()? {
            Token::Name(name) => name,
            _ => return Err(lexer.error("tag name expected")),
        };
        let mut expressions = Expressions::new(&mut lexer, self.source);
        let mut print = false;
        let code = match keyword {
            "if" => {
                let condition = expressions.tuple(false)?.required();
                self.open("if", expressions.lexer)?;
                format!("if {condition}")
            }
            "elif" => {
                let condition = expressions.tuple(false)?.required();
                self.branch(expressions.lexer)?;
                format!("elif {condition}")
            }
            "for" => {
                self.open("for", expressions.lexer)?;
                for_tag(&mut expressions)?
            }
            "set" => {
                let target = targets(expressions.lexer)?;
                if expressions.lexer.skip_operator("=")? {
                    let value = expressions.tuple(true)?.any();
                    if target.contains(',') {
                        format!("set {target} = __unpack__({value}, {})", target.matches(',').count() + 1)
                    } else if target.contains('.') {
                        format!("set {target} = __stored__({value})")
                    } else {
                        format!("set {target} = {value}")
                    }
                } else {
                    self.open("set", expressions.lexer)?;
                    format!("set {target}{}", filter_chain(&mut expressions)?)
                }
            }
            "macro" => {
                self.open("macro", expressions.lexer)?;
                let name = expressions.lexer.expect_name()?;
                expressions.lexer.expect_operator("(")?;
                format!("macro {name}({})", signature(&mut expressions)?)
            }
            "call" => {
                self.open("call", expressions.lexer)?;
                let parameters = match expressions.lexer.skip_operator("(")? {
                    true => format!("({})", signature(&mut expressions)?),
                    false => String::new(),
                };
                format!("call{parameters} {}", expressions.expression()?.any())
            }
            "filter" => {
                self.open("filter", expressions.lexer)?;
                let (name, arguments) = expressions.filter_call()?;
                format!("filter {name}{arguments}{}", filter_chain(&mut expressions)?)
            }
            "with" => {
                self.open("with", expressions.lexer)?;
                let mut code = "with".to_owned();
                while !matches!(expressions.lexer.peek()?, Token::End(_)) {
                    if code.len() > "with".len() {
                        expressions.lexer.expect_operator(",")?;
                        code.push(',');
                    }
                    let name = expressions.lexer.expect_name()?;
                    expressions.lexer.expect_operator("=")?;
                    let _ = write!(code, " {name} = {}", expressions.expression()?.any());
                }
                code
            }
            // Both take any expression in Jinja2; the engine's `do` takes calls only, and it has no `print`.
            "do" => format!("set __ignored__ = {}", expressions.tuple(true)?.any()),
            "print" => {
                print = true;
                expressions.tuple(true)?.required()
            }
            "autoescape" => {
                self.open("autoescape", expressions.lexer)?;
                format!("autoescape {}", expressions.expression()?.required())
            }
            other => {
                self.other(other, expressions.lexer)?;
                let body_end = loop {
                    let before = lexer.last_end();
                    if let Token::End(_) = lexer.next()? {
                        break before;
                    }
                };
                self.source[inside..body_end].trim().to_owned()
            }
        };
        let closing = lexer.expect_end()?;
        let end = lexer.last_end();
        let (opens, closes) = if print { ("{{", "}}") } else { ("{%", "%}") };
        let closing = if print && closing == "+" { "" } else { closing };
        let _ = write!(out, "{opens}{control} {code}");
        self.keep_lines(out, start, end, &code);
        let _ = write!(out, " {closing}{closes}");
        Ok(end)
    }

    /// Tags without expressions of ours: ends, `else`, `block`, and those that need other templates.
    fn other(&mut self, keyword: &str, lexer: &mut Lexer<'s>) -> Result<(), TemplateError> {
        match keyword {
            "else" => match self.open.last() {
                Some(Open { name: "if" | "for", .. }) => Ok(()),
                _ => Err(lexer.error("Encountered unknown tag 'else'.")),
            },
            "block" => self.open("block", lexer),
            // There are no other templates: the engine says so when one is asked for.
            "include" | "extends" | "import" | "from" => Ok(()),
            _ => match keyword.strip_prefix("end") {
                Some(name) if self.open.last().is_some_and(|open| open.name == name) => {
                    self.open.pop();
                    Ok(())
                }
                _ => Err(lexer.error(match self.open.last() {
                    Some(open) => format!(
                        "Encountered unknown tag '{keyword}'. The innermost block that needs to be closed is '{}'.",
                        open.name
                    ),
                    None => format!("Encountered unknown tag '{keyword}'."),
                })),
            },
        }
    }

    fn open(&mut self, name: &'static str, lexer: &Lexer<'s>) -> Result<(), TemplateError> {
        if self.open.len() >= MAX_NESTING {
            return Err(TemplateError::limit(format!(
                "tags are nested too deeply (line {})",
                line_at(self.source, lexer.last_end())
            )));
        }
        self.open.push(Open { name, branches: 0 });
        Ok(())
    }

    fn branch(&mut self, lexer: &Lexer<'s>) -> Result<(), TemplateError> {
        match self.open.last_mut() {
            Some(open) if open.name == "if" => {
                open.branches += 1;
                match open.branches > MAX_BRANCHES {
                    true => Err(TemplateError::limit("an if has too many branches")),
                    false => Ok(()),
                }
            }
            _ => Err(lexer.error("Encountered unknown tag 'elif'.")),
        }
    }

    /// Puts back the newlines that the rewriting took, so that the engine's line numbers stay true.
    fn keep_lines(&self, out: &mut String, start: usize, end: usize, code: &str) {
        let had = self.source[start..end].matches('\n').count();
        let has = code.matches('\n').count();
        out.extend(std::iter::repeat_n('\n', had.saturating_sub(has)));
    }
}

fn control_at(source: &str, position: usize) -> &str {
    match source.as_bytes().get(position) {
        Some(b'-' | b'+') => &source[position..=position],
        _ => "",
    }
}

fn for_tag(expressions: &mut Expressions<'_, '_>) -> Result<String, TemplateError> {
    let target = targets(expressions.lexer)?;
    if !expressions.lexer.skip_name("in")? {
        let found = expressions.lexer.peek()?.describe();
        return Err(expressions.lexer.error(format!("expected 'in', got {found}")));
    }
    let items = expressions.tuple(false)?.required();
    // Items that are unpacked are checked for their number, as Python does.
    let mut code = match target.matches(',').count() {
        0 => format!("for {target} in __iter__({items})"),
        commas if !target.contains('(') => format!("for {target} in __iter__({items}, {})", commas + 1),
        _ => format!("for {target} in __iter__({items})"),
    };
    if expressions.lexer.skip_name("if")? {
        let _ = write!(code, " if {}", expressions.expression()?.required());
    }
    if expressions.lexer.skip_name("recursive")? {
        code.push_str(" recursive");
    }
    Ok(code)
}

/// The names that a loop or an assignment fills, with the parentheses inside kept.
fn targets(lexer: &mut Lexer<'_>) -> Result<String, TemplateError> {
    let mut code = String::new();
    let mut depth = 0;
    loop {
        match lexer.peek()? {
            Token::Operator("(") => {
                depth += 1;
                code.push('(');
                lexer.next()?;
                continue;
            }
            Token::Name(name) if !matches!(*name, "in" | "if" | "else" | "and" | "or" | "not" | "is") => {
                code.push_str(name);
                lexer.next()?;
                if lexer.skip_operator(".")? {
                    let _ = write!(code, ".{}", lexer.expect_name()?);
                }
            }
            other => {
                let found = other.describe();
                return Err(lexer.error(format!("expected a name, got {found}")));
            }
        }
        while depth > 0 && lexer.skip_operator(")")? {
            depth -= 1;
            code.push(')');
        }
        if !lexer.skip_operator(",")? {
            break;
        }
        if matches!(lexer.peek()?, Token::Name("in") | Token::Operator("=" | ")")) {
            break;
        }
        code.push_str(", ");
    }
    match depth {
        0 => Ok(strip_parentheses(code)),
        _ => Err(lexer.error("expected ')'")),
    }
}

/// `(a, b)` around the whole means the same as `a, b`.
fn strip_parentheses(code: String) -> String {
    match code.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
        Some(inner) if !inner.contains(['(', ')']) => inner.to_owned(),
        _ => code,
    }
}

/// The parameters of a macro, after the opening parenthesis.
fn signature(expressions: &mut Expressions<'_, '_>) -> Result<String, TemplateError> {
    let mut code = String::new();
    while !expressions.lexer.skip_operator(")")? {
        if !code.is_empty() {
            expressions.lexer.expect_operator(",")?;
            if expressions.lexer.skip_operator(")")? {
                break;
            }
            code.push_str(", ");
        }
        code.push_str(expressions.lexer.expect_name()?);
        if expressions.lexer.skip_operator("=")? {
            let _ = write!(code, "={}", expressions.expression()?.any());
        }
    }
    Ok(code)
}

fn filter_chain(expressions: &mut Expressions<'_, '_>) -> Result<String, TemplateError> {
    let mut code = String::new();
    while expressions.lexer.skip_operator("|")? {
        let (name, arguments) = expressions.filter_call()?;
        let _ = write!(code, "|{name}{arguments}");
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::super::expression::quote;
    use super::*;

    #[test]
    fn expressions_become_calls_and_lines_stay() {
        assert_eq!(
            lower("a {{ 1 + 2 ~ 'x' }} b").expect("lowers"),
            "a {{ __math__(1, \"+\", __concat__(2, \"x\")) }} b"
        );
        assert_eq!(
            lower("{{ a.b[0]\n}}\n{{ c|default(1) }}").expect("lowers"),
            "{{ __defined__(__get__(a, \"a\", \"b\", 0), \"a.b[0]\")\n }}\n{{ __defined__(c|default(1), \"c|default(1)\") }}"
        );
        assert_eq!(quote("a\"\\\n"), r#""a\"\\\n""#);
    }

    #[test]
    fn raw_and_comments_are_left_alone() {
        for text in ["{% raw %}{{ x {% endraw %}", "{# {{ #}", "{%- raw -%} {% {%- endraw -%} x"] {
            assert_eq!(lower(text).expect("lowers"), text);
        }
        assert!(lower("{% raw %}").is_err());
    }

    #[test]
    fn long_text_inside_tags_is_cut_after_its_white_space_was_stripped() {
        let (space, word) = (" \n".repeat(50), "word ".repeat(30));
        let lowered = lower(&format!("{{% if 1 -%}}{space}{word}{space}{{%- endif %}}")).expect("lowers");
        let text: String = lowered.replace("{##}", "").replace("{#", "\u{1}").replace("#}", "\u{1}");
        assert!(text.contains(&format!("-%}}{}\u{1}", word.trim())), "{text}");
        assert_eq!(lowered.matches('\n').count(), 100);
    }

    #[test]
    fn errors_name_the_line() {
        let error = lower("a\nb {{ 1 + }}").expect_err("fails");
        assert_eq!(error.line(), Some(2));
    }
}
