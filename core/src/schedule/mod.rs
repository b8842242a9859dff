//! Timetables: what makes runs of a schedule. Pure functions of (timetable, last interval, now).

mod arguments;
mod cron;
mod cron_text;
mod delta;
mod events;
mod interval;
#[cfg(test)]
mod manual_test;
mod recurrence;
mod relative;
mod simple;
mod trigger;

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use self::arguments::Arguments;
use self::delta::Delta;
use self::events::Events;
use self::interval::DataIntervals;
use self::recurrence::Ticks;
use self::relative::RelativeDelta;
use self::simple::{Continuous, DatasetOrTime, DatasetTriggered, Never, Once};
use self::trigger::{MultipleTriggers, Triggers};
use crate::model::{Dag, DataInterval, NextRun, Schedule};

/// What bounds the runs of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restriction {
    /// Earliest logical date.
    pub earliest: Option<DateTime<Utc>>,
    /// Latest logical date.
    pub latest: Option<DateTime<Utc>>,
    /// Whether missed intervals are made up for.
    pub catchup: bool,
}

impl Restriction {
    /// What a DAG and its tasks say (Airflow 2.11, `DAG._time_restriction`): the earliest start date of all, and the latest
    /// end date of all if each task has one, else the DAG's own.
    pub fn of(dag: &Dag) -> Self {
        let starts = dag.tasks.iter().filter_map(|task| task.start_date);
        let all_end = dag.tasks.iter().all(|task| task.end_date.is_some());
        let ends = dag.tasks.iter().filter(|_| all_end).filter_map(|task| task.end_date);
        Self {
            earliest: starts.chain(dag.start_date).min(),
            latest: ends.chain(dag.end_date).max(),
            catchup: dag.catchup,
        }
    }
}

/// Decides when a DAG has runs (Airflow 2.11, `timetables/base.py`). Own ones are added to [`Timetables`] by name.
pub trait Timetable: Debug + Send + Sync {
    /// The run after the one that covers `last`, the latest automated one (scheduled or backfilled), if any; `None` if there is
    /// none, now or ever. `now` decides what is the latest complete interval where nothing is caught up on.
    fn next_run(&self, last: Option<DataInterval>, restriction: &Restriction, now: DateTime<Utc>) -> Option<NextRun>;

    /// The data that a run covers which somebody triggers for a moment.
    fn manual_interval(&self, at: DateTime<Utc>) -> DataInterval;

    /// What people read in place of an expression, such as `At 00:00`; empty if there is nothing to say.
    fn description(&self) -> String {
        String::new()
    }

    /// A short text, such as the cron expression; Airflow's `timetable_summary`.
    fn summary(&self) -> String;

    /// Whether it ever makes a run by time.
    fn can_be_scheduled(&self) -> bool {
        true
    }

    /// Most runs at a time that it allows; `None` for any number.
    fn active_runs_limit(&self) -> Option<u32> {
        None
    }
}

/// Makes a timetable of the arguments of its declaration, `{"args": […], "kwargs": {…}}`, and the DAG's zone.
pub type MakeTimetable = dyn Fn(&Value, &str) -> Result<Arc<dyn Timetable>, String> + Send + Sync;

/// Timetables by name: those of Airflow, and what a host adds.
#[derive(Clone, Default)]
pub struct Timetables {
    own: BTreeMap<String, Arc<MakeTimetable>>,
}

impl Debug for Timetables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.own.keys()).finish()
    }
}

impl Timetables {
    /// Adds a timetable under the import path by which DAGs declare it.
    pub fn add(
        &mut self,
        class: impl Into<String>,
        make: impl Fn(&Value, &str) -> Result<Arc<dyn Timetable>, String> + Send + Sync + 'static,
    ) {
        self.own.insert(class.into(), Arc::new(make));
    }

    /// Whether it knows the class that a schedule names, if it names one.
    pub fn knows(&self, schedule: &Schedule) -> bool {
        match schedule {
            Schedule::Timetable { class, .. } => self.knows_class(class),
            Schedule::DatasetOrTime { timetable, .. } => match timetable.as_ref() {
                Schedule::Timetable { class, .. } => self.knows_class(class),
                _ => true,
            },
            _ => true,
        }
    }

    /// Whether it knows a class by this import path.
    pub fn knows_class(&self, class: &str) -> bool {
        self.own.contains_key(class) || airflows_name(class).is_some()
    }

    /// The timetable of a schedule, on the wall clock of a zone where that matters.
    ///
    /// # Errors
    /// What is wrong with the schedule, or that nobody knows its class.
    pub fn timetable(&self, schedule: &Schedule, timezone: &str) -> Result<Arc<dyn Timetable>, String> {
        match schedule {
            Schedule::DatasetOrTime { timetable, .. } => match timetable.as_ref() {
                Schedule::Datasets { .. } | Schedule::DatasetOrTime { .. } => {
                    Err("timetables of datasets cannot be nested".into())
                }
                timetable => Ok(Arc::new(DatasetOrTime(self.by_time(timetable, timezone)?))),
            },
            schedule => self.by_time(schedule, timezone),
        }
    }

