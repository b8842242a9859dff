//! When the time of each run is up (`dagrun_timeout`).

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use crate::engine::RunMachine;
use crate::id::RunId;

/// The moments at which runs time out. A moment follows from the run's start and its DAG, so nothing of it is stored.
#[derive(Debug, Default)]
pub(super) struct Timeouts(BTreeSet<(DateTime<Utc>, RunId)>);

impl Timeouts {
    pub(super) fn add(&mut self, machine: &RunMachine) {
        self.0.extend(moment(machine).map(|moment| (moment, machine.run().id)));
    }

    pub(super) fn remove(&mut self, machine: &RunMachine) {
        if let Some(moment) = moment(machine) {
            self.0.remove(&(moment, machine.run().id));
        }
    }

    pub(super) fn next(&self) -> Option<DateTime<Utc>> {
        self.0.first().map(|(moment, _)| *moment)
    }

    pub(super) fn take_due(&mut self, now: DateTime<Utc>) -> Option<RunId> {
        let (moment, run) = *self.0.first()?;
        (moment <= now).then(|| {
            self.0.pop_first();
            run
        })
    }
}

/// A timeout beyond the calendar never comes.
fn moment(machine: &RunMachine) -> Option<DateTime<Utc>> {
    let timeout = TimeDelta::from_std(machine.plan().dag().dagrun_timeout?).ok()?;
    machine.run().start_date?.checked_add_signed(timeout)
}
