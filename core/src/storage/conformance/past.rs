//! The run before a run.

use std::sync::Arc;

use super::Trial;
use super::world::{World, at, clear, dag, key, mark, task};
use crate::id::{RunId, TaskId};
use crate::model::{DagRun, RunType, TaskState};
use crate::storage::{Change, PastQuery, PastTask, PreviousRun};

fn query(run: &DagRun, skips_manual: bool, tasks: &[&str]) -> PastQuery {
    let tasks: Arc<[TaskId]> = tasks.iter().map(|&task| TaskId::from(task)).collect();
    PastQuery { run: run.id, skips_manual, tasks }
}

async fn ask(world: &World, query: PastQuery) -> Option<PreviousRun> {
    world.storage.previous_runs(&[query]).await.unwrap().remove(0)
}

const GOOD: PastTask = PastTask::Present { unsuccessful: 0 };
const BAD: PastTask = PastTask::Present { unsuccessful: 1 };

/// The run before is that of the DAG with the latest earlier logical date; manual ones may not count.
pub async fn the_run_before_goes_by_logical_date(trial: &dyn Trial) {
    let world = World::new(trial);
    let version = world.register(dag("d", &["a"])).await;
    let other = world.register(dag("other", &["a"])).await;
    let dates: Vec<_> = (0..4).map(|i| world.new_run(version, &format!("r{i}"))).collect();
    let foreign = world.new_run(other, "r");
    let create = async |index: usize, run_type| {
        let mut run = dates[index].clone();
        run.run_type = run_type;
        world.try_create(run).await.unwrap()
    };
    // Not in the order of their dates.
    let last = create(3, RunType::Manual).await;
    let scheduled = create(0, RunType::Scheduled).await;
    let backfilled = create(1, RunType::Backfill).await;
    let manual = create(2, RunType::Manual).await;
    world.try_create(foreign).await.unwrap();
    let before = async |run: &DagRun, skips_manual| {
        let before = ask(&world, query(run, skips_manual, &["a"])).await;
        before.map(|before| (before.id, before.logical_date))
    };
    let named = |run: &DagRun| Some((run.id, run.logical_date));
    assert_eq!(before(&last, false).await, named(&manual));
    assert_eq!(before(&last, true).await, named(&backfilled));
    assert_eq!(before(&manual, false).await, named(&backfilled));
    assert_eq!(before(&backfilled, true).await, named(&scheduled));
    assert_eq!(before(&scheduled, false).await, None);
    world.storage.delete_run(backfilled.id, None).await.unwrap();
    assert_eq!(before(&last, true).await, named(&scheduled), "a deleted run is not the run before");
    // Several questions at once, one about a run that does not exist.
    let gone = PastQuery { run: RunId(999), ..query(&last, false, &["a"]) };
    let queries = [query(&last, false, &["a"]), gone, query(&scheduled, true, &[]), query(&manual, true, &["a", "a"])];
    let answers = world.storage.previous_runs(&queries).await.unwrap();
    let found: Vec<_> = answers.iter().map(|answer| answer.as_ref().map(|run| (run.id, run.tasks.len()))).collect();
    assert_eq!(found, [Some((manual.id, 1)), None, None, Some((scheduled.id, 2))]);
}

/// What became of a task is what clients see of it, live attempts included.
pub async fn the_past_of_a_task_is_its_present_state(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, first) = world.started().await;
    let second = world.create(first.dag_version, "second").await;
    let states = async || ask(&world, query(&second, false, &["a", "b", "c"])).await.unwrap().tasks;
    assert_eq!(states().await, [BAD, BAD, BAD], "what has not run has not succeeded");
    scheduler.run_try(at(2), first.id, 0, 1, TaskState::Success).await;
    scheduler.done(at(3), first.id, Change::Skip(key(1))).await;
    scheduler.run_try(at(3), first.id, 2, 1, TaskState::Failed).await;
    assert_eq!(states().await, [GOOD, GOOD, BAD]);
    world.amend(at(4), first.id, None, vec![(key(0), clear(0)), (key(2), mark(TaskState::Success))]).await;
    assert_eq!(states().await, [BAD, GOOD, GOOD]);
    scheduler.reload(first.id).await;
    scheduler.admit(at(5), first.id, 0, 2).await;
    assert_eq!(states().await, [BAD, GOOD, GOOD]);
}

/// Tasks are found by their ids, whatever the version of the run before.
pub async fn the_past_knows_tasks_by_id(trial: &dyn Trial) {
    let world = World::new(trial);
    let oldest = world.register(dag("d", &["gone", "a"])).await;
    world.create(oldest, "oldest").await;
    let version = world.register(dag("d", &["b", "a"])).await;
    let before = world.create(version, "before").await;
    let mut newest = dag("d", &["gone", "a", "b"]);
    newest.tasks.push(task("new"));
    let newest = world.register(newest).await;
    let run = world.create(newest, "run").await;
    world.amend(at(1), before.id, None, vec![(key(1), mark(TaskState::Success))]).await;
    let (ran, never) = (PastTask::Absent { ran_before: true }, PastTask::Absent { ran_before: false });
    let tasks = ask(&world, query(&run, false, &["a", "b", "gone", "new"])).await.unwrap().tasks;
    assert_eq!(tasks, [GOOD, BAD, ran, never]);
}
