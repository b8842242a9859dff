//! Limits: pools, paused DAGs, and the most runs and tasks at a time.

use std::collections::BTreeMap;

use rand_core::{Rng, SeedableRng};

use super::Trial;
use super::world::{Scheduler, World, admit, at, clear, dag, ended, key, mark, pool, task};
use crate::id::{AttemptToken, RunId};
use crate::model::{AttemptPhase, Dag, DagRun, RunState, TaskState};
use crate::storage::{Change, Limit, PoolUpdate, Verdict};

async fn offer(scheduler: &mut Scheduler, run: RunId, task: u32) -> Verdict {
    let (_, admission) = scheduler.admission(task, 1);
    scheduler.apply(at(5), run, admission).await
}

fn no_room(limit: Limit) -> Verdict {
    Verdict::NoRoom(limit)
}

fn pooled(pools: &[(&str, u32)]) -> Dag {
    let mut declared = dag("d", &[]);
    for (index, (pool, slots)) in pools.iter().enumerate() {
        let mut task = task(&format!("t{index}"));
        (task.pool, task.pool_slots) = ((*pool).into(), *slots);
        declared.tasks.push(task);
    }
    declared
}

/// Nothing of a paused DAG is admitted; what runs goes on.
pub async fn a_paused_dag_admits_nothing(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    let token = scheduler.admit(at(2), run.id, 0, 1).await;
    world.storage.set_paused(at(3), &["d".into()], true, None).await.unwrap();
    assert_eq!(offer(&mut scheduler, run.id, 1).await, no_room(Limit::Paused("d".into())));
    scheduler.done(at(4), run.id, ended(token, 0, TaskState::Success, at(4))).await;
    scheduler.done(at(4), run.id, Change::Settle(key(2), TaskState::Skipped)).await;
    world.storage.set_paused(at(5), &["d".into()], false, None).await.unwrap();
    assert_eq!(offer(&mut scheduler, run.id, 1).await, Verdict::Done);
}

/// No more runs of a DAG run than it allows; one without room blocks what follows of it in the batch.
pub async fn max_active_runs_holds(trial: &dyn Trial) {
    let world = World::new(trial);
    let mut declared = dag("d", &["a"]);
    declared.max_active_runs = 2;
    let version = world.register(declared.clone()).await;
    let (one, two) = (world.create(version, "one").await, world.create(version, "two").await);
    let mut scheduler = world.scheduler("s").await;
    scheduler.claim(&[version]).await;
    // A smaller limit arrives while both are claimed.
    declared.max_active_runs = 1;
    world.register(declared).await;
    let (_, admission) = scheduler.admission(0, 1);
    let full = no_room(Limit::ActiveRuns("d".into()));
    let batch = vec![
        (one.id, Change::StartRun),
        (two.id, Change::StartRun),
        (two.id, admission),
        (two.id, Change::Schedule(vec![key(0)])),
        (one.id, Change::Schedule(vec![key(0)])),
    ];
    let verdicts = scheduler.commit(at(2), batch).await;
    assert_eq!(verdicts, [Verdict::Done, full.clone(), full.clone(), full, Verdict::Done]);
    assert_eq!(world.reread(&two).await.state, RunState::Queued);
    assert_eq!(world.state(&two, "a").await, TaskState::None);
    let batch = vec![(one.id, Change::EndRun(RunState::Success)), (two.id, Change::StartRun)];
    assert_eq!(scheduler.commit(at(3), batch).await, [Verdict::Done, Verdict::Done]);
}

/// The slots of a pool hold, with tasks that take several, in the order of the batch.
pub async fn pool_slots_hold(trial: &dyn Trial) {
    let world = World::new(trial);
    world.storage.create_pool(pool("p", 3), None).await.unwrap();
    let (mut scheduler, run) = world.started_of(pooled(&[("p", 2), ("p", 2), ("p", 1), ("p", 1)])).await;
    let changes = (0..4).map(|task| (run.id, scheduler.admission(task, 1).1)).collect();
    let full = no_room(Limit::Pool("p".into()));
    assert_eq!(scheduler.commit(at(2), changes).await, [Verdict::Done, full.clone(), Verdict::Done, full]);
    let usage = world.pool("p").await;
    assert_eq!((usage.running, usage.open()), (3, Some(0)));
}

