//! Logins are counted in memory and written together, about once a second: a row for each request would cost more than the
//! request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use updraft_core::storage::Result;

use crate::PostgresStorage;
use crate::error::storage_error;
use crate::sql::sql;
use crate::storage::Inner;

/// How long logins may wait.
const PAUSE: Duration = Duration::from_millis(900);

/// Users who have logins to write, at most: names that nobody has are forgotten only when they are written.
const MAX_USERS: usize = 10_000;

/// Logins of a user that are not written yet.
#[derive(Debug, Default)]
struct Logins {
    succeeded: i64,
    last_login: Option<DateTime<Utc>>,
    /// Failures since the last success.
    failed: i64,
}

/// What is to be written.
#[derive(Debug, Default)]
pub(crate) struct PendingLogins {
    /// By name in small letters.
    of_users: Mutex<BTreeMap<String, Logins>>,
    /// Held while some are being written, so that whoever reads waits for them.
    writing: tokio::sync::Mutex<()>,
}

impl PendingLogins {
    fn of_users(&self) -> MutexGuard<'_, BTreeMap<String, Logins>> {
        self.of_users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write(&self, inner: &Inner) -> Result<()> {
        let _writing = self.writing.lock().await;
        let logins = std::mem::take(&mut *self.of_users());
        if logins.is_empty() {
            return Ok(());
        }
        let written = sqlx::query(inner.schema.sql(sql!("user/record_logins")))
            .bind(logins.keys().map(String::as_str).collect::<Vec<_>>())
            .bind(logins.values().map(|one| one.succeeded).collect::<Vec<_>>())
            .bind(logins.values().map(|one| one.last_login).collect::<Vec<_>>())
            .bind(logins.values().map(|one| one.failed).collect::<Vec<_>>())
            .execute(&inner.clients)
            .await;
        written.map(drop).map_err(storage_error)
    }
}

impl PostgresStorage {
    /// Counts a login, which is written a moment later.
    pub(crate) fn note_login(&self, now: DateTime<Utc>, username: &str, succeeded: bool) {
        let is_first = {
            let mut waiting = self.inner.logins.of_users();
            if waiting.len() >= MAX_USERS {
                return;
            }
            let is_first = waiting.is_empty();
            let logins = waiting.entry(username.to_ascii_lowercase()).or_default();
            if succeeded {
                *logins = Logins { succeeded: logins.succeeded + 1, last_login: Some(now), failed: 0 };
            } else {
                logins.failed += 1;
            }
            is_first
        };
        if is_first {
            let inner = Arc::clone(&self.inner);
            tokio::spawn(async move {
                inner.clock.sleep(PAUSE).await;
                if let Err(error) = inner.logins.write(&inner).await {
                    tracing::warn!(%error, "logins were not counted");
                }
            });
        }
    }

    /// Writes what waits, so that a read shows it.
    pub(crate) async fn write_logins(&self) -> Result<()> {
        self.inner.logins.write(&self.inner).await
    }
}
