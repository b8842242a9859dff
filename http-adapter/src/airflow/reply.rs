//! Answers of handlers.

use std::io;

use bytes::Bytes;
use futures_util::Stream;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::Value;

use super::json;
use super::problem::Problem;
use crate::body::Body;

/// What a handler answers.
#[derive(Debug)]
pub(crate) struct Reply {
    status: StatusCode,
    content_type: &'static str,
    body: Body,
}

impl Reply {
    /// 200 with JSON.
    pub(crate) fn json(value: &Value) -> Self {
        Self { status: StatusCode::OK, content_type: "application/json", body: json::to_vec(value).into() }
    }

    /// 200 with JSON of what has its members in order.
    pub(crate) fn ordered(value: &impl Serialize) -> Self {
        Self { status: StatusCode::OK, content_type: "application/json", body: json::ordered_to_vec(value).into() }
    }

    /// 200 with JSON on one line, as the few operations answer that write it themselves.
    pub(crate) fn json_line(value: &Value) -> Self {
        Self { status: StatusCode::OK, content_type: "application/json", body: json::dumps(value).into_bytes().into() }
    }

    /// 200 with JSON, four spaces a level, as the configuration is written.
    pub(crate) fn json_indented(value: &Value) -> Self {
        let body = json::dumps_indented(value).into_bytes().into();
        Self { status: StatusCode::OK, content_type: "application/json", body }
    }

    /// 200 with plain text.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self { status: StatusCode::OK, content_type: "text/plain", body: text.into().into_bytes().into() }
    }

    /// 200 with plain text that is sent as it comes.
    pub(crate) fn text_stream(parts: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        Self { status: StatusCode::OK, content_type: "text/plain", body: Body::stream(parts) }
    }

    /// 201 with a text that is no JSON.
    pub(crate) fn created(text: &'static str) -> Self {
        Self { status: StatusCode::CREATED, content_type: "text/html; charset=utf-8", body: text.into() }
    }

    /// 204. It says that it is JSON, as in Airflow.
    pub(crate) fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, content_type: "application/json", body: Body::default() }
    }

    /// 204 of the operations that say nothing of JSON.
    pub(crate) fn no_content_page() -> Self {
        Self { content_type: "text/html; charset=utf-8", ..Self::no_content() }
    }

    /// 406: none of the media types that the caller accepts can be given.
    pub(crate) fn not_acceptable(text: &'static str) -> Self {
        Self { status: StatusCode::NOT_ACCEPTABLE, content_type: "text/html; charset=utf-8", body: text.into() }
    }

    /// 403 that a handler explains itself.
    pub(crate) fn forbidden_page(text: &str) -> Self {
        Self {
            status: StatusCode::FORBIDDEN,
            content_type: "text/html; charset=utf-8",
            body: text.as_bytes().to_vec().into(),
        }
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        response
    }
}

impl Problem {
    pub(crate) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(json::to_vec(&self.body())));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        for (name, value) in self.headers() {
            headers.insert(name.clone(), value.clone());
        }
        response
    }
}
