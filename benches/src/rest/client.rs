//! A client that keeps its connection.

use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A request: the path after the base path, and a body for those that are posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ask {
    pub path: String,
    pub body: Option<String>,
}

impl Ask {
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self { path: path.into(), body: None }
    }

    pub(super) fn post(path: impl Into<String>, body: impl Into<String>) -> Self {
        Self { path: path.into(), body: Some(body.into()) }
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    credentials: String,
}

impl Client {
    /// # Panics
    /// The server does not answer.
    pub(super) async fn connect(address: SocketAddr, user: &str, password: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("an option of the socket");
        let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("HTTP");
        tokio::spawn(async move { connection.await.ok() });
        let credentials = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        Self { sender, host: address.to_string(), credentials }
    }

    /// # Panics
    /// The server does not answer.
    pub(super) async fn ask(&mut self, ask: &Ask) -> (StatusCode, Bytes) {
        let method = if ask.body.is_some() { Method::POST } else { Method::GET };
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{}", ask.path))
            .header(HOST, &self.host)
            .header(AUTHORIZATION, &self.credentials)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(ask.body.clone().unwrap_or_default()))
            .expect("a request");
        self.sender.ready().await.expect("the connection is kept");
        let (head, body) = self.sender.send_request(request).await.expect("the server answers").into_parts();
        (head.status, body.collect().await.expect("a whole answer").to_bytes())
    }
}
