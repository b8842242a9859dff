//! A request that has passed all checks.

use std::collections::BTreeSet;
use std::fmt::{self, Debug};
use std::sync::Arc;

use http::HeaderMap;
use http::header::ACCEPT;
use serde_json::{Map, Value};
use updraft_core::id::DagId;
use updraft_core::service::{Actor, Service};

use super::problem::Problem;
use super::query::Parameters;
use super::{accept, audit};
use crate::access::{Action, Authorizer, Principal, Resource};

/// What a handler gets: everything in it fits the document, and the caller may do it.
pub(crate) struct Call<S = super::State> {
    /// What all handlers share.
    pub(crate) state: Arc<S>,
    /// Who calls; of an open operation, someone without a name and roles.
    pub(crate) principal: Principal,
    /// For what only the handler sees: permissions on DAGs that the body names.
    pub(crate) authorizer: Arc<dyn Authorizer>,
    /// The parts of the path.
    pub(crate) path: Parameters,
    /// The query.
    pub(crate) query: Parameters,
    /// The body; null for operations without one.
    pub(crate) body: Value,
    pub(super) headers: HeaderMap,
}

impl<S> Debug for Call<S> {
    /// Leaves out what may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("principal", &self.principal).field("path", &self.path).finish_non_exhaustive()
    }
}

impl<S> Call<S> {
    /// A text of the path, which the router has found there.
    pub(crate) fn path_text(&self, name: &str) -> &str {
        self.path.text(name).unwrap_or_default()
    }

    /// The DAGs that the caller may read, as queries take them; none if all.
    pub(crate) async fn readable(&self) -> Result<Option<Arc<BTreeSet<DagId>>>, Problem> {
        self.permitted(Action::Read).await
    }

    /// The DAGs on which the caller may do this, as queries take them; none if all.
    pub(crate) async fn permitted(&self, action: Action) -> Result<Option<Arc<BTreeSet<DagId>>>, Problem> {
        Ok(self.authorizer.dags(&self.principal, action).await?.into_filter())
    }

    /// The members of the body; none for operations without one.
    pub(crate) fn body_members(&mut self) -> Map<String, Value> {
        match self.body.take() {
            Value::Object(members) => members,
            _ => Map::new(),
        }
    }

    /// The best of `offered` media types by the `Accept` header; none if nothing fits or nothing was said.
    pub(crate) fn accepts<'a>(&self, offered: &[&'a str]) -> Option<&'a str> {
        accept::best_match(self.headers.get(ACCEPT).and_then(|value| value.to_str().ok()), offered)
    }
}

impl Call {
    /// What callers may ask.
    pub(crate) fn service(&self) -> &Service {
        &self.state.service
    }

    /// The caller with the request, for the event log. To be asked before the body is taken.
    pub(crate) fn actor(&self) -> Actor {
        self.actor_of("")
    }

    /// The caller with the request, as the event log keeps it of an event.
    pub(crate) fn actor_of(&self, event: &str) -> Actor {
        let names = &self.service().settings().sensitive_names;
        let request = audit::extra(event, &self.path, &self.query, &self.body, names);
        Actor::new(self.principal.name.clone()).through("api").with_request(request)
    }

    /// Whether the caller may read a DAG.
    pub(crate) async fn may_read(&self, dag_id: &str) -> Result<bool, Problem> {
        let asked = (Action::Read, Resource::Dags, Some(dag_id));
        Ok(self.authorizer.permits(&self.principal, asked.0, asked.1, asked.2).await?)
    }
}
