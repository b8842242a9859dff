//! Which pages of other origins may use the API from a browser.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, HeaderMap, HeaderValue,
};

use super::BuildError;

/// Which pages of other origins may use the API from a browser: none, unless a host says so.
///
/// As in Airflow, what is set goes to every answer of a path that exists, whatever was asked; nothing is derived from a
/// preflight request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cors {
    headers: String,
    methods: String,
    origins: Vec<String>,
}

impl Cors {
    /// Nothing is allowed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The header fields that may be sent (`access_control_allow_headers`), as `origin, content-type, authorization`.
    #[must_use]
    pub fn allow_headers(mut self, headers: impl Into<String>) -> Self {
        self.headers = headers.into();
        self
    }

    /// The methods that may be used (`access_control_allow_methods`), as `GET, POST`.
    #[must_use]
    pub fn allow_methods(mut self, methods: impl Into<String>) -> Self {
        self.methods = methods.into();
        self
    }

    /// The origins that may ask (`access_control_allow_origins`), as `https://example.org`; `*` alone for all.
    #[must_use]
    pub fn allow_origins<O: Into<String>>(mut self, origins: impl IntoIterator<Item = O>) -> Self {
        self.origins = origins.into_iter().map(Into::into).collect();
        self
    }

    pub(super) fn headers(&self) -> &str {
        &self.headers
    }

    pub(super) fn methods(&self) -> &str {
        &self.methods
    }

    pub(super) fn origins(&self) -> String {
        self.origins.join(" ")
    }

    pub(super) fn compile(&self) -> Result<CorsHeaders, BuildError> {
        let value = |text: &str| {
            HeaderValue::from_str(text).map_err(|_| BuildError::new(format!("{text:?} is no value of a CORS header")))
        };
        let optional = |text: &str| (!text.is_empty()).then(|| value(text)).transpose();
        if let Some(origin) = self.origins.iter().find(|origin| origin.is_empty() || origin.contains(' ')) {
            return Err(BuildError::new(format!("{origin:?} is no origin")));
        }
        let origins: Vec<_> = self.origins.iter().map(|origin| value(origin)).collect::<Result<_, _>>()?;
        let is_for_all = self.origins == ["*"];
        Ok(CorsHeaders { headers: optional(&self.headers)?, methods: optional(&self.methods)?, origins, is_for_all })
    }
}

/// The header fields of answers.
#[derive(Debug)]
pub(super) struct CorsHeaders {
    headers: Option<HeaderValue>,
    methods: Option<HeaderValue>,
    origins: Vec<HeaderValue>,
    is_for_all: bool,
}

impl CorsHeaders {
    /// Says in an answer what the page may do from which the request came.
    pub(super) fn apply(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        let allowed = match origin {
            Some(origin) if !self.is_for_all => self.origins.iter().find(|allowed| *allowed == origin),
            // Whoever names no origin learns of the first.
            _ => self.origins.first(),
        };
        let fields = [
            (ACCESS_CONTROL_ALLOW_HEADERS, self.headers.as_ref()),
            (ACCESS_CONTROL_ALLOW_METHODS, self.methods.as_ref()),
            (ACCESS_CONTROL_ALLOW_ORIGIN, allowed),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                answer.insert(name, value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(cors: &Cors, asked: Option<&'static str>) -> Option<String> {
        let mut answer = HeaderMap::new();
        let asked = asked.map(HeaderValue::from_static);
        cors.compile().unwrap().apply(asked.as_ref(), &mut answer);
        answer.get(ACCESS_CONTROL_ALLOW_ORIGIN).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn origins_are_matched_whole() {
        assert_eq!(origin(&Cors::new(), Some("https://a")), None);
        let all = Cors::new().allow_origins(["*"]);
        assert_eq!(origin(&all, Some("https://a")).as_deref(), Some("*"));
        assert_eq!(origin(&all, None).as_deref(), Some("*"));
        let two = Cors::new().allow_origins(["https://a", "https://b"]);
        assert_eq!(origin(&two, Some("https://b")).as_deref(), Some("https://b"));
        assert_eq!(origin(&two, Some("https://b.example")), None);
        assert_eq!(origin(&two, None).as_deref(), Some("https://a"));
    }

    #[test]
    fn what_no_header_can_hold_is_refused() {
        for cors in [
            Cors::new().allow_origins(["https://a https://b"]),
            Cors::new().allow_origins([""]),
            Cors::new().allow_headers("a\nb"),
            Cors::new().allow_methods("\u{7f}"),
        ] {
            assert!(cors.compile().is_err(), "{cors:?}");
        }
    }
}
