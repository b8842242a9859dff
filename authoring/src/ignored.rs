//! Which files a `.airflowignore` leaves out.

use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use regex::Regex;

/// How `.airflowignore` files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum IgnoreSyntax {
    /// Regular expressions that are searched for in the path below the file's folder; Airflow 2's default.
    #[default]
    Regexp,
    /// Patterns as in `.gitignore`.
    Glob,
}

/// The rules of one `.airflowignore`.
#[derive(Debug)]
pub(crate) enum Rules {
    Regexp { folder: PathBuf, patterns: Vec<Regex> },
    Glob(Gitignore),
}

impl Rules {
    /// The rules that a folder has, if it has any. Lines that cannot be understood are left out.
    pub(crate) fn of_folder(folder: &Path, syntax: IgnoreSyntax) -> Option<Self> {
        let text = std::fs::read_to_string(folder.join(".airflowignore")).ok()?;
        Some(Self::new(folder, &text, syntax))
    }

    fn new(folder: &Path, text: &str, syntax: IgnoreSyntax) -> Self {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        let lines = lines.filter(|line| !line.is_empty());
        match syntax {
            IgnoreSyntax::Regexp => {
                let compile = |line| {
                    Regex::new(line)
                        .inspect_err(|error| {
                            tracing::warn!(folder = %folder.display(), %error, "a line of .airflowignore is no regular expression");
                        })
                        .ok()
                };
                Self::Regexp { folder: folder.into(), patterns: lines.filter_map(compile).collect() }
            }
            IgnoreSyntax::Glob => {
                let mut builder = GitignoreBuilder::new(folder);
                for line in lines {
                    if let Err(error) = builder.add_line(None, line) {
                        tracing::warn!(folder = %folder.display(), %error, "a line of .airflowignore is no pattern");
                    }
                }
                Self::Glob(builder.build().unwrap_or_else(|_| Gitignore::empty()))
            }
        }
    }

    /// Whether a path is left out (`Some(true)`), taken in again (`Some(false)`) or not spoken of.
    pub(crate) fn decide(&self, path: &Path, is_dir: bool) -> Option<bool> {
        match self {
            Self::Regexp { folder, patterns } => {
                let relative = path.strip_prefix(folder).ok()?.to_string_lossy();
                patterns.iter().any(|pattern| pattern.is_match(&relative)).then_some(true)
            }
            Self::Glob(rules) => match rules.matched(path, is_dir) {
                ignore::Match::None => None,
                ignore::Match::Ignore(_) => Some(true),
                ignore::Match::Whitelist(_) => Some(false),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignores(text: &str, syntax: IgnoreSyntax, path: &str, is_dir: bool) -> bool {
        Rules::new(Path::new("/dags"), text, syntax).decide(&Path::new("/dags").join(path), is_dir).unwrap_or(false)
    }

    #[test]
    fn regular_expressions_are_searched_for() {
        let text = "# all of it\nproject_a  # old\n^tenant_[\\d]\n";
        let regexp = |path| ignores(text, IgnoreSyntax::Regexp, path, false);
        assert!(regexp("project_a_dag.yaml") && regexp("x/project_a.yml") && regexp("tenant_1/a.yaml"));
        assert!(!regexp("x/tenant_1.yaml") && !regexp("other.yaml"));
        assert!(!ignores("(", IgnoreSyntax::Regexp, "(", false));
    }

    #[test]
    fn globs_are_those_of_git() {
        let text = "drafts/\n*_old.yaml\n!keep_old.yaml\n/top.yaml\n";
        let glob = |path, is_dir| ignores(text, IgnoreSyntax::Glob, path, is_dir);
        assert!(glob("drafts", true) && glob("a/x_old.yaml", false) && glob("top.yaml", false));
        assert!(!glob("drafts", false) && !glob("keep_old.yaml", false) && !glob("a/top.yaml", false));
    }
}
