//! Runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::json;

use super::world::{World, assert_err, at, audit, dag, task};
use super::{Trial, naive};
use crate::id::{DagId, RunId};
use crate::model::{AuditEntry, DagRun, Note, RunState, RunType, TaskState};
use crate::storage::{
    Change, EventLogQuery, OrderBy, Range, RunOrder, RunQuery, StorageError, Subject, TaskInstanceQuery,
};

/// A run is created as asked for, with one instance a task.
pub async fn a_run_is_created_with_its_instances(trial: &dyn Trial) {
    let world = World::new(trial);
    let mut declared = dag("d", &["a", "b"]);
    declared.tasks[1].retries = 3;
    let version = world.register(declared).await;
    let mut new = world.new_run(version, "r");
    new.conf = json!({"a": [1, null]});
    new.note = Some(Note { content: "hi".into(), user: Some("admin".into()) });
    new.audit = audit("trigger");
    let run = world.storage.create_runs(at(7), vec![new.clone()]).await.unwrap().remove(0).unwrap();
    assert_eq!(run, world.reread(&run).await);
    assert_eq!((run.state, run.queued_at, run.updated_at), (RunState::Queued, at(7), at(7)));
    assert_eq!((run.start_date, run.end_date, run.owner, run.clear_number), (None, None, None, 0));
    assert_eq!((run.logical_date, run.conf, run.note), (new.logical_date, new.conf, new.note));
    for (id, max_tries) in [("a", 0), ("b", 3)] {
        let instance = world.instance(&run_named(&world, "r").await, id).await;
        assert_eq!((instance.state, instance.try_number, instance.max_tries), (TaskState::None, 0, max_tries));
        assert_eq!((instance.start_date, instance.end_date, instance.queued_when), (None, None, None));
        assert_eq!(instance.rendered_fields, json!({}));
    }
    let events = world.storage.events(&EventLogQuery::default()).await.unwrap().items;
    assert_eq!((&*events[0].event, events[0].when), ("trigger", at(7)));
}

async fn run_named(world: &World, run_id: &str) -> DagRun {
    world.storage.dag_run("d", run_id).await.unwrap()
}

/// Of a run with a known date and a known id, the date is named.
pub async fn a_duplicate_date_is_named_first(trial: &dyn Trial) {
    let world = World::new(trial);
    let version = world.register(dag("d", &["a"])).await;
    let mut new = world.new_run(version, "r");
    new.audit = audit("trigger");
    world.try_create(new.clone()).await.unwrap();
    assert_err!(world.try_create(new.clone()).await, StorageError::AlreadyExists(Subject::LogicalDate(..)));
    let mut other_id = new.clone();
    other_id.run_id = "other".into();
    assert_err!(world.try_create(other_id).await, StorageError::AlreadyExists(Subject::LogicalDate(..)));
    let mut other_date = world.new_run(version, "r");
    other_date.audit = audit("trigger");
    assert_err!(world.try_create(other_date).await, StorageError::AlreadyExists(Subject::DagRun(..)));
    let events = world.storage.events(&EventLogQuery::default()).await.unwrap();
    assert_eq!(events.total, 1, "a refused run leaves nothing");
    assert_eq!(world.storage.task_instances(&TaskInstanceQuery::default()).await.unwrap().total, 1);
}

/// Another DAG may have runs of the same id and date.
pub async fn ids_and_dates_are_a_dags_own(trial: &dyn Trial) {
    let world = World::new(trial);
    let (d, e) = (world.register(dag("d", &["a"])).await, world.register(dag("e", &["a"])).await);
    let mut new = world.new_run(d, "r");
    world.try_create(new.clone()).await.unwrap();
    new.dag_version = e;
    world.try_create(new).await.unwrap();
}

/// Each run of a call succeeds or fails by itself, in its place.
pub async fn each_created_run_stands_alone(trial: &dyn Trial) {
    let world = World::new(trial);
    let version = world.register(dag("d", &["a"])).await;
    let first = world.new_run(version, "one");
    let mut unknown = world.new_run(version, "two");
    unknown.dag_version = crate::id::DagVersionId(12345);
    let runs = vec![first.clone(), first, unknown, world.new_run(version, "three")];
    let created = world.storage.create_runs(at(0), runs).await.unwrap();
    assert!(created[0].is_ok());
    assert_err!(&created[1], StorageError::AlreadyExists(_));
    assert_err!(&created[2], StorageError::NotFound(_));
    assert!(created[3].as_ref().unwrap().id > created[0].as_ref().unwrap().id, "ids follow the order of creation");
}

