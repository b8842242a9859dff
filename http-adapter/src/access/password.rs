//! Hashes of passwords: argon2id, verified off the async threads.

use std::sync::Arc;
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;
use updraft_core::id::IdSource;

use super::AccessError;

/// Verifying is meant to be slow and to need memory, so only so many run at a time.
const AT_A_TIME: usize = 2;
/// How many more may wait; at some 30 ms each, those behind them would better try again.
const WAITING: usize = 16;
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A password that cannot be hashed.
#[derive(Debug, thiserror::Error)]
#[error("the password cannot be hashed: {0}")]
pub struct PasswordError(String);

/// Hashes a password with argon2id and a random salt, as a PHC string. Takes some 30 ms and 19 MiB.
pub fn hash_password(password: &str, ids: &IdSource) -> Result<String, PasswordError> {
    let mut salt = [0; 16];
    ids.fill(&mut salt);
    let hash: PasswordHash = Argon2::default()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map_err(|error| PasswordError(error.to_string()))?;
    Ok(hash.to_string())
}

/// Hashes a password on a thread that may take its time; nobody's password, which is empty, to nothing.
pub(crate) async fn hash_in_background(password: String, ids: IdSource) -> Result<String, PasswordError> {
    if password.is_empty() {
        return Ok(String::new());
    }
    let hashed = tokio::task::spawn_blocking(move || hash_password(&password, &ids));
    hashed.await.map_err(|error| PasswordError(error.to_string()))?
}

/// Verifies passwords, a few at a time.
#[derive(Debug)]
pub(super) struct PasswordVerifiers {
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
}

impl PasswordVerifiers {
    pub(super) fn new() -> Self {
        Self { running: Arc::new(Semaphore::new(AT_A_TIME)), admitted: Arc::new(Semaphore::new(AT_A_TIME + WAITING)) }
    }

    /// Whether `password` is the one that was hashed to `stored_hash`.
    pub(super) async fn verify(&self, password: String, stored_hash: String) -> Result<bool, AccessError> {
        let busy = || AccessError::Busy { retry_after: RETRY_AFTER };
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_| busy())?;
        let running = Arc::clone(&self.running).acquire_owned().await.map_err(|_| busy())?;
        let verified = tokio::task::spawn_blocking(move || {
            // Held here, because the work goes on when the caller gives up.
            let _permits = (admitted, running);
            is_right(&password, &stored_hash)
        });
        verified.await.map_err(|error| AccessError::Unavailable(error.into()))
    }
}

fn is_right(password: &str, stored_hash: &str) -> bool {
    match PasswordHash::new(stored_hash) {
        Ok(hash) => Argon2::default().verify_password(password.as_bytes(), &hash).is_ok(),
        Err(error) => {
            tracing::warn!(%error, "a stored password hash is not a PHC string");
            false
        }
    }
}
