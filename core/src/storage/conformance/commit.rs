//! Batches of a scheduler.

use std::sync::Arc;

use serde_json::json;

use super::Trial;
use super::world::{World, admit, assert_err, at, dag, end_of, ended, key};
use crate::model::{AttemptPhase, RunState, TaskEventLog, TaskState};
use crate::operator::SkipDownstream;
use crate::storage::{Change, EventLogQuery, Limit, StorageError, Verdict};

/// A batch that is sent again is not applied again; its verdicts are the same.
pub async fn a_batch_is_applied_once(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    world.storage.set_paused(at(1), &["d".into()], true, None).await.unwrap();
    let (_, refused) = scheduler.admission(0, 1);
    let batch = scheduler.batch(at(2), vec![(run.id, Change::Schedule(vec![key(1)])), (run.id, refused)]);
    let verdicts = world.storage.commit(&batch).await.unwrap();
    assert_eq!(verdicts, [Verdict::Done, Verdict::NoRoom(Limit::Paused("d".into()))]);
    world.storage.set_paused(at(1), &["d".into()], false, None).await.unwrap();
    for _ in 0..2 {
        assert_eq!(world.storage.commit(&batch).await.unwrap(), verdicts);
        assert_eq!(world.state(&run, "a").await, TaskState::None);
    }
    let events = world.storage.events(&EventLogQuery::default()).await.unwrap().total;
    let token = scheduler.admit(at(3), run.id, 0, 1).await;
    let batch = scheduler.batch(at(4), vec![(run.id, ended(token, 0, TaskState::Success, at(4)))]);
    for _ in 0..3 {
        assert_eq!(world.storage.commit(&batch).await.unwrap(), [Verdict::Done]);
    }
    assert_eq!(world.storage.events(&EventLogQuery::default()).await.unwrap().total, events + 2);
}

/// A batch that does not follow the last one of its lane is refused; lanes count by themselves.
pub async fn batches_of_a_lane_come_in_order(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    let (_, admission) = scheduler.admission(0, 1);
    scheduler.sequence += 1;
    let ahead = scheduler.batch(at(2), vec![(run.id, admission)]);
    assert_err!(world.storage.commit(&ahead).await, StorageError::Invalid(_));
    assert_eq!(world.state(&run, "a").await, TaskState::None);
    scheduler.sequence = 1;
    scheduler.admit(at(2), run.id, 0, 1).await;
    let mut other_lane = scheduler.batch(at(2), Vec::new());
    (other_lane.lane, other_lane.sequence) = (7, 1);
    world.storage.commit(&other_lane).await.unwrap();
}

/// A run that changed blocks all its transitions of the batch, and no others.
pub async fn a_stale_run_blocks_itself_only(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, stale) = world.started().await;
    let fresh = world.create(stale.dag_version, "fresh").await;
    scheduler.claim(&[stale.dag_version]).await;
    world.amend(at(2), stale.id, None, Vec::new()).await;
    let (_, blocked) = scheduler.admission(0, 1);
    let (_, admitted) = scheduler.admission(0, 1);
    let batch = vec![
        (stale.id, Change::Schedule(vec![key(1)])),
        (fresh.id, Change::StartRun),
        (stale.id, blocked),
        (fresh.id, admitted),
    ];
    let (done, no) = (Verdict::Done, Verdict::StaleRun);
    assert_eq!(scheduler.commit(at(3), batch).await, [no.clone(), done.clone(), no, done]);
    assert_eq!(world.state(&stale, "a").await, TaskState::None);
    assert_eq!(world.state(&stale, "b").await, TaskState::None);
    assert_eq!(world.state(&fresh, "a").await, TaskState::Running);
}

/// One transition with a wrong version makes those with the right one stale, too.
pub async fn one_wrong_version_makes_the_run_stale(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    let changes = vec![(run.id, Change::Schedule(vec![key(0)])), (run.id, Change::Schedule(vec![key(1)]))];
    let mut batch = scheduler.batch(at(2), changes);
    batch.transitions[1].version += 1;
    assert_eq!(world.storage.commit(&batch).await.unwrap(), [Verdict::StaleRun, Verdict::StaleRun]);
    assert_eq!(world.state(&run, "a").await, TaskState::None);
}

/// Runs of others, of nobody, and that do not exist are stale.
pub async fn only_own_runs_are_written(trial: &dyn Trial) {
    let world = World::new(trial);
    let (_, owned) = world.started().await;
    let free = world.create(owned.dag_version, "free").await;
    let mut other = world.scheduler("other").await;
    for run in [owned.id, free.id, crate::id::RunId(999), crate::id::RunId(-5)] {
        assert_eq!(other.apply(at(2), run, Change::Schedule(vec![key(0)])).await, Verdict::StaleRun);
    }
    assert_eq!(world.state(&owned, "a").await, TaskState::None);
}