/// Of many that create the same run at a time, one succeeds.
pub async fn of_concurrent_creations_one_succeeds(trial: &dyn Trial) {
    let world = World::new(trial);
    let version = world.register(dag("d", &["a"])).await;
    let new = world.new_run(version, "r");
    let creations: Vec<_> = (0..16)
        .map(|_| {
            let (storage, new) = (Arc::clone(&world.storage), new.clone());
            tokio::spawn(async move { storage.create_runs(at(0), vec![new]).await.unwrap().remove(0).is_ok() })
        })
        .collect();
    let mut created = 0;
    for creation in creations {
        created += usize::from(creation.await.unwrap());
    }
    assert_eq!(created, 1);
    assert_eq!(world.storage.dag_runs(&RunQuery::default()).await.unwrap().total, 1);
}

/// A run's remark is set and removed.
pub async fn a_run_has_a_note(trial: &dyn Trial) {
    let world = World::new(trial);
    let version = world.register(dag("d", &["a"])).await;
    let run = world.create(version, "r").await;
    let note = Some(Note { content: "hi".into(), user: None });
    assert_eq!(world.storage.set_run_note(at(1), run.id, note.clone(), audit("note")).await.unwrap().note, note);
    assert_eq!(world.reread(&run).await.note, note);
    assert_eq!(world.storage.set_run_note(at(1), run.id, None, None).await.unwrap().note, None);
    assert_eq!(world.reread(&run).await.version, run.version, "a remark is no change for the engine");
    assert_err!(world.storage.set_run_note(at(1), RunId(999), None, audit("no")).await, StorageError::NotFound(_));
    assert_eq!(world.storage.events(&EventLogQuery::default()).await.unwrap().total, 1);
}

/// A run is found by its uid, for as long as it exists.
pub async fn a_run_is_found_by_its_uid(trial: &dyn Trial) {
    let world = World::new(trial);
    let (d, e) = (world.register(dag("d", &["a"])).await, world.register(dag("e", &["a"])).await);
    let (first, second) = (world.new_run(d, "r"), world.new_run(e, "r"));
    let (uid, other) = (first.uid, second.uid);
    let run = world.try_create(first).await.unwrap();
    world.try_create(second).await.unwrap();
    assert_eq!(run.uid, uid);
    assert_eq!(world.storage.dag_run_by_uid(uid).await.unwrap(), run);
    assert_eq!(world.storage.dag_run_by_uid(other).await.unwrap().dag_id.as_str(), "e");
    world.storage.delete_run(run.id, None).await.unwrap();
    assert_err!(world.storage.dag_run_by_uid(uid).await, StorageError::NotFound(Subject::DagRunUid(_)));
    let query = RunQuery { without_total: true, ..RunQuery::default() };
    let page = world.storage.dag_runs(&query).await.unwrap();
    assert_eq!((page.items.len(), page.total), (1, 0), "nobody asked for the total");
}

/// With a run everything goes that belongs to it; its id and date are free again.
pub async fn a_deleted_run_is_wholly_gone(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    scheduler.run_try(at(2), run.id, 0, 1, TaskState::Success).await;
    let token = scheduler.admit(at(3), run.id, 1, 1).await;
    scheduler.done(at(3), run.id, Change::Schedule(vec![super::world::key(2)])).await;
    world.storage.set_xcom(at(3), token, "k", json!(1)).await.unwrap();
    let entry = AuditEntry { event: "delete".into(), dag_id: Some("d".into()), ..AuditEntry::default() };
    world.storage.delete_run(run.id, Some(entry)).await.unwrap();
    assert_err!(world.storage.dag_run("d", "r").await, StorageError::NotFound(_));
    assert_err!(world.storage.task_instance("d", "r", "a", -1).await, StorageError::NotFound(_));
    assert_eq!(world.storage.task_instances(&TaskInstanceQuery::default()).await.unwrap().total, 0);
    assert_eq!(world.storage.dag_runs(&RunQuery::default()).await.unwrap().total, 0);
    assert!(world.storage.tries(run.id, super::world::key(0)).await.unwrap().is_empty());
    assert!(world.xcom_keys(&run).await.is_empty());
    assert_eq!(world.pool("default_pool").await.scheduled, 0);
    assert_err!(world.storage.delete_run(run.id, None).await, StorageError::NotFound(_));
    let mut again = world.new_run(run.dag_version, "r");
    again.logical_date = run.logical_date;
    assert!(world.try_create(again).await.unwrap().id > run.id);
    let query = EventLogQuery { event: Some("delete".into()), ..EventLogQuery::default() };
    assert_eq!(world.storage.events(&query).await.unwrap().total, 1);
}

