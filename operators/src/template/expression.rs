//! Lowers Jinja2's expressions to what minijinja runs with Python's semantics.
//!
//! minijinja has no hook for operators, literals and subscripts: it would refuse a date plus a timedelta, and its lists
//! cannot grow. So every expression is parsed with Jinja2's grammar, and written anew with calls of our own functions
//! (`__math__`, `__get__`, …) in their place; names, calls, filters, tests and `and`/`or`/`not` stay minijinja's.

use std::fmt::Write;

use super::error::TemplateError;
use super::lexer::{Lexer, Token};

/// How deep expressions may nest; each level costs stack here and in the engine.
const MAX_DEPTH: usize = 60;
/// How many operators, filters or subscripts may follow one another: each is a level in the engine's tree.
const MAX_CHAIN: usize = 60;
/// How many operands one call of ours is given; the engine has a limit of its own.
const MAX_OPERANDS: usize = 400;

/// An expression as minijinja shall see it.
pub(super) struct Lowered {
    /// A self-contained piece of source: safe to put an operator, a filter or a dot after.
    code: String,
    /// What to call the value in an error, if it may be undefined.
    name: Option<String>,
}

impl Lowered {
    fn defined(code: String) -> Self {
        Lowered { code, name: None }
    }

    /// The value, or the error that it is undefined.
    pub(super) fn required(self) -> String {
        match self.name {
            Some(name) => format!("__defined__({}, {})", self.code, quote(&name)),
            None => self.code,
        }
    }

    /// The value, undefined or not.
    pub(super) fn any(self) -> String {
        self.code
    }
}

/// A string literal that minijinja reads back as `text`.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Reads expressions from a lexer and writes them anew.
pub(super) struct Expressions<'l, 's> {
    pub(super) lexer: &'l mut Lexer<'s>,
    source: &'s str,
    depth: usize,
}

