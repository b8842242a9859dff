//! Schedulers and what is theirs.

use std::sync::Arc;
use std::time::Duration;

use super::Trial;
use super::world::{LEASE, World, admit, assert_err, at, clear, dag, end_of, ended, key, mark};
use crate::id::RunId;
use crate::model::{AttemptPhase, RunState, TaskState};
use crate::operator::SkipDownstream;
use crate::storage::{Change, Limit, StorageError, Verdict};

/// Runs are claimed in the order of their creation, up to the limit, and once.
pub async fn a_claim_takes_the_oldest_first(trial: &dyn Trial) {
    let world = World::new(trial);
    let (d, e) = (world.register(dag("d", &["a"])).await, world.register(dag("e", &["a"])).await);
    let mut ids = Vec::new();
    for index in 0..6 {
        ids.push(world.create(if index % 2 == 0 { e } else { d }, &format!("r{index}")).await.id);
    }
    let mut scheduler = world.scheduler("s").await;
    let claimed = |snapshots: Vec<crate::storage::RunSnapshot>| snapshots.iter().map(|s| s.run.id).collect::<Vec<_>>();
    assert_eq!(claimed(scheduler.claim_some(&[d, e], 4).await), ids[..4]);
    assert_eq!(claimed(scheduler.claim_some(&[d, e], 4).await), ids[4..]);
    assert_eq!(claimed(scheduler.claim_some(&[d, e], 4).await), []);
    assert_eq!(world.storage.dag_run("e", "r0").await.unwrap().owner, Some(scheduler.session.id));
}

/// Where there is no room for all of a DAG's queued runs, those of the earliest logical dates start, whenever they were created.
pub async fn queued_runs_are_claimed_by_logical_date(trial: &impl Trial) {
    let world = World::new(trial);
    let mut dag = dag("d", &["a"]);
    dag.max_active_runs = 1;
    let version = world.register(dag).await;
    let (early, late) = (world.new_run(version, "early"), world.new_run(version, "late"));
    assert!(early.logical_date < late.logical_date);
    world.try_create(late).await.unwrap();
    world.try_create(early).await.unwrap();
    let claimed = world.scheduler("s").await.claim(&[version]).await;
    assert_eq!(claimed.iter().map(|snapshot| snapshot.run.run_id.as_str()).collect::<Vec<_>>(), ["early"]);
}

/// Whatever schedulers do at a time, each run goes to one of them.
pub async fn a_run_is_claimed_by_one_scheduler(trial: &dyn Trial) {
    let world = World::new(trial);
    let mut declared = dag("d", &["a"]);
    declared.max_active_runs = 1000;
    let version = world.register(declared).await;
    let runs = (0..60).map(|index| world.new_run(version, &format!("r{index}"))).collect();
    world.storage.create_runs(at(0), runs).await.unwrap();
    let mut claims = Vec::new();
    for index in 0..6 {
        let mut scheduler = world.scheduler(&format!("s{index}")).await;
        claims.push(tokio::spawn(async move {
            let mut ids = Vec::new();
            loop {
                let some = scheduler.claim_some(&[version], 7).await;
                if some.is_empty() {
                    return ids;
                }
                ids.extend(some.iter().map(|snapshot| snapshot.run.id));
            }
        }));
    }
    let mut all = Vec::new();
    for claim in claims {
        all.extend(claim.await.unwrap());
    }
    all.sort_unstable();
    let claimed = all.len();
    all.dedup();
    assert_eq!((claimed, all.len()), (60, 60));
}

/// Only runs of the given versions are claimed.
pub async fn only_runs_of_known_versions_are_claimed(trial: &dyn Trial) {
    let world = World::new(trial);
    let (d, e) = (world.register(dag("d", &["a"])).await, world.register(dag("e", &["a"])).await);
    world.create(d, "r").await;
    let run = world.create(e, "r").await;
    let mut scheduler = world.scheduler("s").await;
    assert!(scheduler.claim(&[]).await.is_empty());
    assert_eq!(scheduler.claim_ids(&[e]).await, [run.id]);
}

