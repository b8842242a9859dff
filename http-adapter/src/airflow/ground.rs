//! The way of a request: route, body, query, caller, permission, handler. Each step answers for itself.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use updraft_core::clock::Clock;
use updraft_core::id::IdSource;

use super::BuildError;
use super::call::Call;
use super::check;
use super::document::Document;
use super::operation::Operation;
use super::problem::Problem;
use super::route::{Route, Router};
use crate::access::Gate;
use crate::body::Body;

/// As Airflow's `allowed_payload_size`.
const MAX_BODY: usize = 1024 * 1024;
const MAX_HEADERS: usize = 100;
const MAX_HEADER_BYTES: usize = 64 * 1024;
const MAX_REQUEST_ID: usize = 128;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const ROBOTS: HeaderName = HeaderName::from_static("x-robots-tag");

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Everything that all requests share.
pub(super) struct Ground<S> {
    pub(super) state: Arc<S>,
    pub(super) document: Document,
    pub(super) router: Router,
    pub(super) operations: BTreeMap<&'static str, Operation<S>>,
    pub(super) gate: Gate,
    pub(super) base_path: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: IdSource,
}

impl<S> Debug for Ground<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ground").field("base_path", &self.base_path).finish_non_exhaustive()
    }
}

impl<S: Send + Sync + 'static> Ground<S> {
    /// Compiles the document, and routes to `operations`; those of the document that are not among them do not exist.
    pub(super) fn new(state: Arc<S>, operations: Vec<Operation<S>>, host: super::Host) -> Result<Self, BuildError> {
        let document = Document::load().map_err(BuildError::new)?;
        let operations: BTreeMap<_, _> = operations.into_iter().map(|operation| (operation.id, operation)).collect();
        if let Some(unknown) = operations.keys().find(|id| !document.operations.iter().any(|spec| spec.id == **id)) {
            return Err(BuildError::new(format!("no operation {unknown} in the OpenAPI document")));
        }
        let router =
            Router::new(&document, |spec| operations.contains_key(spec.id.as_str())).map_err(BuildError::new)?;
        Ok(Self {
            state,
            document,
            router,
            operations,
            gate: host.gate,
            base_path: host.base_path,
            clock: host.clock,
            ids: host.ids,
        })
    }

    /// Answers a request. Whatever happens, there is an answer.
    pub(super) async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let (head, body) = request.into_parts();
        let request_id = self.request_id(&head.headers);
        let is_head = head.method == Method::HEAD;
        let answered = AssertUnwindSafe(self.dispatch(head, body)).catch_unwind().await;
        let mut response = match answered {
            Ok(Ok(response)) => response,
            Ok(Err(problem)) => problem.into_response(),
            Err(panic) => {
                tracing::error!(request_id = ?request_id, panic = panic_text(&*panic), "a handler panicked");
                Problem::internal_silent().into_response()
            }
        };
        if response.status().is_server_error() {
            tracing::warn!(request_id = ?request_id, status = response.status().as_u16(), "a request could not be answered");
        }
        self.finish(&mut response, request_id, is_head);
        response
    }

    async fn dispatch<B>(&self, head: Parts, body: B) -> Result<Response<Body>, Problem>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        check_headers(&head.headers)?;
        let path = match head.uri.path().strip_prefix(self.base_path.as_str()) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
            // A host that nests services has taken the prefix away.
            _ => head.uri.path(),
        };
        let (index, parts) = match self.router.route(&self.document, &head.method, path) {
            Route::Operation(index, parts) => (index, parts),
            Route::Page(page) => return Ok(page.response(&self.document, &self.base_path)),
            Route::Options(methods) => return Ok(options(&methods)),
            Route::Redirect(path) => return self.redirect(&path, head.uri.query()),
            Route::NoSuchPath => return Err(Problem::no_such_path()),
            Route::NoSuchMethod => return Err(Problem::no_such_method()),
        };
        let spec = &self.document.operations[index];
        let operation = self.operations.get(spec.id.as_str()).ok_or_else(Problem::no_such_path)?;
        let bytes = if spec.body.is_some() { read_body(&head.headers, body).await? } else { Bytes::new() };
        let body = check::body(spec, &head.headers, &bytes)?;
        drop(bytes);
        let query = check::query(spec, head.uri.query().unwrap_or_default())?;
        let dag = parts.text("dag_id").or_else(|| query.text("dag_id")).filter(|dag| *dag != "~");
        let principal = self.gate.admit(&operation.access, &head, dag).await?;
        let call = Call {
            state: Arc::clone(&self.state),
            principal,
            authorizer: Arc::clone(&self.gate.authorizer),
            path: parts,
            query,
            body,
            headers: head.headers,
        };
        Ok((operation.handler)(call).await?.into_response())
    }

    fn redirect(&self, path: &str, query: Option<&str>) -> Result<Response<Body>, Problem> {
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let location =
            HeaderValue::try_from(format!("{}{path}{query}", self.base_path)).map_err(|_| Problem::no_such_path())?;
        let mut response = Response::new(Body::default());
        *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
        response.headers_mut().insert(LOCATION, location);
        Ok(response)
    }

    /// The caller's id of this request, or a new one.
    fn request_id(&self, headers: &HeaderMap) -> HeaderValue {
        let fits = |value: &&HeaderValue| {
            (1..=MAX_REQUEST_ID).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
        };
        match headers.get(REQUEST_ID).filter(fits) {
            Some(id) => id.clone(),
            None => HeaderValue::try_from(self.ids.uuid(self.clock.now()).to_string())
                .expect("a UUID is made of hexadecimal digits and hyphens"),
        }
    }

    fn finish(&self, response: &mut Response<Body>, request_id: HeaderValue, is_head: bool) {
        let length = http_body::Body::size_hint(response.body()).exact().unwrap_or(0);
        if response.status() != StatusCode::NO_CONTENT {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(ROBOTS, HeaderValue::from_static("noindex, nofollow"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REQUEST_ID, request_id);
        if is_head {
            *response.body_mut() = Body::default();
        }
    }
}

fn check_headers(headers: &HeaderMap) -> Result<(), Problem> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
        return Err(Problem::headers_too_large());
    }
    Ok(())
}

async fn read_body<B>(headers: &HeaderMap, body: B) -> Result<Bytes, Problem>
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > MAX_BODY as u64) {
        return Err(Problem::body_too_large(MAX_BODY));
    }
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::body_too_large(MAX_BODY)),
        Err(error) => Err(Problem::bad_request(format!("Request body cannot be read: {error}"))),
    }
}

fn options(methods: &str) -> Response<Body> {
    let mut response = Response::new(Body::default());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if let Ok(methods) = HeaderValue::from_str(methods) {
        headers.insert(ALLOW, methods);
    }
    response
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "",
    }
}
