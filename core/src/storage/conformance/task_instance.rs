//! Task instances as clients see them.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use super::Trial;
use super::naive::PAGES;
use super::world::{World, assert_err, at, audit, clear, dag, ended, key, mark, task};
use crate::id::RunId;
use crate::model::{Note, RunState, TaskInstance, TaskState};
use crate::storage::{Change, EventLogQuery, Range, StorageError, Subject, TaskInstanceQuery};

/// An instance is found by its ids, or what is missing is named.
pub async fn an_instance_is_found_by_its_ids(trial: &dyn Trial) {
    let world = World::new(trial);
    let (_, run) = world.started().await;
    let instance = world.instance(&run, "b").await;
    assert_eq!((instance.key, instance.run.id, instance.task().unwrap().task_id.as_str()), (key(1), run.id, "b"));
    let get = |dag: &'static str, run: &'static str, task: &'static str, index| {
        let storage = Arc::clone(&world.storage);
        async move { storage.task_instance(dag, run, task, index).await }
    };
    assert_err!(get("d", "x", "a", -1).await, StorageError::NotFound(Subject::DagRun(..)));
    assert_err!(get("x", "r", "a", -1).await, StorageError::NotFound(Subject::DagRun(..)));
    assert_err!(get("d", "r", "x", -1).await, StorageError::NotFound(Subject::TaskInstance(..)));
    assert_err!(get("d", "r", "a", 0).await, StorageError::NotFound(Subject::TaskInstance(..)));
}

/// What an attempt says of itself is its instance's, until the next try.
pub async fn an_attempt_describes_itself(trial: &dyn Trial) {
    let world = World::new(trial);
    let mut declared = dag("d", &["a"]);
    declared.tasks[0].retries = 1;
    let (mut scheduler, run) = world.started_of(declared).await;
    let before = world.instance(&run, "a").await;
    assert_eq!((before.hostname.as_str(), before.unixname.as_str()), ("", "someone"));
    let token = scheduler.admit(at(2), run.id, 0, 1).await;
    world.storage.set_process(token, 42).await.unwrap();
    world.storage.set_rendered_fields(token, json!({"bash_command": "echo 1"})).await.unwrap();
    for _ in 0..2 {
        let instance = world.instance(&run, "a").await;
        assert_eq!((instance.pid, instance.rendered_fields), (Some(42), json!({"bash_command": "echo 1"})));
        if instance.state == TaskState::Running {
            scheduler.done(at(3), run.id, ended(token, 0, TaskState::UpForRetry, at(3))).await;
        }
    }
    scheduler.admit(at(4), run.id, 0, 2).await;
    let instance = world.instance(&run, "a").await;
    assert_eq!((instance.pid, instance.rendered_fields), (Some(7), json!({})), "the scheduler's process");
    let tries = world.storage.tries(run.id, key(0)).await.unwrap();
    assert_eq!(
        tries.iter().map(|t| (t.state, t.pid)).collect::<Vec<_>>(),
        [(TaskState::Failed, Some(42)), (TaskState::Running, Some(7))]
    );
    for one in &tries {
        assert_eq!((one.hostname.as_str(), one.unixname.as_str()), ("machine", "someone"));
    }
}

/// Where instances stand is told by place, in the order asked for.
pub async fn states_are_found_by_place(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    scheduler.run_try(at(2), run.id, 0, 1, TaskState::Failed).await;
    scheduler.admit(at(3), run.id, 1, 1).await;
    let places = [(run.id, key(2)), (run.id, key(1)), (RunId(999), key(0)), (run.id, key(0)), (run.id, key(9))];
    let states = world.storage.instance_states(&places).await.unwrap();
    assert_eq!(states, [Some(TaskState::None), Some(TaskState::Running), None, Some(TaskState::Failed), None]);
    assert!(world.storage.instance_states(&[]).await.unwrap().is_empty());
}

