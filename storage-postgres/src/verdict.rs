//! Verdicts as a lane keeps them, for whoever asks for its last batch again: those other than `Done`, by position.

use serde::{Deserialize, Serialize};
use updraft_core::id::RunId;
use updraft_core::storage::{Limit, Result, Verdict};

use crate::error::unreadable;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stored {
    Stale,
    Pool(String),
    Paused(String),
    ActiveRuns(String),
    ActiveTasks(String),
    TaskInDag(String, String),
    TaskInRun(i64, String),
}

/// What is stored of a batch's verdicts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct StoredVerdicts(Vec<(usize, Stored)>);

/// Nothing if all are `Done`.
pub(crate) fn stored_verdicts(verdicts: &[Verdict]) -> Option<StoredVerdicts> {
    let stored = |verdict: &Verdict| match verdict {
        Verdict::Done => None,
        Verdict::NoRoom(Limit::Pool(name)) => Some(Stored::Pool(name.clone())),
        Verdict::NoRoom(Limit::Paused(dag)) => Some(Stored::Paused(dag.to_string())),
        Verdict::NoRoom(Limit::ActiveRuns(dag)) => Some(Stored::ActiveRuns(dag.to_string())),
        Verdict::NoRoom(Limit::ActiveTasks(dag)) => Some(Stored::ActiveTasks(dag.to_string())),
        Verdict::NoRoom(Limit::TaskInDag(dag, task)) => Some(Stored::TaskInDag(dag.to_string(), task.clone())),
        Verdict::NoRoom(Limit::TaskInRun(run, task)) => Some(Stored::TaskInRun(run.0, task.clone())),
        // A reload puts right whatever it was.
        _ => Some(Stored::Stale),
    };
    let others: Vec<_> =
        verdicts.iter().enumerate().filter_map(|(index, verdict)| Some((index, stored(verdict)?))).collect();
    (!others.is_empty()).then_some(StoredVerdicts(others))
}

/// The verdicts of a batch of so many transitions.
pub(crate) fn with_stored(length: usize, stored: Option<StoredVerdicts>) -> Result<Vec<Verdict>> {
    let mut verdicts = vec![Verdict::Done; length];
    for (index, one) in stored.into_iter().flat_map(|stored| stored.0) {
        let place = verdicts.get_mut(index).ok_or_else(|| unreadable("a batch was repeated with fewer transitions"))?;
        *place = match one {
            Stored::Stale => Verdict::StaleRun,
            Stored::Pool(name) => Verdict::NoRoom(Limit::Pool(name)),
            Stored::Paused(dag) => Verdict::NoRoom(Limit::Paused(dag.into())),
            Stored::ActiveRuns(dag) => Verdict::NoRoom(Limit::ActiveRuns(dag.into())),
            Stored::ActiveTasks(dag) => Verdict::NoRoom(Limit::ActiveTasks(dag.into())),
            Stored::TaskInDag(dag, task) => Verdict::NoRoom(Limit::TaskInDag(dag.into(), task)),
            Stored::TaskInRun(run, task) => Verdict::NoRoom(Limit::TaskInRun(RunId(run), task)),
        };
    }
    Ok(verdicts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_round_trip() {
        let all = vec![
            Verdict::Done,
            Verdict::StaleRun,
            Verdict::NoRoom(Limit::Pool("p".into())),
            Verdict::NoRoom(Limit::Paused("d".into())),
            Verdict::NoRoom(Limit::ActiveRuns("d".into())),
            Verdict::NoRoom(Limit::ActiveTasks("d".into())),
            Verdict::NoRoom(Limit::TaskInDag("d".into(), "t".into())),
            Verdict::NoRoom(Limit::TaskInRun(RunId(1), "t".into())),
            Verdict::Done,
        ];
        let stored = stored_verdicts(&all).expect("not all are done");
        let text = serde_json::to_string(&stored).expect("it is JSON");
        let read = serde_json::from_str(&text).expect("it is ours");
        assert_eq!(with_stored(all.len(), Some(read)).expect("it is long enough"), all);
        assert!(with_stored(3, Some(stored)).is_err());
        assert_eq!(stored_verdicts(&[Verdict::Done]), None);
    }
}