/// Thirty runs of three DAGs in all states and types.
async fn population(world: &World) -> Vec<DagRun> {
    let mut versions = Vec::new();
    for id in ["x", "y", "z"] {
        let mut declared = dag(id, &["a"]);
        declared.tasks.push(task("b"));
        declared.max_active_runs = 100;
        versions.push(world.register(declared).await);
    }
    let mut scheduler = world.scheduler("s").await;
    for index in 0..30_usize {
        let run_type = RunType::ALL[index % 4];
        let mut new = world.new_run(versions[index % 3], &format!("{run_type}__{}", (index * 7) % 30));
        new.run_type = run_type;
        new.external_trigger = index % 2 == 0;
        new.conf = json!({ "n": index % 5 });
        new.data_interval_end = at(i64::try_from(index % 7).unwrap());
        let now = at(i64::try_from(index % 6).unwrap());
        world.storage.create_runs(now, vec![new]).await.unwrap().remove(0).unwrap();
    }
    for (index, run) in scheduler.claim(&versions).await.into_iter().enumerate() {
        let (id, time) = (run.run.id, i64::try_from(index).unwrap());
        if index % 4 > 0 {
            scheduler.done(at(100 - time), id, Change::StartRun).await;
        }
        if index % 4 > 1 {
            let state = if index % 4 == 2 { RunState::Success } else { RunState::Failed };
            scheduler.done(at(200 + time % 8), id, Change::EndRun(state)).await;
        }
    }
    let all = world.storage.dag_runs(&RunQuery::default()).await.unwrap();
    assert_eq!((all.items.len(), all.total), (30, 30));
    assert!(all.items.is_sorted_by_key(|run| run.id), "in the order of creation, unless told otherwise");
    all.items
}

/// Each filter of runs gives what a naive filter gives, with the exact total.
pub async fn run_filters_agree_with_a_naive_filter(trial: &dyn Trial) {
    let world = World::new(trial);
    let all = population(&world).await;
    let query = RunQuery::default;
    let range = |from, to| Range { at_least: from, at_most: to };
    let dags: BTreeSet<_> = ["x".into(), "z".into(), "none".into()].into();
    let ids: BTreeSet<_> = all.iter().take(3).map(|run| run.run_id.clone()).collect();
    let (early, late) = (all[5].logical_date, all[20].logical_date);
    type Case = (RunQuery, Box<dyn Fn(&DagRun) -> bool>);
    let named = ids.clone();
    let cases: Vec<Case> = vec![
        (RunQuery { dag_ids: Some(dags.clone()), ..query() }, Box::new(|run| run.dag_id.as_str() != "y")),
        (RunQuery { readable: Some(Arc::new(dags)), ..query() }, Box::new(|run| run.dag_id.as_str() != "y")),
        (RunQuery { dag_ids: Some(BTreeSet::new()), ..query() }, Box::new(|_| false)),
        (RunQuery { run_ids: Some(ids), ..query() }, Box::new(move |run| named.contains(&run.run_id))),
        (
            RunQuery { states: Some(vec![RunState::Queued, RunState::Failed]), ..query() },
            Box::new(|run| matches!(run.state, RunState::Queued | RunState::Failed)),
        ),
        (RunQuery { states: Some(Vec::new()), ..query() }, Box::new(|_| false)),
        (
            RunQuery { run_types: Some(vec![RunType::Manual]), ..query() },
            Box::new(|run| run.run_type == RunType::Manual),
        ),
        (
            RunQuery { logical_date: range(Some(early), Some(late)), ..query() },
            Box::new(move |run| run.logical_date >= early && run.logical_date <= late),
        ),
        (
            RunQuery { start_date: range(Some(at(80)), None), ..query() },
            Box::new(|run| run.start_date.is_some_and(|date| date >= at(80))),
        ),
        (
            RunQuery { start_date: range(None, Some(at(90))), ..query() },
            Box::new(|run| run.start_date.is_some_and(|date| date <= at(90))),
        ),
        (
            RunQuery { end_date: range(Some(at(203)), Some(at(206))), ..query() },
            Box::new(|run| run.end_date.is_some_and(|date| date >= at(203) && date <= at(206))),
        ),
        (RunQuery { updated_at: range(Some(at(90)), None), ..query() }, Box::new(|run| run.updated_at >= at(90))),
        (
            RunQuery {
                states: Some(vec![RunState::Success]),
                run_types: Some(vec![RunType::Scheduled, RunType::DatasetTriggered]),
                ..query()
            },
            Box::new(|run| {
                run.state == RunState::Success && matches!(run.run_type, RunType::Scheduled | RunType::DatasetTriggered)
            }),
        ),
    ];
    for (query, matches) in cases {
        let expected: Vec<_> = all.iter().filter(|run| matches(run)).cloned().collect();
        let page = world.storage.dag_runs(&query).await.unwrap();
        assert_eq!((page.total, page.items), (expected.len() as u64, expected), "{query:?}");
    }
}