/// An instance's remark is set and removed, and outlives tries.
pub async fn an_instance_has_a_note(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    let note = Some(Note { content: "hi".into(), user: Some("admin".into()) });
    let set = |run, task, note, event| world.storage.set_task_instance_note(at(3), run, key(task), note, audit(event));
    set(run.id, 0, note.clone(), "note").await.unwrap();
    scheduler.run_try(at(4), run.id, 0, 1, TaskState::Success).await;
    assert_eq!(world.instance(&run, "a").await.note, note);
    set(run.id, 0, None, "note").await.unwrap();
    assert_eq!(world.instance(&run, "a").await.note, None);
    assert_err!(set(run.id, 99, None, "no").await, StorageError::NotFound(_));
    assert_err!(set(RunId(999), 0, None, "no").await, StorageError::NotFound(_));
    let query = EventLogQuery { owner: Some("admin".into()), ..EventLogQuery::default() };
    let events = world.storage.events(&query).await.unwrap().items;
    assert_eq!(events.iter().map(|entry| &*entry.event).collect::<Vec<_>>(), ["note", "note"]);
}

/// Of an instance that has not run, and of none, there is no try that passed.
pub async fn tries_of_an_instance_that_has_not_run(trial: &dyn Trial) {
    let world = World::new(trial);
    let (_, run) = world.started().await;
    let tries = world.storage.tries(run.id, key(0)).await.unwrap();
    assert_eq!(tries.iter().map(|t| (t.try_number, t.state)).collect::<Vec<_>>(), [(0, TaskState::None)]);
    assert!(world.storage.tries(run.id, key(99)).await.unwrap().is_empty());
    assert!(world.storage.tries(RunId(999), key(0)).await.unwrap().is_empty());
}

/// A change of an instance is its last change; one of its run or neighbours is not.
pub async fn the_last_change_is_known(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    let changed_since = |since| {
        let storage = Arc::clone(&world.storage);
        async move {
            let updated_at = Range { at_least: Some(at(since)), at_most: None };
            let query = TaskInstanceQuery { updated_at, ..TaskInstanceQuery::default() };
            let page = storage.task_instances(&query).await.unwrap();
            page.items.iter().map(|instance| instance.key).collect::<Vec<_>>()
        }
    };
    assert_eq!(changed_since(0).await.len(), 3);
    scheduler.admit(at(10), run.id, 1, 1).await;
    assert_eq!(changed_since(10).await, [key(1)]);
    scheduler.done(at(20), run.id, Change::Schedule(vec![key(2)])).await;
    world.amend(at(30), run.id, None, vec![(key(0), mark(TaskState::Skipped))]).await;
    assert_eq!((changed_since(20).await, changed_since(30).await), (vec![key(0), key(2)], vec![key(0)]));
}

/// Instances of a run that has ended are found by what becomes of them afterwards.
pub async fn instances_of_an_ended_run_are_found(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    let tokens = [scheduler.admit(at(2), run.id, 0, 1).await, scheduler.admit(at(2), run.id, 1, 1).await];
    scheduler.done(at(3), run.id, Change::EndRun(RunState::Failed)).await;
    let found = |state| {
        let storage = Arc::clone(&world.storage);
        async move {
            let query = TaskInstanceQuery { states: Some([state].into()), ..TaskInstanceQuery::default() };
            let page = storage.task_instances(&query).await.unwrap();
            assert_eq!(page.total, page.items.len() as u64);
            page.items.iter().map(|instance| instance.key).collect::<Vec<_>>()
        }
    };
    assert_eq!((found(TaskState::Running).await, found(TaskState::None).await), (vec![key(0), key(1)], vec![key(2)]));
    scheduler.done(at(4), run.id, Change::Release(tokens[0])).await;
    assert_eq!((found(TaskState::Running).await, found(TaskState::Failed).await), (vec![key(1)], vec![key(0)]));
    world.amend(at(5), run.id, None, vec![(key(1), clear(0)), (key(2), mark(TaskState::Success))]).await;
    assert_eq!((found(TaskState::Restarting).await, found(TaskState::Success).await), (vec![key(1)], vec![key(2)]));
    scheduler.done(at(6), run.id, Change::Release(tokens[1])).await;
    assert_eq!((found(TaskState::Restarting).await, found(TaskState::None).await), (vec![], vec![key(1)]));
}

