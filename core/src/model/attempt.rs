//! A live try of a task instance.

use chrono::{DateTime, Utc};

use crate::id::{AttemptToken, InstanceKey, RunId, SchedulerId};

/// How far a live attempt has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AttemptPhase {
    /// Waits for a worker.
    Queued,
    /// A worker has it.
    Running,
}

/// A try that was admitted and has not ended. While one exists, it is the state of its instance, and it holds slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveAttempt {
    /// Names the attempt and fences its writes.
    pub token: AttemptToken,
    /// The run.
    pub run: RunId,
    /// The instance.
    pub key: InstanceKey,
    /// The number of the try.
    pub try_number: u32,
    /// How far it has come.
    pub phase: AttemptPhase,
    /// The scheduler that admitted it.
    pub scheduler: SchedulerId,
    /// Whether a client's change has made it pointless: it still holds its slots until it has ended, and its outcome
    /// no longer counts.
    pub is_obsolete: bool,
    /// When it was admitted.
    pub queued_when: DateTime<Utc>,
    /// When a worker took it.
    pub start_date: Option<DateTime<Utc>>,
}
