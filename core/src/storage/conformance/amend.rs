//! Changes from outside the engine: clearing, marking, finishing, starting over.

use serde_json::json;

use super::Trial;
use super::world::{World, admit, assert_err, at, audit, clear, dag, ended, key, mark};
use crate::id::RunId;
use crate::model::{AttemptPhase, Note, RunState, StateSet, TaskState};
use crate::storage::{Amendment, Change, EventLogQuery, InstanceAmendment, StorageError, Verdict};

/// A cleared instance starts over: its try goes to the history, tries are granted, XComs go; dates stay to be seen.
pub async fn a_finished_instance_is_cleared(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    let token = scheduler.admit(at(2), run.id, 0, 1).await;
    world.storage.set_xcom(at(2), token, "k", json!(1)).await.unwrap();
    scheduler.done(at(3), run.id, ended(token, 0, TaskState::Failed, at(3))).await;
    assert_eq!(world.amend(at(5), run.id, None, vec![(key(0), clear(2))]).await, [key(0)]);
    let instance = world.instance(&run, "a").await;
    assert_eq!((instance.state, instance.try_number, instance.max_tries), (TaskState::None, 1, 3));
    assert_eq!((instance.start_date, instance.end_date), (Some(at(2)), Some(at(3))));
    assert!(world.xcom_keys(&run).await.is_empty());
    let tries = world.storage.tries(run.id, key(0)).await.unwrap();
    let seen: Vec<_> = tries.iter().map(|t| (t.try_number, t.state, t.max_tries)).collect();
    assert_eq!(seen, [(1, TaskState::Failed, 0), (1, TaskState::None, 3)]);
    scheduler.reload(run.id).await;
    scheduler.run_try(at(6), run.id, 0, 2, TaskState::Success).await;
    let tries = world.storage.tries(run.id, key(0)).await.unwrap();
    let seen: Vec<_> = tries.iter().map(|t| (t.try_number, t.state, t.start_date)).collect();
    assert_eq!(seen, [(1, TaskState::Failed, Some(at(2))), (2, TaskState::Success, Some(at(6)))]);
}

/// A try goes to the history once, however often it is cleared.
pub async fn clearing_twice_keeps_a_try_once(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    scheduler.run_try(at(2), run.id, 0, 1, TaskState::Success).await;
    for _ in 0..2 {
        world.amend(at(5), run.id, None, vec![(key(0), clear(1))]).await;
    }
    world.amend(at(5), run.id, None, vec![(key(0), mark(TaskState::Skipped))]).await;
    world.amend(at(5), run.id, None, vec![(key(0), clear(1))]).await;
    let tries = world.storage.tries(run.id, key(0)).await.unwrap();
    assert_eq!(tries.iter().map(|t| t.state).collect::<Vec<_>>(), [TaskState::Success, TaskState::None]);
    assert_eq!(world.instance(&run, "a").await.max_tries, 2);
}

/// An instance with a live attempt restarts: it waits for the attempt's end, whose outcome does not count.
pub async fn a_running_instance_restarts(trial: &dyn Trial) {
    let world = World::new(trial);
    for phase in [AttemptPhase::Queued, AttemptPhase::Running] {
        let id = format!("{phase:?}");
        let version = world.register(dag(&id, &["a"])).await;
        let run = world.create(version, "r").await;
        let mut scheduler = world.scheduler(&id).await;
        scheduler.claim(&[version]).await;
        let token = world.token();
        let batch = vec![(run.id, Change::StartRun), (run.id, admit(0, 1, token, phase))];
        assert_eq!(scheduler.commit(at(2), batch).await, [Verdict::Done, Verdict::Done]);
        world.amend(at(3), run.id, None, vec![(key(0), clear(1))]).await;
        let instance = world.instance(&run, "a").await;
        assert_eq!((instance.state, instance.try_number, instance.max_tries), (TaskState::Restarting, 1, 2));
        let outcome = ended(token, 0, TaskState::Success, at(4));
        assert_eq!(scheduler.apply(at(4), run.id, outcome).await, Verdict::StaleRun);
        let snapshot = scheduler.reload(run.id).await.unwrap();
        assert!(snapshot.attempts[0].is_obsolete);
        assert_eq!(world.state(&run, "a").await, TaskState::Restarting);
        scheduler.done(at(5), run.id, Change::Release(token)).await;
        assert_eq!(world.state(&run, "a").await, TaskState::None);
        assert!(scheduler.reload(run.id).await.unwrap().attempts.is_empty());
        scheduler.run_try(at(6), run.id, 0, 2, TaskState::Success).await;
        let tries = world.storage.tries(run.id, key(0)).await.unwrap();
        let seen: Vec<_> = tries.iter().map(|t| (t.try_number, t.state, t.end_date)).collect();
        assert_eq!(seen, [(1, TaskState::Failed, Some(at(3))), (2, TaskState::Success, Some(at(7)))]);
    }
}

