//! Task instances as they are kept: lean where every instance pays, boxed where few do.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use updraft_core::id::{InstanceKey, TaskIx};
use updraft_core::model::{DagRun, Host, Note, TaskInstance, TaskInstanceTry, TaskState};
use updraft_core::operator::SkipDownstream;

use crate::dag::Version;

/// A moment in microseconds, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(i64);

impl Moment {
    pub(crate) const NEVER: Self = Self(i64::MIN);

    pub(crate) fn get(self) -> Option<DateTime<Utc>> {
        if self == Self::NEVER { None } else { DateTime::from_timestamp_micros(self.0) }
    }
}

impl From<DateTime<Utc>> for Moment {
    fn from(time: DateTime<Utc>) -> Self {
        Self(time.timestamp_micros())
    }
}

impl From<Option<DateTime<Utc>>> for Moment {
    fn from(time: Option<DateTime<Utc>>) -> Self {
        time.map_or(Self::NEVER, Self::from)
    }
}

/// Where no attempt is live.
pub(crate) const NO_ATTEMPT: u32 = u32::MAX;

/// A task instance. A live attempt that is not obsolete has its phase as `state`.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) state: TaskState,
    pub(crate) is_branched_off: bool,
    pub(crate) try_number: u32,
    pub(crate) max_tries: u32,
    /// The place of its live attempt, or [`NO_ATTEMPT`].
    pub(crate) attempt: u32,
    pub(crate) start: Moment,
    pub(crate) end: Moment,
    pub(crate) queued: Moment,
    pub(crate) updated: Moment,
    pub(crate) cold: Option<Box<Cold>>,
}

// Every waiting instance pays for this.
const _: () = assert!(size_of::<Instance>() <= 56);

/// What few instances have.
#[derive(Debug, Default)]
pub(crate) struct Cold {
    pub(crate) due_at: Option<DateTime<Utc>>,
    pub(crate) pid: Option<u32>,
    pub(crate) note: Option<Note>,
    pub(crate) rendered: Option<Value>,
    pub(crate) skip: SkipDownstream,
    pub(crate) history: Vec<TaskInstanceTry>,
    pub(crate) xcoms: BTreeMap<String, (Value, DateTime<Utc>)>,
}

impl Instance {
    pub(crate) fn new(max_tries: u32, now: DateTime<Utc>) -> Self {
        Self {
            state: TaskState::None,
            is_branched_off: false,
            try_number: 0,
            max_tries,
            attempt: NO_ATTEMPT,
            start: Moment::NEVER,
            end: Moment::NEVER,
            queued: Moment::NEVER,
            updated: now.into(),
            cold: None,
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.attempt != NO_ATTEMPT
    }

    pub(crate) fn cold_mut(&mut self) -> &mut Cold {
        self.cold.get_or_insert_default()
    }

    /// The last try as it stands, but for its host.
    pub(crate) fn last_try(&self) -> TaskInstanceTry {
        TaskInstanceTry {
            try_number: self.try_number,
            state: self.state,
            max_tries: self.max_tries,
            start_date: self.start.get(),
            end_date: self.end.get(),
            is_branched_off: self.is_branched_off(),
            queued_when: self.queued.get(),
            hostname: String::new(),
            unixname: String::new(),
            pid: self.cold.as_ref().and_then(|cold| cold.pid),
        }
    }

    /// Puts the last try into the history, once. One that did not finish counts as failed there.
    pub(crate) fn archive(&mut self, now: DateTime<Utc>) {
        if self.history().last().is_some_and(|last| last.try_number == self.try_number) {
            return;
        }
        let mut last = self.last_try();
        if !last.state.is_finished() {
            last.end_date = if last.state == TaskState::UpForRetry { last.end_date } else { Some(now) };
            last.state = TaskState::Failed;
        }
        self.cold_mut().history.push(last);
    }

    pub(crate) fn history(&self) -> &[TaskInstanceTry] {
        self.cold.as_ref().map_or(&[], |cold| &cold.history)
    }

    /// Makes the last try as if it had never been admitted.
    pub(crate) fn give_back(&mut self) {
        self.try_number = self.try_number.saturating_sub(1);
        let before = self.history().last().filter(|last| last.try_number == self.try_number).cloned();
        self.start = before.as_ref().and_then(|last| last.start_date).into();
        self.end = before.as_ref().and_then(|last| last.end_date).into();
        self.queued = before.as_ref().and_then(|last| last.queued_when).into();
        if let Some(cold) = &mut self.cold {
            cold.pid = before.and_then(|last| last.pid);
            cold.rendered = None;
            cold.forget_values();
        }
    }

    /// Forgets what a try leaves for others, and what belongs to the last try only.
    pub(crate) fn forget_try(&mut self) {
        if let Some(cold) = &mut self.cold {
            cold.due_at = None;
            cold.pid = None;
            cold.rendered = None;
            cold.forget_values();
        }
    }

    /// Whoever marks the instance later has nothing to do with branches.
    pub(crate) fn is_branched_off(&self) -> bool {
        self.is_branched_off && self.state == TaskState::Skipped
    }

    pub(crate) fn due_at(&self) -> Option<DateTime<Utc>> {
        self.cold.as_ref().and_then(|cold| cold.due_at)
    }

    /// The instance as clients see it.
    pub(crate) fn view(&self, run: &Arc<DagRun>, version: &Version, host: &Host, key: InstanceKey) -> TaskInstance {
        let cold = self.cold.as_deref();
        TaskInstance {
            run: Arc::clone(run),
            dag: Arc::clone(&version.dag),
            key,
            state: self.state,
            try_number: self.try_number,
            max_tries: self.max_tries,
            start_date: self.start.get(),
            end_date: self.end.get(),
            is_branched_off: self.is_branched_off(),
            queued_when: self.queued.get(),
            due_at: self.due_at(),
            hostname: hostname(host, self.queued.get()),
            unixname: host.unixname.clone(),
            pid: pid(host, cold.and_then(|cold| cold.pid), self.queued.get(), self.start.get()),
            note: cold.and_then(|cold| cold.note.clone()),
            rendered_fields: cold.and_then(|cold| cold.rendered.clone()).unwrap_or_else(|| Value::Object(Map::new())),
            rendered_map_index: None,
        }
    }
}

impl Cold {
    pub(crate) fn forget_values(&mut self) {
        self.xcoms.clear();
        self.skip = SkipDownstream::None;
    }
}

/// Where a try ran: nowhere unless it was admitted.
pub(crate) fn hostname(host: &Host, queued_when: Option<DateTime<Utc>>) -> String {
    queued_when.map(|_| host.hostname.clone()).unwrap_or_default()
}

/// The process of a try: its own, or that of its scheduler once the try was admitted and has started.
pub(crate) fn pid(
    host: &Host,
    own: Option<u32>,
    queued_when: Option<DateTime<Utc>>,
    start_date: Option<DateTime<Utc>>,
) -> Option<u32> {
    own.or_else(|| queued_when.and(start_date).and(host.pid))
}

/// The key of the instance at a place of a run's vector.
pub(crate) fn key_at(index: usize) -> InstanceKey {
    InstanceKey::unmapped(TaskIx::from_index(index))
}
