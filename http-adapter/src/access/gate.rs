//! The step in which a request finds out whether its caller may.

use std::sync::Arc;

use async_trait::async_trait;
use http::request::Parts;

use super::{AccessError, Action, Authenticator, Authorizer, Dags, Principal, Resource};

/// What an operation demands of its caller.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Access {
    /// Nothing, not even credentials.
    Open,
    /// Credentials, whatever they permit.
    Known,
    /// A permission on something that belongs to no DAG.
    Plain(Action, Resource),
    /// A permission on the DAG that the request names.
    Dag(Action),
    /// A permission on parts of the DAG that the request names: reading them needs to read the DAG, all else needs to
    /// edit it. Where the request names no DAG (or `~`), the parts alone count.
    DagPart(Action, &'static [Resource]),
    /// A permission on something that belongs to no DAG, and to read the DAG that the request names.
    WithDag(Action, Resource),
}

impl Access {
    /// The permissions that are needed, each with the DAG it is about.
    fn needs<'a>(&self, dag: Option<&'a str>) -> Vec<(Action, Resource, Option<&'a str>)> {
        match self {
            Access::Open | Access::Known => Vec::new(),
            Access::Plain(action, resource) => vec![(*action, *resource, None)],
            Access::WithDag(action, resource) => {
                vec![(*action, *resource, None), (Action::Read, Resource::Dags, dag)]
            }
            Access::Dag(action) => vec![(*action, Resource::Dags, dag)],
            Access::DagPart(action, parts) => {
                let on_dag = if *action == Action::Read { Action::Read } else { Action::Edit };
                let named = dag.is_some().then_some((on_dag, Resource::Dags, dag));
                named.into_iter().chain(parts.iter().map(|part| (*action, *part, dag))).collect()
            }
        }
    }
}

/// Why a request is not let in.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It is not known who calls; they are told to bring this.
    Unknown(Option<String>),
    /// The caller may not.
    Forbidden,
    /// It could not be found out.
    Failed(AccessError),
}

impl From<AccessError> for Refusal {
    fn from(error: AccessError) -> Self {
        Self::Failed(error)
    }
}

/// Lets in who may. Each dialect has one, and asks it before a handler is reached.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    /// Says who calls.
    pub(crate) authenticator: Arc<dyn Authenticator>,
    /// Says what they may do.
    pub(crate) authorizer: Arc<dyn Authorizer>,
    /// The role of callers without valid credentials; none refuses them.
    pub(crate) anonymous_role: Option<String>,
}

impl Gate {
    /// Who calls, if they may do what `access` demands, on `dag` where the request names one.
    pub(crate) async fn admit(&self, access: &Access, head: &Parts, dag: Option<&str>) -> Result<Principal, Refusal> {
        if matches!(access, Access::Open) {
            return Ok(Principal { name: None, roles: Default::default(), read_only: true });
        }
        let principal = match (self.authenticator.authenticate(head).await?, &self.anonymous_role) {
            (Some(principal), _) => principal,
            // As in Airflow, wrong credentials are as good as none.
            (None, Some(role)) => Principal::anonymous(role),
            (None, None) => return Err(Refusal::Unknown(self.authenticator.challenge().map(str::to_owned))),
        };
        for (action, resource, dag) in access.needs(dag) {
            if principal.read_only && action != Action::Read {
                return Err(Refusal::Forbidden);
            }
            let mut permitted = self.authorizer.permits(&principal, action, resource, dag).await?;
            if !permitted && resource == Resource::Dags && dag.is_none() {
                // What names no DAG is for everybody who may do this to one of them; it shows no others.
                permitted = match self.authorizer.dags(&principal, action).await? {
                    Dags::All => true,
                    Dags::Only(ids) => !ids.is_empty(),
                };
            }
            if !permitted {
                return Err(Refusal::Forbidden);
            }
        }
        Ok(principal)
    }
}

/// Knows nobody.
#[derive(Debug)]
pub(crate) struct Nobody;

#[async_trait]
impl Authenticator for Nobody {
    async fn authenticate(&self, _: &Parts) -> Result<Option<Principal>, AccessError> {
        Ok(None)
    }
}
