//! Errors, as Airflow's clients see them: RFC 7807 documents.

use std::time::Duration;

use http::StatusCode;
use http::header::{CONNECTION, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use serde_json::{Value, json};
use updraft_core::service::ServiceError;
use updraft_core::storage::StorageError;

use crate::access::{AccessError, Refusal};

const DOCUMENTS: &str =
    "https://airflow.apache.org/docs/apache-airflow/2.11.2/stable-rest-api-ref.html#section/Errors/";

/// An error as the caller sees it. `title` and `detail` are copied from Airflow operation by operation: neither is
/// always there, and there is no rule which says what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    title: Option<String>,
    detail: Option<String>,
    /// The part of the documents that explains this kind; none for what the router refuses.
    section: Option<&'static str>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    fn new(status: StatusCode, section: Option<&'static str>, title: Option<String>, detail: Option<String>) -> Self {
        Self { status, title, detail, section, headers: Vec::new() }
    }

    /// Whether the request itself was at fault.
    pub(crate) fn is_refusal(&self) -> bool {
        self.status.is_client_error()
    }

    fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// 400 with the title `Bad Request`.
    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::bad_request_titled("Bad Request", Some(detail.into()))
    }

    /// 400 with a title of its own.
    pub(crate) fn bad_request_titled(title: impl Into<String>, detail: Option<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Some("BadRequest"), Some(title.into()), detail)
    }

    /// 400 for query parameters that the operation does not have; it has no title.
    pub(crate) fn extra_parameters(names: &[&str]) -> Self {
        let detail = format!("Extra query parameter(s) {} not in spec", names.join(", "));
        Self::new(StatusCode::BAD_REQUEST, Some("BadRequest"), None, Some(detail))
    }

    /// The same with another title.
    pub(crate) fn titled(mut self, title: &str) -> Self {
        self.title = Some(title.to_owned());
        self
    }

    /// 404 with a title, which often holds the whole text, and perhaps a detail.
    pub(crate) fn not_found(title: impl Into<String>, detail: Option<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, Some("NotFound"), Some(title.into()), detail)
    }

    /// 404 with the title `Not Found`.
    pub(crate) fn not_found_detail(detail: impl Into<String>) -> Self {
        Self::not_found("Not Found", Some(detail.into()))
    }

    /// 409 with the title `Conflict`.
    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, Some("AlreadyExists"), Some("Conflict".to_owned()), Some(detail.into()))
    }

    /// 403 with the title `Forbidden`.
    pub(crate) fn forbidden(detail: Option<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, Some("PermissionDenied"), Some("Forbidden".to_owned()), detail)
    }

    /// 401, with what the caller is to bring.
    pub(crate) fn unauthorized(challenge: Option<&str>) -> Self {
        let problem =
            Self::new(StatusCode::UNAUTHORIZED, Some("Unauthenticated"), Some("Unauthorized".to_owned()), None);
        match challenge.and_then(|text| HeaderValue::from_str(text).ok()) {
            Some(value) => problem.with_header(WWW_AUTHENTICATE, value),
            None => problem,
        }
    }

    /// 500; what happened goes to the log only.
    pub(crate) fn internal(error: &dyn std::error::Error) -> Self {
        let mut causes = vec![error.to_string()];
        let mut cause = error.source();
        while let Some(inner) = cause {
            causes.push(inner.to_string());
            cause = inner.source();
        }
        tracing::error!(error = causes.join(": "), "a request failed");
        Self::internal_silent()
    }

    /// 500, for what is in the log already.
    pub(crate) fn internal_silent() -> Self {
        let title = Some("Internal Server Error".to_owned());
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, Some("Unknown"), title, None)
    }

    /// 500 of what is kept encrypted and cannot be read: the caller is told, because only people can help.
    pub(crate) fn undecipherable(error: &StorageError) -> Self {
        tracing::error!(%error, "a secret cannot be decrypted");
        Self { detail: Some(error.to_string()), ..Self::internal_silent() }
    }

    /// 503: the same request may succeed after some seconds.
    pub(crate) fn unavailable(detail: impl Into<String>, retry_after_seconds: u64) -> Self {
        let title = Some("Service Unavailable".to_owned());
        Self::new(StatusCode::SERVICE_UNAVAILABLE, None, title, Some(detail.into()))
            .with_header(RETRY_AFTER, HeaderValue::from(retry_after_seconds))
    }

    /// 429: whoever goes on like this has to wait.
    fn too_many_requests(detail: String, retry_after: Duration) -> Self {
        let title = Some("Too Many Requests".to_owned());
        let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        Self::new(StatusCode::TOO_MANY_REQUESTS, None, title, Some(detail))
            .with_header(RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// 404 for a path without an operation.
    pub(crate) fn no_such_path() -> Self {
        let detail = "The requested URL was not found on the server. If you entered the URL manually please check your spelling and try again.";
        Self::new(StatusCode::NOT_FOUND, None, Some("Not Found".to_owned()), Some(detail.to_owned()))
    }

    /// 405 for a path whose operations have other methods.
    pub(crate) fn no_such_method() -> Self {
        let detail = "The method is not allowed for the requested URL.";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, None, Some("Method Not Allowed".to_owned()), Some(detail.to_owned()))
    }

    /// 415 for a body that does not say that it is JSON.
    pub(crate) fn not_json(content_type: &str) -> Self {
        let detail = format!("Invalid Content-type ({content_type}), expected JSON data");
        let title = Some("Unsupported Media Type".to_owned());
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, None, title, Some(detail))
    }

    /// 413. The rest of the body is not read, so the connection ends.
    pub(crate) fn body_too_large(limit: usize) -> Self {
        let detail = format!("The request body is larger than {limit} bytes.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, None, Some("Request Entity Too Large".to_owned()), Some(detail))
            .with_header(CONNECTION, HeaderValue::from_static("close"))
    }

    /// 431.
    pub(crate) fn headers_too_large() -> Self {
        let detail = "The request has too many or too large header fields.".to_owned();
        let title = Some("Request Header Fields Too Large".to_owned());
        Self::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, None, title, Some(detail))
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    pub(crate) fn body(&self) -> Value {
        let kind = self.section.map_or("about:blank".to_owned(), |section| format!("{DOCUMENTS}{section}"));
        json!({"detail": self.detail, "status": self.status.as_u16(), "title": self.title, "type": kind})
    }
}