/// An end that arrives as if nothing had happened does not count for an obsolete attempt either.
pub async fn a_late_outcome_does_not_count(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    let token = scheduler.admit(at(2), run.id, 0, 1).await;
    world.amend(at(3), run.id, None, vec![(key(0), clear(1))]).await;
    scheduler.reload(run.id).await.unwrap();
    scheduler.done(at(4), run.id, ended(token, 0, TaskState::Success, at(4))).await;
    assert_eq!(world.state(&run, "a").await, TaskState::None);
    assert!(world.xcom_keys(&run).await.is_empty());
    assert_eq!(world.pool("default_pool").await.running, 0);
}

/// A live attempt that counts is not released.
pub async fn a_current_attempt_is_not_released(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    let token = scheduler.admit(at(2), run.id, 0, 1).await;
    scheduler.done(at(3), run.id, Change::Release(token)).await;
    assert_eq!(world.state(&run, "a").await, TaskState::Running);
    assert_eq!(world.pool("default_pool").await.running, 1);
    scheduler.done(at(4), run.id, ended(token, 0, TaskState::Success, at(4))).await;
}

/// A release holds whatever version the run is in.
pub async fn a_release_needs_no_version(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    let token = scheduler.admit(at(2), run.id, 0, 1).await;
    world.amend(at(3), run.id, None, vec![(key(0), clear(1))]).await;
    let batch = vec![(run.id, Change::Schedule(vec![key(1)])), (run.id, Change::Release(token))];
    assert_eq!(scheduler.commit(at(4), batch).await, [Verdict::StaleRun, Verdict::Done]);
    assert_eq!(world.state(&run, "a").await, TaskState::None);
}

/// Only instances in the asked-for states are cleared or marked; those that changed are returned, sorted.
pub async fn amendments_look_at_the_state(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    scheduler.run_try(at(2), run.id, 0, 1, TaskState::Failed).await;
    scheduler.run_try(at(2), run.id, 1, 1, TaskState::Success).await;
    let only = StateSet::of(&[TaskState::Failed, TaskState::None]);
    let change = |task| (key(task), InstanceAmendment::Clear { retries: 0, only });
    assert_eq!(world.amend(at(4), run.id, None, vec![change(2), change(1), change(0)]).await, [key(0), key(2)]);
    assert_eq!(world.state(&run, "b").await, TaskState::Success);
    let only = StateSet::FINISHED.complement();
    let change = |task| (key(task), InstanceAmendment::Mark { state: TaskState::Skipped, only });
    assert_eq!(world.amend(at(5), run.id, None, vec![change(1), change(0)]).await, [key(0)]);
    assert_eq!(world.state(&run, "b").await, TaskState::Success);
    let same = vec![(key(1), mark(TaskState::Success))];
    assert!(world.amend(at(6), run.id, None, same).await.is_empty(), "nothing differs");
    assert_eq!(world.instance(&run, "b").await.end_date, Some(at(3)));
    assert!(world.amend(at(6), run.id, None, vec![(key(99), clear(0))]).await.is_empty());
}

/// Marking sets dates where there are none, and keeps a start.
pub async fn marking_sets_dates(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    scheduler.run_try(at(2), run.id, 0, 1, TaskState::Failed).await;
    scheduler.admit(at(4), run.id, 1, 1).await;
    let all = (0..3).map(|task| (key(task), mark(TaskState::Success))).collect();
    assert_eq!(world.amend(at(8), run.id, None, all).await.len(), 3);
    for (task, start, end) in [("a", 2, 3), ("b", 4, 8), ("c", 8, 8)] {
        let instance = world.instance(&run, task).await;
        assert_eq!(instance.state, TaskState::Success);
        assert_eq!((instance.start_date, instance.end_date), (Some(at(start)), Some(at(end))), "{task}");
    }
}

