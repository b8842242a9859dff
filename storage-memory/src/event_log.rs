//! The event log.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use updraft_core::id::{DagId, InstanceKey};
use updraft_core::model::{AuditEntry, EventLogEntry, TaskState};
use updraft_core::storage::{EventLogOrder, EventLogQuery, EventLogStorage, Page, Result, StorageError, Subject};

use crate::MemoryStorage;
use crate::dag::Version;
use crate::list::{NoneLast, may_read, page, sort};

/// What entries say of a run; it outlives the run.
#[derive(Debug)]
pub(crate) struct RunNames {
    pub(crate) run_id: String,
    pub(crate) logical_date: DateTime<Utc>,
    pub(crate) version: Arc<Version>,
}

#[derive(Debug)]
enum Row {
    Audit(DateTime<Utc>, Box<AuditEntry>),
    /// Two a task: names are looked up when the row is read.
    Task {
        when: DateTime<Utc>,
        run: Arc<RunNames>,
        key: InstanceKey,
        try_number: u32,
        event: TaskState,
    },
}

/// All entries; their ids count from one.
#[derive(Debug, Default)]
pub(crate) struct EventLog {
    rows: Vec<Row>,
}

impl EventLog {
    pub(crate) fn append(&mut self, when: DateTime<Utc>, entry: AuditEntry) {
        self.rows.push(Row::Audit(when, Box::new(entry)));
    }

    pub(crate) fn append_task(
        &mut self,
        when: DateTime<Utc>,
        run: &Arc<RunNames>,
        key: InstanceKey,
        try_number: u32,
        event: TaskState,
    ) {
        self.rows.push(Row::Task { when, run: Arc::clone(run), key, try_number, event });
    }

    fn get(&self, id: i64) -> Option<EventLogEntry> {
        let row = self.rows.get(usize::try_from(id.checked_sub(1)?).ok()?)?;
        Some(row.view(id))
    }

    fn list(&self, query: &EventLogQuery) -> Page<EventLogEntry> {
        let rows = (1..).zip(&self.rows).filter(|(_, row)| row.matches(query));
        let Some(order) = query.order_by else {
            return page(rows, query.page).map(|(id, row)| row.view(id));
        };
        let down = order.descending;
        let mut entries: Vec<EventLogEntry> = rows.map(|(id, row)| row.view(id)).collect();
        let list = entries.as_mut_slice();
        match order.field {
            EventLogOrder::When => sort(list, down, |entry| entry.when),
            EventLogOrder::DagId => sort(list, down, |entry| NoneLast(entry.dag_id.clone())),
            EventLogOrder::TaskId => sort(list, down, |entry| NoneLast(entry.task_id.clone())),
            EventLogOrder::RunId => sort(list, down, |entry| NoneLast(entry.run_id.clone())),
            EventLogOrder::Event => sort(list, down, |entry| entry.event.clone()),
            EventLogOrder::LogicalDate => sort(list, down, |entry| NoneLast(entry.logical_date)),
            EventLogOrder::Owner => sort(list, down, |entry| NoneLast(entry.owner.clone())),
            EventLogOrder::Extra => sort(list, down, |entry| NoneLast(entry.extra.clone())),
            _ => sort(list, down, |entry| entry.id),
        }
        page(entries.into_iter(), query.page)
    }
}

/// What filters look at, without copies.
struct Facts<'a> {
    when: DateTime<Utc>,
    event: &'a str,
    dag_id: Option<&'a DagId>,
    task_id: Option<&'a str>,
    run_id: Option<&'a str>,
    map_index: Option<i32>,
    try_number: Option<u32>,
    owner: Option<&'a str>,
}

impl Row {
    fn facts(&self) -> Facts<'_> {
        match self {
            Self::Audit(when, entry) => Facts {
                when: *when,
                event: &entry.event,
                dag_id: entry.dag_id.as_ref(),
                task_id: entry.task_id.as_deref(),
                run_id: entry.run_id.as_deref(),
                map_index: entry.map_index,
                try_number: None,
                owner: entry.owner.as_deref(),
            },
            Self::Task { when, run, key, try_number, event } => {
                let task = run.version.dag.task(key.task);
                Facts {
                    when: *when,
                    event: event.as_str(),
                    dag_id: Some(&run.version.dag.dag_id),
                    task_id: task.map(|task| task.task_id.as_str()),
                    run_id: Some(&run.run_id),
                    map_index: Some(key.map_index),
                    try_number: Some(*try_number),
                    owner: task.map(|task| task.owner.as_str()),
                }
            }
        }
    }

    fn matches(&self, query: &EventLogQuery) -> bool {
        let facts = self.facts();
        let same = |filter: &Option<String>, value: Option<&str>| filter.is_none() || filter.as_deref() == value;
        let is_event = |events: &Vec<String>| events.iter().any(|event| event == facts.event);
        same(&query.dag_id, facts.dag_id.map(DagId::as_str))
            && same(&query.task_id, facts.task_id)
            && same(&query.run_id, facts.run_id)
            && (query.map_index.is_none() || query.map_index == facts.map_index)
            && (query.try_number.is_none() || query.try_number == facts.try_number)
            && same(&query.event, Some(facts.event))
            && same(&query.owner, facts.owner)
            && query.before.is_none_or(|before| facts.when < before)
            && query.after.is_none_or(|after| facts.when > after)
            && query.included_events.as_ref().is_none_or(is_event)
            && !query.excluded_events.as_ref().is_some_and(is_event)
            && facts.dag_id.is_none_or(|dag_id| may_read(query.readable.as_ref(), dag_id))
    }

    fn view(&self, id: i64) -> EventLogEntry {
        let facts = self.facts();
        let (logical_date, extra) = match self {
            Self::Audit(_, entry) => (entry.logical_date, entry.extra.clone()),
            Self::Task { run, .. } => (Some(run.logical_date), None),
        };
        EventLogEntry {
            id,
            when: facts.when,
            event: facts.event.into(),
            dag_id: facts.dag_id.cloned(),
            task_id: facts.task_id.map(Into::into),
            run_id: facts.run_id.map(Into::into),
            map_index: facts.map_index,
            try_number: facts.try_number,
            logical_date,
            owner: facts.owner.map(Into::into),
            extra,
        }
    }
}

#[async_trait]
impl EventLogStorage for MemoryStorage {
    async fn append_event(&self, now: DateTime<Utc>, entry: AuditEntry) -> Result<()> {
        self.lock().log.append(now, entry);
        Ok(())
    }

    async fn event(&self, id: i64) -> Result<EventLogEntry> {
        self.lock().log.get(id).ok_or(StorageError::NotFound(Subject::EventLogEntry(id)))
    }

    async fn events(&self, query: &EventLogQuery) -> Result<Page<EventLogEntry>> {
        Ok(self.lock().log.list(query))
    }
}
