//! All that the lock guards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use updraft_core::id::{DagId, DagVersionId, RunId, SchedulerId};
use updraft_core::model::{AuditEntry, Connection, Host, ImportError, RunState, Variable};
use updraft_core::storage::{Result, StorageError, Subject};
use uuid::Uuid;

use crate::attempt::Attempts;
use crate::dag::{DagEntry, Version};
use crate::dataset::Datasets;
use crate::event_log::EventLog;
use crate::pool::Pools;
use crate::run::Run;
use crate::scheduler::Scheduler;
use crate::user::People;

/// Runs of a version that belong to nobody and are not finished.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// By logical date, in which order they start.
    pub(crate) queued: BTreeSet<(DateTime<Utc>, RunId)>,
    pub(crate) running: BTreeSet<RunId>,
}

/// Counts what was ever made of a kind.
#[derive(Debug, Default)]
pub(crate) struct Serial(i64);

impl Serial {
    pub(crate) fn next(&mut self) -> i64 {
        self.0 += 1;
        self.0
    }
}

#[derive(Debug)]
pub(crate) struct State {
    /// By place; the places of deleted DAGs stay empty.
    pub(crate) dags: Vec<Option<DagEntry>>,
    pub(crate) dag_places: BTreeMap<DagId, usize>,
    /// When schedules are to be looked at, by the places of their DAGs.
    pub(crate) due_schedules: BTreeSet<(DateTime<Utc>, usize)>,
    pub(crate) versions: BTreeMap<DagVersionId, Arc<Version>>,
    pub(crate) version_serial: Serial,
    pub(crate) sources: BTreeMap<String, Arc<str>>,
    /// By id, minus one; those of deleted runs stay empty.
    pub(crate) runs: Vec<Option<Box<Run>>>,
    pub(crate) runs_by_uid: BTreeMap<Uuid, RunId>,
    pub(crate) waiting: BTreeMap<DagVersionId, Waiting>,
    pub(crate) attempts: Attempts,
    pub(crate) pools: Pools,
    pub(crate) datasets: Datasets,
    pub(crate) schedulers: BTreeMap<SchedulerId, Scheduler>,
    /// All schedulers of an embedded storage are on one machine.
    pub(crate) host: Host,
    pub(crate) log: EventLog,
    pub(crate) import_errors: BTreeMap<String, ImportError>,
    pub(crate) import_error_serial: Serial,
    /// Files that are to be read again, those that were asked for first in front.
    pub(crate) parsing_requests: Vec<String>,
    pub(crate) variables: BTreeMap<String, Variable>,
    pub(crate) variable_serial: Serial,
    pub(crate) connections: BTreeMap<String, Connection>,
    pub(crate) connection_serial: Serial,
    pub(crate) people: People,
}

impl State {
    pub(crate) fn new() -> Self {
        Self {
            dags: Vec::new(),
            dag_places: BTreeMap::new(),
            due_schedules: BTreeSet::new(),
            versions: BTreeMap::new(),
            version_serial: Serial::default(),
            sources: BTreeMap::new(),
            runs: Vec::new(),
            runs_by_uid: BTreeMap::new(),
            waiting: BTreeMap::new(),
            attempts: Attempts::default(),
            pools: Pools::new(),
            datasets: Datasets::default(),
            schedulers: BTreeMap::new(),
            host: Host::default(),
            log: EventLog::default(),
            import_errors: BTreeMap::new(),
            import_error_serial: Serial::default(),
            parsing_requests: Vec::new(),
            variables: BTreeMap::new(),
            variable_serial: Serial::default(),
            connections: BTreeMap::new(),
            connection_serial: Serial::default(),
            people: People::default(),
        }
    }

    pub(crate) fn audit(&mut self, now: DateTime<Utc>, entry: Option<AuditEntry>) {
        if let Some(entry) = entry {
            self.log.append(now, entry);
        }
    }

    pub(crate) fn dag(&self, dag_id: &str) -> Option<&DagEntry> {
        self.dags.get(*self.dag_places.get(dag_id)?)?.as_ref()
    }

    pub(crate) fn dag_at(&self, place: usize) -> Option<&DagEntry> {
        self.dags.get(place)?.as_ref()
    }

    pub(crate) fn dag_at_mut(&mut self, place: usize) -> Option<&mut DagEntry> {
        self.dags.get_mut(place)?.as_mut()
    }

    pub(crate) fn run(&self, id: RunId) -> Option<&Run> {
        self.runs.get(run_place(id))?.as_deref()
    }

    pub(crate) fn run_mut(&mut self, id: RunId) -> Option<&mut Run> {
        self.runs.get_mut(run_place(id))?.as_deref_mut()
    }

    /// The run, or the error that it does not exist.
    pub(crate) fn existing_run(&mut self, id: RunId) -> Result<&mut Run> {
        self.run_mut(id).ok_or(StorageError::NotFound(Subject::DagRunKey(id)))
    }

    pub(crate) fn find_run(&self, dag_id: &str, run_id: &str) -> Result<&Run> {
        let not_found = || StorageError::NotFound(Subject::DagRun(dag_id.into(), run_id.into()));
        let id = self.dag(dag_id).and_then(|dag| dag.by_run_id.get(run_id)).ok_or_else(not_found)?;
        self.run(*id).ok_or_else(not_found)
    }

    /// Enters a run where runs of its state and owner are looked for and counted.
    pub(crate) fn enter(&mut self, id: RunId) {
        self.enter_or_leave(id, true);
    }

    /// Takes back what [`State::enter`] did; to be called before a run's state or owner changes.
    pub(crate) fn leave(&mut self, id: RunId) {
        self.enter_or_leave(id, false);
    }

    fn enter_or_leave(&mut self, id: RunId, is_there: bool) {
        let Some(run) = self.run(id) else { return };
        let (state, owner, version, place) = (run.record.state, run.record.owner, run.record.dag_version, run.dag);
        let date = run.record.logical_date;
        if let Some(dag) = self.dag_at_mut(place) {
            let count = match (state, owner) {
                (RunState::Running, _) => Some(&mut dag.running),
                (RunState::Queued, Some(_)) => Some(&mut dag.claimed),
                _ => None,
            };
            match count {
                Some(count) if is_there => *count += 1,
                Some(count) => *count -= 1,
                None => {}
            }
            match (state.is_finished(), is_there) {
                (true, _) => {}
                (false, true) => dag.active += 1,
                (false, false) => dag.active -= 1,
            }
        }
        if state.is_finished() {
            if is_there {
                self.release_schedule(place);
            }
            return;
        }
        let set = match owner {
            Some(owner) => self.schedulers.get_mut(&owner).map(|scheduler| &mut scheduler.owned),
            None => {
                let waiting = self.waiting.entry(version).or_default();
                match (state, is_there) {
                    (RunState::Queued, true) => drop(waiting.queued.insert((date, id))),
                    (RunState::Queued, false) => drop(waiting.queued.remove(&(date, id))),
                    _ => {}
                }
                (state != RunState::Queued).then_some(&mut waiting.running)
            }
        };
        match set {
            Some(set) if is_there => drop(set.insert(id)),
            Some(set) => drop(set.remove(&id)),
            None => {}
        }
        if !is_there && self.waiting.get(&version).is_some_and(|w| w.queued.is_empty() && w.running.is_empty()) {
            self.waiting.remove(&version);
        }
    }
}

pub(crate) fn run_place(id: RunId) -> usize {
    usize::try_from(id.0 - 1).unwrap_or(usize::MAX)
}
