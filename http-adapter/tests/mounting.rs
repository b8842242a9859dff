//! Hosts mount the API as a tower service.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::SocketAddr;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use updraft_core::clock::SystemClock;
use updraft_core::id::IdSource;
use updraft_core::log::MemoryLogs;
use updraft_core::service::{Service, Settings};
use updraft_http_adapter::airflow::{Airflow, AirflowBuilder};
use updraft_storage_memory::MemoryStorage;

fn builder() -> AirflowBuilder {
    let clock = Arc::new(SystemClock::new());
    let storage = Arc::new(MemoryStorage::new(clock.clone()));
    let logs = Arc::new(MemoryLogs::default());
    let service = Service::new(storage, logs, IdSource::from_seed(1), Settings::default());
    Airflow::builder(service, clock)
}

fn airflow(base_path: &str) -> Airflow {
    builder().base_path(base_path).build().unwrap()
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn nested_in_axum() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = axum::Router::new()
        .route("/", axum::routing::get(|| async { "the host's own page" }))
        .nest_service("/flows/api/v1", airflow("/flows/api/v1"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    assert!(get(address, "/").await.ends_with("the host's own page"));
    assert!(get(address, "/flows/api/v1/version").await.contains("\"version\": \"2.11.2\""));
    assert!(get(address, "/flows/api/v1/openapi.json").await.contains(r#""url":"/flows/api/v1""#));
    assert!(get(address, "/flows/api/v1/dags").await.starts_with("HTTP/1.1 401"));
    assert!(get(address, "/version").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn served_by_plain_hyper() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = TowerToHyperService::new(airflow("/api/v1"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    assert!(get(address, "/api/v1/health").await.contains("\"metadatabase\": {"));
    assert!(get(address, "/api/v1/nope").await.starts_with("HTTP/1.1 404"));
    assert!(get(address, "/api/v1").await.starts_with("HTTP/1.1 404"));
}

#[test]
fn a_base_path_is_checked() {
    for bad in ["api", "/", "/api/", "/a//b", "/a b"] {
        assert!(builder().base_path(bad).build().is_err(), "{bad}");
    }
    let _ = airflow("");
}
