//! Environment variables in the text of a file.

use std::collections::BTreeSet;
use std::sync::Arc;

/// A way to look up an environment variable.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Which environment variables DAG files may name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllowedEnv {
    names: BTreeSet<String>,
    all: bool,
}

impl AllowedEnv {
    /// These names; `*` stands for all.
    pub fn new(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let names: BTreeSet<String> = names.into_iter().map(Into::into).collect();
        Self { all: names.contains("*"), names }
    }

    fn allows(&self, name: &str) -> bool {
        self.all || self.names.contains(name)
    }
}

/// A variable that the text names and that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) name: String,
    /// Where it stands in the expanded text, in bytes.
    pub(crate) offset: usize,
    /// Whether the environment has it.
    pub(crate) is_set: bool,
}

/// Expands `$NAME` and `${NAME}` as Python's `os.path.expandvars` does, for allowed names; what is not set stays as it is.
/// Returns the text and what was refused.
pub(crate) fn expand(text: &str, allowed: &AllowedEnv, environment: &Environment) -> (String, Vec<Refused>) {
    let mut expanded = String::with_capacity(text.len());
    let mut refused = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at..];
        let (name, length) = match reference(rest) {
            Some(found) => found,
            None => {
                expanded.push('$');
                rest = &rest[1..];
                continue;
            }
        };
        let value = environment(name);
        match value {
            Some(value) if allowed.allows(name) => expanded.push_str(&value),
            value => {
                // A name that starts with a digit is no environment variable's: shells use those.
                if !allowed.allows(name) && !name.starts_with(|c: char| c.is_ascii_digit()) {
                    refused.push(Refused { name: name.into(), offset: expanded.len(), is_set: value.is_some() });
                }
                expanded.push_str(&rest[..length]);
            }
        }
        rest = &rest[length..];
    }
    expanded.push_str(rest);
    (expanded, refused)
}

/// The name that a text beginning with `$` refers to, and the length of the reference.
fn reference(text: &str) -> Option<(&str, usize)> {
    if let Some(braced) = text.strip_prefix("${") {
        let end = braced.find('}')?;
        return Some((&braced[..end], end + 3));
    }
    let length = text[1..].bytes().take_while(|c| c.is_ascii_alphanumeric() || *c == b'_').count();
    (length > 0).then(|| (&text[1..=length], length + 1))
}

/// The variables of this process.
pub(crate) fn process_environment() -> Environment {
    Arc::new(|name| std::env::var(name).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Environment {
        Arc::new(|name| match name {
            "A" => Some("1".into()),
            "LONG_NAME" => Some("$A".into()),
            "SECRET" => Some("s".into()),
            _ => None,
        })
    }

    #[test]
    fn only_allowed_names_are_expanded() {
        let allowed = AllowedEnv::new(["A", "LONG_NAME", "UNSET"]);
        let (text, refused) = expand("$A ${A}b $LONG_NAME $UNSET ${UNSET} $ $$A ${", &allowed, &environment());
        assert_eq!(text, "1 1b $A $UNSET ${UNSET} $ $1 ${");
        assert_eq!(refused, []);
        let (text, refused) = expand("$SECRET\n${OTHER} $1", &allowed, &environment());
        assert_eq!(text, "$SECRET\n${OTHER} $1");
        let names: Vec<_> = refused.iter().map(|r| (r.name.as_str(), r.offset, r.is_set)).collect();
        assert_eq!(names, [("SECRET", 0, true), ("OTHER", 8, false)]);
        let (text, refused) = expand("$SECRET $OTHER", &AllowedEnv::new(["*"]), &environment());
        assert_eq!((text.as_str(), refused.len()), ("s $OTHER", 0));
    }
}