/// Finished runs are not claimed, and a run that ends belongs to nobody.
pub async fn a_finished_run_belongs_to_nobody(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    assert_eq!(world.storage.owned_runs(&scheduler.session).await.unwrap(), [run.id]);
    scheduler.done(at(2), run.id, Change::EndRun(RunState::Failed)).await;
    assert_eq!(world.reread(&run).await.owner, None);
    assert!(world.storage.owned_runs(&scheduler.session).await.unwrap().is_empty());
    assert!(scheduler.reload(run.id).await.is_none());
    assert!(scheduler.claim(&[run.dag_version]).await.is_empty());
    world.amend(at(3), run.id, Some(RunState::Queued), Vec::new()).await;
    assert_eq!(scheduler.claim_ids(&[run.dag_version]).await, [run.id]);
}

/// Runs of a scheduler that was silent for its lease are another's to take, and the silent one cannot write any more.
pub async fn runs_of_a_silent_scheduler_are_taken_over(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut first, run) = world.started().await;
    let token = first.admit(at(2), run.id, 0, 1).await;
    let mut second = world.scheduler("other").await;
    trial.pass(LEASE / 2).await;
    assert!(second.claim(&[run.dag_version]).await.is_empty(), "the lease has not passed");
    world.storage.heartbeat(&second.session).await.unwrap();
    trial.pass(LEASE).await;
    let claimed = second.claim(&[run.dag_version]).await;
    assert_eq!(claimed.len(), 1);
    assert!(claimed[0].run.version > run.version, "a takeover is a change");
    assert_eq!(claimed[0].attempts.iter().map(|attempt| attempt.token).collect::<Vec<_>>(), [token]);
    assert_eq!(claimed[0].run.owner, Some(second.session.id));
    let end = ended(token, 0, TaskState::Success, at(3));
    assert_eq!(first.apply(at(3), run.id, end.clone()).await, Verdict::StaleRun);
    assert!(first.reload(run.id).await.is_none());
    assert_eq!(world.state(&run, "a").await, TaskState::Running);
    second.done(at(4), run.id, end).await;
    assert_eq!(world.state(&run, "a").await, TaskState::Success);
}

/// A scheduler that gives signs of life keeps its runs, also after a silence that nobody used.
pub async fn a_heartbeat_keeps_runs(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut first, run) = world.started().await;
    let mut second = world.scheduler("other").await;
    for _ in 0..4 {
        trial.pass(LEASE * 2 / 3).await;
        world.storage.heartbeat(&first.session).await.unwrap();
        world.storage.heartbeat(&second.session).await.unwrap();
        assert!(second.claim(&[run.dag_version]).await.is_empty());
    }
    trial.pass(LEASE * 2).await;
    first.admit(at(2), run.id, 0, 1).await;
    world.storage.heartbeat(&first.session).await.unwrap();
    assert!(second.claim(&[run.dag_version]).await.is_empty());
}

/// A silent scheduler may claim, and does not take its own runs from itself.
pub async fn a_silent_scheduler_keeps_its_own_runs(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    trial.pass(LEASE * 2).await;
    assert!(scheduler.claim(&[run.dag_version]).await.is_empty());
    scheduler.admit(at(2), run.id, 0, 1).await;
}

/// Who registers under a name fences who had it: nothing of the former session has an effect.
pub async fn registering_again_fences_the_former_session(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut old, run) = world.started().await;
    let mut new = world.scheduler("s").await;
    assert!(new.session.epoch > old.session.epoch);
    let (token, admission) = old.admission(0, 1);
    assert_err!(old.try_commit(at(2), vec![(run.id, admission)]).await, StorageError::Fenced);
    let session = &old.session;
    assert_err!(world.storage.heartbeat(session).await, StorageError::Fenced);
    assert_err!(world.storage.claim_runs(session, &[run.dag_version], 9).await, StorageError::Fenced);
    assert_err!(world.storage.reload_runs(session, &[run.id]).await, StorageError::Fenced);
    assert_err!(world.storage.changed_runs(session).await, StorageError::Fenced);
    assert_err!(world.storage.owned_runs(session).await, StorageError::Fenced);
    assert_eq!(world.state(&run, "a").await, TaskState::None);
    assert_err!(world.storage.set_process(token, 1).await, StorageError::Fenced);
    world.storage.unregister_scheduler(session).await.unwrap();
    world.storage.heartbeat(&new.session).await.unwrap();
    assert_eq!(new.claim_ids(&[run.dag_version]).await, [run.id], "its runs belong to nobody");
    new.admit(at(3), run.id, 0, 1).await;
}

