//! Definitions of Celery Director's projects, as DAGs.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use updraft_authoring::director::{FoundTasks, Project, ProjectTasks};
use updraft_authoring::{DagFiles, FileLoad, FolderWatch};
use updraft_core::clock::SystemClock;
use updraft_core::model::{Dag, Schedule, TriggerRule, WORKFLOW_FUNCTION, Workflow, WorkflowTask};
use updraft_core::operator::{OperatorInfo, Outcome, Registry};

/// The project of the recordings.
const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/director/project");

/// Takes every `name="…"` of the project's files for a task.
#[derive(Debug)]
struct ByText;

impl ProjectTasks for ByText {
    fn find(&self, project: &Path) -> Result<FoundTasks, String> {
        let mut found = FoundTasks::default();
        for entry in std::fs::read_dir(project.join("tasks")).map_err(|error| error.to_string())? {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            if text.contains("import broken") {
                found.problems.push((path, "ModuleNotFoundError: No module named 'broken'".into()));
                continue;
            }
            found
                .names
                .extend(text.split("name=\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
        Ok(found)
    }
}

#[derive(Debug)]
struct Function;

#[async_trait::async_trait]
impl updraft_core::operator::Operator for Function {
    async fn execute(
        &self,
        _: &updraft_core::operator::TaskContext,
    ) -> Result<Outcome, updraft_core::operator::TaskError> {
        Ok(Outcome::success())
    }
}

fn project(folder: &Path) -> Project {
    let mut registry = Registry::default();
    registry.register(OperatorInfo::new(WORKFLOW_FUNCTION), Function);
    registry.register(OperatorInfo::new("tasks.rust"), Function);
    let environment = Arc::new(|name: &str| (name == "DIRECTOR_OUTSIDE").then(|| "set".to_owned()));
    Project::new(folder, Arc::new(registry), Arc::new(ByText), Arc::new(SystemClock::new())).environment(environment)
}

fn folder(workflows: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("tasks")).unwrap();
    std::fs::create_dir(folder.path().join("schemas")).unwrap();
    std::fs::write(folder.path().join("workflows.yml"), workflows).unwrap();
    let tasks: String = "ABCDEF".chars().map(|c| format!("@task(name=\"{c}\")\n")).collect();
    std::fs::write(folder.path().join("tasks/all.py"), tasks).unwrap();
    folder
}

fn load(folder: &Path) -> FileLoad {
    project(folder).load_file(&folder.join("workflows.yml"))
}

fn load_text(workflows: &str) -> FileLoad {
    load(folder(workflows).path())
}

fn dag(load: &FileLoad, name: &str) -> Arc<Dag> {
    assert_eq!(load.error(), None);
    Arc::clone(load.dags.iter().find(|dag| dag.dag_id.as_str() == name).unwrap())
}

/// Each task with the tasks before it.
fn edges(dag: &Dag) -> Vec<(&str, Vec<&str>)> {
    let name = |ix: &updraft_core::id::TaskIx| dag.task(*ix).unwrap().task_id.as_str();
    dag.tasks.iter().map(|task| (task.task_id.as_str(), task.upstream.iter().map(name).collect())).collect()
}

fn input(dag: &Dag, task: &str) -> Value {
    let task = dag.task(dag.find_task(task).unwrap()).unwrap();
    WorkflowTask::of(task).unwrap().input(dag).to_vec().into()
}

#[test]
fn the_recorded_project_loads_but_for_what_cannot_run() {
    let load = load(Path::new(RECORDED));
    assert_eq!(load.dags.len(), 47);
    let [problem] = load.problems.as_slice() else { panic!("{:?}", load.problems) };
    assert_eq!(problem.dag_id.as_deref(), Some("fail.UNKNOWN_TASK"));
    assert_eq!(problem.message, "no task is registered as 'NOT_A_REGISTERED_TASK'");
    assert_eq!(problem.line, Some(154));
}

#[test]
fn stages_wait_for_all_before_them() {
    let load = load_text(
        "w.SERIES: {tasks: [A, {G: {type: group, tasks: [B, B, C]}}, D]}\n\
         w.GROUPS: {tasks: [{G: {type: group, tasks: [A, B]}}, {H: {type: group, tasks: [C, D]}}]}\n\
         w.EMPTY: {tasks: []}\n",
    );
    let series = dag(&load, "w.SERIES");
    let expected = [
        ("A", vec![]),
        ("B", vec!["A"]),
        ("B__2", vec!["A"]),
        ("C", vec!["A"]),
        ("D", vec!["B", "B__2", "C"]),
        ("end", vec!["D"]),
    ];
    assert_eq!(edges(&series), expected);
    assert_eq!(input(&series, "A"), json!([null]));
    assert_eq!(input(&series, "B__2"), json!(["A"]));
    assert_eq!(input(&series, "D"), json!(["B", "B__2", "C", 3]));
    let keys: Vec<_> = series.tasks.iter().map(|task| WorkflowTask::of(task).map(|part| part.key())).collect();
    assert_eq!(keys, [Some("A"), Some("B"), Some("B"), Some("C"), Some("D"), None]);
    assert_eq!(series.groups[0].group_id, "G");

    let groups = dag(&load, "w.GROUPS");
    let expected = [
        ("A", vec![]),
        ("B", vec![]),
        ("join", vec!["A", "B"]),
        ("C", vec!["join"]),
        ("D", vec!["join"]),
        ("end", vec!["C", "D"]),
    ];
    assert_eq!(edges(&groups), expected);
    assert_eq!(input(&groups, "D"), json!(["A", "B", 2]));
    assert_eq!(Workflow::of(&groups).unwrap().end().unwrap().index(), 5);
    assert_eq!(edges(&dag(&load, "w.EMPTY")), [("end", vec![])]);
}

#[test]
fn wide_groups_have_few_edges() {
    let wide = |name: &str| format!("{{{name}: {{type: group, tasks: [{}]}}}}", vec!["A"; 1000].join(", "));
    let load = load_text(&format!("w.WIDE: {{tasks: [{}, {}]}}\n", wide("G"), wide("H")));
    let dag = dag(&load, "w.WIDE");
    let count: usize = dag.tasks.iter().map(|task| task.upstream.len()).sum();
    assert_eq!((dag.tasks.len(), count), (2002, 3000));
    assert!(serde_json::to_string(&*dag).unwrap().len() < 4_000_000, "nor is the input of each a list of a thousand");
}

#[test]
fn groups_hold_chains_and_groups() {
    let load = load_text(
        "w.N:\n  tasks:\n    - A\n    - G:\n        type: group\n        tasks:\n          - B\n          - C1: {type: chain, tasks: [C, {I: {type: group, tasks: [D, E]}}]}\n    - F\n",
    );
    let dag = dag(&load, "w.N");
    let expected = [
        ("A", vec![]),
        ("B", vec!["A"]),
        ("C", vec!["A"]),
        ("D", vec!["C"]),
        ("E", vec!["C"]),
        ("F", vec!["B", "D", "E"]),
        ("end", vec!["F"]),
    ];
    assert_eq!(edges(&dag), expected);
    assert_eq!(input(&dag, "F"), json!(["B", "D", "E", 2, 2]));
    assert_eq!(dag.groups.iter().map(|group| group.parent).collect::<Vec<_>>(), [None, Some(0), Some(1)]);
}

#[test]
fn hooks_come_after_the_last_stage() {
    let load = load_text(
        "w.H: {tasks: [{G: {type: group, tasks: [A, B]}}], queue: {default: q1, customs: {B: q2}}, hooks: {success: C, failure: D}}\n",
    );
    let dag = dag(&load, "w.H");
    let expected = [
        ("A", vec![]),
        ("B", vec![]),
        ("join", vec!["A", "B"]),
        ("C", vec!["join"]),
        ("D", vec!["join"]),
        ("end", vec!["join"]),
    ];
    assert_eq!(edges(&dag), expected);
    assert_eq!((input(&dag, "C"), input(&dag, "D")), (json!([null]), json!([])));
    assert_eq!(dag.tasks[4].trigger_rule, TriggerRule::OneFailed);
    let queues: Vec<_> = [0, 1, 3, 4].map(|at| dag.tasks[at].queue.as_str()).to_vec();
    assert_eq!(queues, ["q1", "q2", "q1", "celery"], "the failure hook is in the default queue");
}

#[test]
fn schedules_retention_and_schemas_are_kept() {
    let text = "w.I: {tasks: [A], periodic: {interval: 15, payload: {user: false}}}\n\
        w.C: {tasks: [A], periodic: {crontab: '0 */3 * * *'}, retention: {offset: 10}, owner: me}\n\
        w.S: {tasks: [A], periodic: {schedule: '0 12 1 * *'}, schema: deep/order}\n\
        w.R: {tasks: [tasks.rust], retention: {offset: -1}}\n";
    let folder = folder(text);
    std::fs::create_dir(folder.path().join("schemas/deep")).unwrap();
    std::fs::write(folder.path().join("schemas/deep/order.json"), "{\"type\": \"object\"}").unwrap();
    std::fs::write(folder.path().join(".env"), "DIRECTOR_DEFAULT_RETENTION_OFFSET=1000\n").unwrap();
    let load = load(folder.path());
    let cron = |expression: &str| Schedule::Timetable {
        class: "airflow.timetables.trigger.CronTriggerTimetable".into(),
        arguments: json!({"args": [expression], "kwargs": {"timezone": "UTC"}}),
    };
    assert_eq!(dag(&load, "w.I").schedule, Schedule::TimeDelta { microseconds: 15_000_000 });
    assert_eq!(dag(&load, "w.C").schedule, cron("0 */3 * * *"));
    assert_eq!(dag(&load, "w.S").schedule, cron("0 12 * * 1"), "the third field was the day of the week");
    let facts = |name: &str| {
        let dag = dag(&load, name);
        let workflow = Workflow::of(&dag).unwrap();
        (workflow.retention(), Value::Object(workflow.definition().unwrap().clone()))
    };
    assert_eq!(facts("w.C").0, Some(10));
    assert_eq!(
        facts("w.S"),
        (Some(1000), json!({"tasks": ["A"], "periodic": {"schedule": "0 12 1 * *"}, "schema": {"type": "object"}}))
    );
    assert_eq!(facts("w.R").0, None);
    let rust = dag(&load, "w.R");
    assert_eq!((rust.tasks[0].operator.path().as_str(), rust.tasks[0].arguments.len()), ("tasks.rust", 0));
    let project = project(folder.path());
    assert_eq!(project.setting("DEFAULT_RETENTION_OFFSET").as_deref(), Some("1000"));
    assert_eq!(project.setting("OUTSIDE").as_deref(), Some("set"));
    assert_eq!(project.setting("NOPE"), None);
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let deep = (0..20).fold("A".to_owned(), |inner, _| format!("{{g: {{type: group, tasks: [{inner}]}}}}"));
    for (definition, expected) in [
        ("w.X: 5", "a definition must be a mapping, not of type 'int'"),
        ("nodot: {tasks: [A]}", "its name must be of the form PROJECT.NAME"),
        (
            "w.with space: {tasks: [A]}",
            "its name contains ' '; only letters, digits, dashes, dots and underscores are allowed",
        ),
        ("w.X: {queue: q}", "'tasks' is missing"),
        ("w.X: {tasks: A}", "'tasks' must be a list, not of type 'str'"),
        ("w.X: {tasks: [A, NOPE]}", "no task is registered as 'NOPE'"),
        ("w.X: {tasks: [5]}", "a stage must be the name of a task, or a mapping of one name to a group"),
        (
            "w.X: {tasks: [{a: {type: group, tasks: [A]}, b: {}}]}",
            "a stage must be the name of a task, or a mapping of one name to a group",
        ),
        ("w.X: {tasks: [{g: {type: group, tasks: []}}]}", "a group or chain needs at least one task"),
        ("w.X: {tasks: [{g: {type: group}}]}", "the group 'g' needs a list of 'tasks'"),
        (
            "w.X: {tasks: [{g: {type: group, tasks: [{c: {type: map, tasks: [A]}}]}}]}",
            "the type of 'c' must be 'group' or 'chain'",
        ),
        (&format!("w.X: {{tasks: [{deep}]}}"), "groups and chains are nested more than 16 deep"),
        ("w.X: {tasks: [A], hooks: {success: [A]}}", "'success' has an invalid type 'list', expected type is 'str'"),
        ("w.X: {tasks: [A], hooks: {failure: NOPE}}", "no task is registered as 'NOPE'"),
        ("w.X: {tasks: [A], queue: 5}", "'queue' must be a name, or a mapping of 'default' and 'customs'"),
        ("w.X: {tasks: [A], periodic: {}}", "'periodic' needs exactly one of 'interval', 'crontab' and 'schedule'"),
        (
            "w.X: {tasks: [A], periodic: {interval: 1, crontab: '* * * * *'}}",
            "'periodic' needs exactly one of 'interval', 'crontab' and 'schedule'",
        ),
        ("w.X: {tasks: [A], periodic: {interval: often}}", "'often' is not an interval in seconds"),
        (
            "w.X: {tasks: [A], periodic: {crontab: '* * *'}}",
            "'* * *' is not a crontab: it needs five fields with one space between them",
        ),
        ("w.X: {tasks: [A], retention: {offset: x}}", "the offset of 'retention' must be a number, not 'x'"),
    ] {
        let load = load_text(&format!("{definition}\nw.GOOD: {{tasks: [B]}}\n"));
        let messages: Vec<_> = load.problems.iter().map(|problem| problem.message.as_str()).collect();
        assert!(messages.contains(&expected), "{definition}: {messages:?}");
        assert_eq!(load.problems[0].line, Some(1), "{definition}");
        assert_eq!(load.dags.len(), 1, "{definition}: others are not held back");
    }
    let missing = load_text("w.X: {tasks: [A], schema: nope}\n").error().unwrap();
    assert!(
        missing.contains("the schema 'nope' (") && missing.contains("nope.json): the file cannot be read"),
        "{missing}"
    );
    let folder = folder("w.X: {tasks: [A], schema: bad}\n");
    for bad in ["{", "{\"type\": 5}"] {
        std::fs::write(folder.path().join("schemas/bad.json"), bad).unwrap();
        let error = load(folder.path()).error().unwrap();
        assert!(error.contains("is not valid"), "{error}");
    }
    assert!(load_text("- a\n").error().unwrap().contains("the file must be a mapping of workflows"));
    assert!(load_text("a: [").error().is_some());
}

#[test]
fn a_change_of_any_file_is_noticed() {
    let folder = folder("w.X: {tasks: [A], schema: s}\n");
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("schemas/s.json"), "{}").unwrap();
    let mut watch = FolderWatch::new(project(folder.path()), true);
    let change = watch.scan();
    assert_eq!(change.registrations.len(), 1);
    assert!(!change.registrations[0].paused_upon_creation, "Director has no pause");
    assert!(watch.scan().is_empty());
    std::fs::write(path("schemas/s.json"), "{\"type\": \"object\"}").unwrap();
    assert_eq!(watch.scan().registrations.len(), 1);
    // A new file of tasks, in a new folder.
    std::fs::write(path("workflows.yml"), "w.X: {tasks: [A]}\nw.Y: {tasks: [NEW]}\n").unwrap();
    assert_eq!(watch.scan().import_errors.len(), 1);
    std::fs::write(path("tasks/new.py"), "@task(name=\"NEW\")\n").unwrap();
    let change = watch.scan();
    assert_eq!((change.registrations.len(), change.import_errors[0].1.as_ref()), (1, None));
    // One that cannot be imported takes its tasks away, and the workflow keeps its last version.
    std::fs::write(path("tasks/new.py"), "import broken\n").unwrap();
    let change = watch.scan();
    assert!(change.removed.is_empty());
    let (file, error) = &change.import_errors[0];
    assert_eq!(PathBuf::from(file), path("workflows.yml"));
    assert!(error.as_ref().unwrap().contains("No module named 'broken'"), "{error:?}");
}
