//! States of runs and task instances, and the one table of legal transitions.

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that names no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a state")]
pub struct UnknownState(pub String);

/// The state of a DAG run; its text form is Airflow's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunState {
    /// Waits for its DAG to be unpaused and for room among the DAG's active runs.
    Queued,
    /// Its tasks may start.
    Running,
    /// Ended well: every leaf succeeded or was skipped.
    Success,
    /// Ended badly: a leaf failed, or nothing could go on.
    Failed,
}

impl RunState {
    /// All states, in the order of a run's life.
    pub const ALL: [Self; 4] = [Self::Queued, Self::Running, Self::Success, Self::Failed];

    /// Airflow's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Success => "success",
            Self::Failed => "failed",
        }
    }

    /// Whether the run has ended.
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Success | Self::Failed)
    }

    /// Whether the engine may move a run from `self` to `to`. Clients may set any state.
    pub fn may_become(self, to: Self) -> bool {
        matches!(
            (self, to),
            (Self::Queued, Self::Running) | (Self::Queued | Self::Running, Self::Success | Self::Failed)
        )
    }
}

impl Display for RunState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RunState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| UnknownState(text.into()))
    }
}

/// The state of a task instance; its text form is Airflow's (2.11, `utils/state.py`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
#[non_exhaustive]
pub enum TaskState {
    /// Waits for its upstreams. Airflow writes it as null.
    None,
    /// Its dependencies are met; it waits for room.
    Scheduled,
    /// Admitted; waits for a worker.
    Queued,
    /// An attempt is under way.
    Running,
    /// Ended well.
    Success,
    /// Cleared while running: the old attempt is being ended.
    Restarting,
    /// Ended badly, no try is left.
    Failed,
    /// A try failed; the next one waits for its delay.
    UpForRetry,
    /// A sensor waits for its next poke.
    UpForReschedule,
    /// Did not run because of a failure upstream.
    UpstreamFailed,
    /// Did not have to run.
    Skipped,
    /// Waits for a trigger.
    Deferred,
    /// Its task is no longer in the DAG.
    Removed,
}

impl TaskState {
    /// All states.
    pub const ALL: [Self; 13] = [
        Self::None,
        Self::Scheduled,
        Self::Queued,
        Self::Running,
        Self::Success,
        Self::Restarting,
        Self::Failed,
        Self::UpForRetry,
        Self::UpForReschedule,
        Self::UpstreamFailed,
        Self::Skipped,
        Self::Deferred,
        Self::Removed,
    ];

    /// Airflow's name; `none` for [`TaskState::None`], which JSON shows as null.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Success => "success",
            Self::Restarting => "restarting",
            Self::Failed => "failed",
            Self::UpForRetry => "up_for_retry",
            Self::UpForReschedule => "up_for_reschedule",
            Self::UpstreamFailed => "upstream_failed",
            Self::Skipped => "skipped",
            Self::Deferred => "deferred",
            Self::Removed => "removed",
        }
    }

    /// Whether nothing moves the instance on but a client.
    pub fn is_finished(self) -> bool {
        StateSet::FINISHED.contains(self)
    }

    /// Whether the instance counts as failed for what comes after it.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::UpstreamFailed)
    }

    /// Whether the engine may move an instance from `self` to `to`. Clearing and marking are the service's, and may do
    /// more: they set any instance to [`TaskState::None`], [`TaskState::Restarting`] or a finished state.
    pub fn may_become(self, to: Self) -> bool {
        use TaskState as S;
        match self {
            S::None | S::UpForRetry | S::UpForReschedule => {
                matches!(
                    to,
                    S::Scheduled | S::Queued | S::Running | S::Success | S::Skipped | S::UpstreamFailed | S::Removed
                )
            }
            S::Scheduled => {
                matches!(to, S::Queued | S::Running | S::Success | S::Skipped | S::UpstreamFailed | S::Removed)
            }
            S::Queued => {
                matches!(
                    to,
                    S::Running | S::Scheduled | S::Success | S::Failed | S::Skipped | S::UpForRetry | S::Removed
                )
            }
            S::Running => matches!(
                to,
                S::Success
                    | S::Failed
                    | S::Skipped
                    | S::UpForRetry
                    | S::UpForReschedule
                    | S::Deferred
                    | S::Scheduled
                    | S::Removed
            ),
            S::Restarting => matches!(to, S::None | S::Failed | S::Success | S::Skipped | S::UpForRetry),
            S::Deferred => matches!(to, S::Scheduled | S::Failed | S::Success | S::Skipped),
            S::Success | S::Failed | S::UpstreamFailed | S::Skipped | S::Removed => false,
        }
    }
}

impl Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TaskState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| UnknownState(text.into()))
    }
}

/// A set of task states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StateSet(u16);

impl StateSet {
    /// Every state.
    pub const ALL: Self = Self(u16::MAX);
    /// States that only a client changes.
    pub const FINISHED: Self = Self::of(&[
        TaskState::Success,
        TaskState::Failed,
        TaskState::Skipped,
        TaskState::UpstreamFailed,
        TaskState::Removed,
    ]);
    /// States of an instance that holds or held a worker and is not finished.
    pub const STARTED: Self =
        Self::of(&[TaskState::Queued, TaskState::Running, TaskState::Restarting, TaskState::Deferred]);

    /// The set of these states.
    pub const fn of(states: &[TaskState]) -> Self {
        let mut bits = 0;
        let mut i = 0;
        while i < states.len() {
            bits |= 1 << states[i] as u16;
            i += 1;
        }
        Self(bits)
    }

    /// Whether `state` is in the set.
    pub const fn contains(self, state: TaskState) -> bool {
        self.0 & (1 << state as u16) != 0
    }

    /// Every state that is not in this set.
    pub const fn complement(self) -> Self {
        Self(!self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for state in TaskState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        for state in RunState::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert_eq!("nope".parse::<TaskState>(), Err(UnknownState("nope".into())));
    }

    #[test]
    fn the_engine_never_leaves_a_finished_state() {
        for from in TaskState::ALL {
            for to in TaskState::ALL {
                assert!(!(from.is_finished() && from.may_become(to)), "{from} -> {to}");
                assert!(from != to || !from.may_become(to), "{from} -> itself");
            }
        }
    }
}