/// A scheduler that leaves frees its runs at once, and has left for good.
pub async fn a_scheduler_that_leaves_frees_its_runs(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut first, run) = world.started().await;
    world.storage.unregister_scheduler(&first.session).await.unwrap();
    assert_eq!(world.reread(&run).await.owner, None);
    assert_err!(world.storage.heartbeat(&first.session).await, StorageError::Fenced);
    assert_err!(first.try_commit(at(2), Vec::new()).await, StorageError::Fenced);
    let mut second = world.scheduler("other").await;
    assert_eq!(second.claim_ids(&[run.dag_version]).await, [run.id]);
}

/// Queued runs of a paused DAG stay where they are; its running ones are claimed.
pub async fn queued_runs_of_paused_dags_are_not_claimed(trial: &dyn Trial) {
    let world = World::new(trial);
    let (first, running) = world.started().await;
    world.create(running.dag_version, "queued").await;
    world.storage.set_paused(at(1), &["d".into()], true, None).await.unwrap();
    world.storage.unregister_scheduler(&first.session).await.unwrap();
    let mut second = world.scheduler("other").await;
    assert_eq!(second.claim_ids(&[running.dag_version]).await, [running.id]);
    world.storage.set_paused(at(1), &["d".into()], false, None).await.unwrap();
    assert_eq!(second.claim(&[running.dag_version]).await.len(), 1);
}

/// A queued run waits for its logical date, and hides no other.
pub async fn runs_of_the_future_are_not_claimed(trial: &dyn Trial) {
    let world = World::new(trial);
    let mut declared = dag("d", &["a"]);
    declared.max_active_runs = 1;
    let version = world.register(declared).await;
    let mut future = world.new_run(version, "future");
    future.logical_date = world.storage.now().await.unwrap() + chrono::TimeDelta::hours(1);
    world.try_create(future).await.unwrap();
    let due = world.create(version, "due").await;
    let mut scheduler = world.scheduler("s").await;
    assert_eq!(scheduler.claim_ids(&[version]).await, [due.id]);
}

/// Many queued runs of a DAG that cannot start any do not hide those of another.
pub async fn a_dag_without_room_hides_no_other(trial: &dyn Trial) {
    let world = World::new(trial);
    let mut full = dag("full", &["a"]);
    full.max_active_runs = 1;
    let (full, other) = (world.register(full).await, world.register(dag("other", &["a"])).await);
    let paused = world.register(dag("paused", &["a"])).await;
    world.storage.set_paused(at(0), &["paused".into()], true, None).await.unwrap();
    for index in 0..20 {
        world.create(full, &format!("r{index}")).await;
        world.create(paused, &format!("r{index}")).await;
    }
    let run = world.create(other, "r").await;
    let mut scheduler = world.scheduler("s").await;
    let claimed = scheduler.claim_some(&[full, other, paused], 2).await;
    let names: Vec<_> = claimed.iter().map(|snapshot| snapshot.run.dag_id.as_str().to_owned()).collect();
    assert_eq!(names, ["full", "other"]);
    assert_eq!(claimed[1].run.id, run.id);
}

/// No more queued runs of a DAG are claimed than could start, those of other schedulers counted.
pub async fn claims_respect_max_active_runs(trial: &dyn Trial) {
    let world = World::new(trial);
    let mut declared = dag("d", &["a"]);
    declared.max_active_runs = 3;
    let version = world.register(declared).await;
    let mut ids = Vec::new();
    for index in 0..6 {
        ids.push(world.create(version, &format!("r{index}")).await.id);
    }
    let (mut first, mut second) = (world.scheduler("one").await, world.scheduler("two").await);
    let claimed = first.claim_some(&[version], 2).await;
    assert_eq!(claimed.len(), 2);
    first.done(at(1), ids[0], Change::StartRun).await;
    assert_eq!(second.claim_ids(&[version]).await, [ids[2]]);
    assert!(first.claim(&[version]).await.is_empty());
    first.done(at(2), ids[0], Change::EndRun(RunState::Success)).await;
    assert_eq!(first.claim_ids(&[version]).await, [ids[3]]);
}

