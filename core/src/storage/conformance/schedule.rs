use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::Trial;
use super::world::{World, at, dag, mark, registration};
use crate::id::DagVersionId;
use crate::model::{Dag, DataInterval, NextRun, RunState, RunType, Schedule};
use crate::storage::{
    Amendment, DueSchedule, NewRun, RunQuery, ScheduleStep, ScheduleVerdict, ScheduledRun, SchedulerSession,
};

fn daily(id: &str, max_active_runs: u32) -> Dag {
    let mut dag = dag(id, &["a"]);
    dag.schedule = Schedule::Cron { expression: "@daily".into() };
    dag.max_active_runs = max_active_runs;
    dag
}

fn interval(day: i64) -> DataInterval {
    DataInterval { start: at(day * 86_400), end: at((day + 1) * 86_400) }
}

fn next(day: i64) -> NextRun {
    let data_interval = interval(day);
    NextRun { logical_date: data_interval.start, data_interval, create_after: data_interval.end }
}

impl World {
    fn scheduled(&self, version: DagVersionId, day: i64) -> NewRun {
        let next = next(day);
        NewRun {
            run_id: RunType::Scheduled.run_id(next.logical_date.fixed_offset()),
            run_type: RunType::Scheduled,
            logical_date: next.logical_date,
            data_interval_start: next.data_interval.start,
            data_interval_end: next.data_interval.end,
            external_trigger: false,
            conf: json!({}),
            ..self.new_run(version, "")
        }
    }

    async fn due(&self, now: DateTime<Utc>, version: DagVersionId) -> Option<DueSchedule> {
        let mut found = self.storage.due_schedules(now, &[version], 10).await.unwrap().due;
        assert!(found.len() <= 1);
        found.pop()
    }

    /// Offers runs of these days to what is due, with the day after as the next. Gives which were created.
    async fn advance(
        &self,
        session: &SchedulerSession,
        now: DateTime<Utc>,
        due: &DueSchedule,
        days: &[i64],
        after: Option<i64>,
    ) -> Option<Vec<ScheduledRun>> {
        let runs = days.iter().map(|&day| self.scheduled(due.dag_version, day)).collect();
        let step = ScheduleStep { dag_version: due.dag_version, sequence: due.sequence, runs, next: after.map(next) };
        match self.storage.advance_schedules(session, now, vec![step]).await.unwrap().pop().unwrap() {
            ScheduleVerdict::Done(runs) => Some(runs),
            ScheduleVerdict::Changed => None,
        }
    }

    async fn next_of(&self, dag_id: &str) -> (Option<NextRun>, bool) {
        let record = self.storage.dag(dag_id).await.unwrap();
        (record.next_run, record.is_held)
    }
}

fn were_created(runs: &[ScheduledRun]) -> Vec<bool> {
    runs.iter().map(|run| matches!(run, ScheduledRun::Created(_))).collect()
}

