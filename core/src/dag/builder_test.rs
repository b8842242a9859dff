use std::time::Duration;

use serde_json::json;

use super::*;
use crate::model::{Dataset, DatasetCondition, TriggerRule};
use crate::operator::OperatorInfo;

async fn nothing(_: TaskContext) -> Result<Outcome, TaskError> {
    Ok(Outcome::success())
}

fn upstream<'a>(dag: &'a Dag, task_id: &str) -> Vec<&'a str> {
    let task = &dag.tasks[dag.find_task(task_id).unwrap().index()];
    task.upstream.iter().map(|&up| dag.task(up).unwrap().task_id.as_str()).collect()
}

fn build(dag: &DagBuilder) -> Arc<Dag> {
    dag.build(&Registry::default()).unwrap().dag
}

fn problems(dag: &DagBuilder) -> Vec<String> {
    dag.build(&Registry::default()).unwrap_err().problems.iter().map(ToString::to_string).collect()
}

#[test]
fn tasks_are_put_in_order_by_either_end() {
    let dag = DagBuilder::new("etl").tag("b").tag("a").tag("b");
    let extract = dag.task("extract", nothing).retries(3);
    let left = dag.operator("left", "empty", json!({}));
    let right = dag.operator("right", "EmptyOperator", json!({}));
    let load = dag.task("load", nothing);
    extract.before([&left, &right]);
    load.after([&left, &right]).after(&extract).after(&left);
    let built = dag.build(&Registry::default()).unwrap();
    assert_eq!(upstream(&built.dag, "load"), ["extract", "left", "right"]);
    assert_eq!(upstream(&built.dag, "left"), ["extract"]);
    assert_eq!(built.dag.tags, ["a", "b"]);
    assert_eq!(built.code.keys().map(TaskId::as_str).collect::<Vec<_>>(), ["extract", "load"]);
    let task = &built.dag.tasks[0];
    assert!(task.is_code && !task.is_empty && task.retries == 3 && task.effective_priority == 4);
    assert!(built.dag.tasks[1].is_empty && !built.dag.tasks[1].is_code);
    assert_eq!(built.dag.tasks[2].operator.path(), "airflow.operators.empty.EmptyOperator");
    assert_eq!(built.dag.code_version.as_ref().map(String::len), Some(64));
}

#[test]
fn elements_of_a_chain_may_be_several_tasks() {
    let dag = DagBuilder::new("d");
    let tasks: Vec<_> = (0..4).map(|i| dag.operator(&format!("t{i}"), "empty", json!({}))).collect();
    chain([vec![&tasks[0]], vec![&tasks[1], &tasks[2]], vec![&tasks[3]]]);
    let dag = build(&dag);
    assert_eq!(upstream(&dag, "t3"), ["t1", "t2"]);
    assert_eq!(upstream(&dag, "t1"), ["t0"]);
    assert_eq!(dag.code_version, None);
}

#[test]
fn an_edge_of_a_group_is_one_of_its_first_or_last_tasks() {
    let dag = DagBuilder::new("d");
    let start = dag.operator("start", "empty", json!({}));
    let end = dag.operator("end", "empty", json!({}));
    let outer = dag.group("outer").tooltip("all of it");
    // The edges of the group come before those inside it are known.
    start.before(&outer);
    end.after(&outer);
    let first = outer.operator("first", "empty", json!({}));
    let inner = outer.group("inner");
    let a = inner.operator("a", "empty", json!({}));
    let b = inner.operator("b", "empty", json!({}));
    a.before(&b);
    first.before(&inner);
    let dag = build(&dag);
    assert_eq!(upstream(&dag, "outer.first"), ["start"]);
    assert_eq!(upstream(&dag, "outer.inner.a"), ["outer.first"]);
    assert_eq!(upstream(&dag, "outer.inner.b"), ["outer.inner.a"]);
    assert_eq!(upstream(&dag, "end"), ["outer.inner.b"]);
    assert_eq!(dag.groups[1].group_id, "outer.inner");
    assert_eq!(dag.groups[1].parent, Some(0));
}

