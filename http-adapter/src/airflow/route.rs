//! Finds the operation of a request by the decoded path.

use http::Method;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::document::{Document, Kind, OperationSpec, Place};
use super::page::Page;
use super::query::Parameters;

/// What a path stands for.
#[derive(Debug, Clone, Copy)]
enum Target {
    Operation(usize),
    Page(Page),
}

/// What a request is for.
#[derive(Debug)]
pub(super) enum Route {
    /// An operation, by its place in the document, with the parts of its path.
    Operation(usize, Parameters),
    Page(Page),
    /// `OPTIONS` of a path that has these methods.
    Options(String),
    /// Another path is meant: the same without doubled slashes, or with one at its end.
    Redirect(String),
    NoSuchPath,
    NoSuchMethod,
}

/// One tree of paths a method, since a path of one method may hide that of another (`/dags/~/dagRuns/list`).
#[derive(Debug)]
pub(super) struct Router {
    trees: Vec<(Method, matchit::Router<Target>)>,
}

impl Router {
    /// Over those operations of the document that `handled` tells.
    pub(super) fn new(
        document: &Document,
        handled: impl Fn(&OperationSpec) -> bool,
    ) -> Result<Self, matchit::InsertError> {
        let mut trees: Vec<(Method, matchit::Router<Target>)> = Vec::new();
        let mut insert = |method: &Method, path: String, target| {
            let tree = match trees.iter_mut().find(|(of, _)| of == method) {
                Some((_, tree)) => tree,
                None => {
                    trees.push((method.clone(), matchit::Router::new()));
                    &mut trees.last_mut().expect("one was just pushed").1
                }
            };
            tree.insert(path, target)
        };
        for (index, spec) in document.operations.iter().enumerate().filter(|(_, spec)| handled(spec)) {
            insert(&spec.method, pattern(spec), Target::Operation(index))?;
        }
        for page in Page::ALL {
            insert(&Method::GET, page.path().to_owned(), Target::Page(*page))?;
        }
        Ok(Self { trees })
    }

    /// `path` is as it was sent, without the prefix.
    pub(super) fn route(&self, document: &Document, method: &Method, path: &str) -> Route {
        let Ok(decoded) = percent_decode_str(path).decode_utf8() else {
            return Route::NoSuchPath;
        };
        if decoded == "/ui" {
            return Route::Redirect("/ui/".to_owned());
        }
        if decoded.contains('\0') {
            return Route::NoSuchPath;
        }
        let wanted = if method == Method::HEAD { &Method::GET } else { method };
        if let Some(route) = self.find(document, wanted, &decoded) {
            return route;
        }
        let mut methods = self.methods(document, &decoded);
        if methods.is_empty() {
            let merged = merge_slashes(&decoded);
            return if merged == decoded || self.methods(document, &merged).is_empty() {
                Route::NoSuchPath
            } else if method == Method::OPTIONS || self.find(document, wanted, &merged).is_some() {
                Route::Redirect(merge_slashes(path))
            } else {
                Route::NoSuchMethod
            };
        }
        if method != Method::OPTIONS {
            return Route::NoSuchMethod;
        }
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.insert(0, "OPTIONS");
        Route::Options(methods.join(", "))
    }

    fn methods(&self, document: &Document, path: &str) -> Vec<&str> {
        let having = self.trees.iter().filter(|(method, _)| self.find(document, method, path).is_some());
        having.map(|(method, _)| method.as_str()).collect()
    }

    fn find(&self, document: &Document, method: &Method, path: &str) -> Option<Route> {
        let (_, tree) = self.trees.iter().find(|(of, _)| of == method)?;
        let found = tree.at(path).ok()?;
        let index = match found.value {
            Target::Operation(index) => *index,
            Target::Page(page) => return Some(Route::Page(*page)),
        };
        let mut parts = Parameters::default();
        for parameter in document.operations[index].parameters_in(Place::Path) {
            let text = found.params.get(&parameter.name)?;
            let value = match parameter.kind {
                Kind::Integer if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                    Value::from(text.parse::<i64>().unwrap_or(i64::MAX))
                }
                Kind::Integer => return None,
                // Slashes may be doubled within such a part, but none comes first.
                Kind::Path if text.starts_with('/') => return None,
                _ => Value::from(text),
            };
            parts.insert(&parameter.name, value);
        }
        Some(Route::Operation(index, parts))
    }
}

/// The path as the tree takes it: `{*key}` where a part may hold slashes.
fn pattern(spec: &OperationSpec) -> String {
    let long = spec.parameters_in(Place::Path).filter(|parameter| parameter.kind == Kind::Path);
    long.fold(spec.path.clone(), |path, parameter| {
        path.replace(&format!("{{{}}}", parameter.name), &format!("{{*{}}}", parameter.name))
    })
}

pub(crate) fn merge_slashes(path: &str) -> String {
    let mut merged = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !merged.ends_with('/') {
            merged.push(c);
        }
    }
    merged
}
