//! Datasets, their updates, and the updates that wait for DAGs.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use updraft_core::id::{DagId, DagVersionId, InstanceKey, RunId, TaskId};
use updraft_core::model::{
    AuditEntry, Dag, DagRun, DataInterval, Dataset, DatasetConsumer, DatasetEvent, DatasetEventSource, DatasetProducer,
    DatasetRecord, OutletEvent, QueuedDatasetEvent, RunType,
};
use updraft_core::storage::{
    DatasetEventOrder, DatasetEventQuery, DatasetOrder, DatasetQuery, DatasetStorage, NewDatasetEvent, NewDatasetRun,
    Page, QueuedDatasetEventQuery, Result, StorageError, Subject, WaitingConsumer,
};

use crate::MemoryStorage;
use crate::dag::DagEntry;
use crate::list::{NoneLast, contains_like, may_read, page, sort};
use crate::run::Run;
use crate::state::State;

/// A dataset and who uses it, each with the time since when.
#[derive(Debug)]
struct Entry {
    id: i64,
    dataset: Dataset,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    consumers: BTreeMap<DagId, DateTime<Utc>>,
    producers: BTreeMap<(DagId, TaskId), DateTime<Utc>>,
    /// Its updates, by time and id.
    events: BTreeSet<(DateTime<Utc>, i64)>,
}

impl Entry {
    fn view(&self) -> DatasetRecord {
        let consumer = |(dag_id, created_at): (&DagId, &DateTime<Utc>)| DatasetConsumer {
            dag_id: dag_id.clone(),
            created_at: *created_at,
        };
        let producer = |((dag_id, task_id), created_at): (&(DagId, TaskId), &DateTime<Utc>)| DatasetProducer {
            dag_id: dag_id.clone(),
            task_id: task_id.clone(),
            created_at: *created_at,
        };
        DatasetRecord {
            id: self.id,
            uri: self.dataset.uri.clone(),
            extra: self.dataset.extra.clone(),
            created_at: self.created_at,
            updated_at: self.updated_at,
            consuming_dags: self.consumers.iter().map(consumer).collect(),
            producing_tasks: self.producers.iter().map(producer).collect(),
        }
    }

