//! How states and kinds are stored: as small numbers that never change their meaning.

use updraft_core::model::{AttemptPhase, RunState, RunType, TaskState};
use updraft_core::storage::Result;

use crate::error::unreadable;

/// By code.
pub(crate) const TASK_STATES: [TaskState; 13] = [
    TaskState::None,
    TaskState::Scheduled,
    TaskState::Queued,
    TaskState::Running,
    TaskState::Success,
    TaskState::Restarting,
    TaskState::Failed,
    TaskState::UpForRetry,
    TaskState::UpForReschedule,
    TaskState::UpstreamFailed,
    TaskState::Skipped,
    TaskState::Deferred,
    TaskState::Removed,
];

/// By code.
pub(crate) const RUN_STATES: [RunState; 4] = [RunState::Queued, RunState::Running, RunState::Success, RunState::Failed];

/// By code.
const RUN_TYPES: [RunType; 4] = [RunType::Backfill, RunType::Scheduled, RunType::Manual, RunType::DatasetTriggered];

/// By code.
const PHASES: [AttemptPhase; 2] = [AttemptPhase::Queued, AttemptPhase::Running];

fn encode<T: PartialEq>(all: &[T], value: &T) -> i16 {
    // The tables hold every value, and are short.
    all.iter().position(|one| one == value).and_then(|at| i16::try_from(at).ok()).unwrap_or(-1)
}

fn decode<T: Copy>(all: &[T], code: i16, what: &str) -> Result<T> {
    let found = usize::try_from(code).ok().and_then(|code| all.get(code));
    found.copied().ok_or_else(|| unreadable(format!("{code} is no {what}")))
}

pub(crate) fn task_state_code(state: TaskState) -> i16 {
    encode(&TASK_STATES, &state)
}

pub(crate) fn task_state(code: i16) -> Result<TaskState> {
    decode(&TASK_STATES, code, "state of a task instance")
}

pub(crate) fn run_state_code(state: RunState) -> i16 {
    encode(&RUN_STATES, &state)
}

pub(crate) fn run_state(code: i16) -> Result<RunState> {
    decode(&RUN_STATES, code, "state of a run")
}

pub(crate) fn run_type_code(kind: RunType) -> i16 {
    encode(&RUN_TYPES, &kind)
}

pub(crate) fn run_type(code: i16) -> Result<RunType> {
    decode(&RUN_TYPES, code, "type of a run")
}

pub(crate) fn phase_code(phase: AttemptPhase) -> i16 {
    encode(&PHASES, &phase)
}

pub(crate) fn phase(code: i16) -> Result<AttemptPhase> {
    decode(&PHASES, code, "phase of an attempt")
}

/// The state of an instance whose attempt counts.
pub(crate) fn phase_state(phase: AttemptPhase) -> TaskState {
    if phase == AttemptPhase::Running { TaskState::Running } else { TaskState::Queued }
}

/// A number that is never negative and within `u32`, as it is stored.
pub(crate) fn int(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// A stored number that is never negative.
pub(crate) fn unsigned(number: impl TryInto<u32>) -> u32 {
    number.try_into().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_a_code() {
        for state in TaskState::ALL {
            assert_eq!(task_state(task_state_code(state)).expect("it is stored"), state);
        }
        for state in RunState::ALL {
            assert_eq!(run_state(run_state_code(state)).expect("it is stored"), state);
        }
        for kind in RunType::ALL {
            assert_eq!(run_type(run_type_code(kind)).expect("it is stored"), kind);
        }
        assert!(task_state(13).is_err());
        assert!(run_state(-1).is_err());
    }
}
