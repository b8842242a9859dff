//! Updraft's embedded storage: everything in memory, behind one lock that is held for moments only.

mod attempt;
mod commit;
mod dag;
mod dag_warning;
mod dataset;
mod event_log;
mod import_error;
mod instance;
mod list;
mod parsing_request;
mod past;
mod pool;
mod role;
mod run;
mod schedule;
mod scheduler;
mod secret;
mod state;
mod task_instance;
mod token;
mod user;
mod xcom;

use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use updraft_core::clock::Clock;

use state::State;

/// A storage that forgets everything when it is dropped.
pub struct MemoryStorage {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    announcements: watch::Sender<u64>,
}

impl MemoryStorage {
    /// An empty storage whose wall clock is `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::new(State::new()), announcements: watch::Sender::new(0) }
    }

    /// A panic under the lock is a bug; what the state holds then is still the best there is.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self) {
        self.announcements.send_modify(|count| *count += 1);
    }
}

impl Debug for MemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryStorage")
    }
}
