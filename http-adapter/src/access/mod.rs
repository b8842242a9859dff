//! Who calls, and what they may do: one set of principals, roles and permissions for all dialects. The default is to
//! refuse.

mod basic;
mod credential;
mod gate;
mod password;
mod permission;
mod role;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::request::Parts;
use updraft_core::id::DagId;

pub use basic::{BasicAuthenticator, StoredUser, UserStore};
pub(crate) use gate::{Access, Gate, Nobody, Refusal};
pub use password::{PasswordError, hash_password};
pub use permission::{Action, Resource};
pub use role::{RoleAuthorizer, default_roles};

/// Someone who calls, once it is known who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The name under which the event log shows what they did; none for callers without credentials.
    pub name: Option<String>,
    /// The names of their roles.
    pub roles: BTreeSet<String>,
}

impl Principal {
    /// A caller who is known by `name`.
    pub fn named(name: impl Into<String>, roles: impl IntoIterator<Item = String>) -> Self {
        Self { name: Some(name.into()), roles: roles.into_iter().collect() }
    }

    /// A caller without credentials, who may do what `role` may.
    pub fn anonymous(role: impl Into<String>) -> Self {
        Self { name: None, roles: BTreeSet::from([role.into()]) }
    }
}

/// Says who a caller is.
///
/// It sees the request's head only. A host that has identified its caller already puts the principal there as an
/// extension and brings an authenticator that reads it.
#[async_trait]
pub trait Authenticator: Debug + Send + Sync + 'static {
    /// The caller, or none where no valid credentials came with the request.
    async fn authenticate(&self, head: &Parts) -> Result<Option<Principal>, AccessError>;

    /// What a refused caller is told to bring (`WWW-Authenticate`).
    fn challenge(&self) -> Option<&str> {
        None
    }
}

/// Says what a caller may do.
#[async_trait]
pub trait Authorizer: Debug + Send + Sync + 'static {
    /// Whether `principal` may do `action` on `resource`; on that of one DAG where `dag` names it, else on all of them.
    async fn permits(
        &self,
        principal: &Principal,
        action: Action,
        resource: Resource,
        dag: Option<&str>,
    ) -> Result<bool, AccessError>;

    /// The DAGs on which `principal` may do `action`; lists show no others.
    async fn dags(&self, principal: &Principal, action: Action) -> Result<Dags, AccessError> {
        let all = self.permits(principal, action, Resource::Dags, None).await?;
        Ok(if all { Dags::All } else { Dags::Only(Arc::default()) })
    }
}

/// A choice of DAGs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dags {
    /// All of them, also those to come.
    All,
    /// These.
    Only(Arc<BTreeSet<DagId>>),
}

impl Dags {
    /// As queries of the storage take it.
    pub fn into_filter(self) -> Option<Arc<BTreeSet<DagId>>> {
        match self {
            Self::All => None,
            Self::Only(ids) => Some(ids),
        }
    }
}

/// Why it could not be found out who calls or what they may do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// Too many credentials wait to be verified.
    #[error("too many credentials wait to be verified")]
    Busy {
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// Users or roles could not be read.
    #[error("users or roles cannot be read: {0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}