/// A run starts and ends, with the dates of the batches.
pub async fn a_run_starts_and_ends(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    let now = world.reread(&run).await;
    assert_eq!((now.state, now.start_date, now.end_date), (RunState::Running, Some(at(1)), None));
    assert_eq!((now.last_scheduling_decision, now.updated_at), (Some(at(1)), at(1)));
    assert_eq!(now.version, run.version, "the engine's own changes leave the version alone");
    scheduler.done(at(9), run.id, Change::EndRun(RunState::Success)).await;
    let now = world.reread(&run).await;
    assert_eq!((now.state, now.start_date, now.end_date), (RunState::Success, Some(at(1)), Some(at(9))));
    assert_eq!((now.last_scheduling_decision, now.updated_at), (Some(at(9)), at(9)));
}

/// What does not fit the state of a run has no effect, and neither has what follows of it in the batch.
pub async fn impossible_changes_have_no_effect(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    scheduler.run_try(at(2), run.id, 0, 1, TaskState::Success).await;
    let impossible = [
        Change::StartRun,
        Change::EndRun(RunState::Running),
        scheduler.admission(0, 2).1,
        scheduler.admission(1, 2).1,
        scheduler.admission(1, 0).1,
        scheduler.admission(99, 1).1,
        Change::Settle(key(0), TaskState::Skipped),
        Change::Settle(key(1), TaskState::Running),
        Change::Settle(key(99), TaskState::Skipped),
        Change::Schedule(vec![key(1), key(99)]),
        Change::Started(world.token()),
    ];
    for change in impossible {
        let text = format!("{change:?}");
        let verdicts = scheduler.commit(at(3), vec![(run.id, change), (run.id, Change::Schedule(vec![key(2)]))]).await;
        assert_eq!(verdicts, [Verdict::StaleRun, Verdict::StaleRun], "{text}");
        assert_eq!(world.state(&run, "a").await, TaskState::Success, "{text}");
        assert_eq!(world.state(&run, "b").await, TaskState::None, "{text}");
        assert_eq!(world.state(&run, "c").await, TaskState::None, "{text}");
        assert_eq!(world.reread(&run).await.state, RunState::Running, "{text}");
    }
    scheduler.done(at(4), run.id, Change::EndRun(RunState::Success)).await;
    let (_, admission) = scheduler.admission(1, 1);
    assert_eq!(scheduler.apply(at(4), run.id, admission).await, Verdict::StaleRun, "the run has ended");
}

/// A queued attempt is its instance's state; a worker's start makes it running.
pub async fn an_attempt_is_its_instances_state(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    let token = world.token();
    scheduler.done(at(2), run.id, admit(0, 1, token, AttemptPhase::Queued)).await;
    let instance = world.instance(&run, "a").await;
    assert_eq!((instance.state, instance.try_number), (TaskState::Queued, 1));
    assert_eq!((instance.queued_when, instance.start_date, instance.end_date), (Some(at(2)), None, None));
    assert_eq!((world.pool("default_pool").await.queued, world.pool("default_pool").await.running), (1, 0));
    scheduler.done(at(3), run.id, Change::Started(token)).await;
    let instance = world.instance(&run, "a").await;
    assert_eq!(
        (instance.state, instance.start_date, instance.queued_when),
        (TaskState::Running, Some(at(3)), Some(at(2)))
    );
    assert_eq!((world.pool("default_pool").await.queued, world.pool("default_pool").await.running), (0, 1));
    scheduler.done(at(5), run.id, ended(token, 0, TaskState::Success, at(4))).await;
    let instance = world.instance(&run, "a").await;
    assert_eq!(
        (instance.state, instance.start_date, instance.end_date),
        (TaskState::Success, Some(at(3)), Some(at(4)))
    );
    assert_eq!(instance.duration(), Some(1.0));
    assert_eq!((world.pool("default_pool").await.queued, world.pool("default_pool").await.running), (0, 0));
}

/// An attempt that is admitted to running has started at the batch's time.
pub async fn an_attempt_may_start_at_once(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    scheduler.admit(at(2), run.id, 0, 1).await;
    let instance = world.instance(&run, "a").await;
    assert_eq!((instance.state, instance.try_number), (TaskState::Running, 1));
    assert_eq!((instance.queued_when, instance.start_date), (Some(at(2)), Some(at(2))));
}