#[test]
fn groups_without_prefix_leave_ids_alone() {
    let dag = DagBuilder::new("d");
    let group = dag.group("g").prefix_group_id(false);
    group.task("a", nothing);
    group.group("h").task("b", nothing);
    let dag = build(&dag);
    assert_eq!(dag.task_ids().map(TaskId::as_str).collect::<Vec<_>>(), ["a", "h.b"]);
}

#[test]
fn nearer_defaults_win() {
    let dag = DagBuilder::new("d").default_args(|task| task.retries(1).owner("all").pool("p"));
    let group = dag.group("g").default_args(|task| task.retries(2).owner("group"));
    group.task("a", nothing).retries(3);
    dag.task("b", nothing).retry_delay(Duration::from_secs(7));
    let dag = build(&dag);
    let facts: Vec<_> = dag.tasks.iter().map(|t| (t.retries, t.owner.as_str(), t.pool.as_str())).collect();
    assert_eq!(facts, [(3, "group", "p"), (1, "all", "p")]);
}

#[test]
fn teardowns_come_after_their_setups_and_are_no_leaves() {
    let dag = DagBuilder::new("d");
    let group = dag.group("g");
    let setup = group.operator("setup", "empty", json!({}));
    let work = group.operator("work", "empty", json!({}));
    let teardown = group.operator("teardown", "empty", json!({})).as_teardown([&setup]);
    chain([&setup, &work, &teardown]);
    let end = dag.operator("end", "empty", json!({}));
    group.before(&end);
    let dag = build(&dag);
    assert_eq!(upstream(&dag, "end"), ["g.work"]);
    assert!(dag.tasks[0].is_setup && dag.tasks[2].is_teardown);
    assert_eq!(dag.tasks[2].trigger_rule, TriggerRule::AllDoneSetupSuccess);
}

