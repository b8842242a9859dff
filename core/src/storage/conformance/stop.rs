//! What ends a run from within, and what follows for its DAG.

use std::sync::Arc;

use super::Trial;
use super::world::{World, at, dag, end_of, ended, key};
use crate::model::{DagRun, EventLogEntry, RunState, TaskState};
use crate::storage::{Change, EventLogQuery, Stop, Verdict};

fn stop(task: u32, state: TaskState, sets_dates: bool) -> Change {
    Change::Stop(Stop { key: key(task), state, sets_dates })
}

/// A run ends its instances with itself: a live attempt counts no longer, and keeps its slots until it has ended.
pub async fn a_run_stops_its_instances(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started_of(dag("d", &["a", "b", "c", "d", "e"])).await;
    let token = scheduler.admit(at(2), run.id, 0, 1).await;
    let retried = scheduler.admit(at(2), run.id, 1, 1).await;
    let mut end = end_of(retried, 1, TaskState::UpForRetry, at(3));
    end.due_at = Some(at(300));
    scheduler.done(at(3), run.id, Change::Ended(Arc::new(end))).await;
    scheduler.done(at(3), run.id, Change::Schedule(vec![key(2)])).await;
    scheduler.run_try(at(2), run.id, 3, 1, TaskState::Success).await;
    let batch = vec![
        (run.id, stop(0, TaskState::Skipped, false)),
        (run.id, stop(1, TaskState::Skipped, true)),
        (run.id, stop(2, TaskState::Skipped, true)),
        (run.id, Change::EndRun(RunState::Failed)),
    ];
    assert_eq!(scheduler.commit(at(9), batch).await, vec![Verdict::Done; 4]);

    let after = world.reread(&run).await;
    assert_eq!((after.state, after.end_date, after.owner), (RunState::Failed, Some(at(9)), None));
    let dates = async |task| {
        let instance = world.instance(&run, task).await;
        (instance.state, instance.try_number, instance.start_date, instance.end_date, instance.due_at)
    };
    assert_eq!(dates("a").await, (TaskState::Skipped, 1, Some(at(2)), None, None), "a try that ran keeps its dates");
    assert_eq!(dates("b").await, (TaskState::Skipped, 1, Some(at(2)), Some(at(3)), None), "nothing is due any more");
    assert_eq!(dates("c").await, (TaskState::Skipped, 0, Some(at(9)), Some(at(9)), None), "missing dates are set");
    assert_eq!(dates("d").await.0, TaskState::Success);
    assert_eq!(dates("e").await, (TaskState::None, 0, None, None, None), "what is not named stays");
    assert_eq!(world.pool("default_pool").await.occupied(), 1, "the attempt has not ended yet");
    scheduler.done(at(10), run.id, Change::Release(token)).await;
    assert_eq!(world.state(&run, "a").await, TaskState::Skipped);
    assert_eq!(world.pool("default_pool").await.occupied(), 0);
}

/// What is finished is not stopped, and nothing is stopped into a state that is not finished.
pub async fn only_the_unfinished_is_stopped(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    scheduler.run_try(at(2), run.id, 0, 1, TaskState::Success).await;
    assert_eq!(scheduler.apply(at(4), run.id, stop(0, TaskState::Skipped, true)).await, Verdict::StaleRun);
    assert_eq!(scheduler.apply(at(4), run.id, stop(1, TaskState::Scheduled, true)).await, Verdict::StaleRun);
    assert_eq!(scheduler.apply(at(4), run.id, stop(9, TaskState::Skipped, true)).await, Verdict::StaleRun);
    assert_eq!(world.state(&run, "a").await, TaskState::Success);
    assert_eq!(world.state(&run, "b").await, TaskState::None);
}

