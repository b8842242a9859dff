//! The storage: its connections, and what it remembers of the database.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool, Postgres, Transaction};
use updraft_core::clock::Clock;
use updraft_core::id::SchedulerId;
use updraft_core::storage::Result;

use crate::commit::Lanes;
use crate::error::storage_error;
use crate::hint::Hints;
use crate::login::PendingLogins;
use crate::readers::Readers;
use crate::scheduler::Session;
use crate::settings::PostgresSettings;
use crate::sql::Schema;
use crate::version::Versions;

/// How long a scheduler waits for a connection: then it says that the storage is unavailable, and tries again.
const SCHEDULERS_TIMEOUT: Duration = Duration::from_secs(2);

/// For how long the database's time is told without asking it: whoever asks for the time also learns that it answers.
/// Whoever looks for work each second learns it, too.
const TIME_TRUSTED: Duration = Duration::from_millis(1500);

/// For how long a connection is used again without asking whether it lives.
const CONNECTION_TRUSTED: Duration = Duration::from_secs(1);

/// The same for schedulers, who try again.
const SCHEDULERS_CONNECTION_TRUSTED: Duration = Duration::from_secs(5);

/// A storage in a PostgreSQL database. Clones share connections.
#[derive(Clone)]
pub struct PostgresStorage {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) schema: Schema,
    pub(crate) clock: Arc<dyn Clock>,
    /// For lists, and clients' changes of what few rows hold.
    pub(crate) clients: PgPool,
    /// For what clients read by key: planned once.
    pub(crate) readers: Readers,
    /// For changes of runs by clients.
    pub(crate) writers: PgPool,
    /// For what schedulers ask, batches excepted. Nothing of it need survive a crash of the server: a lost claim leaves the
    /// run to whoever claims next, and the first batch of a claimed run is durable together with the claim.
    pub(crate) schedulers: PgPool,
    pub(crate) lanes: Lanes,
    pub(crate) versions: Versions,
    pub(crate) hints: Hints,
    pub(crate) logins: PendingLogins,
    /// Sessions that were registered through this storage, by scheduler.
    pub(crate) sessions: Mutex<BTreeMap<SchedulerId, Session>>,
    pub(crate) own_triggers: bool,
    pub(crate) max_log_size: u64,
    options: PgConnectOptions,
    /// The database's time, and the monotonic time at which it was read.
    time: Mutex<Option<(DateTime<Utc>, Duration)>>,
}

impl Debug for PostgresStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStorage").field("schema", &self.inner.schema.name()).finish_non_exhaustive()
    }
}

