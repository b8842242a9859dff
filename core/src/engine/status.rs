//! What a scheduler shows of itself.

use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};

/// How a scheduler is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchedulerState {
    /// It has not registered yet.
    Starting,
    /// It works.
    Healthy,
    /// It waits for its storage to come back.
    StorageUnavailable,
    /// It finishes what runs and takes nothing new.
    Stopping,
    /// It has ended.
    Stopped,
}

/// What a scheduler shows of itself. Clones show the same scheduler.
#[derive(Debug, Clone)]
pub struct SchedulerStatus {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Clone, Copy)]
struct Shared {
    state: SchedulerState,
    latest_heartbeat: Option<DateTime<Utc>>,
}

impl Default for SchedulerStatus {
    fn default() -> Self {
        let shared = Shared { state: SchedulerState::Starting, latest_heartbeat: None };
        Self { shared: Arc::new(Mutex::new(shared)) }
    }
}

impl SchedulerStatus {
    /// How it is.
    pub fn state(&self) -> SchedulerState {
        self.lock().state
    }

    /// When it last told the storage that it lives.
    pub fn latest_heartbeat(&self) -> Option<DateTime<Utc>> {
        self.lock().latest_heartbeat
    }

    pub(super) fn set(&self, state: SchedulerState) {
        self.lock().state = state;
    }

    pub(super) fn beat(&self, now: DateTime<Utc>) {
        self.lock().latest_heartbeat = Some(now);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