/// A new version is looked at, planned, and makes its runs when they are due; who comes late changes nothing.
pub async fn schedules_are_planned_and_make_runs(trial: &impl Trial) {
    let world = World::new(trial);
    let session = world.scheduler("s").await.session;
    let manual = world.register(dag("manual", &["a"])).await;
    assert_eq!(world.due(at(0), manual).await, None);

    let version = world.register(daily("d", 16)).await;
    let due = world.due(at(0), version).await.unwrap();
    assert_eq!((due.last, due.active_runs, due.is_paused), (None, 0, false));
    assert_eq!(due.known_since, at(0));
    assert_eq!(world.advance(&session, at(0), &due, &[], Some(0)).await, Some(Vec::new()));
    assert_eq!(world.next_of("d").await, (Some(next(0)), false));

    let before = world.storage.due_schedules(at(86_399), &[version], 10).await.unwrap();
    assert_eq!((before.due.len(), before.next_due), (0, Some(at(86_400))));
    let due = world.due(at(86_400), version).await.unwrap();
    assert_eq!(due.planned, Some(next(0)));
    let created = world.advance(&session, at(86_400), &due, &[0], Some(1)).await.unwrap();
    let ScheduledRun::Created(run) = &created[0] else { panic!("{created:?}") };
    assert_eq!(run.run_id, format!("scheduled__{}", at(0).to_rfc3339()));
    assert_eq!((run.run_type, run.state, run.external_trigger), (RunType::Scheduled, RunState::Queued, false));
    assert_eq!(
        **run,
        world
            .storage
            .dag_run("d", &run.run_id)
            .await
            .map(|found| { crate::model::DagRun { owner: run.owner, ..found } })
            .unwrap()
    );

    // Who read it before comes too late, and so does who knows another version.
    assert_eq!(world.advance(&session, at(86_400), &due, &[0], Some(1)).await, None);
    let due = world.due(at(2 * 86_400), version).await.unwrap();
    assert_eq!((due.last, due.active_runs), (Some(interval(0)), 1));
    let mut changed = daily("d", 16);
    changed.description = Some("other".into());
    let newer = world.register(changed).await;
    assert_eq!(world.advance(&session, at(2 * 86_400), &due, &[1], Some(2)).await, None);
    assert_eq!(world.due(at(2 * 86_400), version).await, None);
    // A new version is looked at at once, and goes on where the old one was.
    let due = world.due(at(86_401), newer).await.unwrap();
    assert_eq!((due.last, due.known_since, due.planned), (Some(interval(0)), at(0), None));
    assert_eq!(world.storage.due_schedules(at(86_401), &[], 10).await.unwrap(), Default::default());
}

/// A run that exists for the date is left as it is.
pub async fn schedules_meet_runs_that_exist(trial: &impl Trial) {
    let world = World::new(trial);
    let session = world.scheduler("s").await.session;
    let version = world.register(daily("d", 16)).await;
    let manual = NewRun { logical_date: interval(1).start, ..world.new_run(version, "mine") };
    world.storage.create_runs(at(0), vec![manual]).await.unwrap().pop().unwrap().unwrap();
    let due = world.due(at(0), version).await.unwrap();
    let runs = world.advance(&session, at(0), &due, &[0, 1, 2], Some(3)).await.unwrap();
    assert_eq!(were_created(&runs), [true, false, true]);
    assert_eq!(runs[1], ScheduledRun::Exists);
    assert_eq!(world.due(at(0), version).await, None);
    let due = world.due(at(4 * 86_400), version).await.unwrap();
    assert_eq!((due.last, due.active_runs), (Some(interval(2)), 3));
}

/// No more runs are made than may be active, and an end makes room.
pub async fn schedules_wait_for_room(trial: &impl Trial) {
    let world = World::new(trial);
    let session = world.scheduler("s").await.session;
    let version = world.register(daily("d", 2)).await;
    let now = at(10 * 86_400);
    let due = world.due(now, version).await.unwrap();
    let runs = world.advance(&session, now, &due, &[0, 1, 2], Some(3)).await.unwrap();
    assert_eq!(were_created(&runs), [true, true, false]);
    assert_eq!(runs[2], ScheduledRun::NoRoom);
    // What it shows then is the last one that it made.
    assert_eq!(world.next_of("d").await, (Some(next(1)), true));
    assert_eq!(world.due(now, version).await, None);
    let first = world.storage.dag_run("d", &world.scheduled(version, 0).run_id).await.unwrap();
    let ended = Amendment { run: first.id, state: Some(RunState::Success), restarts: false, instances: Vec::new() };
    world.storage.amend_runs(now, vec![ended], None).await.unwrap();
    let due = world.due(now, version).await.unwrap();
    assert_eq!((due.last, due.active_runs), (Some(interval(1)), 1));
    // A run that exists takes no room.
    let manual = NewRun { logical_date: interval(2).start, ..world.new_run(version, "mine") };
    let manual = world.storage.create_runs(now, vec![manual]).await.unwrap().pop().unwrap().unwrap();
    let gone = Amendment {
        run: manual.id,
        state: Some(RunState::Failed),
        restarts: false,
        instances: vec![(super::world::key(0), mark(crate::model::TaskState::Skipped))],
    };
    world.storage.amend_runs(now, vec![gone], None).await.unwrap();
    let due = world.due(now, version).await.unwrap_or(due);
    let runs = world.advance(&session, now, &due, &[2, 3], Some(4)).await.unwrap();
    assert_eq!(runs[0], ScheduledRun::Exists);
    if runs[1] == ScheduledRun::NoRoom {
        // A storage may try no more than there is room for; then the schedule is due still.
        let due = world.due(now, version).await.unwrap();
        let runs = world.advance(&session, now, &due, &[3], Some(4)).await.unwrap();
        assert_eq!(were_created(&runs), [true]);
    }
    assert_eq!(world.next_of("d").await, (Some(next(3)), true));
}

