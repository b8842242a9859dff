//! Airflow's stable REST API, version 1, as Airflow 2.11.2 speaks it.
//!
//! [`Airflow`] is a [`tower_service::Service`]: it is nested into an axum application, served by a plain hyper server, or
//! called in process.

mod accept;
pub(crate) mod audit;
mod call;
pub(crate) mod check;
mod config;
mod cors;
pub(crate) mod date;
mod document;
pub(crate) mod envelope;
mod field;
mod file_token;
pub(crate) mod ground;
mod handler;
pub(crate) mod json;
mod operation;
mod page;
pub(crate) mod param;
pub(crate) mod problem;
pub(crate) mod query;
mod reply;
pub(crate) mod route;
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
pub use config::ConfigOption;
pub use cors::Cors;
use ground::Ground;
use query::PageLimits;
use state::State;
pub use token::TokenKey;

/// The version whose API this is. Clients read it to learn what they may ask.
pub(crate) const VERSION: &str = "2.11.2";

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
    cors: Cors,
    page_limits: PageLimits,
    clock: Arc<dyn Clock>,
    ids: IdSource,
}

impl Host {
    fn new(service: &Service, clock: Arc<dyn Clock>) -> Self {
        let gate = Gate {
            authenticator: Arc::new(Nobody),
            authorizer: Arc::new(RoleAuthorizer::new(service.clone())),
            anonymous_role: None,
        };
        Self {
            gate,
            base_path: "/api/v1".to_owned(),
            cors: Cors::new(),
            page_limits: PageLimits::default(),
            clock,
            ids: service.ids().clone(),
        }
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
        let host = Host::new(&service, Arc::clone(&clock));
        let token_key = TokenKey::random(service.ids());
        let state = State {
            service,
            clock,
            token_key,
            allows_connection_test: false,
            scheduler: None,
            config: Vec::new(),
            exposes_config: false,
            deserializes_xcoms: false,
        };
        AirflowBuilder { state, host }
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

    /// Whether callers may try connections out (`POST /connections/test`); not by default. There are no hooks here: what
    /// is answered is what Airflow says of types that it has no provider of, and nothing is reached.
    #[must_use]
    pub fn allow_connection_test(mut self, allow: bool) -> Self {
        self.state.allows_connection_test = allow;
        self
    }

    /// Who says who calls.
    #[must_use]
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.host.gate.authenticator = Arc::new(authenticator);
        self
    }

    /// Who says what callers may do; by default [`RoleAuthorizer`], which
    /// goes by stored roles.
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

    /// Whether those who may read the configuration do see it (`[webserver] expose_config`); not by default. Secrets
    /// are never shown.
    #[must_use]
    pub fn expose_config(mut self, exposes: bool) -> Self {
        self.state.exposes_config = exposes;
        self
    }

    /// What the configuration says beside the settings of this API. Of two values of an option the later counts.
    #[must_use]
    pub fn config(mut self, options: impl IntoIterator<Item = ConfigOption>) -> Self {
        self.state.config.extend(options);
        self
    }

    /// Which pages of other origins may use the API from a browser; none by default.
    #[must_use]
    pub fn cors(mut self, cors: Cors) -> Self {
        self.host.cors = cors;
        self
    }

    /// The most entries of a page (`[api] maximum_page_limit`); 100 by default. As in Airflow, it does not hold for lists
    /// of task instances, nor for those that are asked for in a body.
    #[must_use]
    pub fn maximum_page_limit(mut self, limit: usize) -> Self {
        self.host.page_limits.maximum = limit;
        self
    }

    /// The entries of a page where 0 are asked for (`[api] fallback_page_limit`); 100 by default.
    #[must_use]
    pub fn fallback_page_limit(mut self, limit: usize) -> Self {
        self.host.page_limits.fallback = limit;
        self
    }

    /// Whether callers may ask for XComs with `deserialize=true` (`[api] enable_xcom_deserialize_support`); not by
    /// default.
    #[must_use]
    pub fn enable_xcom_deserialize_support(mut self, enabled: bool) -> Self {
        self.state.deserializes_xcoms = enabled;
        self
    }

    /// Builds the API.
    ///
    /// # Errors
    /// If the base path is neither empty nor of the form `/a/b`, a limit of pages is 0, or no header can say what CORS is
    /// to allow.
    pub fn build(mut self) -> Result<Airflow, BuildError> {
        check_base_path(&self.host.base_path)?;
        let PageLimits { maximum, fallback } = self.host.page_limits;
        if maximum == 0 || fallback == 0 {
            return Err(BuildError::new("pages of 0 entries would never show anything"));
        }
        self.state.config = self.whole_config();
        Ok(Airflow { ground: Arc::new(Ground::new(Arc::new(self.state), handler::operations(), self.host)?) })
    }
}

impl AirflowBuilder {
    /// What the configuration says, with the settings of this API.
    fn whole_config(&self) -> Vec<ConfigOption> {
        let Host { cors, page_limits, .. } = &self.host;
        let own = [
            ConfigOption::new("api", "maximum_page_limit", page_limits.maximum),
            ConfigOption::new("api", "fallback_page_limit", page_limits.fallback),
            ConfigOption::flag("api", "enable_xcom_deserialize_support", self.state.deserializes_xcoms),
            ConfigOption::new("api", "access_control_allow_headers", cors.headers()),
            ConfigOption::new("api", "access_control_allow_methods", cors.methods()),
            ConfigOption::new("api", "access_control_allow_origins", cors.origins()),
            ConfigOption::flag("webserver", "expose_config", self.state.exposes_config),
            ConfigOption::hidden("webserver", "secret_key"),
        ];
        let mut all: Vec<ConfigOption> = Vec::new();
        for option in self.state.config.iter().cloned().chain(own) {
            match all.iter_mut().find(|known| known.section() == option.section() && known.key() == option.key()) {
                Some(known) => *known = option,
                None => all.push(option),
            }
        }
        all
    }
}

/// A base path is empty or of the form `/a/b`.
pub(crate) fn check_base_path(path: &str) -> Result<(), BuildError> {
    let parts_are_named =
        path.is_empty() || path.strip_prefix('/').is_some_and(|rest| !rest.split('/').any(str::is_empty));
    if !parts_are_named || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(BuildError::new(format!("the base path {path:?} is not of the form /a/b")));
    }
    Ok(())
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