/// For what an operation does not word itself.
impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::NotFound(_) => Self::not_found_detail(error.to_string()),
            ServiceError::AlreadyExists(_) | ServiceError::Conflict(..) => Self::conflict(error.to_string()),
            ServiceError::Invalid { message, .. } => Self::bad_request(message),
            ServiceError::InvalidParam { .. } => Self::bad_request(error.to_string()),
            ServiceError::Storage(error) => Self::from(error),
            error => Self::internal(&error),
        }
    }
}

/// For what an operation does not word itself.
impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::NotFound(_) => Self::not_found_detail(error.to_string()),
            StorageError::AlreadyExists(_) | StorageError::Conflict(..) => Self::conflict(error.to_string()),
            StorageError::Invalid(text) => Self::bad_request(text),
            StorageError::Undecipherable(..) => Self::undecipherable(&error),
            StorageError::Unavailable(_) => {
                tracing::warn!(%error, "the storage is unavailable");
                Self::unavailable("The storage cannot be reached.", 1)
            }
            error => Self::internal(&error),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unknown(challenge) => Self::unauthorized(challenge.as_deref()),
            Refusal::Forbidden => Self::forbidden(None),
            Refusal::Failed(error) => error.into(),
        }
    }
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        match &error {
            AccessError::Busy { retry_after } => Self::unavailable(error.to_string(), retry_after.as_secs().max(1)),
            AccessError::Throttled { retry_after } => Self::too_many_requests(error.to_string(), *retry_after),
            AccessError::Unavailable(_) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "no access can be decided");
                Self::unavailable("Users or roles cannot be read.", 1)
            }
        }
    }
}