/// Twelve runs of two DAGs with five tasks each, in all kinds of states.
async fn population(world: &World) -> Vec<TaskInstance> {
    let mut versions = Vec::new();
    for id in ["x", "y"] {
        let mut declared = dag(id, &["e", "d", "c", "b"]);
        declared.max_active_runs = 100;
        for (index, task) in declared.tasks.iter_mut().enumerate() {
            task.queue = format!("queue{}", index % 2);
            task.pool = if index % 3 == 0 { "p" } else { "default_pool" }.into();
            task.executor = (index == 1).then(|| "KubernetesExecutor".into());
        }
        declared.tasks.push(task("only"));
        versions.push(world.register(declared).await);
    }
    world.storage.create_pool(super::world::pool("p", -1), None).await.unwrap();
    let mut scheduler = world.scheduler("s").await;
    for index in 0..12 {
        world.create(versions[index % 2], &format!("r{}", (index * 5) % 12)).await;
    }
    for (index, snapshot) in scheduler.claim(&versions).await.into_iter().enumerate() {
        let (run, time) = (snapshot.run.id, i64::try_from(index).unwrap() * 10);
        scheduler.done(at(time), run, Change::StartRun).await;
        for task in 0..4_u32 {
            match (task as usize + index) % 6 {
                0 => scheduler.run_try(at(time + i64::from(task)), run, task, 1, TaskState::Success).await,
                1 => {
                    let token = scheduler.admit(at(time), run, task, 1).await;
                    let end = ended(token, task, TaskState::Failed, at(time + i64::from(task) * 3));
                    scheduler.done(at(time), run, end).await;
                }
                2 => drop(scheduler.admit(at(time + 2), run, task, 1).await),
                3 => scheduler.done(at(time + 3), run, Change::Schedule(vec![key(task)])).await,
                4 => scheduler.done(at(time + 4), run, Change::Settle(key(task), TaskState::Skipped)).await,
                _ => {}
            }
        }
        if index % 4 == 0 {
            let amendments = vec![(key(0), mark(TaskState::UpstreamFailed)), (key(2), clear(1))];
            world.amend(at(time + 9), run, None, amendments).await;
        }
    }
    let all = world.storage.task_instances(&TaskInstanceQuery::default()).await.unwrap();
    assert_eq!((all.items.len(), all.total), (60, 60));
    assert!(all.items.is_sorted_by_key(|instance| (instance.run.id, instance.key)), "by run, task and map index");
    all.items
}

fn names<'a>(instances: impl IntoIterator<Item = &'a TaskInstance>) -> Vec<(RunId, crate::id::InstanceKey, TaskState)> {
    instances.into_iter().map(|instance| (instance.run.id, instance.key, instance.state)).collect()
}