#[test]
fn cycles_are_named_in_order() {
    let dag = DagBuilder::new("d");
    let before = dag.operator("before", "empty", json!({}));
    let a = dag.operator("a", "empty", json!({}));
    let b = dag.operator("b", "empty", json!({}));
    let c = dag.operator("c", "empty", json!({}));
    let behind = dag.operator("behind", "empty", json!({}));
    chain([&before, &a, &b, &c, &a]);
    behind.after([&b, &behind]);
    let dag = problems(&dag);
    assert_eq!(dag.len(), 2, "{dag:?}");
    assert_eq!(dag[0], r#"task "behind" comes after itself"#);
    assert_eq!(dag[1], "cycle: a -> b -> c -> a");
}

#[test]
fn every_knot_of_a_large_graph_is_found() {
    let dag = DagBuilder::new("d");
    let tasks: Vec<_> = (0..30_000).map(|i| dag.operator(&format!("t{i}"), "empty", json!({}))).collect();
    chain(&tasks);
    tasks[10].after(&tasks[12]);
    tasks[20_000].before(&tasks[15_000]);
    let found = problems(&dag);
    assert_eq!(found.len(), 2);
    assert!(found[0].contains("cycle: t10 -> t11 -> t12 -> t10") && found[1].contains("more) -> "), "{found:?}");
    assert!(found[1].len() < 1000);
}

#[test]
fn all_problems_are_reported_at_once() {
    let dag = DagBuilder::new("bad id");
    dag.task("a", nothing);
    dag.task("a", nothing).pool_slots(0);
    dag.task("a/b", nothing).pool("no pool");
    dag.task(&"x".repeat(251), nothing);
    dag.group("dotted.group");
    dag.operator("unknown", "not.Registered", json!({}));
    dag.operator("list", "empty", json!([1]));
    let other = DagBuilder::new("other");
    other.task("b", nothing).after(&dag.task("c", nothing));
    assert_eq!(problems(&other), [r#"task or task group "b" is put in relation to one of another DAG"#]);
    let found = problems(&dag);
    let expected = [
        r#"task "list": its arguments must be a JSON object"#,
        r#"task "unknown": no operator is registered as "not.Registered""#,
        r#"the DAG id "bad id" contains ' '; only letters, digits, dashes, dots and underscores are allowed"#,
        r#"the task group id "dotted.group" contains '.'; only letters, digits, dashes and underscores are allowed"#,
        r#"task "a": pool_slots must be at least 1"#,
        r#"the task id "a/b" contains '/'; only letters, digits, dashes, dots and underscores are allowed"#,
        r#"task "a/b": the pool "no pool" contains ' '; only letters, digits, dashes, dots and underscores are allowed"#,
        r#""a" names more than one task or task group"#,
    ];
    for text in expected {
        assert!(found.iter().any(|problem| problem == text), "{text} is missing in {found:#?}");
    }
    assert!(found.iter().any(|problem| problem.ends_with("is longer than 250 characters")));
    assert_eq!(found.len(), expected.len() + 1);
}

#[test]
fn an_operator_checks_its_arguments() {
    let mut registry = Registry::default();
    let mut info = OperatorInfo::new("my.Operator").alias("mine").template_fields(&["text"]);
    info.check = Some(|arguments| arguments.get("text").map(|_| ()).ok_or_else(|| "text is missing".into()));
    registry.register(info, crate::operator::Closure(nothing));
    let dag = DagBuilder::new("d");
    dag.operator("good", "mine", json!({"text": "x"}));
    assert_eq!(dag.build(&registry).unwrap().dag.tasks[0].template_fields, ["text"]);
    dag.operator("bad", "mine", json!({}));
    assert_eq!(dag.build(&registry).unwrap_err().to_string(), r#"DAG "d" is not valid: task "bad": text is missing"#);
}

#[test]
fn unicode_letters_are_allowed_in_ids() {
    let dag = DagBuilder::new("größe_1");
    dag.task("été.1-a", nothing);
    assert_eq!(build(&dag).tasks.len(), 1);
}

#[test]
fn datasets_are_known_by_the_normal_form_of_their_uris() {
    let schedule = |uri: &str| Schedule::Datasets { condition: DatasetCondition::all([uri.to_owned()]) };
    let dag = DagBuilder::new("d").schedule(schedule("S3://lab/in/"));
    dag.task("a", nothing).inlet("s3://lab/in/").outlet(Dataset::new("s3://me@lab/out").with_extra("rows", 1));
    let built = build(&dag);
    assert_eq!(built.consumed_uris().collect::<Vec<_>>(), ["s3://lab/in"]);
    assert_eq!(built.tasks[0].inlets, [json!("s3://lab/in")]);
    let outlets: Vec<_> = built.tasks[0].outlet_datasets().collect();
    assert_eq!(outlets, [Dataset::new("s3://lab/out").with_extra("rows", 1)]);

    let wrong = DagBuilder::new("d").schedule(schedule("airflow://x"));
    wrong.task("a", nothing).outlet("");
    assert_eq!(
        problems(&wrong),
        [
            "the URI \"airflow://x\" of a dataset in its schedule has the scheme 'airflow', which is reserved",
            "task \"a\": the URI \"\" of a dataset must not be empty",
        ]
    );
}

#[test]
fn impossible_schedules_are_refused() {
    let with = |schedule: Schedule| DagBuilder::new("d").schedule(schedule);
    for (dag, problem) in [
        (with(Schedule::cron("0 25 * * *")), "'25' is not possible in its place"),
        (with(Schedule::every(Duration::ZERO)), "a schedule's interval must be positive, not 0:00:00"),
        (with(Schedule::Continuous), "the schedule @continuous requires max_active_runs <= 1"),
        (with(Schedule::cron("@daily")).timezone("Mars/Olympus"), "'Mars/Olympus' is not the name of a time zone"),
        (with(Schedule::timetable("EventsTimetable", json!({}))), "EventsTimetable needs the argument 'event_dates'"),
    ] {
        let found = problems(&dag);
        assert!(found.len() == 1 && found[0].contains(problem), "{found:?}");
    }
    for dag in [
        with(Schedule::cron("0 6 * * mon-fri")).timezone("Europe/Berlin"),
        with(Schedule::every(Duration::from_secs(90))),
        with(Schedule::Continuous).max_active_runs(1),
        with(Schedule::datasets(["s3://a/"])),
        // A host may know it.
        with(Schedule::timetable("company.Afternoons", json!({}))),
    ] {
        build(&dag);
    }
}