/// Queued attempts take slots as running ones do.
pub async fn queued_attempts_take_slots(trial: &dyn Trial) {
    let world = World::new(trial);
    world.storage.create_pool(pool("p", 1), None).await.unwrap();
    let (mut scheduler, run) = world.started_of(pooled(&[("p", 1), ("p", 1)])).await;
    scheduler.done(at(2), run.id, admit(0, 1, world.token(), AttemptPhase::Queued)).await;
    assert_eq!(offer(&mut scheduler, run.id, 1).await, no_room(Limit::Pool("p".into())));
}

/// Slots that an attempt gives up earlier in a batch are there for a later one.
pub async fn slots_move_within_a_batch(trial: &dyn Trial) {
    let world = World::new(trial);
    world.storage.create_pool(pool("p", 1), None).await.unwrap();
    let (mut scheduler, run) = world.started_of(pooled(&[("p", 1), ("p", 1)])).await;
    let token = scheduler.admit(at(2), run.id, 0, 1).await;
    let (_, next) = scheduler.admission(1, 1);
    let batch = vec![(run.id, ended(token, 0, TaskState::Success, at(3))), (run.id, next)];
    assert_eq!(scheduler.commit(at(3), batch).await, [Verdict::Done, Verdict::Done]);
}

/// A pool that does not exist has no slots, one with −1 any number, and a task larger than its pool never fits.
pub async fn unusual_pools(trial: &dyn Trial) {
    let world = World::new(trial);
    world.storage.create_pool(pool("infinite", -1), None).await.unwrap();
    world.storage.create_pool(pool("small", 2), None).await.unwrap();
    world.storage.create_pool(pool("zero", 0), None).await.unwrap();
    let tasks = [("none", 1), ("infinite", 1_000_000), ("infinite", 1), ("small", 3), ("zero", 1), ("small", 2)];
    let (mut scheduler, run) = world.started_of(pooled(&tasks)).await;
    assert_eq!(offer(&mut scheduler, run.id, 0).await, no_room(Limit::Pool("none".into())));
    assert_eq!(offer(&mut scheduler, run.id, 1).await, Verdict::Done);
    assert_eq!(offer(&mut scheduler, run.id, 2).await, Verdict::Done);
    assert_eq!(offer(&mut scheduler, run.id, 3).await, no_room(Limit::Pool("small".into())));
    assert_eq!(offer(&mut scheduler, run.id, 4).await, no_room(Limit::Pool("zero".into())));
    assert_eq!(offer(&mut scheduler, run.id, 5).await, Verdict::Done);
    world.storage.create_pool(pool("none", 1), None).await.unwrap();
    assert_eq!(offer(&mut scheduler, run.id, 0).await, Verdict::Done);
}

/// A smaller pool ends nothing, and nothing new starts before there is room; a larger one has room at once.
pub async fn a_pool_is_resized(trial: &dyn Trial) {
    let world = World::new(trial);
    world.storage.create_pool(pool("p", 2), None).await.unwrap();
    let (mut scheduler, run) = world.started_of(pooled(&[("p", 1); 4])).await;
    let (one, two) = (scheduler.admit(at(2), run.id, 0, 1).await, scheduler.admit(at(2), run.id, 1, 1).await);
    let resize = |slots| world.storage.update_pool("p", PoolUpdate { slots: Some(slots), ..Default::default() }, None);
    assert_eq!(resize(1).await.unwrap().open(), Some(-1));
    let full = no_room(Limit::Pool("p".into()));
    assert_eq!(offer(&mut scheduler, run.id, 2).await, full);
    scheduler.done(at(3), run.id, ended(one, 0, TaskState::Success, at(3))).await;
    assert_eq!(offer(&mut scheduler, run.id, 2).await, full);
    scheduler.done(at(4), run.id, ended(two, 1, TaskState::Success, at(4))).await;
    assert_eq!(offer(&mut scheduler, run.id, 2).await, Verdict::Done);
    assert_eq!(offer(&mut scheduler, run.id, 3).await, full);
    resize(2).await.unwrap();
    assert_eq!(offer(&mut scheduler, run.id, 3).await, Verdict::Done);
}

