//! Why a template could not be rendered.

use std::fmt;

use minijinja::{Error, ErrorKind};

/// What kind of fault stopped the rendering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TemplateErrorKind {
    /// The template is not valid Jinja2.
    Syntax,
    /// A name, an attribute or an element does not exist.
    Undefined,
    /// A variable, a connection or a template file does not exist.
    NotFound,
    /// Values that don't fit the operation, as Python's TypeError, ValueError and their like.
    Invalid,
    /// The template asked for more work, depth or output than is allowed.
    Limit,
    /// The host could not answer a look-up.
    Lookup,
}

/// An error of a template: what, and where in the template and in the field.
#[derive(Clone, Debug)]
pub struct TemplateError {
    kind: TemplateErrorKind,
    message: String,
    line: Option<usize>,
    path: String,
}

impl TemplateError {
    /// What kind of fault it is.
    pub fn kind(&self) -> TemplateErrorKind {
        self.kind
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The line of the template, from 1.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// Which part of a nested field the template is, as `env.HOME` or `op_args[0]`; empty for a whole field.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Puts a prefix, such as the field's name, before [`path`](Self::path).
    #[must_use]
    pub fn within(mut self, prefix: &str) -> Self {
        if !self.path.is_empty() && !self.path.starts_with('[') {
            self.path.insert(0, '.');
        }
        self.path.insert_str(0, prefix);
        self
    }

    pub(super) fn syntax(message: impl Into<String>, line: usize) -> Self {
        TemplateError {
            kind: TemplateErrorKind::Syntax,
            message: message.into(),
            line: Some(line),
            path: String::new(),
        }
    }

    pub(super) fn limit(message: impl Into<String>) -> Self {
        TemplateError { kind: TemplateErrorKind::Limit, message: message.into(), line: None, path: String::new() }
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match (self.path.is_empty(), self.line) {
            (true, None) => Ok(()),
            (true, Some(line)) => write!(f, " (line {line})"),
            (false, None) => write!(f, " (in {})", self.path),
            (false, Some(line)) => write!(f, " (in {}, line {line})", self.path),
        }
    }
}

impl std::error::Error for TemplateError {}

/// Rides in a minijinja error as its source, to bring our kind through the engine.
#[derive(Debug)]
struct Cause(TemplateErrorKind);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Cause {}

impl From<Error> for TemplateError {
    fn from(error: Error) -> Self {
        // A failure inside a macro or an include arrives wrapped; the innermost engine error says what happened.
        let mut innermost = &error;
        while let Some(next) = std::error::Error::source(innermost).and_then(|source| source.downcast_ref::<Error>()) {
            innermost = next;
        }
        let cause = std::error::Error::source(innermost).and_then(|source| source.downcast_ref::<Cause>());
        let kind = match cause {
            Some(Cause(kind)) => *kind,
            None => match innermost.kind() {
                ErrorKind::SyntaxError | ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::BadEscape => {
                    TemplateErrorKind::Syntax
                }
                ErrorKind::UndefinedError | ErrorKind::UnknownFunction | ErrorKind::UnknownMethod => {
                    TemplateErrorKind::Undefined
                }
                ErrorKind::TemplateNotFound => TemplateErrorKind::NotFound,
                ErrorKind::OutOfFuel | ErrorKind::WriteFailure => TemplateErrorKind::Limit,
                _ => TemplateErrorKind::Invalid,
            },
        };
        let detail = innermost.detail().unwrap_or_default();
        let message = match innermost.kind() {
            ErrorKind::OutOfFuel => "the template does more work than is allowed".to_owned(),
            ErrorKind::UnknownFunction => match detail.strip_suffix(" is unknown") {
                Some(name) => format!("'{name}' is undefined"),
                None => detail.to_owned(),
            },
            other if detail.is_empty() => other.to_string(),
            _ => detail.to_owned(),
        };
        TemplateError { kind, message, line: innermost.line().or_else(|| error.line()), path: String::new() }
    }
}

/// Python's TypeError, ValueError and the like.
pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

pub(super) fn undefined(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::UndefinedError, message.into())
}

pub(super) fn not_found(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into()).with_source(Cause(TemplateErrorKind::NotFound))
}

pub(super) fn limit(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into()).with_source(Cause(TemplateErrorKind::Limit))
}

pub(super) fn lookup(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into()).with_source(Cause(TemplateErrorKind::Lookup))
}