/// Each filter of instances gives what a naive filter gives, in every page, with the exact total.
pub async fn instance_filters_agree_with_a_naive_filter(trial: &dyn Trial) {
    let world = World::new(trial);
    let all = population(&world).await;
    let query = TaskInstanceQuery::default;
    let texts = |texts: &[&str]| Some(texts.iter().map(|&text| text.to_owned()).collect::<BTreeSet<_>>());
    let range = |from, to| Range { at_least: from, at_most: to };
    let task_is =
        |ids: &'static [&'static str]| move |i: &TaskInstance| ids.contains(&i.task().unwrap().task_id.as_str());
    let x: BTreeSet<_> = ["x".into(), "none".into()].into();
    let (early, late) = (all[10].run.logical_date, all[40].run.logical_date);
    type Case = (TaskInstanceQuery, Box<dyn Fn(&TaskInstance) -> bool>);
    let cases: Vec<Case> = vec![
        (query(), Box::new(|_| true)),
        (TaskInstanceQuery { dag_ids: Some(x.clone()), ..query() }, Box::new(|i| i.run.dag_id.as_str() == "x")),
        (TaskInstanceQuery { readable: Some(Arc::new(x)), ..query() }, Box::new(|i| i.run.dag_id.as_str() == "x")),
        (TaskInstanceQuery { dag_ids: Some(BTreeSet::new()), ..query() }, Box::new(|_| false)),
        (
            TaskInstanceQuery { run_ids: texts(&["r5", "r0", "none"]), ..query() },
            Box::new(|i| ["r5", "r0"].contains(&&*i.run.run_id)),
        ),
        (TaskInstanceQuery { task_ids: texts(&["c", "none"]), ..query() }, Box::new(task_is(&["c"]))),
        (TaskInstanceQuery { task_ids: texts(&["e", "only", "b"]), ..query() }, Box::new(task_is(&["e", "only", "b"]))),
        (TaskInstanceQuery { map_indexes: Some([0, 3].into()), ..query() }, Box::new(|_| false)),
        (TaskInstanceQuery { map_indexes: Some([-1].into()), ..query() }, Box::new(|_| true)),
        (
            TaskInstanceQuery { states: Some([TaskState::Success, TaskState::None].into()), ..query() },
            Box::new(|i| matches!(i.state, TaskState::Success | TaskState::None)),
        ),
        (
            TaskInstanceQuery { states: Some([TaskState::Running].into()), ..query() },
            Box::new(|i| i.state == TaskState::Running),
        ),
        (TaskInstanceQuery { states: Some(BTreeSet::new()), ..query() }, Box::new(|_| false)),
        (TaskInstanceQuery { pools: texts(&["p"]), ..query() }, Box::new(|i| i.task().unwrap().pool == "p")),
        (
            TaskInstanceQuery { queues: texts(&["queue1"]), ..query() },
            Box::new(|i| i.task().unwrap().queue == "queue1"),
        ),
        (
            TaskInstanceQuery { executors: texts(&["KubernetesExecutor"]), ..query() },
            Box::new(|i| i.task().unwrap().executor.is_some()),
        ),
        (
            TaskInstanceQuery { logical_date: range(Some(early), Some(late)), ..query() },
            Box::new(move |i| i.run.logical_date >= early && i.run.logical_date <= late),
        ),
        (
            TaskInstanceQuery { start_date: range(Some(at(40)), Some(at(62))), ..query() },
            Box::new(|i| i.start_date.is_some_and(|d| d >= at(40) && d <= at(62))),
        ),
        (
            TaskInstanceQuery { end_date: range(None, Some(at(50))), ..query() },
            Box::new(|i| i.end_date.is_some_and(|d| d <= at(50))),
        ),
        (
            TaskInstanceQuery { duration: Range { at_least: Some(1.0), at_most: Some(3.0) }, ..query() },
            Box::new(|i| i.duration().is_some_and(|d| (1.0..=3.0).contains(&d))),
        ),
        (
            TaskInstanceQuery { states: Some([TaskState::Skipped].into()), queues: texts(&["queue0"]), ..query() },
            Box::new(|i| i.state == TaskState::Skipped && i.task().unwrap().queue == "queue0"),
        ),
    ];
    for (query, matches) in cases {
        let expected: Vec<_> = all.iter().filter(|instance| matches(instance)).collect();
        for page in PAGES {
            let got = world.storage.task_instances(&TaskInstanceQuery { page, ..query.clone() }).await.unwrap();
            let part = expected.iter().copied().skip(page.offset).take(page.limit);
            assert_eq!((got.total, names(&got.items)), (expected.len() as u64, names(part)), "{query:?} {page:?}");
        }
    }
}

/// Every state that the population is in can be asked for.
pub async fn instances_are_found_by_each_state(trial: &dyn Trial) {
    let world = World::new(trial);
    let all = population(&world).await;
    let mut found = 0;
    for state in TaskState::ALL {
        let query = TaskInstanceQuery { states: Some([state].into()), ..TaskInstanceQuery::default() };
        let page = world.storage.task_instances(&query).await.unwrap();
        assert_eq!(names(&page.items), names(all.iter().filter(|instance| instance.state == state)), "{state}");
        found += page.total;
    }
    assert_eq!(found, 60);
}
