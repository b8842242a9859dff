//! Users who may log in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use updraft_core::service::{Service, ServiceError};

use super::AccessError;

/// Users that are remembered, at most.
const MAX_KNOWN: usize = 1024;

/// What is known of a user who may log in.
#[derive(Clone)]
pub struct StoredUser {
    /// The user's name.
    pub name: String,
    /// The password's hash, as a PHC string.
    pub password_hash: String,
    /// The names of the user's roles.
    pub roles: BTreeSet<String>,
    /// Whether the user may log in.
    pub active: bool,
}

impl Debug for StoredUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredUser").field("name", &self.name).field("roles", &self.roles).finish_non_exhaustive()
    }
}

/// Where users are stored.
#[async_trait]
pub trait UserStore: Debug + Send + Sync + 'static {
    /// The user of this name.
    async fn user(&self, name: &str) -> Result<Option<StoredUser>, AccessError>;

    /// Counts that a user has logged in, or that somebody has failed to; by default nobody does.
    async fn record_login(&self, _name: &str, _succeeded: bool) {}
}

/// The users of a service, by name or email. They are remembered for as long as nothing of access changes.
#[derive(Debug)]
pub struct StoredUsers {
    service: Service,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    version: i64,
    users: BTreeMap<String, StoredUser>,
}

impl StoredUsers {
    /// The users of a service.
    pub fn new(service: Service) -> Self {
        Self { service, known: Mutex::default() }
    }

    fn known(&self, version: i64) -> MutexGuard<'_, Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.version != version {
            *known = Known { version, users: BTreeMap::new() };
        }
        known
    }
}

#[async_trait]
impl UserStore for StoredUsers {
    async fn user(&self, name: &str) -> Result<Option<StoredUser>, AccessError> {
        let unavailable = |error: ServiceError| AccessError::Unavailable(Box::new(error));
        let version = self.service.access_version().await.map_err(unavailable)?;
        if let Some(user) = self.known(version).users.get(name) {
            return Ok(Some(user.clone()));
        }
        // What is read is at least as new as the version.
        let user = match self.service.user_by_login(name).await {
            Ok(user) => user,
            Err(ServiceError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(unavailable(error)),
        };
        let user = StoredUser {
            name: user.username,
            password_hash: user.password_hash,
            roles: user.roles,
            active: user.active,
        };
        let mut known = self.known(version);
        if known.users.len() >= MAX_KNOWN {
            known.users.clear();
        }
        known.users.insert(name.to_owned(), user.clone());
        Ok(Some(user))
    }

    async fn record_login(&self, name: &str, succeeded: bool) {
        let recorded = async {
            let now = self.service.now().await?;
            self.service.record_login(now, name, succeeded).await
        };
        if let Err(error) = recorded.await {
            tracing::warn!(%error, "a login was not counted");
        }
    }
}