/// Tasks name pools by their names: a renamed or deleted pool leaves them without.
pub async fn pools_are_found_by_name(trial: &dyn Trial) {
    let world = World::new(trial);
    world.storage.create_pool(pool("p", 5), None).await.unwrap();
    let (mut scheduler, run) = world.started_of(pooled(&[("p", 1), ("q", 1), ("p", 1)])).await;
    scheduler.admit(at(2), run.id, 0, 1).await;
    let rename = PoolUpdate { name: Some("q".into()), ..Default::default() };
    world.storage.update_pool("p", rename, None).await.unwrap();
    assert_eq!(offer(&mut scheduler, run.id, 2).await, no_room(Limit::Pool("p".into())));
    assert_eq!(offer(&mut scheduler, run.id, 1).await, Verdict::Done);
    assert_eq!(world.pool("q").await.running, 1);
    world.storage.create_pool(pool("p", 1), None).await.unwrap();
    assert_eq!(world.pool("p").await.running, 1, "what runs is counted where its task says");
    world.storage.delete_pool("p", None).await.unwrap();
    assert_eq!(offer(&mut scheduler, run.id, 2).await, no_room(Limit::Pool("p".into())));
}

/// `max_active_tasks` counts over all runs of the DAG, and follows its newest version.
pub async fn max_active_tasks_holds_over_all_runs(trial: &dyn Trial) {
    let world = World::new(trial);
    let mut declared = dag("d", &["a", "b"]);
    declared.max_active_tasks = 3;
    let (mut scheduler, one) = world.started_of(declared.clone()).await;
    let two = world.create(one.dag_version, "two").await;
    scheduler.claim(&[one.dag_version]).await;
    scheduler.done(at(2), two.id, Change::StartRun).await;
    for (run, task) in [(one.id, 0), (two.id, 0), (one.id, 1)] {
        assert_eq!(offer(&mut scheduler, run, task).await, Verdict::Done);
    }
    assert_eq!(offer(&mut scheduler, two.id, 1).await, no_room(Limit::ActiveTasks("d".into())));
    declared.max_active_tasks = 4;
    world.register(declared).await;
    assert_eq!(offer(&mut scheduler, two.id, 1).await, Verdict::Done);
}

/// `max_active_tis_per_dag` counts a task over all runs of the DAG, of all its versions.
pub async fn max_active_tis_per_dag_holds(trial: &dyn Trial) {
    let world = World::new(trial);
    let mut declared = dag("d", &["a", "b"]);
    declared.tasks[0].max_active_tis_per_dag = Some(1);
    let (mut scheduler, one) = world.started_of(declared.clone()).await;
    declared.tasks.reverse();
    let second = world.register(declared).await;
    let two = world.create(second, "two").await;
    scheduler.claim(&[second]).await;
    scheduler.done(at(2), two.id, Change::StartRun).await;
    let token = scheduler.admit(at(3), one.id, 0, 1).await;
    assert_eq!(offer(&mut scheduler, two.id, 1).await, no_room(Limit::TaskInDag("d".into(), "a".into())));
    assert_eq!(offer(&mut scheduler, two.id, 0).await, Verdict::Done);
    scheduler.done(at(4), one.id, ended(token, 0, TaskState::Success, at(4))).await;
    assert_eq!(offer(&mut scheduler, two.id, 1).await, Verdict::Done);
}