impl PostgresStorage {
    /// A storage that connects when it is first used. `clock` serves for its timers; the wall clock is the database's.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(settings: PostgresSettings, clock: Arc<dyn Clock>) -> Self {
        let PostgresSettings {
            options,
            schema,
            connections,
            scheduler_connections,
            acquire_timeout,
            notifications,
            own_triggers,
            max_log_size,
        } = settings;
        let pool_with =
            |size: u32, timeout| PgPoolOptions::new().min_connections(0).max_connections(size).acquire_timeout(timeout);
        // One that was used a moment ago is not asked whether it lives.
        let reused = |pool: PgPoolOptions, trusted: Duration| {
            pool.test_before_acquire(false).before_acquire(move |connection, used| {
                Box::pin(async move {
                    if used.idle_for >= trusted {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
        };
        let pool = |size| pool_with(size, acquire_timeout);
        // Filters that are not given fall away in a plan that knows the parameters.
        let reading = options.clone().options([("plan_cache_mode", "force_custom_plan"), ("jit", "off")]);
        let inner = Inner {
            clients: reused(pool(connections), CONNECTION_TRUSTED).connect_lazy_with(reading),
            readers: Readers::new(pinned(options.clone()), connections, acquire_timeout, Arc::clone(&clock)),
            writers: pool(connections).connect_lazy_with(pinned(options.clone())),
            schedulers: reused(
                pool_with(scheduler_connections, acquire_timeout.min(SCHEDULERS_TIMEOUT)),
                SCHEDULERS_CONNECTION_TRUSTED,
            )
            .connect_lazy_with(pinned(options.clone()).options([("synchronous_commit", "off")])),
            lanes: Lanes::default(),
            versions: Versions::default(),
            hints: Hints::new(notifications),
            logins: PendingLogins::default(),
            sessions: Mutex::default(),
            own_triggers,
            max_log_size,
            options,
            time: Mutex::default(),
            schema,
            clock,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Closes all connections; what is called afterwards fails as unavailable.
    pub async fn close(&self) {
        if let Err(error) = self.write_logins().await {
            tracing::warn!(%error, "logins were not counted");
        }
        self.inner.clients.close().await;
        self.inner.readers.close().await;
        self.inner.writers.close().await;
        // What listens keeps a connection. If somebody waits for news, that one meets the end; if nobody does, it is given
        // back here.
        tokio::select! {
            () = self.inner.schedulers.close() => {}
            mut listener = self.inner.hints.listener() => *listener = None,
        }
        self.inner.schedulers.close().await;
        self.inner.lanes.close().await;
    }

    /// A connection whose plans are pinned.
    pub(crate) async fn connect_pinned(&self) -> Result<PgConnection> {
        PgConnection::connect_with(&pinned(self.inner.options.clone())).await.map_err(storage_error)
    }

    /// A transaction of a client.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Postgres>> {
        self.inner.clients.begin().await.map_err(storage_error)
    }

    /// A transaction that changes runs for a client.
    pub(crate) async fn begin_write(&self) -> Result<Transaction<'static, Postgres>> {
        self.inner.writers.begin().await.map_err(storage_error)
    }

    /// A pause of random length after two transactions met.
    pub(crate) async fn pause_after_collision(&self, times: u32) {
        let jitter = RandomState::new().build_hasher().finish() % 8;
        self.inner.clock.sleep(Duration::from_millis((1 << times.min(6)) + jitter)).await;
    }

    /// A transaction of a scheduler.
    pub(crate) async fn begin_scheduler(&self) -> Result<Transaction<'static, Postgres>> {
        self.inner.schedulers.begin().await.map_err(storage_error)
    }

    pub(crate) fn sessions(&self) -> MutexGuard<'_, BTreeMap<SchedulerId, Session>> {
        self.inner.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn time(&self) -> MutexGuard<'_, Option<(DateTime<Utc>, Duration)>> {
        self.inner.time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what the database said of the time; what is shown never goes back.
    pub(crate) fn note_time(&self, now: DateTime<Utc>) {
        let monotonic = self.inner.clock.monotonic();
        let mut time = self.time();
        let shown = time.map_or(now, |known| shown_at(known, monotonic));
        *time = Some((now.max(shown), monotonic));
    }

    /// The database's time, if it was read a moment ago.
    pub(crate) fn fresh_time(&self) -> Option<DateTime<Utc>> {
        let monotonic = self.inner.clock.monotonic();
        let known = (*self.time()).filter(|(_, read_at)| monotonic.saturating_sub(*read_at) < TIME_TRUSTED);
        known.map(|known| shown_at(known, monotonic))
    }

    /// The database's time, if it was ever read.
    pub(crate) fn known_time(&self) -> Option<DateTime<Utc>> {
        let monotonic = self.inner.clock.monotonic();
        self.time().map(|known| shown_at(known, monotonic))
    }
}

fn shown_at((time, read_at): (DateTime<Utc>, Duration), monotonic: Duration) -> DateTime<Utc> {
    let elapsed = monotonic.saturating_sub(read_at);
    let shown = time + TimeDelta::from_std(elapsed).unwrap_or(TimeDelta::zero());
    DateTime::from_timestamp_micros(shown.timestamp_micros()).unwrap_or(shown)
}

/// Plans that cost the same however large the run is, also on tables that were never analysed: every statement of a
/// scheduler goes by an index. Without this, a batch against a fresh table is joined by hashing the whole run.
pub(crate) fn pinned(options: PgConnectOptions) -> PgConnectOptions {
    options.options([
        ("enable_seqscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
        ("enable_bitmapscan", "off"),
        ("plan_cache_mode", "force_generic_plan"),
        ("jit", "off"),
        // A session whose client has vanished must not hold a lane for ever.
        ("idle_in_transaction_session_timeout", "30000"),
    ])
}
