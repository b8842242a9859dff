//! Connections for what one statement reads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::query::Query;
use sqlx::{Connection, PgConnection, Postgres};
use tokio::sync::{Semaphore, SemaphorePermit};
use updraft_core::clock::Clock;

/// After how long a connection is closed rather than used again: its plans are of the tables as they were, and something on
/// the way may have forgotten it.
const LIFE: Duration = Duration::from_secs(60);

/// Connections for what one statement reads. A pool asks a connection before and after each use whether it lives, which costs
/// as much as the statement itself. Here a statement that meets a dead connection is sent again on another: it only reads.
pub(crate) struct Readers {
    options: PgConnectOptions,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    room: Semaphore,
    /// With the time when they were opened; the last of them was used last.
    idle: Mutex<Vec<(PgConnection, Duration)>>,
}

impl Readers {
    pub(crate) fn new(options: PgConnectOptions, most: u32, timeout: Duration, clock: Arc<dyn Clock>) -> Self {
        let room = Semaphore::new(usize::try_from(most).unwrap_or(Semaphore::MAX_PERMITS));
        Self { options, timeout, clock, room, idle: Mutex::default() }
    }

    /// The rows of a statement.
    pub(crate) async fn all<'q>(
        &self,
        statement: impl Fn() -> Query<'q, Postgres, PgArguments>,
    ) -> sqlx::Result<Vec<PgRow>> {
        let _permit = self.permit().await?;
        while let Some((mut connection, opened)) = self.take() {
            match statement().fetch_all(&mut connection).await {
                Err(error) if is_dead(&error) => tracing::debug!(%error, "a connection had been closed"),
                read => return self.give_back(connection, opened, read),
            }
        }
        let connect = PgConnection::connect_with(&self.options);
        let mut connection = tokio::select! {
            connected = connect => connected?,
            () = self.clock.sleep(self.timeout) => return Err(sqlx::Error::PoolTimedOut),
        };
        let read = statement().fetch_all(&mut connection).await;
        self.give_back(connection, self.clock.monotonic(), read)
    }

    /// The row of a statement that gives one at most.
    pub(crate) async fn optional<'q>(
        &self,
        statement: impl Fn() -> Query<'q, Postgres, PgArguments>,
    ) -> sqlx::Result<Option<PgRow>> {
        self.all(statement).await.map(|mut rows| rows.pop())
    }

    /// Closes what is idle; what is called afterwards fails.
    pub(crate) async fn close(&self) {
        self.room.close();
        let idle = std::mem::take(&mut *self.idle());
        for (connection, _) in idle {
            connection.close().await.ok();
        }
    }

    async fn permit(&self) -> sqlx::Result<SemaphorePermit<'_>> {
        if let Ok(permit) = self.room.try_acquire() {
            return Ok(permit);
        }
        tokio::select! {
            permit = self.room.acquire() => permit.map_err(|_| sqlx::Error::PoolClosed),
            () = self.clock.sleep(self.timeout) => Err(sqlx::Error::PoolTimedOut),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(PgConnection, Duration)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<(PgConnection, Duration)> {
        let now = self.clock.monotonic();
        let mut idle = self.idle();
        idle.retain(|(_, opened)| now.saturating_sub(*opened) < LIFE);
        idle.pop()
    }

    /// Keeps a connection that answered well.
    fn give_back<T>(&self, connection: PgConnection, opened: Duration, read: sqlx::Result<T>) -> sqlx::Result<T> {
        if read.is_ok() && !self.room.is_closed() {
            self.idle().push((connection, opened));
        }
        read
    }
}

/// Whether the server, or what is between, has closed the connection.
fn is_dead(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_) => true,
        sqlx::Error::Database(database) => database.code().is_some_and(|code| code.starts_with("57P")),
        _ => false,
    }
}
