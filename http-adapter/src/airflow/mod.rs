//! Airflow's stable REST API, version 1, as Airflow 2.11.2 speaks it.
//!
//! [`Airflow`] is a [`tower_service::Service`]: it is nested into an axum application, served by a plain hyper server, or
//! called in process.

mod accept;
mod audit;
mod call;
mod check;
mod cron;
mod date;
mod document;
mod field;
mod file_token;
mod ground;
mod handler;
mod json;
mod operation;
mod page;
mod param;
mod problem;
mod query;
mod reply;
mod route;
mod state;
mod timetable;
mod token;

#[cfg(test)]
mod ground_test;
#[cfg(test)]
mod reference_test;

use std::convert::Infallible;
use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use updraft_core::clock::Clock;
use updraft_core::engine::SchedulerStatus;
use updraft_core::id::IdSource;
use updraft_core::service::Service;

use crate::access::{Authenticator, Authorizer, Gate, Nobody, RoleAuthorizer};
use crate::body::Body;
use ground::Ground;
use state::State;
pub use token::TokenKey;

/// Airflow's stable REST API, version 1. Cloning it is cheap.
///
/// A request's path may begin with the base path (`/api/v1` unless [told otherwise](AirflowBuilder::base_path)) or come
/// without it, as hosts that nest services hand it on.
#[derive(Debug, Clone)]
pub struct Airflow {
    ground: Arc<Ground<State>>,
}

/// What a host settles before the API answers.
#[derive(Debug)]
pub struct AirflowBuilder {
    state: State,
    host: Host,
}

#[derive(Debug)]
struct Host {
    gate: Gate,
    base_path: String,
    clock: Arc<dyn Clock>,
    ids: IdSource,
}

impl Host {
    fn new(clock: Arc<dyn Clock>, ids: IdSource) -> Self {
        let gate =
            Gate { authenticator: Arc::new(Nobody), authorizer: Arc::new(RoleAuthorizer::new()), anonymous_role: None };
        Self { gate, base_path: "/api/v1".to_owned(), clock, ids }
    }
}

/// The API cannot be built; it says why.
#[derive(Debug, thiserror::Error)]
#[error("the Airflow API cannot be built: {0}")]
pub struct BuildError(String);

impl BuildError {
    fn new(reason: impl Display) -> Self {
        Self(reason.to_string())
    }
}

impl Airflow {
    /// Begins to build the API. Until an authenticator or an anonymous role is set, it refuses everybody.
    pub fn builder(service: Service, clock: Arc<dyn Clock>) -> AirflowBuilder {
        let host = Host::new(Arc::clone(&clock), service.ids().clone());
        let token_key = TokenKey::random(service.ids());
        AirflowBuilder { state: State { service, clock, token_key, scheduler: None }, host }
    }
}

impl AirflowBuilder {
    /// The scheduler of this process, whose health the API then tells.
    #[must_use]
    pub fn scheduler(mut self, status: SchedulerStatus) -> Self {
        self.state.scheduler = Some(status);
        self
    }

    /// What signs the tokens of logs; by default a key of this process. Servers that stand for each other share one.
    #[must_use]
    pub fn token_key(mut self, key: TokenKey) -> Self {
        self.state.token_key = key;
        self
    }

    /// Who says who calls.
    #[must_use]
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.host.gate.authenticator = Arc::new(authenticator);
        self
    }

    /// Who says what callers may do; by default the roles of [`crate::access::default_roles`].
    #[must_use]
    pub fn authorizer(mut self, authorizer: impl Authorizer) -> Self {
        self.host.gate.authorizer = Arc::new(authorizer);
        self
    }

    /// The role of callers without valid credentials; by default they are refused.
    #[must_use]
    pub fn anonymous_role(mut self, role: impl Into<String>) -> Self {
        self.host.gate.anonymous_role = Some(role.into());
        self
    }

    /// Where clients find the API on this host.
    #[must_use]
    pub fn base_path(mut self, path: impl Into<String>) -> Self {
        self.host.base_path = path.into();
        self
    }

    /// Builds the API.
    ///
    /// # Errors
    /// If the base path is neither empty nor of the form `/a/b`.
    pub fn build(self) -> Result<Airflow, BuildError> {
        let path = &self.host.base_path;
        let parts_are_named =
            path.is_empty() || path.strip_prefix('/').is_some_and(|rest| !rest.split('/').any(str::is_empty));
        if !parts_are_named || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BuildError::new(format!("the base path {path:?} is not of the form /a/b")));
        }
        Ok(Airflow { ground: Arc::new(Ground::new(Arc::new(self.state), handler::operations(), self.host)?) })
    }
}

impl<B> tower_service::Service<Request<B>> for Airflow
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let ground = Arc::clone(&self.ground);
        Box::pin(async move { Ok(ground.answer(request).await) })
    }
}
