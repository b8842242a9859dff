//! An orchestrator with a folder of its own, spoken to over the REST API.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Request;
use http::request::Parts;
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::ServiceExt;
use updraft::http::access::{AccessError, Authenticator, Principal};
use updraft::http::airflow::Airflow;
use updraft::operators::OperatorsConfig;
use updraft::{Running, Updraft};

#[derive(Debug)]
struct Admin;

#[async_trait]
impl Authenticator for Admin {
    async fn authenticate(&self, _: &Parts) -> Result<Option<Principal>, AccessError> {
        Ok(Some(Principal::named("admin", ["Admin".to_owned()])))
    }
}

/// The memory storage, the built-in operators and the API.
pub(crate) struct Server {
    updraft: Updraft,
    running: Running,
    airflow: Airflow,
}

impl Server {
    pub(crate) async fn start(dags: &Path) -> Self {
        let builder = Updraft::builder().builtin_operators(OperatorsConfig::default()).dag_folder(dags);
        let updraft = builder.build().unwrap();
        let running = updraft.start().await.unwrap();
        let airflow = updraft.airflow().authenticator(Admin).build().unwrap();
        Self { updraft, running, airflow }
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let mut request = Request::builder().method(method).uri(format!("/api/v1{path}"));
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = request.body(Full::<Bytes>::from(body)).unwrap();
        let answer = self.airflow.clone().oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&text).unwrap_or(Value::Null))
    }

    /// What is there; null if nothing is.
    pub(crate) async fn get(&self, path: &str) -> Value {
        match self.call("GET", path, None).await {
            (200, found) => found,
            _ => Value::Null,
        }
    }

    pub(crate) async fn sleep(&self, duration: Duration) {
        self.updraft.clock().sleep(duration).await;
    }

    pub(crate) fn now_micros(&self) -> i64 {
        self.updraft.clock().now().timestamp_micros()
    }

    pub(crate) async fn stop(self) {
        self.running.shutdown(Duration::from_secs(5)).await;
    }
}

/// A text as a part of a path.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => quoted.push(char::from(byte)),
            _ => quoted.push_str(&format!("%{byte:02X}")),
        }
    }
    quoted
}
