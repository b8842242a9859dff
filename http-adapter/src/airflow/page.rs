//! Pages that are not operations: the document itself, and a page to browse it.

use http::Response;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};

use super::document::Document;
use crate::body::Body;

/// A page that needs no credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    Json,
    Yaml,
    Browser,
    Script,
    Style,
}

impl Page {
    pub(super) const ALL: &[Self] = &[Self::Json, Self::Yaml, Self::Browser, Self::Script, Self::Style];

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Json => "/openapi.json",
            Self::Yaml => "/openapi.yaml",
            Self::Browser => "/ui/",
            Self::Script => "/ui/browser.js",
            Self::Style => "/ui/browser.css",
        }
    }

    pub(super) fn response(self, document: &Document, base_path: &str) -> Response<Body> {
        let (content_type, body) = match self {
            Self::Json => ("application/json", Body::from(document.json(base_path))),
            Self::Yaml => ("text/yaml", Body::from(Document::yaml(base_path))),
            Self::Browser => ("text/html; charset=utf-8", Body::from(include_str!("browser.html"))),
            Self::Script => ("text/javascript; charset=utf-8", Body::from(include_str!("browser.js"))),
            Self::Style => ("text/css; charset=utf-8", Body::from(include_str!("browser.css"))),
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if self == Self::Browser {
            let policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
            headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
        }
        response
    }
}