impl<'l, 's> Expressions<'l, 's> {
    pub(super) fn new(lexer: &'l mut Lexer<'s>, source: &'s str) -> Self {
        Expressions { lexer, source, depth: 0 }
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, TemplateError>) -> Result<T, TemplateError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(TemplateError::limit("the expression is nested too deeply"));
        }
        let result = parse(self);
        self.depth -= 1;
        result
    }

    fn chain_limit(&self, length: usize) -> Result<(), TemplateError> {
        if length > MAX_CHAIN {
            return Err(TemplateError::limit("the expression is too long"));
        }
        Ok(())
    }

    /// An expression, or a tuple of several with commas.
    pub(super) fn tuple(&mut self, with_if: bool) -> Result<Lowered, TemplateError> {
        let first = self.item(with_if)?;
        if !self.lexer.is_operator(",")? {
            return Ok(first);
        }
        let mut code = format!("__tuple__({}", first.code);
        while self.lexer.skip_operator(",")? {
            let ends = match self.lexer.peek()? {
                Token::End(_) | Token::Operator(")" | "=") => true,
                Token::Name(name) => *name == "recursive" || *name == "if",
                _ => false,
            };
            if ends {
                break;
            }
            let item = self.item(with_if)?;
            let _ = write!(code, ", {}", item.code);
        }
        code.push(')');
        Ok(Lowered::defined(code))
    }

    fn item(&mut self, with_if: bool) -> Result<Lowered, TemplateError> {
        if with_if { self.expression() } else { self.nested(Self::or) }
    }

    /// One expression, with its inline `if`.
    pub(super) fn expression(&mut self) -> Result<Lowered, TemplateError> {
        self.nested(|this| {
            let mut value = this.or()?;
            let mut length = 0;
            while this.lexer.skip_name("if")? {
                length += 1;
                this.chain_limit(length)?;
                let condition = this.or()?.required();
                value = if this.lexer.skip_name("else")? {
                    let other = this.expression()?;
                    Lowered {
                        code: format!("({} if {condition} else {})", value.code, other.code),
                        name: value.name.or(other.name),
                    }
                } else {
                    // Jinja2 prints nothing then, even where undefined values are errors.
                    Lowered { code: format!("({} if {condition} else __nothing__)", value.code), name: value.name }
                };
            }
            Ok(value)
        })
    }

    fn or(&mut self) -> Result<Lowered, TemplateError> {
        self.logical("or", Self::and)
    }

    fn and(&mut self) -> Result<Lowered, TemplateError> {
        self.logical("and", Self::not)
    }

    fn logical(
        &mut self,
        operator: &str,
        operand: fn(&mut Self) -> Result<Lowered, TemplateError>,
    ) -> Result<Lowered, TemplateError> {
        let mut last = operand(self)?;
        if !self.lexer.is_name(operator)? {
            return Ok(last);
        }
        let mut operands = Vec::new();
        while self.lexer.skip_name(operator)? {
            operands.push(last.required());
            last = operand(self)?;
        }
        let name = last.name.take();
        operands.push(last.code);
        // The engine's tree of `a or b or c` is as deep as it is long: groups keep it flat, and mean the same.
        while operands.len() > 1 {
            operands = operands
                .chunks(8)
                .map(|group| match group {
                    [single] => single.clone(),
                    group => format!("({})", group.join(&format!(" {operator} "))),
                })
                .collect();
        }
        Ok(Lowered { code: operands.pop().unwrap_or_default(), name })
    }

    fn not(&mut self) -> Result<Lowered, TemplateError> {
        if self.lexer.skip_name("not")? {
            let operand = self.nested(Self::not)?.required();
            return Ok(Lowered::defined(format!("(not {operand})")));
        }
        self.compare()
    }

    fn compare(&mut self) -> Result<Lowered, TemplateError> {
        let first = self.sum()?;
        let mut operands = Operands::new("__compare__", first);
        loop {
            let operator = match self.lexer.peek()? {
                Token::Operator(operator @ ("==" | "!=" | "<" | "<=" | ">" | ">=")) => *operator,
                Token::Name("in") => "in",
                Token::Name("not") => "not in",
                _ => break,
            };
            self.lexer.next()?;
            if operator == "not in" && !self.lexer.skip_name("in")? {
                let found = self.lexer.peek()?.describe();
                return Err(self.lexer.error(format!("expected 'in', got {found}")));
            }
            let right = self.sum()?.required();
            operands.push(&format!("\"{operator}\", {right}"));
        }
        if operands.calls > 0 {
            return Err(TemplateError::limit("the comparison is too long"));
        }
        operands.finish()
    }

    fn sum(&mut self) -> Result<Lowered, TemplateError> {
        self.math(&["+", "-"], Self::concat)
    }

    fn product(&mut self) -> Result<Lowered, TemplateError> {
        self.math(&["*", "/", "//", "%"], |this| this.math(&["**"], |this| this.unary(true)))
    }

    fn math(
        &mut self,
        operators: &[&str],
        operand: fn(&mut Self) -> Result<Lowered, TemplateError>,
    ) -> Result<Lowered, TemplateError> {
        let first = operand(self)?;
        let mut operands = Operands::new("__math__", first);
        loop {
            let operator = match self.lexer.peek()? {
                Token::Operator(operator) if operators.contains(operator) => *operator,
                _ => return operands.finish(),
            };
            self.lexer.next()?;
            let right = operand(self)?.required();
            operands.push(&format!("\"{operator}\", {right}"));
        }
    }

    fn concat(&mut self) -> Result<Lowered, TemplateError> {
        let first = self.product()?;
        let mut operands = Operands::new("__concat__", first);
        while self.lexer.skip_operator("~")? {
            let right = self.product()?.required();
            operands.push(&right);
        }
        operands.finish()
    }

    fn unary(&mut self, with_filter: bool) -> Result<Lowered, TemplateError> {
        let start = self.lexer.next_start();
        for operator in ["-", "+"] {
            if self.lexer.skip_operator(operator)? {
                let operand = self.nested(|this| this.unary(false))?.required();
                let value = Lowered::defined(format!("__sign__(\"{operator}\", {operand})"));
                let value = self.postfix(value, start)?;
                return if with_filter { self.filters(value, start) } else { Ok(value) };
            }
        }
        let value = self.primary()?;
        let value = self.postfix(value, start)?;
        if with_filter { self.filters(value, start) } else { Ok(value) }
    }

    fn primary(&mut self) -> Result<Lowered, TemplateError> {
        match self.lexer.next()? {
            Token::Name("true" | "True") => Ok(Lowered::defined("true".to_owned())),
            Token::Name("false" | "False") => Ok(Lowered::defined("false".to_owned())),
            Token::Name("none" | "None") => Ok(Lowered::defined("none".to_owned())),
            Token::Name(name) if !name.is_ascii() => {
                Err(self.lexer.error(format!("the name '{name}' has letters other than a to z")))
            }
            Token::Name(name @ ("and" | "or" | "not" | "if" | "else" | "is" | "in")) => {
                Err(self.lexer.error(format!("expected an expression, got '{name}'")))
            }
            // Blocks are called through it, which the engine knows by the bare name only.
            Token::Name("self") => Ok(Lowered::defined("self".to_owned())),
            Token::Name(name) => Ok(Lowered { code: name.to_owned(), name: Some(name.to_owned()) }),
            Token::Text(mut text) => {
                while let Token::Text(_) = self.lexer.peek()? {
                    if let Token::Text(more) = self.lexer.next()? {
                        text.push_str(&more);
                    }
                }
                Ok(Lowered::defined(quote(&text)))
            }
            Token::Integer(digits) => match digits.parse::<i128>() {
                Ok(_) => Ok(Lowered::defined(digits)),
                Err(_) => Err(self.lexer.error("the number is too large")),
            },
            Token::Float(float) if float.is_finite() => Ok(Lowered::defined(format!("{float:?}"))),
            Token::Float(_) => Ok(Lowered::defined("__infinity__".to_owned())),
            Token::Operator("(") => {
                if self.lexer.skip_operator(")")? {
                    return Ok(Lowered::defined("()".to_owned()));
                }
                let inner = self.tuple(true)?;
                self.lexer.expect_operator(")")?;
                Ok(inner)
            }
            Token::Operator("[") => {
                let items = self.items("]")?;
                // Long ones are made in parts.
                let mut parts = items.chunks(MAX_OPERANDS).map(|part| format!("__list__({})", part.join(", ")));
                let first = Lowered::defined(parts.next().unwrap_or_else(|| "__list__()".to_owned()));
                let mut operands = Operands::new("__math__", first);
                parts.for_each(|part| operands.push(&format!("\"+\", {part}")));
                operands.finish()
            }
            Token::Operator("{") => {
                let mut code = "__dict__(".to_owned();
                while !self.lexer.skip_operator("}")? {
                    if code.len() > "__dict__(".len() {
                        self.lexer.expect_operator(",")?;
                        if self.lexer.skip_operator("}")? {
                            break;
                        }
                        code.push_str(", ");
                    }
                    let key = self.expression()?.required();
                    self.lexer.expect_operator(":")?;
                    let value = self.expression()?.code;
                    let _ = write!(code, "{key}, {value}");
                }
                code.push(')');
                Ok(Lowered::defined(code))
            }
            other => Err(self.lexer.error(format!("expected an expression, got {}", other.describe()))),
        }
    }

    fn items(&mut self, closing: &str) -> Result<Vec<String>, TemplateError> {
        let mut items = Vec::new();
        while !self.lexer.skip_operator(closing)? {
            if !items.is_empty() {
                self.lexer.expect_operator(",")?;
                if self.lexer.skip_operator(closing)? {
                    break;
                }
            }
            items.push(self.expression()?.code);
        }
        Ok(items)
    }

    /// Attributes, subscripts and calls after a value.
    fn postfix(&mut self, value: Lowered, start: usize) -> Result<Lowered, TemplateError> {
        let mut base = value;
        let mut base_end = self.lexer.last_end();
        // Keys that were read but not written yet: a run of them becomes one call.
        let mut keys: Vec<String> = Vec::new();
        let mut attribute: Option<(&'s str, usize)> = None;
        let mut calls = 0;
        loop {
            let before = self.lexer.last_end();
            if self.lexer.skip_operator(".")? {
                if let Some((name, _)) = attribute.take() {
                    keys.push(quote(name));
                }
                match self.lexer.next()? {
                    Token::Name(name) => attribute = Some((name, before)),
                    Token::Integer(index) => keys.push(index),
                    other => {
                        return Err(self.lexer.error(format!("expected name or number, got {}", other.describe())));
                    }
                }
                continue;
            }
            if self.lexer.is_operator("[")? || self.lexer.is_operator("(")? {
                let is_call = self.lexer.is_operator("(")?;
                self.lexer.next()?;
                if is_call {
                    calls += 1;
                    self.chain_limit(calls)?;
                    let callee = match attribute.take() {
                        Some((name, end)) => {
                            let receiver = self.get(base, std::mem::take(&mut keys), base_end, start, end).required();
                            // A number's dot would read as a decimal point.
                            match receiver.starts_with(|c: char| c.is_ascii_digit()) {
                                true => format!("({receiver}).{name}"),
                                false => format!("{receiver}.{name}"),
                            }
                        }
                        None if keys.is_empty() && is_identifier(&base.code) => base.code,
                        None => {
                            let callee = self.get(base, std::mem::take(&mut keys), base_end, start, before).required();
                            format!("__callable__({callee})")
                        }
                    };
                    let arguments = self.arguments()?;
                    base_end = self.lexer.last_end();
                    base = Lowered { code: format!("{callee}({arguments})"), name: Some(self.text(start, base_end)) };
                    continue;
                }
                if let Some((name, _)) = attribute.take() {
                    keys.push(quote(name));
                }
                match self.subscript()? {
                    Subscript::Item(key) => keys.push(key),
                    Subscript::Slice(range) => {
                        calls += 1;
                        self.chain_limit(calls)?;
                        let receiver = self.get(base, std::mem::take(&mut keys), base_end, start, before).required();
                        base = Lowered::defined(format!("__slice__({receiver}, {range})"));
                        base_end = self.lexer.last_end();
                    }
                }
                continue;
            }
            break;
        }
        if let Some((name, _)) = attribute.take() {
            keys.push(quote(name));
        }
        let end = self.lexer.last_end();
        Ok(self.get(base, keys, base_end, start, end))
    }

    /// Writes a run of subscripts on `base`, whose own text ends at `base_end`.
    fn get(&self, base: Lowered, keys: Vec<String>, base_end: usize, start: usize, end: usize) -> Lowered {
        if keys.is_empty() {
            return base;
        }
        let called = base.name.unwrap_or_else(|| self.text(start, base_end));
        Lowered {
            code: format!("__get__({}, {}, {})", base.code, quote(&called), keys.join(", ")),
            name: Some(self.text(start, end)),
        }
    }

    fn text(&self, start: usize, end: usize) -> String {
        let text = self.source[start..end].trim();
        match text.char_indices().nth(60) {
            Some((cut, _)) => format!("{}…", &text[..cut]),
            None => text.to_owned(),
        }
    }

    fn subscript(&mut self) -> Result<Subscript, TemplateError> {
        let mut parts: Vec<Option<String>> = vec![None];
        let mut colons = 0;
        let mut commas = 0;
        loop {
            if self.lexer.skip_operator("]")? {
                break;
            }
            if self.lexer.skip_operator(":")? {
                colons += 1;
                parts.push(None);
                continue;
            }
            if commas == 0 && self.lexer.skip_operator(",")? {
                commas += 1;
                continue;
            }
            let value = self.expression()?.required();
            match parts.last_mut() {
                Some(part @ None) => *part = Some(value),
                _ => {
                    let found = self.lexer.peek()?.describe();
                    return Err(self.lexer.error(format!("expected ']', got {found}")));
                }
            }
        }
        if colons > 2 || commas > 0 {
            return Err(self.lexer.error("not a subscript that a template may use"));
        }
        if colons == 0 {
            return match parts.pop().flatten() {
                Some(key) => Ok(Subscript::Item(key)),
                None => Err(self.lexer.error("expected a subscript, got ']'")),
            };
        }
        parts.resize(3, None);
        let range: Vec<String> = parts.into_iter().map(|part| part.unwrap_or_else(|| "none".to_owned())).collect();
        Ok(Subscript::Slice(range.join(", ")))
    }

    /// The arguments of a call, after the opening parenthesis.
    fn arguments(&mut self) -> Result<String, TemplateError> {
        let mut code = String::new();
        let mut named = false;
        while !self.lexer.skip_operator(")")? {
            if !code.is_empty() {
                self.lexer.expect_operator(",")?;
                if self.lexer.skip_operator(")")? {
                    break;
                }
                code.push_str(", ");
            }
            if self.lexer.skip_operator("**")? {
                named = true;
                let value = self.expression()?.required();
                let _ = write!(code, "**__mapping__({value})");
                continue;
            }
            if self.lexer.skip_operator("*")? {
                if named {
                    return Err(self.lexer.error("invalid syntax for function call expression"));
                }
                let value = self.expression()?.required();
                let _ = write!(code, "*__iter__({value})");
                continue;
            }
            let value = self.expression()?;
            if self.lexer.is_operator("=")? {
                if !is_identifier(&value.code) {
                    return Err(self.lexer.error("invalid syntax for function call expression"));
                }
                self.lexer.next()?;
                named = true;
                let argument = self.expression()?.code;
                let _ = write!(code, "{}={argument}", value.code);
            } else if named {
                return Err(self.lexer.error("invalid syntax for function call expression"));
            } else {
                code.push_str(&value.code);
            }
        }
        Ok(code)
    }

    /// A filter's or a test's name, and its arguments in parentheses if it has any.
    pub(super) fn filter_call(&mut self) -> Result<(&'s str, String), TemplateError> {
        let name = self.lexer.expect_name()?;
        if self.lexer.is_operator(".")? {
            return Err(self.lexer.error(format!("no filter or test has a dot in its name, as '{name}.' does")));
        }
        if self.lexer.skip_operator("(")? {
            let arguments = self.arguments()?;
            return Ok((name, format!("({arguments})")));
        }
        Ok((name, String::new()))
    }

    /// Filters and tests after a value.
    fn filters(&mut self, value: Lowered, start: usize) -> Result<Lowered, TemplateError> {
        let mut value = value;
        let mut length = 0;
        loop {
            length += 1;
            self.chain_limit(length)?;
            if self.lexer.skip_operator("|")? {
                let (name, arguments) = self.filter_call()?;
                let input = match name {
                    "default" | "d" => value.code,
                    _ => value.required(),
                };
                value = Lowered {
                    code: format!("{input}|{name}{arguments}"),
                    name: Some(self.text(start, self.lexer.last_end())),
                };
            } else if self.lexer.skip_name("is")? {
                let negated = self.lexer.skip_name("not")?;
                let name = self.lexer.expect_name()?;
                let arguments = if self.lexer.skip_operator("(")? {
                    format!("({})", self.arguments()?)
                } else if self.starts_argument()? {
                    if self.lexer.is_name("is")? {
                        return Err(self.lexer.error("You cannot chain multiple tests with is"));
                    }
                    let start = self.lexer.next_start();
                    let argument = self.primary()?;
                    format!("({})", self.postfix(argument, start)?.code)
                } else {
                    String::new()
                };
                // These look at the type only, and so may be asked of what is undefined.
                let asks_undefined = matches!(
                    name,
                    "defined"
                        | "undefined"
                        | "none"
                        | "sameas"
                        | "string"
                        | "number"
                        | "integer"
                        | "float"
                        | "boolean"
                        | "true"
                        | "false"
                        | "mapping"
                        | "callable"
                        | "sequence"
                        | "escaped"
                );
                let input = if asks_undefined { value.code } else { value.required() };
                let not = if negated { "not " } else { "" };
                value = Lowered::defined(format!("({input} is {not}{name}{arguments})"));
            } else if self.lexer.is_operator("(")? {
                self.lexer.next()?;
                let arguments = self.arguments()?;
                value = Lowered {
                    code: format!("__callable__({})({arguments})", value.required()),
                    name: Some(self.text(start, self.lexer.last_end())),
                };
            } else {
                return Ok(value);
            }
        }
    }

    fn starts_argument(&mut self) -> Result<bool, TemplateError> {
        Ok(match self.lexer.peek()? {
            Token::Name(name) => !matches!(*name, "else" | "or" | "and" | "if" | "in" | "not"),
            Token::Text(_) | Token::Integer(_) | Token::Float(_) => true,
            Token::Operator(operator) => matches!(*operator, "[" | "{"),
            Token::End(_) => false,
        })
    }
}

