//! The API behind a socket, and what it answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::DateTime;
use http::header::AUTHORIZATION;
use http::request::Parts;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use updraft_core::clock::Clock;
use updraft_core::dag::content_hash;
use updraft_core::id::IdSource;
use updraft_core::model::{Dag, RunState, TaskState};
use updraft_core::service::{Actor, Service, Settings, TriggerRequest};
use updraft_core::storage::{DagRegistration, DagStorage, EventLogQuery, EventLogStorage};
use updraft_http_adapter::access::{AccessError, Authenticator, Principal};
use updraft_http_adapter::airflow_experimental::AirflowExperimental;

use crate::common::World;

/// Knows everybody by a token that is the name of the caller's role.
#[derive(Debug)]
pub(crate) struct ByRole;

#[async_trait]
impl Authenticator for ByRole {
    async fn authenticate(&self, head: &Parts) -> Result<Option<Principal>, AccessError> {
        let given = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Role "));
        Ok(given.map(|role| Principal::named(role.to_lowercase(), [role.to_owned()])))
    }

    fn challenge(&self) -> Option<&str> {
        Some("Basic")
    }
}

/// The API behind a socket, over an embedded storage whose runs are played by hand.
pub(crate) struct Api {
    pub(crate) world: World,
    pub(crate) service: Service,
    pub(crate) address: SocketAddr,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    #[track_caller]
    pub(crate) fn assert(&self, status: u16, text: &str) {
        assert_eq!((self.status, self.text.as_str()), (status, text));
    }

    #[track_caller]
    pub(crate) fn assert_error(&self, status: u16, error: &str) {
        assert_eq!((self.status, self.json()), (status, json!({"error": error})));
    }
}

impl Api {
    pub(crate) async fn new() -> Self {
        Self::with_anonymous(None).await
    }

    pub(crate) async fn with_anonymous(role: Option<&str>) -> Self {
        let world = World::new().await;
        let ids = IdSource::from_seed(2);
        let service = Service::new(world.storage.clone(), world.logs.clone(), ids, Settings::default());
        let mut builder = AirflowExperimental::builder(service.clone(), Arc::new(world.clock.clone()));
        if let Some(role) = role {
            builder = builder.anonymous_role(role);
        }
        let api = builder.authenticator(Arc::new(ByRole)).build().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = TowerToHyperService::new(api.clone());
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(async move { connection.serve_connection(TokioIo::new(stream), service).await });
            }
        });
        Self { world, service, address }
    }

    pub(crate) async fn register(&self, dag: Dag, paused: bool, source: Option<&str>) {
        let registration = DagRegistration {
            content_hash: content_hash(&dag),
            dag: Arc::new(dag),
            paused_upon_creation: paused,
            source: source.map(Into::into),
        };
        self.world.storage.register_dags(self.world.clock.now(), vec![registration]).await.unwrap();
    }

    /// A DAG of two tasks, with a run of 2024-02-01 that has ended well.
    pub(crate) async fn with_run(self) -> Self {
        self.world.register("d", false, &[("a", &[]), ("b", &["a"])]).await;
        self.run("d", "r", "2024-02-01T00:00:00Z").await;
        let done = |task| (task, Some(TaskState::Success), json!("done"));
        self.world.play("d", "r", &[done("a"), done("b")], Some(RunState::Success)).await;
        self
    }

    pub(crate) async fn run(&self, dag_id: &str, run_id: &str, date: &str) {
        let dag = self.service.dag_to_trigger(dag_id).await.unwrap();
        let logical_date = Some(DateTime::parse_from_rfc3339(date).unwrap());
        let request = TriggerRequest { run_id: Some(run_id.into()), logical_date, ..TriggerRequest::default() };
        self.service.trigger(&dag, request, &Actor::default()).await.unwrap();
    }

    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, text) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        Answer { status, headers, text: text.to_owned() }
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        self.send(method, &format!("/api/experimental{path}"), &[("Authorization", "Role Admin")], body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, "").await
    }

    pub(crate) async fn events(&self) -> Vec<(String, Option<String>)> {
        let events = self.world.storage.events(&EventLogQuery::default()).await.unwrap().items;
        let experimental = events.iter().filter(|event| event.event.starts_with("experimental."));
        experimental.map(|event| (event.event.to_string(), event.owner.clone())).collect()
    }
}