/// A snapshot has all that a scheduler needs in order to go on.
pub async fn a_snapshot_is_complete(trial: &dyn Trial) {
    let world = World::new(trial);
    let mut declared = dag("d", &["done", "branch", "retry", "live", "old", "wait"]);
    declared.tasks[2].retries = 2;
    let (mut first, run) = world.started_of(declared).await;
    let id = run.id;
    first.run_try(at(2), id, 0, 1, TaskState::Success).await;
    let branch = first.admit(at(2), id, 1, 1).await;
    let skip = SkipDownstream::Follow(vec!["wait".into()]);
    let mut end = end_of(branch, 1, TaskState::Success, at(3));
    end.skip = skip.clone();
    first.done(at(3), id, Change::Ended(Arc::new(end))).await;
    let retry = first.admit(at(2), id, 2, 1).await;
    let mut end = end_of(retry, 2, TaskState::UpForRetry, at(3));
    end.due_at = Some(at(60));
    first.done(at(3), id, Change::Ended(Arc::new(end))).await;
    let live = world.token();
    first.done(at(4), id, admit(3, 1, live, AttemptPhase::Queued)).await;
    let old = first.admit(at(4), id, 4, 1).await;
    first.done(at(5), id, Change::Schedule(vec![key(5)])).await;
    world.amend(at(6), id, None, vec![(key(4), clear(1))]).await;

    let snapshot = first.reload(id).await.unwrap();
    assert_eq!(snapshot.run, world.reread(&run).await);
    let seen: Vec<_> = snapshot.instances.iter().map(|i| (i.key, i.try_number, i.max_tries, i.due_at)).collect();
    let expected =
        [(0, 1, 0, None), (1, 1, 0, None), (2, 1, 2, Some(at(60))), (3, 1, 0, None), (4, 1, 2, None), (5, 0, 0, None)];
    assert_eq!(seen, expected.map(|(task, tries, max, due)| (key(task), tries, max, due)));
    let states: Vec<_> = snapshot.instances.iter().map(|i| i.state).collect();
    use TaskState as S;
    assert_eq!(
        (&states[..3], &states[4..]),
        (&[S::Success, S::Success, S::UpForRetry][..], &[S::Restarting, S::Scheduled][..])
    );
    let attempts: Vec<_> = snapshot
        .attempts
        .iter()
        .map(|a| (a.token, a.key, a.try_number, a.phase, a.is_obsolete, a.queued_when))
        .collect();
    let expected =
        [(live, key(3), 1, AttemptPhase::Queued, false, at(4)), (old, key(4), 1, AttemptPhase::Running, true, at(4))];
    assert_eq!(attempts, expected);
    assert!(snapshot.attempts.iter().all(|attempt| attempt.run == id && attempt.scheduler == first.session.id));
    assert_eq!(snapshot.skips, [(key(1), skip)]);
    world.amend(at(6), id, None, vec![(key(1), clear(0))]).await;
    assert!(first.reload(id).await.unwrap().skips.is_empty(), "a cleared branch has decided nothing");
}

/// A change from outside is told to the owner until it has read the run again; it holds no version before.
pub async fn changes_are_told_until_they_are_read(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    let changed = |session: crate::storage::SchedulerSession| {
        let storage = Arc::clone(&world.storage);
        async move { storage.changed_runs(&session).await.unwrap() }
    };
    assert!(changed(scheduler.session.clone()).await.is_empty(), "its own changes are no news");
    world.amend(at(2), run.id, None, vec![(key(0), mark(TaskState::Success))]).await;
    for _ in 0..2 {
        assert_eq!(changed(scheduler.session.clone()).await, [run.id]);
    }
    assert_eq!(scheduler.apply(at(3), run.id, Change::Schedule(vec![key(1)])).await, Verdict::StaleRun);
    scheduler.reload(run.id).await.unwrap();
    assert!(changed(scheduler.session.clone()).await.is_empty());
    scheduler.done(at(3), run.id, Change::Schedule(vec![key(1)])).await;
    world.storage.delete_run(run.id, None).await.unwrap();
    assert_eq!(changed(scheduler.session.clone()).await, [run.id], "a deletion is a change");
    assert!(scheduler.reload(run.id).await.is_none());
    assert!(changed(scheduler.session.clone()).await.is_empty());
}

/// Reading again leaves out what is gone or another's.
pub async fn a_reload_leaves_out_others_runs(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut first, run) = world.started().await;
    let other = world.create(run.dag_version, "other").await;
    let mut second = world.scheduler("two").await;
    assert_eq!(second.claim_ids(&[run.dag_version]).await, [other.id]);
    let ids = [run.id, other.id, RunId(999)];
    let own = world.storage.reload_runs(&first.session, &ids).await.unwrap();
    assert_eq!(own.iter().map(|snapshot| snapshot.run.id).collect::<Vec<_>>(), [run.id]);
    assert!(first.reload(other.id).await.is_none());
    assert!(second.reload(other.id).await.is_some());
}

