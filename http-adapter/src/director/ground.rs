//! The way of a request: path, method, caller, handler.

use std::panic::AssertUnwindSafe;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use updraft_core::service::{Actor, Service};

use super::answer::{Answer, Problem, options, reply};
use super::handler;
use super::path::Path;
use crate::access::{Access, Action, Gate, Principal, Resource};
use crate::body::Body;
use crate::schema::Schema;

/// Payloads are stored, and handed to every task.
const MAX_BODY: usize = 16 * 1024 * 1024;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Everything that all requests share.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) service: Service,
    pub(super) gate: Gate,
    pub(super) base_path: String,
    pub(super) per_page: u64,
    /// Of the body of a launch.
    pub(super) launch: Schema,
}

impl Ground {
    /// Answers a request. Whatever happens, there is an answer.
    pub(super) async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let (head, body) = request.into_parts();
        let is_head = head.method == Method::HEAD;
        let answered = AssertUnwindSafe(self.dispatch(head, body)).catch_unwind().await;
        let mut response = match answered {
            Ok(Ok(response)) => response,
            Ok(Err(problem)) => problem.into_response(),
            Err(_) => {
                tracing::error!("a handler panicked");
                Problem::internal().into_response()
            }
        };
        let length = http_body::Body::size_hint(response.body()).exact().unwrap_or(0);
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if is_head {
            *response.body_mut() = Body::default();
        }
        response
    }

    async fn dispatch<B>(&self, head: Parts, body: B) -> Answer
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let path = match head.uri.path().strip_prefix(self.base_path.as_str()) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
            // A host that nests services has taken the prefix away.
            _ => head.uri.path(),
        };
        let path = Path::find(path).ok_or_else(Problem::no_such_path)?;
        if !path.allows(&head.method) {
            return Err(Problem::no_such_method());
        }
        if head.method == Method::OPTIONS {
            return Ok(options(path.methods()));
        }
        let is_launch = head.method == Method::POST;
        let (read, create, edit) = (Action::Read, Action::Create, Action::Edit);
        let access = match &path {
            Path::Ping => Access::Open,
            Path::Definitions => Access::Dag(read),
            Path::Workflows if is_launch => Access::DagPart(create, &[Resource::DagRuns]),
            Path::Relaunch(_) => Access::DagPart(create, &[Resource::DagRuns]),
            Path::Cancel(_) => Access::DagPart(edit, &[Resource::DagRuns]),
            Path::Workflows => Access::DagPart(read, &[Resource::DagRuns]),
            Path::Workflow(_) => Access::DagPart(read, &[Resource::DagRuns, Resource::TaskInstances]),
        };
        let principal = self.gate.admit(&access, &head, None).await?;
        let call = Call { ground: self, principal };
        match path {
            Path::Ping => Ok(reply(StatusCode::OK, &serde_json::json!({ "message": "pong" }))),
            Path::Definitions => handler::definitions(&call).await,
            Path::Workflows if is_launch => {
                let bytes = read_body(body).await?;
                handler::launch(&call, &head.headers, &bytes).await
            }
            Path::Workflows => handler::workflows(&call, head.uri.query().unwrap_or_default()).await,
            Path::Workflow(id) => handler::workflow(&call, &id).await,
            Path::Relaunch(id) => handler::relaunch(&call, &id).await,
            Path::Cancel(id) => handler::cancel(&call, &id).await,
        }
    }
}

/// A request whose caller was let in.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) ground: &'a Ground,
    pub(super) principal: Principal,
}

impl Call<'_> {
    pub(super) fn service(&self) -> &Service {
        &self.ground.service
    }

    /// Who asks, for the event log.
    pub(super) fn actor(&self) -> Actor {
        Actor::new(self.principal.name.clone()).through("director")
    }

    /// Whether the caller may do this to one DAG.
    pub(super) async fn may(&self, action: Action, dag_id: &str) -> Result<bool, Problem> {
        Ok(self.ground.gate.authorizer.permits(&self.principal, action, Resource::Dags, Some(dag_id)).await?)
    }
}

async fn read_body<B>(body: B) -> Result<Bytes, Problem>
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Problem::too_large()),
        Err(_) => Err(Problem::malformed()),
    }
}