/// `max_active_tis_per_dagrun` counts a task within a run: none of several runs keeps the others waiting.
pub async fn max_active_tis_per_dagrun_holds(trial: &dyn Trial) {
    let world = World::new(trial);
    let mut declared = dag("d", &["a", "b"]);
    declared.tasks[0].max_active_tis_per_dagrun = Some(1);
    declared.tasks[1].max_active_tis_per_dagrun = Some(0);
    let (mut scheduler, one) = world.started_of(declared).await;
    let two = world.create(one.dag_version, "two").await;
    scheduler.claim(&[one.dag_version]).await;
    scheduler.done(at(2), two.id, Change::StartRun).await;
    assert_eq!(offer(&mut scheduler, one.id, 0).await, Verdict::Done);
    assert_eq!(offer(&mut scheduler, two.id, 0).await, Verdict::Done);
    assert_eq!(offer(&mut scheduler, two.id, 1).await, no_room(Limit::TaskInRun(two.id, "b".into())));
}

/// Of several full limits, the first of this order is named: paused, task in run, task in DAG, tasks of the DAG, pool.
pub async fn limits_are_named_in_order(trial: &dyn Trial) {
    let world = World::new(trial);
    let mut declared = pooled(&[("none", 1), ("none", 1), ("none", 1), ("none", 1), ("default_pool", 1)]);
    declared.max_active_tasks = 0;
    declared.tasks[0].max_active_tis_per_dagrun = Some(0);
    declared.tasks[0].max_active_tis_per_dag = Some(0);
    declared.tasks[1].max_active_tis_per_dag = Some(0);
    let (mut scheduler, run) = world.started_of(declared.clone()).await;
    assert_eq!(offer(&mut scheduler, run.id, 0).await, no_room(Limit::TaskInRun(run.id, "t0".into())));
    assert_eq!(offer(&mut scheduler, run.id, 1).await, no_room(Limit::TaskInDag("d".into(), "t1".into())));
    assert_eq!(offer(&mut scheduler, run.id, 2).await, no_room(Limit::ActiveTasks("d".into())));
    declared.max_active_tasks = 1;
    world.register(declared).await;
    assert_eq!(offer(&mut scheduler, run.id, 3).await, no_room(Limit::Pool("none".into())));
    world.storage.set_paused(at(3), &["d".into()], true, None).await.unwrap();
    for task in 0..5 {
        assert_eq!(offer(&mut scheduler, run.id, task).await, no_room(Limit::Paused("d".into())));
    }
}

/// An admission that is refused changes nothing, and stops nothing else of its run.
pub async fn a_refused_admission_has_no_effect(trial: &dyn Trial) {
    let world = World::new(trial);
    let mut declared = pooled(&[("none", 1), ("default_pool", 1)]);
    declared.tasks[0].retries = 1;
    let (mut scheduler, run) = world.started_of(declared).await;
    world.storage.create_pool(pool("none", 1), None).await.unwrap();
    let token = scheduler.admit(at(2), run.id, 0, 1).await;
    world.storage.set_xcom(at(2), token, "k", 1.into()).await.unwrap();
    scheduler.done(at(3), run.id, ended(token, 0, TaskState::UpForRetry, at(3))).await;
    world.storage.delete_pool("none", None).await.unwrap();
    let before = format!("{:?}", world.instance(&run, "t0").await);
    let (refused, fine) = (scheduler.admission(0, 2), scheduler.admission(1, 1).1);
    let verdicts = scheduler.commit(at(4), vec![(run.id, refused.1), (run.id, fine)]).await;
    assert_eq!(verdicts, [no_room(Limit::Pool("none".into())), Verdict::Done]);
    assert_eq!(format!("{:?}", world.instance(&run, "t0").await), before);
    assert_eq!(world.xcom_keys(&run).await, [("t0".into(), "k".into())]);
    assert_eq!(world.storage.tries(run.id, key(0)).await.unwrap().len(), 1);
    super::world::assert_err!(world.storage.set_process(refused.0, 1).await, crate::storage::StorageError::Fenced);
}

