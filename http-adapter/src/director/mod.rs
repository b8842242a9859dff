//! Celery Director's API (0.10.0): workflows, their tasks, and the definitions that they are launched from.
//!
//! [`Director`] is a [`tower_service::Service`], as [`Airflow`](crate::airflow::Airflow) is one. A workflow is a run of a
//! DAG that a Director project defines, and its id the run's uid; a task is a task instance, with an id that follows from
//! the workflow's and its own name. The comment is the run's note, the payload its conf. What is done here can be seen
//! through Airflow's API, and the other way round: who clears a run there starts the workflow over.
//!
//! # Statuses
//!
//! | status | workflow | task |
//! |---|---|---|
//! | `pending` | its run is queued | it waits for tasks before it, or for room |
//! | `progress` | its run is running and no task has failed | it runs, or waits to be run again |
//! | `success` | its run succeeded | it succeeded |
//! | `error` | a task has failed; others of its group may still run | it failed |
//! | `canceled` | somebody cancelled it, or marked its run failed before a task had failed | it will not run, or was ended |
//!
//! # Where it differs from Director
//!
//! - After a failure the tasks that will not run are `canceled`, with and without a failure hook, and so is the success hook;
//!   in Director without a failure hook they stay `pending` for ever.
//! - Who cancels a workflow ends it: running tasks are told to end, and nothing that they do later counts. In 0.10.0 it goes
//!   on and may still succeed.
//! - While a success hook runs the workflow is in `progress`; in Director it is a `success` that may become an `error`.
//! - A definition that cannot run is refused when its file is read: it is not listed, launching it is 404 as if there were
//!   none, and the reason is an import error in Airflow's API. In Director it is listed, and launching it is 500 and leaves a
//!   workflow that stays `pending` for ever. A definition that becomes wrong keeps its last good version.
//! - Ids that are no UUIDs are 404, bodies that are no objects 400, comments of more than 255 characters 400, and numbers
//!   of pages beyond 64 bits 404 (pages) or the whole list (sizes); all are 500 in Director.
//! - Tracebacks begin in the project's files: there are no frames of Celery's.
//! - A workflow's tasks are listed in the order of the definition, hooks last. In Director the order is any.
//! - All tasks of a workflow run in one process. Queues choose it: a workflow runs where all its queues are served.
//! - Periodic workflows are known by their schedule, and wait for an engine for schedules.
//! - There is no web page.
//!
//! # Access
//!
//! The same principals, roles and permissions as everywhere; what was open in Director needs an
//! [anonymous role](DirectorBuilder::anonymous_role). Listing and reading needs to read DAGs and their runs, launching (again)
//! to create runs, cancelling to edit them. As in Director, who may not is told so before the request is looked at.

mod answer;
mod body;
mod ground;
mod handler;
mod path;
mod show;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use updraft_core::service::Service;

use crate::access::{Authenticator, Authorizer, Gate, Nobody, RoleAuthorizer};
use crate::body::Body;
use crate::schema::Schema;
use ground::Ground;

/// How many workflows a page has where nobody says.
const PER_PAGE: u64 = 1000;

/// Celery Director's API. Cloning it is cheap.
///
/// A request's path may begin with the base path (`/api` unless [told otherwise](DirectorBuilder::base_path)) or come
/// without it, as hosts that nest services hand it on.
#[derive(Debug, Clone)]
pub struct Director {
    ground: Arc<Ground>,
}

/// What a host settles before the API answers.
#[derive(Debug)]
pub struct DirectorBuilder {
    service: Service,
    gate: Gate,
    base_path: String,
    per_page: u64,
}

impl Director {
    /// Begins to build the API. Until an authenticator or an anonymous role is set, it refuses everybody.
    pub fn builder(service: Service) -> DirectorBuilder {
        let gate = Gate {
            authenticator: Arc::new(Nobody),
            authorizer: Arc::new(RoleAuthorizer::new(service.clone())),
            anonymous_role: None,
        };
        DirectorBuilder { service, gate, base_path: "/api".to_owned(), per_page: PER_PAGE }
    }
}

impl DirectorBuilder {
    /// Who says who calls.
    #[must_use]
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.gate.authenticator = Arc::new(authenticator);
        self
    }

    /// Who says what callers may do; by default the roles of [`default_roles`](updraft_core::service::default_roles).
    #[must_use]
    pub fn authorizer(mut self, authorizer: impl Authorizer) -> Self {
        self.gate.authorizer = Arc::new(authorizer);
        self
    }

    /// The role of callers without valid credentials; by default they are refused.
    #[must_use]
    pub fn anonymous_role(mut self, role: impl Into<String>) -> Self {
        self.gate.anonymous_role = Some(role.into());
        self
    }

    /// Where clients find the API on this host.
    #[must_use]
    pub fn base_path(mut self, path: impl Into<String>) -> Self {
        self.base_path = path.into();
        self
    }

    /// How many workflows a page of the list has if the request does not say (`DIRECTOR_WORKFLOWS_PER_PAGE`); 1000 by
    /// default.
    #[must_use]
    pub fn per_page(mut self, count: u64) -> Self {
        self.per_page = count;
        self
    }

    /// Builds the API.
    pub fn build(self) -> Director {
        let Self { service, gate, base_path, per_page } = self;
        let launch = Schema::document(&body::launch_schema()).expect("Director's own schema is one");
        Director { ground: Arc::new(Ground { service, gate, base_path, per_page, launch }) }
    }
}

impl<B> tower_service::Service<Request<B>> for Director
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
