use super::*;
use crate::id::{DagVersionId, IdSource, RunId};
use crate::model::{Dag, DagVersion, OperatorRef, RunType, Task, TriggerRule};

fn task(dag: &mut Dag, id: &str, upstream: &[u32]) -> TaskIx {
    let mut task = Task::new(id, OperatorRef::from_path("x"));
    task.upstream = upstream.iter().copied().map(TaskIx).collect();
    dag.tasks.push(task);
    TaskIx::from_index(dag.tasks.len() - 1)
}

/// A machine whose instances stand so, and what it decided when it started.
fn start(dag: Dag, states: &[TaskState]) -> (RunMachine, Vec<Decision>) {
    let date = DateTime::UNIX_EPOCH;
    let run = DagRun {
        id: RunId(1),
        uid: IdSource::from_seed(1).uuid(date),
        dag_id: dag.dag_id.clone(),
        run_id: "r".into(),
        run_type: RunType::Manual,
        state: RunState::Running,
        logical_date: date,
        data_interval_start: date,
        data_interval_end: date,
        queued_at: date,
        start_date: Some(date),
        end_date: None,
        external_trigger: true,
        conf: serde_json::json!({}),
        note: None,
        last_scheduling_decision: None,
        dag_version: DagVersionId(1),
        clear_number: 0,
        version: 0,
        owner: None,
        updated_at: date,
    };
    let instance = |(i, state): (usize, &TaskState)| InstanceSnapshot {
        key: InstanceKey::unmapped(TaskIx::from_index(i)),
        state: *state,
        try_number: 0,
        max_tries: 0,
        due_at: None,
    };
    let instances: Vec<_> = states.iter().enumerate().map(instance).collect();
    let version = DagVersion { id: DagVersionId(1), content_hash: String::new(), dag: Arc::new(dag) };
    let mut machine = RunMachine::new(Arc::new(Plan::new(&version)), Arc::new(run), &instances);
    let mut decisions = Vec::new();
    machine.start(&[], &mut decisions);
    (machine, decisions)
}

fn key(task: u32) -> InstanceKey {
    InstanceKey::unmapped(TaskIx(task))
}

fn stop(task: u32, state: TaskState, sets_dates: bool) -> Decision {
    Decision::Stop(Stop { key: key(task), state, sets_dates })
}

fn end(machine: &mut RunMachine, task: u32, state: TaskState) -> Vec<Decision> {
    let mut decisions = Vec::new();
    machine.end_try(key(task), state, None, &SkipDownstream::None, &mut decisions);
    decisions
}

fn learn(machine: &mut RunMachine, task: u32, is_held: bool) -> Vec<Decision> {
    let mut decisions = Vec::new();
    machine.learn_past([(TaskIx(task), is_held)].into_iter(), &mut decisions);
    decisions
}

#[test]
fn a_run_that_times_out_skips_what_had_begun() {
    use TaskState as S;
    let mut dag = Dag::new("d");
    for id in ["ran", "runs", "retries", "ready"] {
        task(&mut dag, id, &[]);
    }
    task(&mut dag, "waits", &[1]);
    let (mut machine, _) = start(dag, &[S::Failed, S::Running, S::UpForRetry, S::Scheduled, S::None]);
    let mut decisions = Vec::new();
    machine.time_out(&mut decisions);
    let skipped = |task| stop(task, S::Skipped, false);
    assert_eq!(decisions, [skipped(1), skipped(2), skipped(3), Decision::EndRun(RunState::Failed)]);
    decisions.clear();
    machine.time_out(&mut decisions);
    assert!(decisions.is_empty(), "a run times out once");
}