/// The outcome of an attempt is recorded once.
pub async fn an_outcome_counts_once(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    let token = scheduler.admit(at(2), run.id, 0, 1).await;
    let (first, second) = (ended(token, 0, TaskState::Failed, at(3)), ended(token, 0, TaskState::Success, at(4)));
    let verdicts = scheduler.commit(at(3), vec![(run.id, first), (run.id, second.clone())]).await;
    assert_eq!(verdicts, [Verdict::Done, Verdict::Done]);
    scheduler.done(at(5), run.id, second).await;
    let instance = world.instance(&run, "a").await;
    assert_eq!((instance.state, instance.end_date), (TaskState::Failed, Some(at(3))));
    assert_eq!(world.pool("default_pool").await.running, 0);
    scheduler.done(at(5), run.id, ended(world.token(), 1, TaskState::Success, at(5))).await;
    assert_eq!(world.state(&run, "b").await, TaskState::None, "an unknown attempt has no outcome");
}

/// An instance has one live attempt at most, and a token names one.
pub async fn attempts_never_overlap(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    let token = scheduler.admit(at(2), run.id, 0, 1).await;
    for try_number in [1, 2] {
        let (_, again) = scheduler.admission(0, try_number);
        assert_eq!(scheduler.apply(at(3), run.id, again).await, Verdict::StaleRun);
    }
    let same = admit(1, 1, token, AttemptPhase::Running);
    assert_eq!(scheduler.apply(at(3), run.id, same).await, Verdict::StaleRun);
    assert_eq!(world.pool("default_pool").await.running, 1);
    world.amend(at(4), run.id, None, vec![(key(0), super::world::clear(1))]).await;
    scheduler.reload(run.id).await.unwrap();
    let (_, early) = scheduler.admission(0, 2);
    assert_eq!(scheduler.apply(at(5), run.id, early).await, Verdict::StaleRun, "the old attempt has not ended");
    scheduler.done(at(6), run.id, Change::Release(token)).await;
    scheduler.admit(at(7), run.id, 0, 2).await;
}

/// A failed try waits for the next, which counts one higher; the passed one is kept.
pub async fn a_failed_try_is_followed_by_the_next(trial: &dyn Trial) {
    let world = World::new(trial);
    let mut declared = dag("d", &["a"]);
    declared.tasks[0].retries = 2;
    let (mut scheduler, run) = world.started_of(declared).await;
    let token = scheduler.admit(at(2), run.id, 0, 1).await;
    world.storage.set_process(token, 11).await.unwrap();
    let mut end = end_of(token, 0, TaskState::UpForRetry, at(3));
    end.due_at = Some(at(60));
    scheduler.done(at(3), run.id, Change::Ended(Arc::new(end))).await;
    let instance = world.instance(&run, "a").await;
    assert_eq!((instance.state, instance.try_number, instance.due_at), (TaskState::UpForRetry, 1, Some(at(60))));
    assert_eq!((instance.start_date, instance.end_date, instance.pid), (Some(at(2)), Some(at(3)), Some(11)));
    let second = world.token();
    scheduler.done(at(60), run.id, admit(0, 2, second, AttemptPhase::Queued)).await;
    let instance = world.instance(&run, "a").await;
    assert_eq!((instance.state, instance.try_number, instance.due_at), (TaskState::Queued, 2, None));
    assert_eq!((instance.start_date, instance.end_date, instance.pid), (None, None, None));
    scheduler.done(at(61), run.id, Change::Started(second)).await;
    scheduler.done(at(62), run.id, ended(second, 0, TaskState::Success, at(62))).await;
    let tries = world.storage.tries(run.id, key(0)).await.unwrap();
    let seen: Vec<_> =
        tries.iter().map(|t| (t.try_number, t.state, t.start_date, t.end_date, t.queued_when, t.pid)).collect();
    let expected = [
        (1, TaskState::Failed, Some(at(2)), Some(at(3)), Some(at(2)), Some(11)),
        (2, TaskState::Success, Some(at(61)), Some(at(62)), Some(at(60)), Some(7)),
    ];
    assert_eq!(seen, expected);
}