/// An attempt that no longer counts holds its slots until it has ended, also if its run is gone.
pub async fn obsolete_attempts_hold_their_slots(trial: &dyn Trial) {
    let world = World::new(trial);
    world.storage.create_pool(pool("p", 1), None).await.unwrap();
    let (mut scheduler, run) = world.started_of(pooled(&[("p", 1), ("p", 1)])).await;
    let full = no_room(Limit::Pool("p".into()));
    let token = scheduler.admit(at(2), run.id, 0, 1).await;
    world.amend(at(3), run.id, None, vec![(key(0), mark(TaskState::Success))]).await;
    scheduler.reload(run.id).await;
    assert_eq!(offer(&mut scheduler, run.id, 1).await, full);
    scheduler.done(at(4), run.id, Change::Release(token)).await;
    let token = scheduler.admit(at(5), run.id, 1, 1).await;
    world.storage.delete_run(run.id, None).await.unwrap();
    let other = world.create(run.dag_version, "other").await;
    scheduler.claim(&[run.dag_version]).await;
    scheduler.done(at(6), other.id, Change::StartRun).await;
    assert_eq!(offer(&mut scheduler, other.id, 0).await, full);
    for _ in 0..2 {
        scheduler.done(at(7), run.id, Change::Release(token)).await;
    }
    assert_eq!(offer(&mut scheduler, other.id, 0).await, Verdict::Done);
    assert_eq!(world.pool("p").await.running, 1);
}

/// Schedulers that commit at the same time never exceed a limit together.
pub async fn limits_hold_among_concurrent_commits(trial: &dyn Trial) {
    let world = World::new(trial);
    world.storage.create_pool(pool("p", 7), None).await.unwrap();
    let mut declared = pooled(&[("p", 1), ("p", 2), ("p", 3), ("p", 1)]);
    declared.max_active_runs = 100;
    let version = world.register(declared).await;
    let runs = (0..24).map(|index| world.new_run(version, &format!("r{index}"))).collect();
    world.storage.create_runs(at(0), runs).await.unwrap();
    let mut workers = Vec::new();
    for index in 0..4 {
        let mut scheduler = world.scheduler(&format!("s{index}")).await;
        scheduler.ids = crate::id::IdSource::from_seed(100 + index);
        scheduler.claim_some(&[version], 6).await;
        workers.push(tokio::spawn(async move {
            let runs: Vec<_> = scheduler.known.keys().copied().collect();
            scheduler.commit(at(1), runs.iter().map(|&run| (run, Change::StartRun)).collect()).await;
            let mut todo: Vec<(RunId, u32)> =
                runs.iter().flat_map(|&run| (0..4).map(move |task| (run, task))).collect();
            while !todo.is_empty() {
                let offers: Vec<_> =
                    todo.drain(..).map(|(run, task)| (run, task, scheduler.admission(task, 1))).collect();
                let changes = offers.iter().map(|(run, _, (_, change))| (*run, change.clone())).collect();
                let verdicts = scheduler.commit(at(2), changes).await;
                let usage = scheduler.storage.pool("p").await.unwrap();
                assert!(usage.open() >= Some(0), "{usage:?}");
                tokio::task::yield_now().await;
                let mut ends = Vec::new();
                for ((run, task, (token, _)), verdict) in offers.into_iter().zip(verdicts) {
                    match verdict {
                        Verdict::Done => ends.push((run, ended(token, task, TaskState::Success, at(3)))),
                        _ => todo.push((run, task)),
                    }
                }
                scheduler.commit(at(3), ends).await;
            }
        }));
    }
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!(world.pool("p").await.running, 0);
}

/// What a storage says that is taken, counted by hand.
#[derive(Default)]
struct Model {
    live: BTreeMap<(RunId, u32), (AttemptToken, bool)>,
}