#[test]
fn a_failed_task_stops_all_but_teardowns() {
    use TaskState as S;
    let mut dag = Dag::new("d");
    dag.fail_stop = true;
    dag.max_consecutive_failed_dag_runs = 3;
    for id in ["fails", "runs", "retries", "ran"] {
        task(&mut dag, id, &[]);
    }
    task(&mut dag, "next", &[0]);
    let teardown = task(&mut dag, "teardown", &[4]);
    dag.tasks[teardown.index()].is_teardown = true;
    dag.tasks[teardown.index()].trigger_rule = TriggerRule::AllDoneSetupSuccess;
    let states = [S::Running, S::Running, S::UpForRetry, S::Success, S::None, S::None];
    let (mut machine, _) = start(dag, &states);
    let decisions = end(&mut machine, 0, S::Failed);
    let stopped = [stop(1, S::Failed, false), stop(2, S::Skipped, true), stop(4, S::Skipped, true)];
    assert_eq!(decisions[..3], stopped);
    assert_eq!(decisions[3..], [Decision::Ready(key(5))], "what releases resources still runs");
    machine.admit(key(5));
    machine.run_try(key(5));
    // `fails` and `runs` are leaves, and have failed.
    let decisions = end(&mut machine, 5, S::Success);
    assert_eq!(decisions, [Decision::EndRun(RunState::Failed), Decision::PauseAfterFailures(3)]);
}

#[test]
fn a_stopped_run_goes_by_its_leaves() {
    let mut dag = Dag::new("d");
    dag.fail_stop = true;
    task(&mut dag, "fails", &[]);
    task(&mut dag, "leaf", &[0]);
    let (mut machine, _) = start(dag, &[TaskState::Running, TaskState::None]);
    // As Airflow 2.11.2 does it: the only leaf is skipped.
    let decisions = end(&mut machine, 0, TaskState::Failed);
    assert_eq!(decisions, [stop(1, TaskState::Skipped, true), Decision::EndRun(RunState::Success)]);
}

#[test]
fn a_retry_stops_nothing() {
    let mut dag = Dag::new("d");
    dag.fail_stop = true;
    task(&mut dag, "fails", &[]);
    task(&mut dag, "runs", &[]);
    let (mut machine, _) = start(dag, &[TaskState::Running, TaskState::Running]);
    let decisions = end(&mut machine, 0, TaskState::UpForRetry);
    assert_eq!(decisions, [Decision::WaitUntil(key(0), DateTime::UNIX_EPOCH)]);
}

fn depending() -> Dag {
    let mut dag = Dag::new("d");
    task(&mut dag, "first", &[]);
    let ix = task(&mut dag, "depends", &[0]);
    dag.tasks[ix.index()].depends_on_past = true;
    task(&mut dag, "last", &[1]);
    dag
}

#[test]
fn the_past_holds_a_task_until_it_is_known() {
    let (mut machine, decisions) = start(depending(), &[TaskState::Success, TaskState::None, TaskState::None]);
    assert!(decisions.is_empty(), "neither started nor deadlocked: {decisions:?}");
    assert!(machine.is_held());
    assert!(learn(&mut machine, 1, true).is_empty());
    assert_eq!(learn(&mut machine, 1, false), [Decision::Ready(key(1))]);
    assert!(!machine.is_held());
    // What the past holds again waits again.
    assert!(learn(&mut machine, 1, true).is_empty());
    assert_eq!(machine.admit(key(1)), None);
    assert_eq!(learn(&mut machine, 1, false), [Decision::Ready(key(1))]);
    assert_eq!(machine.admit(key(1)), Some(1));
}

#[test]
fn the_past_does_not_hold_what_need_not_run() {
    let (mut machine, decisions) = start(depending(), &[TaskState::Running, TaskState::None, TaskState::None]);
    assert!(decisions.is_empty());
    let failed = TaskState::UpstreamFailed;
    let expected =
        [Decision::Settle(key(1), failed), Decision::Settle(key(2), failed), Decision::EndRun(RunState::Failed)];
    assert_eq!(end(&mut machine, 0, TaskState::Failed), expected);
}

#[test]
fn an_empty_task_waits_for_the_past_too() {
    let mut dag = depending();
    dag.tasks[1].is_empty = true;
    let (mut machine, decisions) = start(dag, &[TaskState::Success, TaskState::None, TaskState::None]);
    assert!(decisions.is_empty());
    let expected = [Decision::Settle(key(1), TaskState::Success), Decision::Ready(key(2))];
    assert_eq!(learn(&mut machine, 1, false), expected);
}
