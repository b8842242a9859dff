//! Airflow's old experimental API, as Airflow 2.11.2 still speaks it. Hosts that need it mount it beside the stable one.
//!
//! Unlike Airflow's, it asks what a caller may do, not only who it is.

mod date;
mod handler;
mod reply;
mod route;
mod show;

use std::convert::Infallible;
use std::fmt::{self, Debug};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{Request, Response};
use updraft_core::clock::Clock;
use updraft_core::service::Service;

use crate::access::{Authenticator, Authorizer, Gate, Nobody, Principal, Refusal, RoleAuthorizer};
use crate::airflow::envelope::Envelope;
use crate::airflow::ground::{BoxError, check_headers, options, path_below, read_body, redirect};
use crate::airflow::problem::Problem;
use crate::airflow::{BuildError, check_base_path};
use crate::body::Body;
use reply::Failure;
use route::{Call, Found, Route};

/// Where clients look for the API.
pub const BASE_PATH: &str = "/api/experimental";

/// Airflow's experimental API. Cloning it is cheap.
///
/// A request's path may begin with the base path ([`BASE_PATH`] unless [told
/// otherwise](AirflowExperimentalBuilder::base_path)) or come without it, as hosts that nest services hand it on.
#[derive(Debug, Clone)]
pub struct AirflowExperimental {
    ground: Arc<Ground>,
}

/// What a host settles before the API answers.
#[derive(Debug)]
pub struct AirflowExperimentalBuilder {
    ground: Ground,
}

struct Ground {
    service: Service,
    routes: Vec<Route>,
    gate: Gate,
    base_path: String,
    clock: Arc<dyn Clock>,
}

impl Debug for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ground").field("base_path", &self.base_path).finish_non_exhaustive()
    }
}

impl AirflowExperimental {
    /// Begins to build the API. Until an authenticator or an anonymous role is set, it refuses everybody.
    pub fn builder(service: Service, clock: Arc<dyn Clock>) -> AirflowExperimentalBuilder {
        let gate = Gate {
            authenticator: Arc::new(Nobody),
            authorizer: Arc::new(RoleAuthorizer::new(service.clone())),
            anonymous_role: None,
        };
        let base_path = BASE_PATH.to_owned();
        AirflowExperimentalBuilder { ground: Ground { service, routes: handler::routes(), gate, base_path, clock } }
    }
}

impl AirflowExperimentalBuilder {
    /// Who says who calls: one for this API and the stable one may be shared as an [`Arc`].
    #[must_use]
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.ground.gate.authenticator = Arc::new(authenticator);
        self
    }

    /// Who says what callers may do; by default the roles of [`default_roles`](updraft_core::service::default_roles).
    #[must_use]
    pub fn authorizer(mut self, authorizer: impl Authorizer) -> Self {
        self.ground.gate.authorizer = Arc::new(authorizer);
        self
    }

    /// The role of callers without credentials; by default they are refused. Wrong credentials are refused in any case.
    #[must_use]
    pub fn anonymous_role(mut self, role: impl Into<String>) -> Self {
        self.ground.gate.anonymous_role = Some(role.into());
        self
    }

    /// Where clients find the API on this host.
    #[must_use]
    pub fn base_path(mut self, path: impl Into<String>) -> Self {
        self.ground.base_path = path.into();
        self
    }

    /// Builds the API.
    ///
    /// # Errors
    /// If the base path is neither empty nor of the form `/a/b`.
    pub fn build(self) -> Result<AirflowExperimental, BuildError> {
        check_base_path(&self.ground.base_path)?;
        Ok(AirflowExperimental { ground: Arc::new(self.ground) })
    }
}

impl Ground {
    async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let (head, body) = request.into_parts();
        let envelope = Envelope::open(&head, &*self.clock, self.service.ids());
        envelope.close(self.dispatch(head, body)).await
    }

    /// What the routes do not know is refused as the stable API does.
    async fn dispatch<B>(&self, head: Parts, body: B) -> Result<Response<Body>, Problem>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        check_headers(&head.headers)?;
        let path = path_below(&self.base_path, &head);
        let mut response = match route::find(&self.routes, &head.method, path) {
            Found::Route(route, parts) => match self.operate(route, parts, head, body).await {
                Ok(reply) => reply.into_response(),
                Err(failure) => failure.into_response(),
            },
            Found::Options(methods) => options(&methods),
            Found::Redirect(path) => return redirect(&self.base_path, &path, head.uri.query()),
            Found::NoSuchPath => return Err(Problem::no_such_path()),
            Found::NoSuchMethod => return Err(Problem::no_such_method()),
        };
        reply::deprecate(&mut response);
        Ok(response)
    }

    async fn operate<B>(&self, route: &Route, path: route::Parts, head: Parts, body: B) -> reply::Answer
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let principal = self.admit(route, &path, &head).await?;
        let body = if route.has_body { read_body(&head.headers, body).await? } else { bytes::Bytes::new() };
        let call = Call {
            service: self.service.clone(),
            principal,
            authorizer: Arc::clone(&self.gate.authorizer),
            path,
            query: head.uri.query().unwrap_or_default().to_owned(),
            body,
        };
        (route.handler)(call).await
    }

    async fn admit(&self, route: &Route, path: &route::Parts, head: &Parts) -> Result<Principal, Failure> {
        // As in Airflow, wrong credentials are worse than none here.
        let is_anonymous = !head.headers.contains_key(AUTHORIZATION);
        let anonymous_role = self.gate.anonymous_role.clone().filter(|_| is_anonymous);
        let gate = Gate { anonymous_role, ..self.gate.clone() };
        gate.admit(&route.access, head, path.text("dag_id")).await.map_err(|refusal| match refusal {
            Refusal::Unknown(challenge) => Failure::unauthorized(challenge.as_deref()),
            refusal => Problem::from(refusal).into(),
        })
    }
}

impl<B> tower_service::Service<Request<B>> for AirflowExperimental
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
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