/// A paused or inactive DAG makes no runs; who comes back, and who lost a run of the schedule, is looked at.
pub async fn schedules_heed_pauses_and_deletions(trial: &impl Trial) {
    let world = World::new(trial);
    let session = world.scheduler("s").await.session;
    let mut paused = registration(daily("d", 16));
    paused.paused_upon_creation = true;
    let version = world.storage.register_dags(at(0), vec![paused]).await.unwrap()[0].id;
    let now = at(10 * 86_400);
    let due = world.due(now, version).await.unwrap();
    assert!(due.is_paused);
    assert_eq!(world.advance(&session, now, &due, &[0], Some(1)).await, None);
    assert_eq!(world.advance(&session, now, &due, &[], Some(0)).await, Some(Vec::new()));
    assert_eq!(world.next_of("d").await, (Some(next(0)), false));
    assert_eq!(world.storage.due_schedules(now, &[version], 10).await.unwrap(), Default::default());

    world.storage.set_paused(now, &["d".into()], false, None).await.unwrap();
    let due = world.due(now, version).await.unwrap();
    assert!(!due.is_paused);
    let runs = world.advance(&session, now, &due, &[0, 1], Some(10)).await.unwrap();
    assert_eq!(were_created(&runs), [true, true]);
    assert_eq!(world.due(now, version).await, None);
    // A run that a schedule made and that is deleted may be wanted again; one of somebody's own is not.
    let manual = world.create(version, "mine").await;
    world.storage.delete_run(manual.id, None).await.unwrap();
    assert_eq!(world.due(now, version).await, None);
    let last = world.storage.dag_run("d", &world.scheduled(version, 1).run_id).await.unwrap();
    world.storage.delete_run(last.id, None).await.unwrap();
    let due = world.due(now, version).await.unwrap();
    assert_eq!(due.last, Some(interval(0)));
    world.advance(&session, now, &due, &[], Some(10)).await.unwrap();

    // Who nobody declares any more makes no runs; who comes back is looked at.
    world.storage.deactivate_dags(now + TimeDelta::days(30), &["d".into()]).await.unwrap();
    assert_eq!(world.due(now + TimeDelta::days(30), version).await, None);
    world.storage.report_dags(now + TimeDelta::days(30), &["d".into()]).await.unwrap();
    assert!(world.due(now, version).await.is_some());
    world.storage.delete_dag(now, "d", None).await.unwrap();
    assert_eq!(world.due(now + TimeDelta::days(60), version).await, None);
}

/// Of two schedulers that move a schedule on, one does; who was replaced does not.
pub async fn a_run_is_scheduled_once(trial: &impl Trial) {
    let world = World::new(trial);
    let sessions = [world.scheduler("a").await.session, world.scheduler("b").await.session];
    let version = world.register(daily("d", 16)).await;
    let now = at(10 * 86_400);
    let due = world.due(now, version).await.unwrap();
    let [first, second] = &sessions;
    let (one, other) = futures_util::join!(
        world.advance(first, now, &due, &[0, 1], Some(2)),
        world.advance(second, now, &due, &[0, 1], Some(2)),
    );
    assert!(one.is_some() != other.is_some());
    assert_eq!(world.storage.dag_runs(&RunQuery::default()).await.unwrap().total, 2);

    // Who was replaced moves nothing on.
    world.scheduler("a").await;
    let due = world.due(at(20 * 86_400), version).await.unwrap();
    let step = ScheduleStep { dag_version: version, sequence: due.sequence, runs: Vec::new(), next: None };
    let fenced = world.storage.advance_schedules(first, now, vec![step]).await;
    assert!(matches!(fenced, Err(crate::storage::StorageError::Fenced)), "{fenced:?}");
}
