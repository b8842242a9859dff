//! How to reach the database, and how to use it.

use std::fmt::{self, Debug};
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;

use crate::sql::{DEFAULT_SCHEMA, Schema};

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSettings(String);

/// How to reach the database, and how to use it.
#[derive(Clone)]
pub struct PostgresSettings {
    pub(crate) options: PgConnectOptions,
    pub(crate) schema: Schema,
    pub(crate) connections: u32,
    pub(crate) scheduler_connections: u32,
    pub(crate) acquire_timeout: Duration,
    pub(crate) notifications: bool,
    pub(crate) own_triggers: bool,
    pub(crate) max_log_size: u64,
}

impl Debug for PostgresSettings {
    /// Leaves the way to the database out, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSettings").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl PostgresSettings {
    /// The database at a URL: `postgres://user:password@host:port/database?sslmode=require`.
    ///
    /// # Errors
    /// It is no such URL. The text of the error does not hold the URL, which may hold a password.
    pub fn from_url(url: &str) -> Result<Self, InvalidSettings> {
        let options = PgConnectOptions::from_str(url).map_err(|error| InvalidSettings(error.to_string()))?;
        Ok(Self::from_options(options))
    }

    /// The database that these options reach.
    pub fn from_options(options: PgConnectOptions) -> Self {
        let schema = Schema::new(DEFAULT_SCHEMA).expect("the default is a plain identifier");
        Self {
            options: options.application_name("updraft"),
            schema,
            connections: 8,
            scheduler_connections: 4,
            acquire_timeout: Duration::from_secs(10),
            notifications: true,
            own_triggers: true,
            max_log_size: 16 << 20,
        }
    }

    /// The schema that all tables are in; `updraft` by default.
    ///
    /// # Errors
    /// The name is no plain identifier of small letters, digits and underscores.
    pub fn schema(mut self, name: &str) -> Result<Self, InvalidSettings> {
        self.schema = Schema::new(name).map_err(InvalidSettings)?;
        Ok(self)
    }

    /// Most connections for what clients ask; 8 by default. Schedulers have their own, so that readers cannot starve them.
    #[must_use]
    pub fn connections(mut self, connections: u32) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// How long a client's request waits for a connection before it fails as unavailable; 10 s by default.
    #[must_use]
    pub fn acquire_timeout(mut self, timeout: Duration) -> Self {
        self.acquire_timeout = timeout;
        self
    }

    /// Whether processes tell each other of news by `NOTIFY` and `LISTEN`; they do by default. Poolers that share
    /// connections between transactions cannot `LISTEN`: without it, news of other processes are found by polling, within
    /// a second.
    #[must_use]
    pub fn notifications(mut self, notifications: bool) -> Self {
        self.notifications = notifications;
        self
    }

    /// Whether a run that is triggered through this storage at once belongs to the scheduler that registered through it
    /// last, if that one runs the DAG and there is room; so by default. It saves a claim.
    #[must_use]
    pub fn own_triggers(mut self, own: bool) -> Self {
        self.own_triggers = own;
        self
    }

    /// Most bytes of a try's log in the database; 16 MiB by default. A line says where a longer one was cut.
    #[must_use]
    pub fn max_log_size(mut self, bytes: u64) -> Self {
        self.max_log_size = bytes;
        self
    }
}