/// A try that is given back leaves no trace on the instance.
pub async fn a_try_is_given_back(trial: &dyn Trial) {
    let world = World::new(trial);
    let mut declared = dag("d", &["a"]);
    declared.tasks[0].retries = 3;
    let (mut scheduler, run) = world.started_of(declared).await;
    for round in 0..2 {
        let token = world.token();
        scheduler.done(at(2), run.id, admit(0, 1, token, AttemptPhase::Queued)).await;
        scheduler.done(at(3), run.id, ended(token, 0, TaskState::Scheduled, at(3))).await;
        let instance = world.instance(&run, "a").await;
        assert_eq!((instance.state, instance.try_number), (TaskState::Scheduled, 0), "{round}");
        assert_eq!((instance.start_date, instance.end_date, instance.queued_when), (None, None, None));
        assert_eq!((world.pool("default_pool").await.queued, world.pool("default_pool").await.scheduled), (0, 1));
    }
    scheduler.run_try(at(4), run.id, 0, 1, TaskState::UpForRetry).await;
    for _ in 0..2 {
        let token = scheduler.admit(at(8), run.id, 0, 2).await;
        scheduler.done(at(9), run.id, ended(token, 0, TaskState::Scheduled, at(9))).await;
        let instance = world.instance(&run, "a").await;
        assert_eq!((instance.try_number, instance.start_date, instance.end_date), (1, Some(at(4)), Some(at(5))));
    }
    scheduler.run_try(at(10), run.id, 0, 2, TaskState::Success).await;
    let tries = world.storage.tries(run.id, key(0)).await.unwrap();
    assert_eq!(
        tries.iter().map(|t| (t.try_number, t.start_date)).collect::<Vec<_>>(),
        [(1, Some(at(4))), (2, Some(at(10)))]
    );
}

/// Instances that never start are finished at once; only the success of an empty task counts as a try.
pub async fn instances_are_settled(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    let changes = vec![
        (run.id, Change::Skip(key(0))),
        (run.id, Change::Settle(key(1), TaskState::UpstreamFailed)),
        (run.id, Change::Settle(key(2), TaskState::Success)),
    ];
    assert_eq!(scheduler.commit(at(2), changes).await, vec![Verdict::Done; 3]);
    let expected = [("a", TaskState::Skipped, 0), ("b", TaskState::UpstreamFailed, 0), ("c", TaskState::Success, 1)];
    for (task, state, tries) in expected {
        let instance = world.instance(&run, task).await;
        assert_eq!((instance.state, instance.try_number), (state, tries));
        assert_eq!((instance.start_date, instance.end_date, instance.queued_when), (Some(at(2)), Some(at(2)), None));
        assert_eq!(instance.duration(), (state != TaskState::Skipped).then_some(0.0));
    }
    let query = EventLogQuery { dag_id: Some("d".into()), ..EventLogQuery::default() };
    assert_eq!(world.storage.events(&query).await.unwrap().total, 0);
}

/// Instances that wait for room are shown, and counted by their pools.
pub async fn instances_are_shown_as_scheduled(trial: &dyn Trial) {
    let world = World::new(trial);
    let mut declared = dag("d", &["a", "b", "c"]);
    declared.tasks[1].pool_slots = 3;
    let (mut scheduler, run) = world.started_of(declared).await;
    scheduler.done(at(2), run.id, Change::Schedule(vec![key(0), key(1)])).await;
    assert_eq!(world.state(&run, "a").await, TaskState::Scheduled);
    assert_eq!(world.pool("default_pool").await.scheduled, 4);
    scheduler.done(at(3), run.id, Change::Schedule(vec![key(1)])).await;
    assert_eq!(world.pool("default_pool").await.scheduled, 4);
    scheduler.admit(at(4), run.id, 1, 1).await;
    let usage = world.pool("default_pool").await;
    assert_eq!((usage.scheduled, usage.running), (1, 3));
    scheduler.done(at(5), run.id, Change::Settle(key(0), TaskState::Skipped)).await;
    assert_eq!(world.pool("default_pool").await.scheduled, 0);
}

/// A result and a branch's decision are XComs.
pub async fn outcomes_leave_xcoms(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    let token = scheduler.admit(at(2), run.id, 0, 1).await;
    let mut end = end_of(token, 0, TaskState::Success, at(3));
    (end.value, end.skip) = (Some(json!({"rows": 3})), SkipDownstream::Follow(vec!["b".into()]));
    scheduler.done(at(4), run.id, Change::Ended(Arc::new(end))).await;
    let page = world.storage.xcoms(&crate::storage::XComQuery::default()).await.unwrap();
    let seen: Vec<_> = page.items.iter().map(|e| (&*e.xcom.key, e.xcom.value.clone(), e.xcom.timestamp)).collect();
    let expected = [("return_value", json!({"rows": 3}), at(4)), ("skipmixin_key", json!({"followed": ["b"]}), at(4))];
    assert_eq!(seen, expected);
    scheduler.run_try(at(5), run.id, 1, 1, TaskState::Success).await;
    assert_eq!(world.xcom_keys(&run).await.len(), 2, "no result leaves none");
}