/// Whatever is admitted, ended, cleared, marked and deleted in whatever order, no limit is exceeded, no room is denied,
/// and no slot is lost.
pub async fn limits_are_exact_in_any_order(trial: &dyn Trial) {
    let world = World::new(trial);
    world.storage.create_pool(pool("p", 4), None).await.unwrap();
    let slots = [1, 2, 3, 1];
    let mut declared = pooled(&[("p", 1), ("p", 2), ("p", 3), ("p", 1)]);
    (declared.max_active_tasks, declared.max_active_runs) = (3, 1000);
    declared.tasks[3].max_active_tis_per_dag = Some(2);
    let version = world.register(declared).await;
    let mut scheduler = world.scheduler("s").await;
    let mut rng = rand_chacha::ChaCha12Rng::seed_from_u64(7);
    let mut model = Model::default();
    let mut runs: Vec<DagRun> = Vec::new();
    let mut pick = move |n: usize| rng.next_u32() as usize % n;
    let mut admitted = 0;
    for step in 0..600 {
        if runs.len() < 4 {
            runs.push(world.create(version, &format!("r{step}")).await);
            for snapshot in scheduler.claim(&[version]).await {
                scheduler.done(at(step), snapshot.run.id, Change::StartRun).await;
            }
        }
        let chosen = pick(runs.len());
        let run = runs[chosen].id;
        let task = u32::try_from(pick(4)).unwrap();
        match pick(10) {
            0..=4 => {
                let tries = world.instance(&runs[chosen], &format!("t{task}")).await;
                if tries.state != TaskState::None {
                    continue;
                }
                let taken: u64 = model.live.keys().map(|(_, task)| slots[*task as usize]).sum();
                let same = model.live.keys().filter(|(_, other)| *other == 3).count();
                let fits = model.live.len() < 3 && taken + slots[task as usize] <= 4 && (task != 3 || same < 2);
                let (token, change) = scheduler.admission(task, tries.try_number + 1);
                let verdict = scheduler.apply(at(step), run, change).await;
                assert_eq!(verdict == Verdict::Done, fits, "step {step}: {verdict:?}");
                if fits {
                    model.live.insert((run, task), (token, false));
                    admitted += 1;
                }
            }
            5..=7 => {
                let Some((&(run, task), &(token, is_obsolete))) = model.live.iter().nth(pick(4)) else { continue };
                let change =
                    if is_obsolete { Change::Release(token) } else { ended(token, task, TaskState::Success, at(step)) };
                scheduler.done(at(step), run, change).await;
                model.live.remove(&(run, task));
            }
            8 => {
                let amendment = if pick(2) == 0 { clear(1) } else { mark(TaskState::Failed) };
                if !world.amend(at(step), run, None, vec![(key(task), amendment)]).await.is_empty()
                    && let Some((_, is_obsolete)) = model.live.get_mut(&(run, task))
                {
                    *is_obsolete = true;
                }
                scheduler.reload(run).await;
            }
            _ if pick(3) == 0 => {
                world.storage.delete_run(run, None).await.unwrap();
                runs.remove(chosen);
                model.live.iter_mut().filter(|((of, _), _)| *of == run).for_each(|(_, live)| live.1 = true);
            }
            _ => {}
        }
        let taken: u64 = model.live.keys().map(|(_, task)| slots[*task as usize]).sum();
        assert_eq!(world.pool("p").await.running, taken, "step {step}");
    }
    assert!(admitted > 50, "the history says something: {admitted} admissions");
}

/// A batch of many runs whose pools are full admits those whose pools are not.
pub async fn a_full_pool_holds_up_no_other(trial: &dyn Trial) {
    let world = World::new(trial);
    world.storage.create_pool(pool("full", 0), None).await.unwrap();
    let (mut scheduler, run) = world.started_of(pooled(&[("full", 1), ("full", 1), ("default_pool", 1)])).await;
    let changes: Vec<_> = (0..3).map(|task| (run.id, scheduler.admission(task, 1).1)).collect();
    let verdicts = scheduler.commit(at(2), changes).await;
    assert_eq!(verdicts[2], Verdict::Done);
    assert_eq!(world.pool("full").await.running, 0);
}