/// An instance that is marked while it runs keeps the mark, whatever its attempt does.
pub async fn a_marked_instance_keeps_the_mark(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    let token = scheduler.admit(at(2), run.id, 0, 1).await;
    world.amend(at(3), run.id, None, vec![(key(0), mark(TaskState::Success))]).await;
    let outcome = ended(token, 0, TaskState::Failed, at(4));
    assert_eq!(scheduler.apply(at(4), run.id, outcome).await, Verdict::StaleRun);
    scheduler.done(at(4), run.id, Change::Release(token)).await;
    let instance = world.instance(&run, "a").await;
    assert_eq!((instance.state, instance.end_date), (TaskState::Success, Some(at(3))));
}

/// An instance may be marked and cleared in one step: the mark is the try that goes to the history, and dates stay.
pub async fn a_mark_can_be_cleared_in_the_same_step(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    scheduler.run_try(at(2), run.id, 0, 1, TaskState::Success).await;
    let changes = [0, 1].into_iter().flat_map(|task| [(key(task), mark(TaskState::Failed)), (key(task), clear(0))]);
    assert_eq!(world.amend(at(8), run.id, None, changes.collect()).await, [key(0), key(1)]);
    for (task, number, end) in [("a", 1, 3), ("b", 0, 8)] {
        let instance = world.instance(&run, task).await;
        assert_eq!((instance.state, instance.try_number, instance.end_date), (TaskState::None, number, Some(at(end))));
        let tries = world.storage.tries(run.id, instance.key).await.unwrap();
        assert_eq!(tries.iter().map(|attempt| attempt.state).collect::<Vec<_>>(), [TaskState::Failed, TaskState::None]);
    }
}

/// What was marked while it waited for a retry has failed before; the mark is not another try.
pub async fn a_marked_retry_keeps_its_failed_try(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    scheduler.run_try(at(2), run.id, 0, 1, TaskState::UpForRetry).await;
    let tries = async || {
        let tries = world.storage.tries(run.id, key(0)).await.unwrap();
        tries.iter().map(|attempt| (attempt.try_number, attempt.state, attempt.end_date)).collect::<Vec<_>>()
    };
    world.amend(at(8), run.id, None, vec![(key(0), mark(TaskState::Success))]).await;
    let failed = (1, TaskState::Failed, Some(at(3)));
    assert_eq!(tries().await, [failed, (1, TaskState::Success, Some(at(8)))]);
    world.amend(at(9), run.id, None, vec![(key(0), clear(0))]).await;
    assert_eq!(tries().await, [failed, (1, TaskState::None, Some(at(8)))]);
}

/// A restarting instance can be marked, and stays so.
pub async fn a_restarting_instance_can_be_marked(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    let token = scheduler.admit(at(2), run.id, 0, 1).await;
    world.amend(at(3), run.id, None, vec![(key(0), clear(1))]).await;
    world.amend(at(4), run.id, None, vec![(key(0), mark(TaskState::Failed))]).await;
    scheduler.done(at(5), run.id, Change::Release(token)).await;
    assert_eq!(world.state(&run, "a").await, TaskState::Failed);
    world.amend(at(6), run.id, None, vec![(key(0), clear(1))]).await;
    assert_eq!(world.state(&run, "a").await, TaskState::None, "no attempt is left to wait for");
}

