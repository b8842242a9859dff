//! An accept loop for hosts that have no HTTP server of their own.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower_service::Service;
use updraft_core::clock::Clock;

use crate::Body;
use crate::access::Peer;

/// What the server allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most connections at a time; further ones wait to be accepted.
    pub connections: usize,
    /// Longest time to send a request's head.
    pub head: Duration,
    /// Longest time for an answer.
    pub answer: Duration,
    /// Longest time for open requests to end when the server stops.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            head: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            grace: Duration::from_secs(10),
        }
    }
}

/// The body of a request to the server.
#[derive(Debug)]
pub struct RequestBody(Incoming);

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.0).poll_frame(context).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// An HTTP server (versions 1.1 and 2) for one service.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    limits: Limits,
    clock: Arc<dyn Clock>,
}

impl Server {
    /// Listens on an address.
    ///
    /// # Errors
    /// The address cannot be had.
    pub async fn bind(address: SocketAddr, limits: Limits, clock: Arc<dyn Clock>) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, limits, clock })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The operating system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` ends; then it accepts nothing more and lets open requests end.
    pub async fn serve<S>(self, service: S, stop: impl Future<Output = ()> + Send)
    where
        S: Service<Request<RequestBody>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
    {
        let room = Arc::new(Semaphore::new(self.limits.connections));
        let open = GracefulShutdown::new();
        let mut connections = tokio::task::JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            let accepted = tokio::select! {
                () = &mut stop => break,
                accepted = self.accept(&room) => accepted,
            };
            // Ended connections are not kept until the end.
            while connections.try_join_next().is_some() {}
            let Some((stream, peer, permit)) = accepted else { continue };
            let connection = self.connection(stream, peer, service.clone(), &open);
            connections.spawn(async move {
                connection.await;
                drop(permit);
            });
        }
        drop(self.listener);
        tokio::select! {
            () = open.shutdown() => {}
            () = self.clock.sleep(self.limits.grace) => tracing::warn!("requests are cut off: they took too long to end"),
        }
    }

    async fn accept(&self, room: &Arc<Semaphore>) -> Option<(TcpStream, Peer, tokio::sync::OwnedSemaphorePermit)> {
        let permit = Arc::clone(room).acquire_owned().await.ok()?;
        match self.listener.accept().await {
            Ok((stream, peer)) => Some((stream, Peer(peer.ip()), permit)),
            Err(error) => {
                // Usually out of file descriptors: others must end first.
                tracing::warn!(%error, "a connection could not be accepted");
                self.clock.sleep(Duration::from_millis(50)).await;
                None
            }
        }
    }

    fn connection<S>(
        &self,
        stream: TcpStream,
        peer: Peer,
        service: S,
        open: &GracefulShutdown,
    ) -> impl Future<Output = ()> + Send + use<S>
    where
        S: Service<Request<RequestBody>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
    {
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(self.limits.head).max_buf_size(64 * 1024);
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(100).max_header_list_size(64 * 1024);
        let (clock, longest) = (Arc::clone(&self.clock), self.limits.answer);
        let has_asked = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&has_asked);
        let answer = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            asked.store(true, Ordering::Relaxed);
            let mut service = service.clone();
            let clock = Arc::clone(&clock);
            async move {
                tokio::select! {
                    answer = service.call(request.map(RequestBody)) => answer,
                    () = clock.sleep(longest) => Ok(too_slow()),
                }
            }
        });
        let connection = open.watch(builder.serve_connection(TokioIo::new(stream), answer).into_owned());
        let until_asked = self.clock.sleep(self.limits.head);
        async move {
            let mut connection = std::pin::pin!(connection);
            // Before the protocol is known, no other timer runs: whoever says nothing must not keep a place.
            let ended = tokio::select! {
                ended = &mut connection => ended,
                () = until_asked => {
                    if !has_asked.load(Ordering::Relaxed) {
                        return;
                    }
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(error, "a connection ended badly");
            }
        }
    }
}

fn too_slow() -> Response<Body> {
    let mut answer = Response::new(Body::from("the answer took too long\n"));
    *answer.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
    answer
}