    fn by_time(&self, schedule: &Schedule, timezone: &str) -> Result<Arc<dyn Timetable>, String> {
        Ok(match schedule {
            Schedule::None => Arc::new(Never),
            Schedule::Once => Arc::new(Once),
            Schedule::Continuous => Arc::new(Continuous),
            Schedule::Datasets { .. } => Arc::new(DatasetTriggered),
            Schedule::Cron { expression } => {
                Arc::new(DataIntervals(Ticks::new(expression, arguments::zone(timezone)?)?))
            }
            Schedule::TimeDelta { microseconds } => {
                positive_intervals(Delta::Fixed(TimeDelta::microseconds(*microseconds)))?
            }
            Schedule::RelativeDelta { fields } => positive_intervals(Delta::Relative(RelativeDelta::new(fields)?))?,
            Schedule::DatasetOrTime { .. } => return Err("timetables of datasets cannot be nested".into()),
            Schedule::Timetable { class, arguments } => match self.own.get(class) {
                Some(make) => make(arguments, timezone)?,
                None => airflows(class, arguments)?,
            },
        })
    }
}

fn positive_intervals(delta: Delta) -> Result<Arc<dyn Timetable>, String> {
    delta.check_positive()?;
    Ok(Arc::new(DataIntervals(delta)))
}

/// Airflow's timetables that are made of arguments.
const AIRFLOWS: [&str; 9] = [
    "NullTimetable",
    "OnceTimetable",
    "ContinuousTimetable",
    "CronDataIntervalTimetable",
    "DeltaDataIntervalTimetable",
    "CronTriggerTimetable",
    "MultipleCronTriggerTimetable",
    "DeltaTriggerTimetable",
    "EventsTimetable",
];

/// The last part of the import path of one of Airflow's timetables, or that part alone.
fn airflows_name(class: &str) -> Option<&'static str> {
    let name = match class.rsplit_once('.') {
        Some((path, name)) => path.starts_with("airflow.").then_some(name)?,
        None => class,
    };
    AIRFLOWS.into_iter().find(|known| *known == name)
}

fn airflows(class: &str, declared: &Value) -> Result<Arc<dyn Timetable>, String> {
    let unknown = || format!("no timetable is registered as '{class}'");
    let name = airflows_name(class).ok_or_else(unknown)?;
    let mut arguments = Arguments::new(name, declared)?;
    let none = || Delta::Fixed(TimeDelta::zero());
    let timetable: Arc<dyn Timetable> = match name {
        "NullTimetable" => Arc::new(Never),
        "OnceTimetable" => Arc::new(Once),
        "ContinuousTimetable" => Arc::new(Continuous),
        "CronDataIntervalTimetable" => {
            let cron = arguments.next("cron")?;
            let zone = arguments.next("timezone")?;
            Arc::new(DataIntervals(Ticks::new(&arguments.text("cron", cron)?, arguments.zone(zone)?)?))
        }
        "DeltaDataIntervalTimetable" => {
            let delta = arguments.next("delta")?;
            positive_intervals(arguments.delta("delta", delta)?)?
        }
        "CronTriggerTimetable" => {
            let cron = arguments.next("cron")?;
            let (zone, interval) = (arguments.named("timezone"), arguments.named("interval"));
            let interval = interval.map(|interval| arguments.delta("interval", Some(interval))).transpose()?;
            let recurrence = Ticks::new(&arguments.text("cron", cron)?, arguments.zone(zone)?)?;
            Arc::new(Triggers { recurrence, interval: interval.unwrap_or_else(none) })
        }
        "MultipleCronTriggerTimetable" => {
            let (zone, interval) = (arguments.named("timezone"), arguments.named("interval"));
            let zone = arguments.zone(zone)?;
            let interval = interval.map(|interval| arguments.delta("interval", Some(interval))).transpose()?;
            let mut all = Vec::new();
            for cron in arguments.rest() {
                let recurrence = Ticks::new(&arguments.text("crons", Some(cron))?, zone)?;
                all.push(Triggers { recurrence, interval: interval.clone().unwrap_or_else(none) });
            }
            if all.is_empty() {
                return Err(arguments.missing("crons"));
            }
            Arc::new(MultipleTriggers(all))
        }
        "DeltaTriggerTimetable" => {
            let delta = arguments.next("delta")?;
            let recurrence = arguments.delta("delta", delta)?;
            recurrence.check_positive()?;
            let interval = arguments.named("interval");
            let interval = interval.map(|interval| arguments.delta("interval", Some(interval))).transpose()?;
            Arc::new(Triggers { recurrence, interval: interval.unwrap_or_else(none) })
        }
        "EventsTimetable" => {
            let dates = arguments.next("event_dates")?;
            let (restrict, presorted) = (arguments.next("restrict_to_events")?, arguments.next("presorted")?);
            let description = arguments.next("description")?.filter(|text| !text.is_null());
            let mut dates = arguments.dates("event_dates", dates)?;
            if !arguments.flag("presorted", presorted)? {
                dates.sort();
            }
            let restrict_to_events = arguments.flag("restrict_to_events", restrict)?;
            let description = description.map(|text| arguments.text("description", Some(text))).transpose()?;
            Arc::new(Events { dates, restrict_to_events, description })
        }
        _ => return Err(unknown()),
    };
    arguments.finish()?;
    Ok(timetable)
}