/// A call that is given operands as they are read; a long one becomes calls in calls.
struct Operands {
    function: &'static str,
    first: Option<Lowered>,
    code: String,
    count: usize,
    calls: usize,
}

impl Operands {
    fn new(function: &'static str, first: Lowered) -> Self {
        Operands { function, first: Some(first), code: String::new(), count: 0, calls: 0 }
    }

    fn push(&mut self, operand: &str) {
        if let Some(first) = self.first.take() {
            self.code = format!("{}({}", self.function, first.required());
        }
        if self.count == MAX_OPERANDS {
            // The call so far, closed, is the first operand of the next.
            self.code = format!("{}({})", self.function, std::mem::take(&mut self.code));
            self.count = 0;
            self.calls += 1;
        }
        self.count += 1;
        self.code.push_str(", ");
        self.code.push_str(operand);
    }

    /// The call, or the only operand as it is.
    fn finish(self) -> Result<Lowered, TemplateError> {
        if self.calls > MAX_CHAIN {
            return Err(TemplateError::limit("the expression is too long"));
        }
        Ok(match self.first {
            Some(only) => only,
            None => Lowered::defined(self.code + ")"),
        })
    }
}

enum Subscript {
    Item(String),
    Slice(String),
}

fn is_identifier(code: &str) -> bool {
    !code.starts_with(|c: char| c.is_ascii_digit())
        && !code.is_empty()
        && code.chars().all(|c| c == '_' || c.is_ascii_alphanumeric())
        && !matches!(code, "true" | "false" | "none")
}