/// A run of which a living scheduler still has an attempt goes to nobody else.
pub async fn a_run_waits_for_the_attempts_of_a_living_scheduler(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut first, run) = world.started().await;
    let token = first.admit(at(2), run.id, 0, 1).await;
    world.amend(at(3), run.id, Some(RunState::Failed), vec![(key(0), mark(TaskState::Failed))]).await;
    world.amend(at(4), run.id, Some(RunState::Queued), vec![(key(0), clear(0))]).await;
    let mut second = world.scheduler("two").await;
    assert!(second.claim(&[run.dag_version]).await.is_empty());
    first.done(at(5), run.id, Change::Release(token)).await;
    assert_eq!(second.claim_ids(&[run.dag_version]).await, [run.id]);
    second.done(at(6), run.id, Change::StartRun).await;
    second.admit(at(6), run.id, 0, 2).await;
}

/// Slots of attempts whose run and scheduler are both gone come back.
pub async fn attempts_of_the_dead_do_not_leak(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut first, run) = world.started().await;
    first.admit(at(2), run.id, 0, 1).await;
    world.storage.delete_run(run.id, None).await.unwrap();
    let run = world.create(run.dag_version, "again").await;
    first.claim(&[run.dag_version]).await;
    first.done(at(3), run.id, Change::StartRun).await;
    first.admit(at(3), run.id, 1, 1).await;
    world.amend(at(4), run.id, Some(RunState::Failed), vec![(key(1), mark(TaskState::Failed))]).await;
    let mut second = world.scheduler("two").await;
    second.claim(&[run.dag_version]).await;
    assert_eq!(world.pool("default_pool").await.running, 2, "their scheduler lives");
    trial.pass(LEASE * 2).await;
    world.storage.heartbeat(&second.session).await.unwrap();
    second.claim(&[run.dag_version]).await;
    assert_eq!(world.pool("default_pool").await.running, 0);
    assert_eq!(world.state(&run, "b").await, TaskState::Failed);
}

/// A new run, a change, an unpaused DAG, a bigger pool and a new version are announced.
pub async fn news_is_announced(trial: &dyn Trial) {
    let world = World::new(trial);
    let mut seen = 0;
    for step in 0..5 {
        let storage = Arc::clone(&world.storage);
        let before = seen;
        let waiting = tokio::spawn(async move { storage.announcement(before).await });
        tokio::task::yield_now().await;
        match step {
            0 => drop(world.register(dag("d", &["a"])).await),
            1 => {
                let version = world.storage.dag("d").await.unwrap().version.id;
                world.create(version, "r").await;
            }
            2 => {
                let run = world.storage.dag_run("d", "r").await.unwrap();
                world.amend(at(1), run.id, None, vec![(key(0), mark(TaskState::Skipped))]).await;
            }
            3 => world.storage.set_paused(at(1), &["d".into()], false, None).await.unwrap(),
            _ => drop(world.storage.create_pool(super::world::pool("p", 1), None).await.unwrap()),
        }
        let next = tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("an announcement").unwrap();
        assert!(next > seen, "announcements are numbered upwards");
        // There may be more than one for a change.
        seen = next;
        while let Ok(more) = tokio::time::timeout(Duration::from_millis(20), world.storage.announcement(seen)).await {
            seen = more;
        }
    }
}

/// `StartRun` of a claimed run is still refused if its DAG was paused meanwhile.
pub async fn a_claimed_run_of_a_paused_dag_does_not_start(trial: &dyn Trial) {
    let world = World::new(trial);
    let version = world.register(dag("d", &["a"])).await;
    let run = world.create(version, "r").await;
    let mut scheduler = world.scheduler("s").await;
    scheduler.claim(&[version]).await;
    world.storage.set_paused(at(1), &["d".into()], true, None).await.unwrap();
    let refused = Verdict::NoRoom(Limit::Paused("d".into()));
    assert_eq!(scheduler.apply(at(1), run.id, Change::StartRun).await, refused);
    world.storage.set_paused(at(1), &["d".into()], false, None).await.unwrap();
    scheduler.done(at(2), run.id, Change::StartRun).await;
}