/// Each order and page of runs is what a naive sort gives.
pub async fn run_orders_agree_with_a_naive_sort(trial: &dyn Trial) {
    let world = World::new(trial);
    let all = population(&world).await;
    let orders: Vec<(RunOrder, naive::Compare<DagRun>)> = vec![
        (RunOrder::Id, naive::by(|run: &DagRun| run.id)),
        (RunOrder::DagId, naive::by(|run: &DagRun| run.dag_id.clone())),
        (RunOrder::RunId, naive::by(|run: &DagRun| run.run_id.clone())),
        (RunOrder::LogicalDate, naive::by(|run: &DagRun| run.logical_date)),
        (RunOrder::StartDate, naive::by_option(|run: &DagRun| run.start_date)),
        (RunOrder::EndDate, naive::by_option(|run: &DagRun| run.end_date)),
        (RunOrder::State, naive::by(|run: &DagRun| run.state.as_str())),
        (RunOrder::UpdatedAt, naive::by(|run: &DagRun| run.updated_at)),
        (RunOrder::ExternalTrigger, naive::by(|run: &DagRun| run.external_trigger)),
        (RunOrder::Conf, naive::by(|run: &DagRun| run.conf.to_string())),
        (RunOrder::RunType, naive::by(|run: &DagRun| run.run_type.as_str())),
        (RunOrder::QueuedAt, naive::by(|run: &DagRun| run.queued_at)),
        (RunOrder::DataIntervalStart, naive::by(|run: &DagRun| run.data_interval_start)),
        (RunOrder::DataIntervalEnd, naive::by(|run: &DagRun| run.data_interval_end)),
        (RunOrder::LastSchedulingDecision, naive::by_option(|run: &DagRun| run.last_scheduling_decision)),
    ];
    for (field, compare) in orders {
        for descending in [false, true] {
            for page in naive::PAGES {
                let query = RunQuery { order_by: Some(OrderBy { field, descending }), page, ..RunQuery::default() };
                let got = world.storage.dag_runs(&query).await.unwrap();
                let expected = naive::list(&all, descending, &compare, page);
                assert_eq!((got.items, got.total), expected, "{field:?} {descending} {page:?}");
            }
        }
    }
}

/// Runs are counted by DAG and state; DAGs without runs are there, unknown ones are not.
pub async fn runs_are_counted_by_state(trial: &dyn Trial) {
    let world = World::new(trial);
    let all = population(&world).await;
    world.register(dag("without", &["a"])).await;
    let mut expected: BTreeMap<DagId, BTreeMap<RunState, u64>> = BTreeMap::from([("without".into(), BTreeMap::new())]);
    for run in &all {
        *expected.entry(run.dag_id.clone()).or_default().entry(run.state).or_default() += 1;
    }
    let mut asked: BTreeSet<DagId> = expected.keys().cloned().collect();
    asked.insert("unknown".into());
    assert_eq!(world.storage.count_runs(&asked).await.unwrap(), expected);
    assert!(world.storage.count_runs(&BTreeSet::new()).await.unwrap().is_empty());
    let one = all[0].dag_id.clone();
    let counted = world.storage.count_runs(&BTreeSet::from([one.clone()])).await.unwrap();
    assert_eq!(counted, BTreeMap::from([(one.clone(), expected[&one].clone())]));
}

/// The latest run is that of the latest date, whenever it was created; DAGs without runs and those of others are left out.
pub async fn the_latest_run_of_each_dag_is_known(trial: &dyn Trial) {
    let world = World::new(trial);
    let (b, a) = (world.register(dag("b", &["t"])).await, world.register(dag("a", &["t"])).await);
    world.register(dag("without_runs", &["t"])).await;
    for (version, run_id, seconds) in [(b, "b1", 20), (b, "b2", 30), (b, "b3", 10), (a, "a1", 5)] {
        let mut new = world.new_run(version, run_id);
        new.logical_date = at(seconds);
        world.try_create(new).await.unwrap();
    }
    let latest = async |readable: Option<&[&str]>| -> Vec<String> {
        let readable = readable.map(|ids| Arc::new(ids.iter().map(|id| (*id).into()).collect::<BTreeSet<_>>()));
        world.storage.latest_runs(readable).await.unwrap().into_iter().map(|run| run.run_id).collect()
    };
    assert_eq!(latest(None).await, ["a1", "b2"]);
    assert_eq!(latest(Some(&["b", "without_runs", "unknown", "nul\0"])).await, ["b2"]);
    assert!(latest(Some(&[])).await.is_empty());
    let b2 = world.storage.dag_run("b", "b2").await.unwrap();
    world.storage.delete_run(b2.id, None).await.unwrap();
    assert_eq!(latest(None).await, ["a1", "b1"]);
}
