//! Answers: JSON on one line, and errors as `{"error": …}`.

use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, LINK, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use serde_json::{Value, json};
use updraft_core::service::ServiceError;

use crate::airflow::json;
use crate::airflow::problem::Problem;
use crate::body::Body;

const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";

/// What a handler gives back.
pub(super) type Answer = Result<Reply, Failure>;

/// What a handler answers.
#[derive(Debug)]
pub(super) struct Reply {
    content_type: &'static str,
    body: String,
}

impl Reply {
    pub(super) fn json(value: &Value) -> Self {
        Self { content_type: JSON, body: json::dumps(value) }
    }

    /// A text that says of itself that it is a page, as in Airflow.
    pub(super) fn html(text: impl Into<String>) -> Self {
        Self { content_type: HTML, body: text.into() }
    }

    pub(super) fn into_response(self) -> Response<Body> {
        response(StatusCode::OK, self.content_type, self.body)
    }
}

/// An error as the caller sees it.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    content_type: &'static str,
    body: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Failure {
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        let body = json::dumps(&json!({"error": text.into()}));
        Self { status, content_type: JSON, body, headers: Vec::new() }
    }

    pub(super) fn bad_request(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    pub(super) fn not_found(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, text)
    }

    /// 400 for a body that is not JSON: Flask's page.
    pub(super) fn not_json() -> Self {
        let body = "<!doctype html>\n<html lang=en>\n<title>400 Bad Request</title>\n<h1>Bad Request</h1>\n<p>The browser \
                    (or proxy) sent a request that this server could not understand.</p>\n";
        let (status, body) = (StatusCode::BAD_REQUEST, body.to_owned());
        Self { status, content_type: HTML, body, headers: Vec::new() }
    }

    /// 401, with what the caller is to bring.
    pub(super) fn unauthorized(challenge: Option<&str>) -> Self {
        let challenge = challenge.and_then(|text| HeaderValue::from_str(text).ok());
        Self {
            status: StatusCode::UNAUTHORIZED,
            content_type: HTML,
            body: "Unauthorized".to_owned(),
            headers: challenge.into_iter().map(|value| (WWW_AUTHENTICATE, value)).collect(),
        }
    }

    pub(super) fn is_not_found(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }

    /// The same error with another status.
    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = response(self.status, self.content_type, self.body);
        response.headers_mut().extend(self.headers);
        response
    }
}

/// For what has no words of its own here.
impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let body = problem.body();
        let text = body["detail"].as_str().or(body["title"].as_str()).unwrap_or_default();
        Self { headers: problem.headers().to_vec(), ..Self::new(problem.status(), text) }
    }
}

/// For what has no words of its own here.
impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        Problem::from(error).into()
    }
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body.into_bytes()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if content_type == HTML {
        // What a DAG file holds is not to run in the browser of who reads it.
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    }
    response
}

/// Says that the API is an old one.
pub(super) fn deprecate(response: &mut Response<Body>) {
    const DOCUMENT: &str = "<https://airflow.apache.org/docs/apache-airflow/2.11.2/upgrading-to-2.html#migration-guide-from-experimental-api-to-stable-api-v1>; rel=\"deprecation\"; type=\"text/html\"";
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("deprecation"), HeaderValue::from_static("true"));
    headers.insert(LINK, HeaderValue::from_static(DOCUMENT));
}
