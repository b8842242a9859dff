//! Answers, and the texts of refusals.

use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use serde_json::{Value, json};
use updraft_core::service::ServiceError;

use crate::access::{AccessError, Refusal};
use crate::airflow::json;
use crate::body::Body;

const NOT_FOUND: &str = "The requested URL was not found on the server. If you entered the URL manually please check your spelling and try again.";
const INTERNAL: &str = "The server encountered an internal error and was unable to complete your request. Either the server is overloaded or there is an error in the application.";

/// An answer that is no success.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    body: Value,
    headers: Vec<(http::HeaderName, HeaderValue)>,
}

/// What a handler gives.
pub(super) type Answer = Result<Response<Body>, Problem>;

/// JSON, compact, with sorted members and a newline at the end.
pub(super) fn reply(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(json::compact(value)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// What may be done with a path.
pub(super) fn options(methods: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::default());
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static(methods));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

impl Problem {
    fn new(status: StatusCode, text: &str) -> Self {
        Self { status, body: json!({ "error": text }), headers: Vec::new() }
    }

    pub(super) fn no_such_path() -> Self {
        Self::new(StatusCode::NOT_FOUND, NOT_FOUND)
    }

    pub(super) fn no_such_method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "The method is not allowed for the requested URL.")
    }

    /// Neither a workflow nor a definition.
    pub(super) fn no_such_workflow(name: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, &format!("Workflow {name} not found"))
    }

    pub(super) fn not_json() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Did not attempt to load JSON data because the request Content-Type was not 'application/json'.",
        )
    }

    pub(super) fn malformed() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "The browser (or proxy) sent a request that this server could not understand.",
        )
    }

    pub(super) fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "The data value transmitted exceeds the capacity limit.")
    }

    /// What does not fit a schema, in the words of Python's `jsonschema`.
    pub(super) fn invalid(text: &str, errors: Vec<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, body: json!({ "error": text, "errors": errors }), headers: Vec::new() }
    }

    pub(super) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL)
    }

    pub(super) fn forbidden() -> Self {
        let text = "You are not allowed to do this.";
        let body = json!({ "error": "forbidden", "message": text, "status": 403 });
        Self { status: StatusCode::FORBIDDEN, body, headers: Vec::new() }
    }

    fn unauthorized(challenge: Option<&str>) -> Self {
        let text = "Please authenticate to access this API.";
        let body = json!({ "error": "unauthorized", "message": text, "status": 401 });
        // Director names a realm.
        let challenge = match challenge {
            Some("Basic") => Some("Basic realm=\"Authentication Required\""),
            other => other,
        };
        let challenge = challenge.and_then(|challenge| HeaderValue::try_from(challenge).ok());
        let headers = challenge.map(|challenge| (WWW_AUTHENTICATE, challenge)).into_iter().collect();
        Self { status: StatusCode::UNAUTHORIZED, body, headers }
    }

    fn later(status: StatusCode, text: &str, seconds: u64) -> Self {
        let mut problem = Self::new(status, text);
        problem.headers.push((RETRY_AFTER, HeaderValue::from(seconds)));
        problem
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = reply(self.status, &self.body);
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unknown(challenge) => Self::unauthorized(challenge.as_deref()),
            Refusal::Forbidden => Self::forbidden(),
            Refusal::Failed(error) => error.into(),
        }
    }
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        tracing::warn!(%error, "access could not be decided");
        let (status, retry_after) = match error {
            AccessError::Busy { retry_after } => (StatusCode::SERVICE_UNAVAILABLE, retry_after.as_secs()),
            AccessError::Throttled { retry_after } => (StatusCode::TOO_MANY_REQUESTS, retry_after.as_secs()),
            _ => (StatusCode::SERVICE_UNAVAILABLE, 1),
        };
        Self::later(status, &error.to_string(), retry_after.max(1))
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::NotFound(subject) => Self::new(StatusCode::NOT_FOUND, &format!("{subject} does not exist")),
            ServiceError::Conflict(..) | ServiceError::AlreadyExists(_) => {
                Self::new(StatusCode::CONFLICT, &error.to_string())
            }
            ServiceError::Invalid { .. } | ServiceError::InvalidParam { .. } => {
                Self::new(StatusCode::BAD_REQUEST, &error.to_string())
            }
            error if error.is_retryable() => {
                tracing::warn!(%error, "the storage is unavailable");
                Self::later(StatusCode::SERVICE_UNAVAILABLE, "The storage is unavailable at the moment.", 1)
            }
            error => {
                tracing::error!(error = &error as &dyn std::error::Error, "a request could not be answered");
                Self::internal()
            }
        }
    }
}