/// An attempt that no longer counts cannot write any more.
pub async fn an_obsolete_attempt_cannot_write(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    let (marked, deleted) = (scheduler.admit(at(2), run.id, 0, 1).await, scheduler.admit(at(2), run.id, 1, 1).await);
    let over = scheduler.admit(at(2), run.id, 2, 1).await;
    scheduler.done(at(3), run.id, ended(over, 2, TaskState::Success, at(3))).await;
    world.amend(at(3), run.id, None, vec![(key(0), mark(TaskState::Success))]).await;
    for (round, token) in [marked, deleted, over, world.token()].into_iter().enumerate() {
        if round == 1 {
            world.storage.set_process(token, 1).await.unwrap();
            world.storage.delete_run(run.id, None).await.unwrap();
        }
        assert_err!(world.storage.set_xcom(at(4), token, "k", json!(1)).await, StorageError::Fenced);
        assert_err!(world.storage.set_process(token, 1).await, StorageError::Fenced);
        assert_err!(world.storage.set_rendered_fields(token, json!({})).await, StorageError::Fenced);
    }
}

/// A finished run starts over.
pub async fn a_run_starts_over(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    scheduler.run_try(at(2), run.id, 0, 1, TaskState::Failed).await;
    scheduler.done(at(4), run.id, Change::EndRun(RunState::Failed)).await;
    let note = Some(Note { content: "again".into(), user: None });
    world.storage.set_run_note(at(4), run.id, note.clone(), None).await.unwrap();
    world.amend(at(5), run.id, Some(RunState::Queued), vec![(key(0), clear(0))]).await;
    let now = world.reread(&run).await;
    assert_eq!((now.state, now.queued_at, now.clear_number), (RunState::Queued, at(5), 1));
    assert_eq!((now.start_date, now.end_date, now.last_scheduling_decision), (None, None, None));
    assert_eq!((now.updated_at, now.note), (at(5), note));
    assert!(now.version > run.version);
    assert_eq!(scheduler.claim_ids(&[run.dag_version]).await, [run.id]);
    scheduler.done(at(6), run.id, Change::StartRun).await;
    assert_eq!(world.reread(&run).await.start_date, Some(at(6)));
    scheduler.run_try(at(7), run.id, 0, 2, TaskState::Success).await;
}

/// A run that a client finishes is at its end: its scheduler learns of it, and nothing more of it is written.
pub async fn a_client_finishes_a_run(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    let token = scheduler.admit(at(2), run.id, 0, 1).await;
    let changes = vec![(key(0), mark(TaskState::Failed)), (key(1), mark(TaskState::Skipped))];
    world.amend(at(5), run.id, Some(RunState::Failed), changes).await;
    let now = world.reread(&run).await;
    assert_eq!((now.state, now.start_date, now.end_date), (RunState::Failed, Some(at(1)), Some(at(5))));
    assert_eq!(now.owner, None);
    assert_eq!(world.storage.changed_runs(&scheduler.session).await.unwrap(), [run.id]);
    assert!(scheduler.reload(run.id).await.is_none());
    let (_, admission) = scheduler.admission(1, 1);
    assert_eq!(scheduler.apply(at(6), run.id, admission).await, Verdict::StaleRun);
    scheduler.done(at(6), run.id, Change::Release(token)).await;
    assert_eq!(world.pool("default_pool").await.running, 0);
    world.amend(at(9), run.id, Some(RunState::Success), Vec::new()).await;
    assert_eq!(world.reread(&run).await.end_date, Some(at(5)), "it ended when it ended");
}

/// A run that a client finishes without its instances ends its attempts, too.
pub async fn a_finished_run_has_no_attempts_that_count(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    let token = scheduler.admit(at(2), run.id, 0, 1).await;
    world.amend(at(5), run.id, Some(RunState::Failed), Vec::new()).await;
    assert_err!(world.storage.set_process(token, 1).await, StorageError::Fenced);
    scheduler.done(at(6), run.id, Change::Release(token)).await;
    assert_eq!(world.pool("default_pool").await.running, 0);
    let instance = world.instance(&run, "a").await;
    assert_eq!((instance.state, instance.end_date), (TaskState::Failed, Some(at(6))));
}

