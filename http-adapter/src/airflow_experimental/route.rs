//! Routes: what each demands of its caller, and who answers it.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::Method;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use updraft_core::id::DagId;
use updraft_core::service::{Actor, Service};

use super::reply::{Answer, Failure};
use crate::access::{Access, Action, Authorizer, Principal};
use crate::airflow::audit;
use crate::airflow::query::Parameters;
use crate::airflow::route::merge_slashes;

/// The parts of a path, by the names in the route's pattern.
pub(super) type Parts = Parameters;

/// One line of the table of routes.
pub(crate) struct Route {
    /// Also `HEAD`, where it is `GET`.
    pub(crate) method: Method,
    /// Below the base path; `{name}` is a part without a slash.
    pub(crate) pattern: &'static str,
    pub(crate) access: Access,
    pub(super) has_body: bool,
    pub(super) handler: fn(Call) -> BoxFuture<'static, Answer>,
}

/// Names a method, a path, what it demands, and the async function that answers it.
macro_rules! route {
    ($method:ident $pattern:literal, $access:expr, $handler:path) => {
        $crate::airflow_experimental::route::Route {
            method: http::Method::$method,
            pattern: $pattern,
            access: $access,
            has_body: http::Method::$method == http::Method::POST,
            handler: |call| Box::pin($handler(call)),
        }
    };
}
pub(super) use route;

/// A request whose caller may.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) service: Service,
    pub(super) principal: Principal,
    pub(super) authorizer: Arc<dyn Authorizer>,
    pub(super) path: Parts,
    pub(super) query: String,
    /// Empty for routes that have none.
    pub(super) body: Bytes,
}

impl Call {
    /// A part of the path, which the pattern names.
    pub(super) fn part(&self, name: &str) -> &str {
        self.path.text(name).unwrap_or_default()
    }

    /// The first value of a query parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        let mut given = form_urlencoded::parse(self.query.as_bytes());
        given.find(|(given, _)| given == name).map(|(_, value)| value.into_owned())
    }

    /// The caller with the request, for the event log.
    pub(super) fn actor(&self, body: &Value) -> Actor {
        let request =
            audit::extra("", &self.path, &Parameters::default(), body, &self.service.settings().sensitive_names);
        Actor::new(self.principal.name.clone()).through("experimental").with_request(request)
    }

    /// The DAGs that the caller may read, as queries take them; none if all.
    pub(super) async fn readable(&self) -> Result<Option<Arc<BTreeSet<DagId>>>, Failure> {
        let dags = self.authorizer.dags(&self.principal, Action::Read).await;
        Ok(dags.map_err(crate::airflow::problem::Problem::from)?.into_filter())
    }
}

/// What a request is for.
pub(super) enum Found<'a> {
    Route(&'a Route, Parts),
    /// `OPTIONS` of a path that has these methods.
    Options(String),
    /// The same path without doubled slashes is one.
    Redirect(String),
    NoSuchPath,
    NoSuchMethod,
}

/// `path` is as it was sent, without the prefix.
pub(super) fn find<'a>(routes: &'a [Route], method: &Method, path: &str) -> Found<'a> {
    let Ok(decoded) = percent_decode_str(path).decode_utf8() else {
        return Found::NoSuchPath;
    };
    if decoded.contains('\0') {
        return Found::NoSuchPath;
    }
    if decoded.contains("//") {
        let merged = merge_slashes(&decoded);
        return match routes.iter().any(|route| parts(route.pattern, &merged).is_some()) {
            true => Found::Redirect(merge_slashes(path)),
            false => Found::NoSuchPath,
        };
    }
    let mut methods = Vec::new();
    for route in routes {
        let Some(parts) = parts(route.pattern, &decoded) else { continue };
        if route.method == *method || (*method == Method::HEAD && route.method == Method::GET) {
            return Found::Route(route, parts);
        }
        methods.push(route.method.as_str());
    }
    if methods.is_empty() {
        return Found::NoSuchPath;
    }
    if method != Method::OPTIONS {
        return Found::NoSuchMethod;
    }
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.push("OPTIONS");
    Found::Options(methods.join(", "))
}

fn parts(pattern: &str, path: &str) -> Option<Parts> {
    let mut parts = Parts::default();
    let mut given = path.split('/');
    for wanted in pattern.split('/') {
        let given = given.next()?;
        match wanted.strip_prefix('{').and_then(|wanted| wanted.strip_suffix('}')) {
            Some(_) if given.is_empty() => return None,
            Some(name) => parts.insert(name, given.into()),
            None if wanted == given => {}
            None => return None,
        }
    }
    given.next().is_none().then_some(parts)
}
