//! The way of a request: route, body, query, caller, permission, handler. Each step answers for itself.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use updraft_core::clock::Clock;
use updraft_core::id::IdSource;

use super::BuildError;
use super::call::Call;
use super::check;
use super::cors::CorsHeaders;
use super::document::Document;
use super::envelope::Envelope;
use super::operation::Operation;
use super::problem::Problem;
use super::query::{PageLimits, Parameters};
use super::route::{Route, Router};
use crate::access::Gate;
use crate::body::Body;

/// As Airflow's `allowed_payload_size`.
const MAX_BODY: usize = 1024 * 1024;
const MAX_HEADERS: usize = 100;
const MAX_HEADER_BYTES: usize = 64 * 1024;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Everything that all requests share.
pub(super) struct Ground<S> {
    pub(super) state: Arc<S>,
    pub(super) document: Document,
    pub(super) router: Router,
    pub(super) operations: BTreeMap<&'static str, Operation<S>>,
    pub(super) gate: Gate,
    pub(super) base_path: String,
    pub(super) cors: CorsHeaders,
    pub(super) page_limits: PageLimits,
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
            cors: host.cors.compile()?,
            page_limits: host.page_limits,
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
        let envelope = Envelope::open(&head, &*self.clock, &self.ids);
        envelope.close(self.dispatch(head, body)).await
    }

    async fn dispatch<B>(&self, head: Parts, body: B) -> Result<Response<Body>, Problem>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        check_headers(&head.headers)?;
        let path = path_below(&self.base_path, &head);
        let origin = head.headers.get(ORIGIN).cloned();
        let answered = match self.router.route(&self.document, &head.method, path) {
            Route::Operation(index, parts) => self.operate(index, parts, head, body).await,
            Route::Page(page) => Ok(page.response(&self.document, &self.base_path)),
            Route::Options(methods) => Ok(options(&methods)),
            Route::Redirect(path) => return redirect(&self.base_path, &path, head.uri.query()),
            Route::NoSuchPath => return Err(Problem::no_such_path()),
            Route::NoSuchMethod => return Err(Problem::no_such_method()),
        };
        let mut response = answered.unwrap_or_else(Problem::into_response);
        self.cors.apply(origin.as_ref(), response.headers_mut());
        Ok(response)
    }

    /// Answers for one operation of the document.
    async fn operate<B>(&self, index: usize, parts: Parameters, head: Parts, body: B) -> Result<Response<Body>, Problem>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let spec = &self.document.operations[index];
        let operation = self.operations.get(spec.id.as_str()).ok_or_else(Problem::no_such_path)?;
        let bytes = if spec.body.is_some() { read_body(&head.headers, body).await? } else { Bytes::new() };
        let body = check::body(spec, &head.headers, &bytes)?;
        drop(bytes);
        let query = check::query(spec, head.uri.query().unwrap_or_default())?.limited(self.page_limits);
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
}

/// The path of a request without the base path.
pub(crate) fn path_below<'a>(base_path: &str, head: &'a Parts) -> &'a str {
    match head.uri.path().strip_prefix(base_path) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
        // A host that nests services has taken the prefix away.
        _ => head.uri.path(),
    }
}

/// Tells the caller to ask for a path below the base path instead.
pub(crate) fn redirect(base_path: &str, path: &str, query: Option<&str>) -> Result<Response<Body>, Problem> {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let location = HeaderValue::try_from(format!("{base_path}{path}{query}")).map_err(|_| Problem::no_such_path())?;
    let mut response = Response::new(Body::default());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

pub(crate) fn check_headers(headers: &HeaderMap) -> Result<(), Problem> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if headers.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
        return Err(Problem::headers_too_large());
    }
    Ok(())
}

pub(crate) async fn read_body<B>(headers: &HeaderMap, body: B) -> Result<Bytes, Problem>
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

pub(crate) fn options(methods: &str) -> Response<Body> {
    let mut response = Response::new(Body::default());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if let Ok(methods) = HeaderValue::from_str(methods) {
        headers.insert(ALLOW, methods);
    }
    response
}