/// A run that is asked to restart starts over if it has ended, and stays as it is if it has not.
pub async fn a_restart_is_decided_within_the_step(trial: &dyn Trial) {
    let world = World::new(trial);
    let version = world.register(dag("d", &["a"])).await;
    let run = world.create(version, "one").await;
    let restart = || Amendment { run: run.id, state: None, restarts: true, instances: vec![(key(0), clear(0))] };
    world.storage.amend_runs(at(1), vec![restart()], None).await.unwrap();
    let before = world.reread(&run).await;
    assert_eq!((before.state, before.clear_number), (RunState::Queued, 0));
    let fail = Amendment { run: run.id, state: Some(RunState::Failed), restarts: false, instances: Vec::new() };
    world.storage.amend_runs(at(2), vec![fail], None).await.unwrap();
    world.storage.amend_runs(at(3), vec![restart()], None).await.unwrap();
    let after = world.reread(&run).await;
    assert_eq!((after.state, after.clear_number, after.end_date), (RunState::Queued, 1, None));
}

/// Several runs change in one step, or none does.
pub async fn amendments_are_all_or_nothing(trial: &dyn Trial) {
    let world = World::new(trial);
    let version = world.register(dag("d", &["a"])).await;
    let (one, two) = (world.create(version, "one").await, world.create(version, "two").await);
    let finish = |run: RunId| Amendment {
        run,
        state: Some(RunState::Failed),
        restarts: false,
        instances: vec![(key(0), mark(TaskState::Failed))],
    };
    let with_unknown = vec![finish(one.id), finish(RunId(999))];
    assert_err!(world.storage.amend_runs(at(1), with_unknown, audit("no")).await, StorageError::NotFound(_));
    assert_eq!(world.reread(&one).await, one);
    assert_eq!(world.state(&one, "a").await, TaskState::None);
    let both = vec![finish(two.id), finish(one.id)];
    let changed = world.storage.amend_runs(at(2), both, audit("yes")).await.unwrap();
    assert_eq!(
        changed.iter().map(|(run, keys)| (run.id, keys.as_slice())).collect::<Vec<_>>(),
        [(two.id, &[key(0)][..]), (one.id, &[key(0)])]
    );
    assert_eq!(changed[1].0, world.reread(&one).await);
    let events = world.storage.events(&EventLogQuery::default()).await.unwrap().items;
    assert_eq!(events.iter().map(|entry| &*entry.event).collect::<Vec<_>>(), ["yes"]);
}

/// Every change from outside is a version.
pub async fn each_amendment_is_a_version(trial: &dyn Trial) {
    let world = World::new(trial);
    let version = world.register(dag("d", &["a"])).await;
    let run = world.create(version, "r").await;
    let mut last = run.version;
    for state in [None, Some(RunState::Failed), Some(RunState::Queued), None] {
        world.amend(at(1), run.id, state, Vec::new()).await;
        let now = world.reread(&run).await.version;
        assert!(now > last);
        last = now;
    }
}

/// Scheduled instances that are cleared or marked no longer wait for slots.
pub async fn amended_instances_do_not_wait_for_slots(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    scheduler.done(at(2), run.id, Change::Schedule(vec![key(0), key(1), key(2)])).await;
    assert_eq!(world.pool("default_pool").await.scheduled, 3);
    let changes = vec![(key(0), clear(0)), (key(1), mark(TaskState::Skipped))];
    world.amend(at(3), run.id, None, changes).await;
    assert_eq!(world.pool("default_pool").await.scheduled, 1);
    assert_eq!(world.instance(&run, "a").await.max_tries, 0);
    assert_eq!(world.storage.tries(run.id, key(0)).await.unwrap().len(), 1, "nothing has passed");
}

/// A retry's due date goes with the state.
pub async fn a_cleared_retry_is_not_due(trial: &dyn Trial) {
    let world = World::new(trial);
    let mut declared = dag("d", &["a"]);
    declared.tasks[0].retries = 1;
    let (mut scheduler, run) = world.started_of(declared).await;
    let token = scheduler.admit(at(2), run.id, 0, 1).await;
    let mut end = super::world::end_of(token, 0, TaskState::UpForRetry, at(3));
    end.due_at = Some(at(99));
    scheduler.done(at(3), run.id, Change::Ended(end.into())).await;
    world.amend(at(4), run.id, None, vec![(key(0), clear(1))]).await;
    let instance = world.instance(&run, "a").await;
    assert_eq!((instance.state, instance.due_at), (TaskState::None, None));
    let tries = world.storage.tries(run.id, key(0)).await.unwrap();
    assert_eq!((tries[0].state, tries[0].end_date), (TaskState::Failed, Some(at(3))));
}
