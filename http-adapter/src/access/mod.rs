//! Who calls, and what they may do: one set of principals, roles and permissions for all dialects. The default is to
//! refuse.

mod any_of;
mod basic;
mod credential;
mod gate;
mod password;
mod role;
mod throttle;
mod token;
mod user;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::request::Parts;
use updraft_core::id::DagId;

pub use any_of::AnyOf;
pub use basic::BasicAuthenticator;
pub(crate) use gate::{Access, Gate, Nobody, Refusal};
pub(crate) use password::hash_in_background;
pub use password::{PasswordError, hash_password};
pub use role::RoleAuthorizer;
pub use throttle::Peer;
pub use token::TokenAuthenticator;
pub use updraft_core::model::{Action, Resource};
pub use user::{StoredUser, StoredUsers, UserStore};

/// Someone who calls, once it is known who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The name under which the event log shows what they did; none for callers without credentials.
    pub name: Option<String>,
    /// The names of their roles.
    pub roles: BTreeSet<String>,
    /// Whether they may only look, whatever their roles permit.
    pub read_only: bool,
}

impl Principal {
    /// A caller who is known by `name`.
    pub fn named(name: impl Into<String>, roles: impl IntoIterator<Item = String>) -> Self {
        Self { name: Some(name.into()), roles: roles.into_iter().collect(), read_only: false }
    }

    /// A caller without credentials, who may do what `role` may.
    pub fn anonymous(role: impl Into<String>) -> Self {
        Self { name: None, roles: BTreeSet::from([role.into()]), read_only: false }
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

/// One authenticator for many APIs.
#[async_trait]
impl<T: Authenticator + ?Sized> Authenticator for Arc<T> {
    async fn authenticate(&self, head: &Parts) -> Result<Option<Principal>, AccessError> {
        self.as_ref().authenticate(head).await
    }

    fn challenge(&self) -> Option<&str> {
        self.as_ref().challenge()
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

/// One authorizer for many APIs.
#[async_trait]
impl<T: Authorizer + ?Sized> Authorizer for Arc<T> {
    async fn permits(
        &self,
        principal: &Principal,
        action: Action,
        resource: Resource,
        dag: Option<&str>,
    ) -> Result<bool, AccessError> {
        self.as_ref().permits(principal, action, resource, dag).await
    }

    async fn dags(&self, principal: &Principal, action: Action) -> Result<Dags, AccessError> {
        self.as_ref().dags(principal, action).await
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
    /// Too many logins of this kind have failed.
    #[error("too many logins have failed")]
    Throttled {
        /// When it is worth trying again.
        retry_after: Duration,
    },
    /// Users or roles could not be read.
    #[error("users or roles cannot be read: {0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}