/// A failed task takes along what runs, also what began in the same step; what ended meanwhile is only released.
pub async fn an_attempt_is_stopped_in_any_step(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    let first = scheduler.admit(at(2), run.id, 0, 1).await;
    let (second, admission) = scheduler.admission(1, 1);
    let batch = vec![
        (run.id, admission),
        (run.id, ended(first, 0, TaskState::Failed, at(3))),
        (run.id, stop(1, TaskState::Failed, false)),
        (run.id, stop(2, TaskState::Skipped, true)),
    ];
    assert_eq!(scheduler.commit(at(3), batch).await, vec![Verdict::Done; 4]);
    let snapshot = scheduler.reload(run.id).await.unwrap();
    assert_eq!(snapshot.attempts.iter().map(|a| (a.token, a.is_obsolete)).collect::<Vec<_>>(), [(second, true)]);
    let instance = world.instance(&run, "b").await;
    assert_eq!((instance.state, instance.start_date, instance.end_date), (TaskState::Failed, Some(at(3)), None));
    let late = ended(second, 1, TaskState::Success, at(4));
    scheduler.done(at(4), run.id, late).await;
    assert_eq!(world.state(&run, "b").await, TaskState::Failed, "a late outcome does not count");
    scheduler.done(at(5), run.id, Change::EndRun(RunState::Success)).await;
    assert_eq!(world.reread(&run).await.state, RunState::Success);
}

async fn pauses(world: &World) -> Vec<EventLogEntry> {
    let query = EventLogQuery { event: Some("paused".into()), ..EventLogQuery::default() };
    world.storage.events(&query).await.unwrap().items
}

/// A DAG is paused once its last runs have all failed, by logical date, and only if the engine asks.
pub async fn failures_in_a_row_pause_a_dag(trial: &dyn Trial) {
    let world = World::new(trial);
    let version = world.register(dag("d", &["a"])).await;
    let other = world.register(dag("other", &["a"])).await;
    let mut scheduler = world.scheduler("s").await;
    // The first of them by logical date succeeds; the third is created before the second.
    let first = world.create(version, "1").await;
    let (second, third) = (world.new_run(version, "2"), world.new_run(version, "3"));
    let (third, second) = (world.try_create(third).await.unwrap(), world.try_create(second).await.unwrap());
    let foreign = world.create(other, "f").await;
    scheduler.claim(&[version, other]).await;
    let end = |run: &DagRun, state| {
        vec![(run.id, Change::StartRun), (run.id, Change::EndRun(state)), (run.id, Change::PauseAfterFailures(2))]
    };
    let is_paused = async || world.storage.dag("d").await.unwrap().is_paused;
    scheduler.commit(at(1), end(&first, RunState::Success)).await;
    scheduler.commit(at(2), end(&foreign, RunState::Failed)).await;
    scheduler.commit(at(3), end(&third, RunState::Failed)).await;
    assert!(!is_paused().await, "the second run is queued");
    let mut changes = end(&second, RunState::Failed);
    let asks = changes.pop().unwrap();
    scheduler.commit(at(4), changes).await;
    assert!(!is_paused().await, "nobody asked");
    // A run that is stale asks for nothing.
    let fourth = world.create(version, "4").await;
    scheduler.claim(&[version]).await;
    scheduler.done(at(5), fourth.id, Change::StartRun).await;
    scheduler.done(at(5), fourth.id, asks.1.clone()).await;
    assert!(!is_paused().await, "the last run runs");
    scheduler.known.insert(fourth.id, 99);
    assert_eq!(scheduler.apply(at(5), fourth.id, asks.1.clone()).await, Verdict::StaleRun);
    scheduler.reload(fourth.id).await;
    let token = scheduler.admit(at(6), fourth.id, 0, 1).await;
    let batch = vec![
        (fourth.id, ended(token, 0, TaskState::Failed, at(7))),
        (fourth.id, Change::EndRun(RunState::Failed)),
        (fourth.id, asks.1),
    ];
    assert_eq!(scheduler.commit(at(7), batch).await, vec![Verdict::Done; 3]);
    assert!(is_paused().await);
    assert!(!world.storage.dag("other").await.unwrap().is_paused);
    let entries = pauses(&world).await;
    assert_eq!(entries.len(), 1);
    let entry = &entries[0];
    assert_eq!((entry.owner.as_deref(), entry.when), (Some("scheduler"), at(7)));
    assert_eq!(entry.dag_id.as_ref().map(AsRef::as_ref), Some("d"));
    assert_eq!(entry.extra.as_deref(), Some("[('dag_id', 'd'), ('is_paused', True)]"));
}
