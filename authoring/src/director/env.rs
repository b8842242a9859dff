//! `.env` files.

use std::collections::BTreeMap;

use crate::env::{AllowedEnv, Environment, expand};

/// The variables of a `.env` file: `NAME=value` lines with or without quotes and `export`, and comments. Other variables
/// in values that are not in single quotes are put in their place.
pub(super) fn parse(text: &str, environment: &Environment) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for line in text.lines() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=') else { continue };
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || name.starts_with('#') {
            continue;
        }
        let quoted = |quote: char| {
            let rest = value.strip_prefix(quote)?;
            rest.find(quote).map(|end| &rest[..end])
        };
        let value = match (quoted('\''), quoted('"')) {
            (Some(literal), _) => literal.to_owned(),
            (None, quoted) => {
                let value = quoted.unwrap_or_else(|| value.split(" #").next().unwrap_or_default().trim_end());
                let (known, environment) = (found.clone(), environment.clone());
                let lookup: Environment =
                    std::sync::Arc::new(move |name| environment(name).or_else(|| known.get(name).cloned()));
                expand(value, &AllowedEnv::new(["*"]), &lookup).0
            }
        };
        found.insert(name.to_owned(), value);
    }
    found
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn lines_are_read_as_shells_do() {
        let text = "# c\nA=1\nexport B = \"two words\" # c\nC='$A'\nD=${A}/x # c\nE=\nnothing\nF=$HOME\nG=a#b\n";
        let environment: Environment = Arc::new(|name| (name == "HOME").then(|| "/home".into()));
        let found = parse(text, &environment);
        let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected =
            [("A", "1"), ("B", "two words"), ("C", "$A"), ("D", "1/x"), ("E", ""), ("F", "/home"), ("G", "a#b")];
        assert_eq!(found, expected);
    }
}
