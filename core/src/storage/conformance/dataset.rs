//! Datasets, their updates, and what waits for DAGs.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::world::{World, assert_err, at, audit, dag, end_of, ended, key, mark, registration, task};
use super::{Trial, naive};
use crate::id::{DagId, DagVersionId};
use crate::model::{
    Dag, DagRun, Dataset, DatasetCondition, DatasetEvent, DatasetEventSource, DatasetRecord, OutletEvent,
    QueuedDatasetEvent, RunState, RunType, Schedule, TaskState,
};
use crate::storage::{
    Change, DatasetEventOrder, DatasetEventQuery, DatasetOrder, DatasetQuery, EventLogQuery, NewDatasetEvent,
    NewDatasetRun, OrderBy, PageRequest, QueuedDatasetEventQuery, RunQuery, StorageError, Verdict,
};

fn consumer(id: &str, uris: &[&str]) -> Dag {
    let condition = DatasetCondition::all(uris.iter().map(|&uri| uri.to_owned()));
    Dag { schedule: Schedule::Datasets { condition }, ..dag(id, &["consume"]) }
}

fn producer(id: &str, tasks: &[(&str, &[&str])]) -> Dag {
    let mut dag = dag(id, &[]);
    for (task_id, uris) in tasks {
        let mut task = task(task_id);
        task.outlets = uris.iter().map(|&uri| uri.into()).collect();
        dag.tasks.push(task);
    }
    dag
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn update(uri: &str) -> NewDatasetEvent {
    NewDatasetEvent { uri: uri.into(), extra: Map::new(), source: None }
}

fn waiting_for(dag_id: &str) -> QueuedDatasetEventQuery {
    QueuedDatasetEventQuery { dag_id: Some(dag_id.into()), ..QueuedDatasetEventQuery::default() }
}

impl World {
    async fn datasets(&self) -> Vec<DatasetRecord> {
        self.storage.datasets(&DatasetQuery::default()).await.unwrap().items
    }

    /// URIs with the DAGs that wait for them and the tasks that update them.
    async fn uses(&self) -> Vec<String> {
        let show = |dataset: DatasetRecord| {
            let consumers: Vec<_> = dataset.consuming_dags.iter().map(|dag| dag.dag_id.to_string()).collect();
            let producers: Vec<_> =
                dataset.producing_tasks.iter().map(|task| format!("{}.{}", task.dag_id, task.task_id)).collect();
            format!("{}: {} < {}", dataset.uri, consumers.join(" "), producers.join(" "))
        };
        self.datasets().await.into_iter().map(show).collect()
    }

    async fn update(&self, second: i64, uri: &str) -> DatasetEvent {
        self.storage.create_dataset_event(at(second), update(uri), None).await.unwrap()
    }

    async fn waiting(&self, versions: &[DagVersionId]) -> Vec<(DagVersionId, Vec<String>)> {
        let waiting = self.storage.waiting_consumers(versions).await.unwrap();
        waiting.into_iter().map(|consumer| (consumer.dag_version, consumer.uris)).collect()
    }

    async fn cause(&self, second: i64, dag_version: DagVersionId, uris: &[&str]) -> Option<DagRun> {
        let uris = uris.iter().map(|&uri| uri.to_owned()).collect();
        let run = NewDatasetRun { uid: self.ids.uuid(at(second)), dag_version, uris };
        self.storage.create_dataset_run(at(second), &run).await.unwrap()
    }

    async fn causes(&self, run: &DagRun) -> Vec<DatasetEvent> {
        let query = DatasetEventQuery { caused: Some(run.id), ..DatasetEventQuery::default() };
        self.storage.dataset_events(&query).await.unwrap().items
    }

    /// What waits, as `dag uri second`.
    async fn queue(&self, query: &QueuedDatasetEventQuery) -> Vec<String> {
        let show = |event: QueuedDatasetEvent| {
            format!("{} {} {}", event.dag_id, event.uri, (event.created_at - at(0)).num_seconds())
        };
        self.storage.queued_dataset_events(query).await.unwrap().into_iter().map(show).collect()
    }
}

/// Datasets become known with the DAGs that use them: what tasks update before what schedules wait for.
pub async fn datasets_become_known_with_their_dags(trial: &dyn Trial) {
    let world = World::new(trial);
    assert_err!(world.storage.dataset("s3://a").await, StorageError::NotFound(_));
    let mut rich = producer("p", &[("one", &["s3://b", "s3://a"]), ("two", &["s3://a"])]);
    rich.tasks[0].outlets[1] = Dataset::new("s3://a").with_extra("z", 1).with_extra("a", 2).into_value();
    let dags = [consumer("c", &["s3://c", "s3://a", "s3://a"]), rich];
    world.storage.register_dags(at(1), dags.into_iter().map(registration).collect()).await.unwrap();
    assert_eq!(world.uses().await, ["s3://b:  < p.one", "s3://a: c < p.one p.two", "s3://c: c < "]);
    let dataset = world.storage.dataset("s3://a").await.unwrap();
    assert_eq!((dataset.created_at, dataset.updated_at, dataset.consuming_dags[0].created_at), (at(1), at(1), at(1)));
    assert_eq!(Value::from(dataset.extra.clone()).to_string(), r#"{"z":1,"a":2}"#);
    assert_eq!(world.datasets().await[1], dataset);
    // The first declaration's facts stay.
    let later = producer("later", &[("t", &["s3://a"])]);
    world.storage.register_dags(at(2), vec![registration(later)]).await.unwrap();
    let again = world.storage.dataset("s3://a").await.unwrap();
    assert_eq!((again.extra, again.created_at, again.updated_at), (dataset.extra, at(1), at(2)));
}

/// The newest version of a DAG says what it uses; a dataset that nothing uses stays.
pub async fn uses_of_datasets_follow_the_newest_version(trial: &dyn Trial) {
    let world = World::new(trial);
    world.register(consumer("c", &["s3://a", "s3://b"])).await;
    world.register(producer("p", &[("one", &["s3://a"]), ("two", &["s3://a"])])).await;
    world.update(1, "s3://a").await;
    world.update(2, "s3://b").await;
    let before = world.datasets().await;
    // Registering the same again changes nothing.
    world.storage.register_dags(at(9), vec![registration(consumer("c", &["s3://a", "s3://b"]))]).await.unwrap();
    assert_eq!(world.datasets().await, before);
    let newer = [consumer("c", &["s3://b", "s3://d"]), producer("p", &[("two", &["s3://a"]), ("three", &["s3://b"])])];
    world.storage.register_dags(at(10), newer.into_iter().map(registration).collect()).await.unwrap();
    assert_eq!(world.uses().await, ["s3://a:  < p.two", "s3://b: c < p.three", "s3://d: c < "]);
    let kept = world.storage.dataset("s3://b").await.unwrap();
    assert_eq!((kept.consuming_dags[0].created_at, kept.producing_tasks[0].created_at), (at(0), at(10)));
    assert_eq!(world.queue(&waiting_for("c")).await, ["c s3://b 2"], "what it waits for no longer is not queued");
    world.register(dag("c", &["consume"])).await;
    world.register(dag("p", &["one"])).await;
    assert_eq!(world.uses().await, ["s3://a:  < ", "s3://b:  < ", "s3://d:  < "]);
    assert!(world.queue(&QueuedDatasetEventQuery::default()).await.is_empty());
}

/// An update waits for the active, unpaused DAGs whose schedules name the dataset, once.
pub async fn an_update_is_queued_once_for_each_dag_that_waits(trial: &dyn Trial) {
    let world = World::new(trial);
    for id in ["b", "a", "paused", "gone"] {
        world.register(consumer(id, &["s3://x", "s3://y"])).await;
    }
    world.register(producer("p", &[("t", &["s3://x"])])).await;
    world.storage.set_paused(at(0), &[DagId::from("paused")], true, None).await.unwrap();
    world.storage.deactivate_dags(at(0), &[DagId::from("gone")]).await.unwrap();
    let source = DatasetEventSource { dag_id: "p".into(), task_id: "t".into(), run_id: "r".into(), map_index: 3 };
    let event = NewDatasetEvent {
        extra: object(json!({"z": [1, null], "a": "é"})),
        source: Some(source.clone()),
        ..update("s3://x")
    };
    let made = world.storage.create_dataset_event(at(5), event.clone(), audit("made")).await.unwrap();
    assert_eq!((&made.extra, made.source, made.timestamp), (&event.extra, Some(source), at(5)));
    assert_eq!(made.dataset_id, world.storage.dataset("s3://x").await.unwrap().id);
    world.update(6, "s3://x").await;
    world.update(7, "s3://y").await;
    let all = QueuedDatasetEventQuery::default();
    assert_eq!(world.queue(&all).await, ["a s3://x 5", "a s3://y 7", "b s3://x 5", "b s3://y 7"]);
    let events = world.storage.dataset_events(&DatasetEventQuery::default()).await.unwrap();
    assert_eq!((events.total, &events.items[0].extra, events.items[1].source.clone()), (3, &event.extra, None));
    assert_err!(
        world.storage.create_dataset_event(at(8), update("s3://no"), audit("no")).await,
        StorageError::NotFound(_)
    );
    // A DAG that is unpaused later waits for what comes then.
    world.storage.set_paused(at(8), &[DagId::from("paused")], false, None).await.unwrap();
    assert!(world.queue(&waiting_for("paused")).await.is_empty());
    world.update(9, "s3://x").await;
    assert_eq!(world.queue(&waiting_for("paused")).await, ["paused s3://x 9"]);
    let log = world.storage.events(&EventLogQuery::default()).await.unwrap().items;
    assert_eq!(log.iter().map(|entry| &*entry.event).collect::<Vec<_>>(), ["made"]);
}

/// What a task instance updates is written with the batch in which it succeeds, whether it was tried or settled.
pub async fn a_success_updates_the_outlets(trial: &dyn Trial) {
    let world = World::new(trial);
    world.register(consumer("c", &["s3://x", "s3://y"])).await;
    world.register(consumer("paused", &["s3://x"])).await;
    world.storage.set_paused(at(0), &[DagId::from("paused")], true, None).await.unwrap();
    let mut maker = producer("p", &[("one", &["s3://x", "s3://y", "s3://x"]), ("two", &["s3://x"]), ("three", &[])]);
    maker.tasks[0].outlets.push(json!({"__type__": "airflow.datasets.DatasetAlias", "name": "a"}));
    let (mut scheduler, run) = world.started_of(maker).await;
    let first = scheduler.admit(at(2), run.id, 0, 1).await;
    let third = scheduler.admit(at(2), run.id, 2, 1).await;
    let said = |uri: &str| OutletEvent { uri: uri.into(), extra: object(json!({"rows": 7, "about": uri})) };
    let mut end = end_of(first, 0, TaskState::Success, at(3));
    end.outlet_events = vec![said("s3://y"), said("s3://other")];
    let end = Change::Ended(Arc::new(end));
    let changes = vec![
        (run.id, end.clone()),
        (run.id, Change::Settle(key(1), TaskState::Success)),
        (run.id, ended(third, 2, TaskState::Success, at(3))),
    ];
    let batch = scheduler.batch(at(4), changes);
    for _ in 0..2 {
        assert_eq!(world.storage.commit(&batch).await.unwrap(), [Verdict::Done, Verdict::Done, Verdict::Done]);
    }
    assert_eq!(scheduler.apply(at(5), run.id, end).await, Verdict::Done, "it has ended already");
    let events = world.storage.dataset_events(&DatasetEventQuery::default()).await.unwrap().items;
    let source = |task: &str| {
        let (dag_id, run_id) = (run.dag_id.clone(), run.run_id.clone());
        Some(DatasetEventSource { dag_id, task_id: task.into(), run_id, map_index: -1 })
    };
    let shown: Vec<_> =
        events.iter().map(|event| (event.dataset_uri.as_str(), event.source.clone(), event.extra.clone())).collect();
    let expected = [
        ("s3://x", source("one"), Map::new()),
        ("s3://y", source("one"), said("s3://y").extra),
        ("s3://x", source("one"), Map::new()),
        ("s3://x", source("two"), Map::new()),
    ];
    assert_eq!(shown, expected);
    assert!(events.iter().all(|event| event.timestamp == at(4)));
    assert_eq!(world.queue(&QueuedDatasetEventQuery::default()).await, ["c s3://x 4", "c s3://y 4"]);
}

/// Whatever does not end in success updates nothing, nor does a success that is set from outside or comes too late.
pub async fn nothing_but_a_success_updates_outlets(trial: &dyn Trial) {
    let world = World::new(trial);
    world.register(consumer("c", &["s3://x"])).await;
    let tasks: Vec<(&str, &[&str])> =
        vec![("a", &["s3://x"]), ("b", &["s3://x"]), ("c", &["s3://x"]), ("d", &["s3://x"])];
    let (mut scheduler, run) = world.started_of(producer("p", &tasks)).await;
    scheduler.run_try(at(2), run.id, 0, 1, TaskState::Failed).await;
    scheduler.run_try(at(2), run.id, 1, 1, TaskState::Skipped).await;
    scheduler.done(at(3), run.id, Change::Skip(key(2))).await;
    let late = scheduler.admit(at(3), run.id, 3, 1).await;
    world
        .amend(at(4), run.id, None, vec![(key(3), mark(TaskState::Success)), (key(0), mark(TaskState::Success))])
        .await;
    scheduler.reload(run.id).await;
    scheduler.apply(at(5), run.id, ended(late, 3, TaskState::Success, at(5))).await;
    assert_eq!(world.storage.dataset_events(&DatasetEventQuery::default()).await.unwrap().total, 0);
    assert!(world.queue(&QueuedDatasetEventQuery::default()).await.is_empty());
}

/// What is queued is found and forgotten by DAG, dataset, time and what the caller may see.
pub async fn queued_updates_are_chosen_by_each_filter(trial: &dyn Trial) {
    let world = World::new(trial);
    for id in ["a", "b", "c"] {
        world.register(consumer(id, &["s3://x", "s3://y"])).await;
    }
    world.update(5, "s3://x").await;
    world.update(6, "s3://y").await;
    let of_uri = QueuedDatasetEventQuery { uri: Some("s3://y".into()), ..waiting_for("b") };
    assert_eq!(world.queue(&of_uri).await, ["b s3://y 6"]);
    let before = QueuedDatasetEventQuery { before: Some(at(6)), ..waiting_for("b") };
    assert_eq!(world.queue(&before).await, ["b s3://x 5"]);
    let readable = Some(Arc::new(BTreeSet::from([DagId::from("a"), DagId::from("c")])));
    let seen = QueuedDatasetEventQuery { uri: Some("s3://x".into()), readable, ..QueuedDatasetEventQuery::default() };
    assert_eq!(world.queue(&seen).await, ["a s3://x 5", "c s3://x 5"]);
    for query in [waiting_for("nobody"), QueuedDatasetEventQuery { uri: Some("s3://no".into()), ..waiting_for("a") }] {
        assert!(world.queue(&query).await.is_empty());
        assert_eq!(world.storage.delete_queued_dataset_events(at(7), &query, audit("no")).await.unwrap(), 0);
    }
    let delete = async |query| world.storage.delete_queued_dataset_events(at(7), query, audit("gone")).await.unwrap();
    assert_eq!((delete(&of_uri).await, delete(&before).await, delete(&seen).await), (1, 1, 2));
    let all = QueuedDatasetEventQuery::default();
    assert_eq!(world.queue(&all).await, ["a s3://y 6", "c s3://y 6"]);
    assert_eq!(delete(&all).await, 2);
    let log = world.storage.events(&EventLogQuery::default()).await.unwrap().items;
    assert_eq!(log.iter().map(|entry| &*entry.event).collect::<Vec<_>>(), ["gone"; 4]);
}

/// Once all is updated that a DAG waits for, it gets a run that shows what caused it, and waits anew.
pub async fn updates_cause_a_run(trial: &dyn Trial) {
    let world = World::new(trial);
    let version = world.register(consumer("c", &["s3://x", "s3://y"])).await;
    let (mut scheduler, source) = world.started_of(producer("p", &[("t", &["s3://y"])])).await;
    let before = world.update(2, "s3://x").await;
    assert_eq!(world.waiting(&[version]).await, [(version, vec!["s3://x".to_owned()])]);
    scheduler.run_try(at(3), source.id, 0, 1, TaskState::Success).await;
    let again = world.update(5, "s3://x").await;
    let uris = ["s3://x", "s3://y"];
    assert_eq!(world.waiting(&[version]).await, [(version, uris.map(Into::into).to_vec())]);
    assert_eq!(world.waiting(&[]).await, []);
    let run = world.cause(6, version, &uris).await.unwrap();
    assert_eq!((run.dag_id.as_str(), run.run_type, run.state), ("c", RunType::DatasetTriggered, RunState::Queued));
    assert_eq!((run.run_id.as_str(), run.logical_date), ("dataset_triggered__2026-01-01T00:00:04+00:00", at(4)));
    // From the start of the producer's data to the update from outside that came last, as far as that goes.
    assert_eq!((run.data_interval_start, run.data_interval_end), (source.data_interval_start, at(2)));
    assert_eq!((run.external_trigger, &run.conf, run.queued_at), (false, &json!({}), at(6)));
    assert_eq!(world.reread(&run).await, run);
    let causes = world.causes(&run).await;
    assert_eq!(causes.iter().map(|event| event.id).collect::<Vec<_>>(), [before.id, before.id + 1]);
    assert!(causes.iter().all(|event| event.created_dag_runs == [run.clone()]));
    assert_eq!(world.instance(&run, "consume").await.state, TaskState::None);
    assert!(world.queue(&QueuedDatasetEventQuery::default()).await.is_empty());
    assert_eq!(world.waiting(&[version]).await, []);
    assert_eq!(world.cause(7, version, &uris).await, None, "a step that is repeated does nothing");
    // What came after the logical date is among the causes of the next run.
    world.update(8, "s3://y").await;
    world.update(9, "s3://x").await;
    let next = world.cause(9, version, &uris).await.unwrap();
    assert_eq!((next.logical_date, next.data_interval_start, next.data_interval_end), (at(9), at(5), at(9)));
    let ids: Vec<_> = world.causes(&next).await.iter().map(|event| event.id).collect();
    assert_eq!(ids, [again.id, again.id + 1, again.id + 2]);
    world.storage.delete_run(next.id, None).await.unwrap();
    let events = world.storage.dataset_events(&DatasetEventQuery::default()).await.unwrap().items;
    let caused: Vec<_> = events.iter().map(|event| event.created_dag_runs.len()).collect();
    assert_eq!(caused, [1, 1, 0, 0, 0], "a deleted run was caused by nothing");
}

/// A run is caused only by what is still queued for a DAG that may have one.
pub async fn a_run_is_caused_by_what_is_queued(trial: &dyn Trial) {
    let world = World::new(trial);
    let version = world.register(consumer("c", &["s3://x", "s3://y"])).await;
    world.update(1, "s3://x").await;
    assert_eq!(world.cause(2, version, &["s3://x", "s3://y"]).await, None, "of one there is no update");
    let dag = [DagId::from("c")];
    world.storage.set_paused(at(2), &dag, true, None).await.unwrap();
    assert_eq!(world.waiting(&[version]).await, []);
    assert_eq!(world.cause(2, version, &["s3://x"]).await, None, "it is paused");
    world.storage.set_paused(at(2), &dag, false, None).await.unwrap();
    world.storage.deactivate_dags(at(2), &dag).await.unwrap();
    assert_eq!(world.waiting(&[version]).await, []);
    assert_eq!(world.cause(2, version, &["s3://x"]).await, None, "nobody declares it");
    let newer = world.register(consumer("c", &["s3://x", "s3://z"])).await;
    assert_eq!(world.waiting(&[version]).await, []);
    assert_eq!(world.cause(2, version, &["s3://x"]).await, None, "the version is not the newest");
    assert_eq!(world.waiting(&[version, newer]).await, [(newer, vec!["s3://x".to_owned()])]);
    world.storage.delete_queued_dataset_events(at(3), &waiting_for("c"), None).await.unwrap();
    assert_eq!(world.waiting(&[newer]).await, []);
    assert_eq!(world.cause(3, newer, &["s3://x"]).await, None, "nothing is queued");
    assert_eq!(world.cause(3, DagVersionId(i64::MAX), &[]).await, None, "there is no such version");
    world.update(4, "s3://x").await;
    assert_eq!(world.cause(5, newer, &["s3://x"]).await.unwrap().logical_date, at(4));
}

/// A DAG waits while it has as many unfinished runs as it may, queued ones included.
pub async fn consumers_without_room_wait(trial: &dyn Trial) {
    let world = World::new(trial);
    let version = world.register(Dag { max_active_runs: 2, ..consumer("c", &["s3://x"]) }).await;
    let other = world.register(consumer("other", &["s3://x"])).await;
    let queued = world.create(version, "queued").await;
    world.update(1, "s3://x").await;
    let both = [(version, vec!["s3://x".to_owned()]), (other, vec!["s3://x".to_owned()])];
    assert_eq!(world.waiting(&[version, other]).await, both);
    let mut scheduler = world.scheduler("s").await;
    world.create(version, "more").await;
    assert_eq!(world.waiting(&[version, other]).await, both[1..]);
    scheduler.claim(&[version]).await;
    assert_eq!(world.waiting(&[version, other]).await, both[1..]);
    scheduler.done(at(2), queued.id, Change::StartRun).await;
    assert_eq!(world.waiting(&[version, other]).await, both[1..]);
    let seen = world.storage.announcement(0).await;
    scheduler.done(at(3), queued.id, Change::EndRun(RunState::Failed)).await;
    assert!(world.storage.announcement(seen).await > seen, "there is room");
    assert_eq!(world.waiting(&[version, other]).await, both);
}

/// Of schedulers that see the same updates, one creates the run.
pub async fn of_concurrent_creations_for_updates_one_succeeds(trial: &dyn Trial) {
    let world = World::new(trial);
    let version = world.register(consumer("c", &["s3://x"])).await;
    for round in 0..10 {
        world.update(round, "s3://x").await;
        let creations = (0..4).map(|_| world.cause(20, version, &["s3://x"]));
        let created = futures_util::future::join_all(creations).await;
        assert_eq!(created.iter().flatten().count(), 1);
    }
    let runs = world.storage.dag_runs(&RunQuery { page: PageRequest::ALL, ..RunQuery::default() }).await.unwrap();
    assert_eq!(runs.total, 10);
}

/// A run for updates does not wait for ever because another has its logical date.
pub async fn a_run_for_updates_has_a_date_of_its_own(trial: &dyn Trial) {
    let world = World::new(trial);
    let version = world.register(consumer("c", &["s3://x"])).await;
    let mut taken = world.new_run(version, "r");
    taken.logical_date = at(1);
    world.try_create(taken).await.unwrap();
    let named = world.new_run(version, "dataset_triggered__2026-01-01T00:00:01.000001+00:00");
    world.try_create(named).await.unwrap();
    world.update(1, "s3://x").await;
    let run = world.cause(2, version, &["s3://x"]).await.unwrap();
    assert_eq!(run.run_id, "dataset_triggered__2026-01-01T00:00:01.000002+00:00");
    assert_eq!((run.logical_date - at(1)).num_microseconds(), Some(2));
    assert_eq!((run.data_interval_start, run.data_interval_end), (at(1), at(1)));
}

/// Whoever waits for announcements hears of an update that a DAG waits for, by a task or from outside.
pub async fn updates_are_announced(trial: &dyn Trial) {
    let world = World::new(trial);
    world.register(consumer("c", &["s3://x", "s3://y"])).await;
    let (mut scheduler, run) = world.started_of(producer("p", &[("t", &["s3://x"])])).await;
    let token = scheduler.admit(at(1), run.id, 0, 1).await;
    let seen = world.storage.announcement(0).await;
    scheduler.done(at(2), run.id, ended(token, 0, TaskState::Success, at(2))).await;
    let next = world.storage.announcement(seen).await;
    assert!(next > seen);
    world.update(3, "s3://y").await;
    assert!(world.storage.announcement(next).await > next);
}

/// A deleted DAG uses nothing and waits for nothing; the datasets and their updates stay.
pub async fn a_deleted_dag_leaves_its_datasets(trial: &dyn Trial) {
    let world = World::new(trial);
    world.register(consumer("c", &["s3://x"])).await;
    world.register(producer("p", &[("t", &["s3://x"])])).await;
    world.update(5, "s3://x").await;
    world.storage.delete_dag(at(6), "c", None).await.unwrap();
    world.storage.delete_dag(at(6), "p", None).await.unwrap();
    assert_eq!(world.uses().await, ["s3://x:  < "]);
    assert!(world.queue(&QueuedDatasetEventQuery::default()).await.is_empty());
    assert_eq!(world.storage.dataset_events(&DatasetEventQuery::default()).await.unwrap().total, 1);
    // It comes back.
    world.register(consumer("c", &["s3://x"])).await;
    assert_eq!(world.uses().await, ["s3://x: c < "]);
    world.update(7, "s3://x").await;
    assert_eq!(world.queue(&waiting_for("c")).await, ["c s3://x 7"]);
}

/// A run that no update caused has none.
pub async fn a_run_without_updates_has_none(trial: &dyn Trial) {
    let world = World::new(trial);
    let version = world.register(consumer("c", &["s3://x"])).await;
    world.update(5, "s3://x").await;
    let run = world.storage.create_runs(at(6), vec![world.new_run(version, "r")]).await.unwrap().remove(0).unwrap();
    let query = DatasetEventQuery { caused: Some(run.id), ..DatasetEventQuery::default() };
    assert_eq!(world.storage.dataset_events(&query).await.unwrap().total, 0);
}

/// Each filter, order and page of datasets is what a naive one gives.
pub async fn dataset_queries_agree_with_a_naive_filter(trial: &dyn Trial) {
    let world = World::new(trial);
    for (second, uri) in ["s3://b/One", "s3://a", "file:///one_1", "s3://c%d", "s3://one"].into_iter().enumerate() {
        let id = format!("d{second}");
        let seconds = i64::try_from(second).unwrap() % 3;
        let dags =
            vec![registration(producer(&id, &[("t", &[uri])])), registration(consumer("all", &[uri, "s3://one"]))];
        world.storage.register_dags(at(seconds), dags).await.unwrap();
    }
    let all = world.datasets().await;
    assert_eq!(all.len(), 5);
    assert!(all.is_sorted_by_key(|dataset| dataset.id));
    let orders: Vec<(DatasetOrder, naive::Compare<DatasetRecord>)> = vec![
        (DatasetOrder::Id, naive::by(|dataset: &DatasetRecord| dataset.id)),
        (DatasetOrder::Uri, naive::by(|dataset: &DatasetRecord| dataset.uri.clone())),
        (DatasetOrder::CreatedAt, naive::by(|dataset: &DatasetRecord| dataset.created_at)),
        (DatasetOrder::UpdatedAt, naive::by(|dataset: &DatasetRecord| dataset.updated_at)),
    ];
    for (field, compare) in orders {
        for descending in [false, true] {
            for page in naive::PAGES {
                let query =
                    DatasetQuery { order_by: Some(OrderBy { field, descending }), page, ..DatasetQuery::default() };
                let got = world.storage.datasets(&query).await.unwrap();
                let expected = naive::list(&all, descending, &compare, page);
                assert_eq!((got.items, got.total), expected, "{field:?} {descending} {page:?}");
            }
        }
    }
    let uris = async |query: DatasetQuery| {
        let found = world.storage.datasets(&query).await.unwrap();
        assert_eq!(found.total, found.items.len() as u64);
        found.items.into_iter().map(|dataset| dataset.uri).collect::<BTreeSet<_>>()
    };
    let set = |uris: &[&str]| uris.iter().map(|&uri| uri.to_owned()).collect::<BTreeSet<_>>();
    let pattern = |text: &str| DatasetQuery { uri_pattern: Some(text.into()), ..DatasetQuery::default() };
    assert_eq!(uris(pattern("ONE")).await, set(&["s3://b/One", "file:///one_1", "s3://one"]));
    assert_eq!(uris(pattern("e_1")).await, set(&["file:///one_1"]));
    assert_eq!(uris(pattern("c\\%")).await, set(&["s3://c%d"]));
    let of = |ids: &[&str]| DatasetQuery {
        dag_ids: Some(ids.iter().map(|&id| DagId::from(id)).collect()),
        ..DatasetQuery::default()
    };
    assert_eq!(uris(of(&["d0", "d3", "no"])).await, set(&["s3://b/One", "s3://c%d"]));
    assert_eq!(uris(of(&["all"])).await, set(&["s3://one"]));
    assert_eq!(uris(of(&["no"])).await, set(&[]));
    assert_eq!(uris(DatasetQuery { uri_pattern: Some("b/".into()), ..of(&["d0", "d1"]) }).await, set(&["s3://b/One"]));
}

/// Each filter, order and page of updates is what a naive one gives.
pub async fn dataset_event_queries_agree_with_a_naive_filter(trial: &dyn Trial) {
    let world = World::new(trial);
    world.register(consumer("c", &["s3://x", "s3://y"])).await;
    for index in 0..12_i32 {
        let source = (index % 4 > 0).then(|| DatasetEventSource {
            dag_id: format!("d{}", index % 3).into(),
            task_id: format!("t{}", index % 2).into(),
            run_id: format!("r{}", index % 5),
            map_index: index % 3 - 1,
        });
        let event = NewDatasetEvent {
            extra: object(json!({"index": index})),
            source,
            ..update(if index % 3 == 0 { "s3://x" } else { "s3://y" })
        };
        world.storage.create_dataset_event(at(i64::from(index * 7 % 5)), event, None).await.unwrap();
    }
    let all = world.storage.dataset_events(&DatasetEventQuery::default()).await.unwrap().items;
    assert!(all.is_sorted_by_key(|event| (event.timestamp, event.id)));
    let source = |get: fn(&DatasetEventSource) -> String| {
        naive::by_option(move |event: &DatasetEvent| event.source.as_ref().map(get))
    };
    let index = |event: &DatasetEvent| event.source.as_ref().map_or(-1, |source| source.map_index);
    let orders: Vec<(DatasetEventOrder, naive::Compare<DatasetEvent>)> = vec![
        (DatasetEventOrder::Timestamp, naive::by(|event: &DatasetEvent| event.timestamp)),
        (DatasetEventOrder::SourceDagId, source(|source| source.dag_id.to_string())),
        (DatasetEventOrder::SourceTaskId, source(|source| source.task_id.to_string())),
        (DatasetEventOrder::SourceRunId, source(|source| source.run_id.clone())),
        (DatasetEventOrder::SourceMapIndex, naive::by(index)),
    ];
    for (field, compare) in orders {
        for descending in [false, true] {
            for page in naive::PAGES {
                let order_by = Some(OrderBy { field, descending });
                let query = DatasetEventQuery { order_by, page, ..DatasetEventQuery::default() };
                let got = world.storage.dataset_events(&query).await.unwrap();
                let expected = naive::list(&all, descending, &compare, page);
                assert_eq!((got.items, got.total), expected, "{field:?} {descending} {page:?}");
            }
        }
    }
    let y = all.iter().find(|event| event.dataset_uri == "s3://y").unwrap().dataset_id;
    type Case = (DatasetEventQuery, Box<dyn Fn(&DatasetEvent) -> bool + Send>);
    let by = |test: fn(&DatasetEventSource) -> bool| {
        Box::new(move |event: &DatasetEvent| event.source.as_ref().is_some_and(test))
    };
    let none = DatasetEventQuery::default;
    let cases: Vec<Case> = vec![
        (DatasetEventQuery { dataset_id: Some(y), ..none() }, Box::new(move |event| event.dataset_id == y)),
        (DatasetEventQuery { dataset_id: Some(i64::MAX), ..none() }, Box::new(|_| false)),
        (DatasetEventQuery { source_dag_id: Some("d1".into()), ..none() }, by(|source| source.dag_id.as_str() == "d1")),
        (
            DatasetEventQuery { source_task_id: Some("t1".into()), source_map_index: Some(0), ..none() },
            by(|source| source.task_id.as_str() == "t1" && source.map_index == 0),
        ),
        (DatasetEventQuery { source_run_id: Some("r3".into()), ..none() }, by(|source| source.run_id == "r3")),
        (DatasetEventQuery { source_map_index: Some(-1), ..none() }, Box::new(move |event| index(event) == -1)),
        (DatasetEventQuery { source_dag_id: Some("no".into()), ..none() }, Box::new(|_| false)),
    ];
    for (query, test) in cases {
        let got = world.storage.dataset_events(&DatasetEventQuery { page: PageRequest::ALL, ..query.clone() }).await;
        let expected: Vec<_> = all.iter().filter(|event| test(event)).cloned().collect();
        let got = got.unwrap();
        assert_eq!((got.total, got.items), (expected.len() as u64, expected), "{query:?}");
    }
}