/// Task instances' transitions are logged as Airflow does.
pub async fn transitions_are_logged(trial: &dyn Trial) {
    let world = World::new(trial);
    let mut declared = dag("d", &["a", "b", "c"]);
    declared.tasks[0].retries = 1;
    let (mut scheduler, run) = world.started_of(declared).await;
    for (mode, expected) in [
        (TaskEventLog::On, &["running", "failed", "running", "success"][..]),
        (TaskEventLog::Failures, &["failed"]),
        (TaskEventLog::Off, &[]),
    ] {
        scheduler.event_log = mode;
        let before = world.storage.events(&EventLogQuery::default()).await.unwrap().total;
        let task = match mode {
            TaskEventLog::On => 0,
            TaskEventLog::Failures => 1,
            _ => 2,
        };
        scheduler.run_try(at(10), run.id, task, 1, TaskState::UpForRetry).await;
        let token = world.token();
        scheduler.done(at(20), run.id, admit(task, 2, token, AttemptPhase::Queued)).await;
        scheduler.done(at(21), run.id, Change::Started(token)).await;
        scheduler.done(at(22), run.id, ended(token, task, TaskState::Success, at(22))).await;
        let events = world.storage.events(&EventLogQuery::default()).await.unwrap().items;
        let new = &events[usize::try_from(before).unwrap()..];
        assert_eq!(new.iter().map(|entry| &*entry.event).collect::<Vec<_>>(), expected);
        if let Some(entry) = new.first() {
            let task = ["a", "b", "c"][task as usize];
            assert_eq!((entry.dag_id.as_ref().unwrap().as_str(), entry.task_id.as_deref()), ("d", Some(task)));
            assert_eq!((entry.run_id.as_deref(), entry.map_index, entry.try_number), (Some("r"), Some(-1), Some(1)));
            assert_eq!((entry.owner.as_deref(), entry.logical_date), (Some("lab"), Some(run.logical_date)));
            assert_eq!(entry.extra, None);
        }
        if mode == TaskEventLog::On {
            assert_eq!(
                new.iter().map(|e| (e.when, e.try_number.unwrap())).collect::<Vec<_>>(),
                [(at(10), 1), (at(11), 1), (at(21), 2), (at(22), 2)]
            );
        }
    }
}

/// A skipped and a failed try end as such.
pub async fn tries_end_in_every_finished_state(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    for (task, name, state) in [(0, "a", TaskState::Success), (1, "b", TaskState::Failed), (2, "c", TaskState::Skipped)]
    {
        scheduler.run_try(at(2), run.id, task, 1, state).await;
        assert_eq!(world.state(&run, name).await, state);
    }
}

/// A whole life of a large run in few batches.
pub async fn large_batches_work(trial: &dyn Trial) {
    let world = World::new(trial);
    let names: Vec<String> = (0..1000).map(|index| format!("t{index}")).collect();
    let mut declared = dag("d", &names.iter().map(String::as_str).collect::<Vec<_>>());
    declared.max_active_tasks = 500;
    world.storage.create_pool(super::world::pool("big", -1), None).await.unwrap();
    declared.tasks.iter_mut().for_each(|task| task.pool = "big".into());
    let (mut scheduler, run) = world.started_of(declared).await;
    let mut running = Vec::new();
    let mut refused: Vec<u32> = (0..1000).collect();
    while !refused.is_empty() || !running.is_empty() {
        let mut changes: Vec<_> =
            running.drain(..).map(|(task, token)| (run.id, ended(token, task, TaskState::Success, at(3)))).collect();
        let ends = changes.len();
        let offered: Vec<_> = refused.drain(..).map(|task| (task, scheduler.admission(task, 1))).collect();
        changes.extend(offered.iter().map(|(_, (_, change))| (run.id, change.clone())));
        let verdicts = scheduler.commit(at(3), changes).await;
        assert!(verdicts[..ends].iter().all(|verdict| *verdict == Verdict::Done));
        for ((task, (token, _)), verdict) in offered.into_iter().zip(&verdicts[ends..]) {
            match verdict {
                Verdict::Done => running.push((task, token)),
                _ => refused.push(task),
            }
        }
        assert!(running.len() == 500 || refused.is_empty());
    }
    scheduler.done(at(4), run.id, Change::EndRun(RunState::Success)).await;
    let states = crate::storage::TaskInstanceQuery { states: Some([TaskState::Success].into()), ..Default::default() };
    assert_eq!(world.storage.task_instances(&states).await.unwrap().total, 1000);
}
