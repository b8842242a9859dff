//! What a client may ask: the one place of business rules, which all wire APIs call.
//!
//! Requests and answers are typed and know nothing of HTTP. Every call that changes something takes an [`Actor`] and
//! writes who did what to the event log, in the same step as the change.

mod actor;
mod connection;
mod dag;
mod dag_warning;
mod dataset;
mod default_role;
mod dependency;
mod error;
mod event_log;
mod import_error;
mod interval;
mod log;
mod param;
mod pool;
mod relatives;
mod role;
mod rotation;
mod run;
mod task_instance;
mod token;
mod user;
mod variable;
mod waiting;
mod xcom;

use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};

pub use actor::Actor;
pub use dag::DagDeclaration;
pub use default_role::default_roles;
pub use dependency::Dependency;
pub use error::{Result, ServiceError};
pub use log::LogPage;
pub use pool::{NewPool, PoolChange};
pub use rotation::Rotation;
pub use run::{CheckedTrigger, TriggerRequest};
pub use task_instance::{ClearRequest, MarkRequest, RunAnchor};
pub use token::{NewToken, TOKEN_PREFIX, TokenHolder, TokenText};
pub use user::NewUser;
pub use waiting::Waiting;

use crate::id::IdSource;
use crate::log::LogStore;
use crate::mask::SensitiveNames;
use crate::schedule::Timetables;
use crate::secret::Keyring;
use crate::storage::Storage;

/// What a host decides about the service.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Whether new DAGs that do not say so themselves start paused.
    pub dags_are_paused_at_creation: bool,
    /// What secrets are encrypted with.
    pub secret_keys: Keyring,
    /// Which names are those of secrets, whose values are not shown.
    pub sensitive_names: SensitiveNames,
}

impl Default for Settings {
    /// Airflow's defaults.
    fn default() -> Self {
        Self {
            dags_are_paused_at_creation: true,
            secret_keys: Keyring::default(),
            sensitive_names: SensitiveNames::default(),
        }
    }
}

/// What a client may ask.
#[derive(Debug, Clone)]
pub struct Service {
    storage: Arc<dyn Storage>,
    logs: Arc<dyn LogStore>,
    ids: IdSource,
    settings: Settings,
    timetables: Arc<Timetables>,
    roles_are_seeded: Arc<OnceLock<()>>,
}

impl Service {
    /// A service over a storage and its logs.
    pub fn new(storage: Arc<dyn Storage>, logs: Arc<dyn LogStore>, ids: IdSource, settings: Settings) -> Self {
        Self { storage, logs, ids, settings, timetables: Arc::default(), roles_are_seeded: Arc::default() }
    }

    /// Knows these timetables, rather than Airflow's alone.
    #[must_use]
    pub fn with_timetables(mut self, timetables: Arc<Timetables>) -> Self {
        self.timetables = timetables;
        self
    }

    /// The timetables that DAGs may name.
    pub fn timetables(&self) -> &Arc<Timetables> {
        &self.timetables
    }

    /// Where state is kept.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// Where logs are kept.
    pub fn logs(&self) -> &Arc<dyn LogStore> {
        &self.logs
    }

    /// Where unique ids come from.
    pub fn ids(&self) -> &IdSource {
        &self.ids
    }

    /// What the host decided.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The time that decisions go by: the storage's.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn now(&self) -> Result<DateTime<Utc>> {
        Ok(self.storage.now().await?)
    }
}
