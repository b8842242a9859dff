//! What every answer has, whatever happens.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use updraft_core::clock::Clock;
use updraft_core::id::IdSource;

use super::problem::Problem;
use crate::body::Body;

const MAX_REQUEST_ID: usize = 128;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const ROBOTS: HeaderName = HeaderName::from_static("x-robots-tag");

/// What an answer takes over from its request.
#[derive(Debug)]
pub(crate) struct Envelope {
    request_id: HeaderValue,
    is_head: bool,
}

impl Envelope {
    /// With the caller's id of this request, or a new one.
    pub(crate) fn open(head: &Parts, clock: &dyn Clock, ids: &IdSource) -> Self {
        let fits = |value: &&HeaderValue| {
            (1..=MAX_REQUEST_ID).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
        };
        let request_id = match head.headers.get(REQUEST_ID).filter(fits) {
            Some(id) => id.clone(),
            None => HeaderValue::try_from(ids.uuid(clock.now()).to_string())
                .expect("a UUID is made of hexadecimal digits and hyphens"),
        };
        Self { request_id, is_head: head.method == Method::HEAD }
    }

    /// The answer that `work` gives, if it does not panic, with the headers of all answers.
    pub(crate) async fn close(self, work: impl Future<Output = Result<Response<Body>, Problem>>) -> Response<Body> {
        let Self { request_id, is_head } = self;
        let mut response = match AssertUnwindSafe(work).catch_unwind().await {
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
        // What is sent as it comes has no length.
        let length = http_body::Body::size_hint(response.body()).exact();
        if let Some(length) = length.filter(|_| response.status() != StatusCode::NO_CONTENT) {
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
        response
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "",
    }
}