    fn is_used_by(&self, dag_id: &DagId) -> bool {
        self.consumers.contains_key(dag_id) || self.producers.keys().any(|(of, _)| of == dag_id)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Datasets {
    /// In the order of their ids, which count from one.
    entries: Vec<Entry>,
    places: BTreeMap<String, usize>,
    /// In the order of their ids, which count from one.
    events: Vec<DatasetEvent>,
    /// By DAG and URI: since when.
    queue: BTreeMap<(DagId, String), DateTime<Utc>>,
    /// The runs that updates took part in causing, oldest first, by the updates' ids; and the other way round, by run.
    caused: BTreeMap<i64, BTreeSet<RunId>>,
    causes: BTreeMap<RunId, BTreeSet<i64>>,
    /// Whether schedulers may find a run to create that they did not find before.
    has_news: bool,
}

impl Datasets {
    /// Enters what new versions of DAGs use.
    pub(crate) fn enter(&mut self, now: DateTime<Utc>, dags: &[Arc<Dag>]) {
        for dag in dags {
            for dataset in dag.tasks.iter().flat_map(|task| task.outlet_datasets()) {
                self.put(now, dataset);
            }
        }
        for uri in dags.iter().flat_map(|dag| dag.consumed_uris()) {
            self.put(now, Dataset::new(uri));
        }
        for dag in dags {
            self.enter_uses(now, dag);
        }
    }

    fn put(&mut self, now: DateTime<Utc>, dataset: Dataset) {
        if let Some(&place) = self.places.get(&dataset.uri) {
            let entry = &mut self.entries[place];
            entry.updated_at = entry.updated_at.max(now);
            return;
        }
        let place = self.entries.len();
        self.places.insert(dataset.uri.clone(), place);
        self.entries.push(Entry {
            id: place as i64 + 1,
            dataset,
            created_at: now,
            updated_at: now,
            consumers: BTreeMap::new(),
            producers: BTreeMap::new(),
            events: BTreeSet::new(),
        });
    }

    fn enter_uses(&mut self, now: DateTime<Utc>, dag: &Dag) {
        let mut former = self.take_uses(&dag.dag_id);
        for uri in dag.consumed_uris() {
            let since = former.consumers.remove(uri).unwrap_or(now);
            if let Some(&place) = self.places.get(uri) {
                self.entries[place].consumers.entry(dag.dag_id.clone()).or_insert(since);
            }
        }
        for task in &dag.tasks {
            for dataset in task.outlet_datasets() {
                let Some(&place) = self.places.get(&dataset.uri) else { continue };
                let key = (dag.dag_id.clone(), task.task_id.clone());
                let since = former.producers.remove(&(dataset.uri, task.task_id.clone())).unwrap_or(now);
                self.entries[place].producers.entry(key).or_insert(since);
            }
        }
        for uri in former.consumers.into_keys() {
            self.queue.remove(&(dag.dag_id.clone(), uri));
        }
    }

    /// Takes the uses of a DAG out.
    fn take_uses(&mut self, dag_id: &DagId) -> Uses {
        let mut uses = Uses::default();
        for entry in &mut self.entries {
            let uri = &entry.dataset.uri;
            if let Some(since) = entry.consumers.remove(dag_id) {
                uses.consumers.insert(uri.clone(), since);
            }
            entry.producers.retain(|(of, task_id), since| {
                let stays = of != dag_id;
                if !stays {
                    uses.producers.insert((uri.clone(), task_id.clone()), *since);
                }
                stays
            });
        }
        uses
    }

    /// Whether there is news for schedulers; once only.
    pub(crate) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    /// What is queued for a DAG, by URI.
    fn queued_for(&self, dag_id: &DagId) -> impl Iterator<Item = (&str, DateTime<Utc>)> {
        let all = self.queue.range((dag_id.clone(), String::new())..);
        all.take_while(move |((of, _), _)| of == dag_id).map(|((_, uri), since)| (uri.as_str(), *since))
    }

    /// Forgets which updates caused a run.
    pub(crate) fn forget_run(&mut self, run: RunId) {
        for event in self.causes.remove(&run).unwrap_or_default() {
            if let Some(runs) = self.caused.get_mut(&event) {
                runs.remove(&run);
            }
        }
    }

    /// Updates of the datasets that a DAG waits for, within a time, by id.
    fn events_for(&self, dag: &Dag, after: Option<DateTime<Utc>>, until: DateTime<Utc>) -> BTreeSet<i64> {
        let from = after.map_or(Bound::Unbounded, |after| Bound::Excluded((after, i64::MAX)));
        let places: BTreeSet<usize> = dag.consumed_uris().filter_map(|uri| self.places.get(uri).copied()).collect();
        let of = |place: usize| self.entries[place].events.range((from, Bound::Included((until, i64::MAX))));
        places.into_iter().flat_map(of).map(|(_, id)| *id).collect()
    }

    fn event(&self, id: i64) -> Option<&DatasetEvent> {
        self.events.get(usize::try_from(id - 1).ok()?)
    }

    /// Forgets what a DAG uses and what waits for it.
    pub(crate) fn forget(&mut self, dag_id: &DagId) {
        self.take_uses(dag_id);
        self.queue.retain(|(of, _), _| of != dag_id);
    }

    fn find(&self, uri: &str) -> Result<&Entry> {
        let place = self.places.get(uri).ok_or_else(|| StorageError::NotFound(Subject::Dataset(uri.into())))?;
        Ok(&self.entries[*place])
    }

    fn list(&self, query: &DatasetQuery) -> Page<DatasetRecord> {
        let mut entries: Vec<&Entry> = self
            .entries
            .iter()
            .filter(|entry| query.uri_pattern.as_ref().is_none_or(|text| contains_like(&entry.dataset.uri, text)))
            .filter(|entry| query.dag_ids.as_ref().is_none_or(|ids| ids.iter().any(|id| entry.is_used_by(id))))
            .collect();
        if let Some(order) = query.order_by {
            let (entries, down) = (entries.as_mut_slice(), order.descending);
            match order.field {
                DatasetOrder::Uri => sort(entries, down, |entry| entry.dataset.uri.clone()),
                DatasetOrder::CreatedAt => sort(entries, down, |entry| entry.created_at),
                DatasetOrder::UpdatedAt => sort(entries, down, |entry| entry.updated_at),
                _ => sort(entries, down, |entry| entry.id),
            }
        }
        page(entries.into_iter(), query.page).map(Entry::view)
    }

    fn queued<'a>(&'a self, query: &'a QueuedDatasetEventQuery) -> impl Iterator<Item = QueuedDatasetEvent> + 'a {
        let queued = self.queue.iter().filter(|((dag_id, uri), created_at)| {
            query.dag_id.as_ref().is_none_or(|of| of == dag_id.as_str())
                && query.uri.as_ref().is_none_or(|of| of == uri)
                && query.before.is_none_or(|before| **created_at < before)
                && may_read(query.readable.as_ref(), dag_id)
        });
        queued.map(|((dag_id, uri), created_at)| QueuedDatasetEvent {
            dag_id: dag_id.clone(),
            uri: uri.clone(),
            created_at: *created_at,
        })
    }
}

/// When a DAG began to use what it uses.
#[derive(Debug, Default)]
struct Uses {
    consumers: BTreeMap<String, DateTime<Utc>>,
    producers: BTreeMap<(String, TaskId), DateTime<Utc>>,
}

fn map_index(event: &DatasetEvent) -> i32 {
    event.source.as_ref().map_or(-1, |source| source.map_index)
}

fn matches(query: &DatasetEventQuery, event: &DatasetEvent) -> bool {
    let source = event.source.as_ref();
    let same = |filter: &Option<String>, value: Option<&str>| filter.is_none() || filter.as_deref() == value;
    query.dataset_id.is_none_or(|id| id == event.dataset_id)
        && same(&query.source_dag_id, source.map(|source| source.dag_id.as_str()))
        && same(&query.source_task_id, source.map(|source| source.task_id.as_str()))
        && same(&query.source_run_id, source.map(|source| source.run_id.as_str()))
        && query.source_map_index.is_none_or(|index| index == map_index(event))
}

impl State {
    fn create_dataset_event(&mut self, now: DateTime<Utc>, new: NewDatasetEvent) -> Result<DatasetEvent> {
        let NewDatasetEvent { uri, extra, source } = new;
        let entry = self.datasets.find(&uri)?;
        let event = DatasetEvent {
            id: self.datasets.events.len() as i64 + 1,
            dataset_id: entry.id,
            dataset_uri: uri.clone(),
            extra,
            source,
            timestamp: now,
            created_dag_runs: Vec::new(),
        };
        let waits = |id: &&DagId| self.dag(id.as_str()).is_some_and(|dag| dag.is_active && !dag.is_paused);
        let waiting: Vec<DagId> = entry.consumers.keys().filter(waits).cloned().collect();
        for dag_id in waiting {
            if let Slot::Vacant(slot) = self.datasets.queue.entry((dag_id, uri.clone())) {
                slot.insert(now);
                self.datasets.has_news = true;
            }
        }
        if let Some(&place) = self.datasets.places.get(&event.dataset_uri) {
            self.datasets.entries[place].events.insert((now, event.id));
        }
        self.datasets.events.push(event.clone());
        Ok(event)
    }

    fn list_dataset_events(&self, query: &DatasetEventQuery) -> Page<DatasetEvent> {
        let mut events: Vec<&DatasetEvent> = match query.caused {
            Some(run) => {
                let ids = self.datasets.causes.get(&run).into_iter().flatten();
                ids.filter_map(|id| self.datasets.event(*id)).filter(|event| matches(query, event)).collect()
            }
            None => self.datasets.events.iter().filter(|event| matches(query, event)).collect(),
        };
        let list = events.as_mut_slice();
        sort(list, false, |event| event.timestamp);
        if let Some(order) = query.order_by {
            let down = order.descending;
            match order.field {
                DatasetEventOrder::SourceDagId => {
                    sort(list, down, |event| NoneLast(event.source.as_ref().map(|source| source.dag_id.clone())));
                }
                DatasetEventOrder::SourceTaskId => {
                    sort(list, down, |event| NoneLast(event.source.as_ref().map(|source| source.task_id.clone())));
                }
                DatasetEventOrder::SourceRunId => {
                    sort(list, down, |event| NoneLast(event.source.as_ref().map(|source| source.run_id.clone())));
                }
                DatasetEventOrder::SourceMapIndex => sort(list, down, |event| map_index(event)),
                _ => sort(list, down, |event| event.timestamp),
            }
        }
        page(events.into_iter(), query.page).map(|event| {
            let caused = self.datasets.caused.get(&event.id).into_iter().flatten().filter_map(|run| self.run(*run));
            DatasetEvent { created_dag_runs: caused.map(|run| DagRun::clone(&run.record)).collect(), ..event.clone() }
        })
    }

    pub(crate) fn waiting_consumers(&self, versions: &[DagVersionId]) -> Vec<WaitingConsumer> {
        let mut waiting: Vec<WaitingConsumer> = Vec::new();
        let mut last: Option<&DagId> = None;
        for (dag_id, uri) in self.datasets.queue.keys() {
            if last == Some(dag_id) {
                if let Some(consumer) = waiting.last_mut() {
                    consumer.uris.push(uri.clone());
                }
                continue;
            }
            let dag = self.dag(dag_id.as_str()).filter(|dag| dag.is_active && !dag.is_paused);
            let dag = dag.filter(|dag| versions.binary_search(&dag.newest.id).is_ok());
            if let Some(dag) = dag.filter(|dag| self.unfinished_runs(dag) < dag.newest.dag.max_active_runs as usize) {
                waiting.push(WaitingConsumer { dag_version: dag.newest.id, uris: vec![uri.clone()] });
                last = Some(dag_id);
            }
        }
        waiting
    }

    fn unfinished_runs(&self, dag: &DagEntry) -> usize {
        let waiting = dag.versions.iter().filter_map(|version| self.waiting.get(version));
        waiting.map(|waiting| waiting.queued.len()).sum::<usize>() + dag.running as usize + dag.claimed as usize
    }

    pub(crate) fn create_dataset_run(&mut self, now: DateTime<Utc>, new: &NewDatasetRun) -> Result<Option<DagRun>> {
        let Some(version) = self.versions.get(&new.dag_version).cloned() else { return Ok(None) };
        let dag_id = &version.dag.dag_id;
        let dag =
            self.dag(dag_id.as_str()).filter(|dag| dag.newest.id == version.id && dag.is_active && !dag.is_paused);
        let Some(dag) = dag else { return Ok(None) };
        let queued: BTreeMap<&str, DateTime<Utc>> = self.datasets.queued_for(dag_id).collect();
        let is_queued = new.uris.iter().all(|uri| queued.contains_key(uri.as_str()));
        let Some(until) = queued.into_values().max().filter(|_| is_queued) else { return Ok(None) };
        let mut earlier = dag.by_date.range(..until).rev().filter_map(|(_, id)| self.run(*id));
        let last = earlier.find(|run| run.record.run_type == RunType::DatasetTriggered);
        let events = self.datasets.events_for(&version.dag, last.map(|run| run.record.logical_date), until);
        let updates = events.iter().filter_map(|id| self.datasets.event(*id)).map(|event| {
            let source = event.source.as_ref();
            let run = source.and_then(|source| self.find_run(source.dag_id.as_str(), &source.run_id).ok());
            run.map_or(DataInterval::exact(event.timestamp), |run| DataInterval {
                start: run.record.data_interval_start,
                end: run.record.data_interval_end,
            })
        });
        let data = NewDatasetRun::data(until, updates);
        let mut date = until;
        let mut run = new.run(date, data);
        while dag.by_date.contains_key(&date) || dag.by_run_id.contains_key(&run.run_id) {
            date += TimeDelta::microseconds(1);
            run = new.run(date, data);
        }
        let run = self.create_run(now, run)?;
        let datasets = &mut self.datasets;
        datasets.queue.retain(|(of, _), _| of != dag_id);
        for event in &events {
            datasets.caused.entry(*event).or_default().insert(run.id);
        }
        datasets.causes.insert(run.id, events);
        Ok(Some(run))
    }

    /// A task instance has succeeded: it updates the datasets among its outlets. The try may have `said` more of that.
    pub(crate) fn update_outlets(&mut self, now: DateTime<Utc>, id: RunId, key: InstanceKey, said: &[OutletEvent]) {
        let Some(run) = self.run(id) else { return };
        let Some(task) = run.version.dag.task(key.task).filter(|task| !task.outlets.is_empty()) else { return };
        let source = DatasetEventSource {
            dag_id: run.record.dag_id.clone(),
            task_id: task.task_id.clone(),
            run_id: run.record.run_id.clone(),
            map_index: key.map_index,
        };
        let updates: Vec<_> = task.updates(said).collect();
        for (uri, extra) in updates {
            let new = NewDatasetEvent { uri, extra, source: Some(source.clone()) };
            // A version's datasets are known as long as the version.
            let _ = self.create_dataset_event(now, new);
        }
    }

    /// A run has ended: there may be room for one that updates of datasets wait for.
    pub(crate) fn note_room(&mut self, id: RunId) {
        if self.datasets.queue.is_empty() {
            return;
        }
        let waits = |run: &Run| self.datasets.queued_for(&run.record.dag_id).next().is_some();
        if self.run(id).is_some_and(waits) {
            self.datasets.has_news = true;
        }
    }
}

#[async_trait]
impl DatasetStorage for MemoryStorage {
    async fn dataset(&self, uri: &str) -> Result<DatasetRecord> {
        self.lock().datasets.find(uri).map(Entry::view)
    }

    async fn datasets(&self, query: &DatasetQuery) -> Result<Page<DatasetRecord>> {
        Ok(self.lock().datasets.list(query))
    }

    async fn create_dataset_event(
        &self,
        now: DateTime<Utc>,
        event: NewDatasetEvent,
        audit: Option<AuditEntry>,
    ) -> Result<DatasetEvent> {
        let (event, is_news) = {
            let mut state = self.lock();
            let event = state.create_dataset_event(now, event)?;
            state.audit(now, audit);
            (event, state.datasets.take_news())
        };
        if is_news {
            self.announce();
        }
        Ok(event)
    }

    async fn dataset_events(&self, query: &DatasetEventQuery) -> Result<Page<DatasetEvent>> {
        Ok(self.lock().list_dataset_events(query))
    }

    async fn queued_dataset_events(&self, query: &QueuedDatasetEventQuery) -> Result<Vec<QueuedDatasetEvent>> {
        Ok(self.lock().datasets.queued(query).collect())
    }

    async fn delete_queued_dataset_events(
        &self,
        now: DateTime<Utc>,
        query: &QueuedDatasetEventQuery,
        audit: Option<AuditEntry>,
    ) -> Result<u64> {
        let mut state = self.lock();
        let gone: Vec<QueuedDatasetEvent> = state.datasets.queued(query).collect();
        for event in &gone {
            state.datasets.queue.remove(&(event.dag_id.clone(), event.uri.clone()));
        }
        if !gone.is_empty() {
            state.audit(now, audit);
        }
        Ok(gone.len() as u64)
    }
}
