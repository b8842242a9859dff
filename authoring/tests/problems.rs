//! What is wrong with a file is said with line, DAG and task, and keeps nothing else from loading.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::Path;
use std::sync::Arc;

use support::{load, problems};
use updraft_authoring::Loader;
use updraft_core::clock::SimulatedClock;

fn only(text: &str) -> String {
    let problems = problems(text);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.into_iter().next().unwrap()
}

#[test]
fn a_wrong_dag_does_not_keep_others_from_loading() {
    let load = load(
        "good:\n  tasks:\n    a: {operator: empty}\n\
         bad:\n  tasks:\n    a:\n      operator: no.such.Operator\n    b: {operator: empty, dependencies: [a, c]}\n\
         fine:\n  tasks:\n    a: {operator: my.app.Thing, anything: 1}\n",
    );
    assert_eq!(load.dags.iter().map(|dag| dag.dag_id.as_str()).collect::<Vec<_>>(), ["good", "fine"]);
    let path = load.path.display();
    assert_eq!(
        load.error().unwrap(),
        format!(
            "{path}:7: DAG 'bad', task 'a': no operator is registered as 'no.such.Operator'\n\
             {path}:8: DAG 'bad', task 'b': it depends on 'c', which is neither a task nor a task group"
        )
    );
}

#[test]
fn broken_yaml_names_its_line() {
    let problem = only("dag:\n  tasks: [\n  other: }\n");
    assert!(problem.starts_with(":2: the YAML cannot be read"), "{problem}");
    assert_eq!(problems("# nothing\n"), Vec::<String>::new());
    assert_eq!(only("- a\n"), ":1: the file must be a mapping of DAGs");
    assert_eq!(only("a: 1\n"), ":1: DAG 'a': its configuration must be a mapping, not of type 'int'");
    assert_eq!(only("a: {}\n---\nb: {}\n"), ":2: there is more than one document in the file");
    assert!(only(&format!("a: {}{}", "[".repeat(10_000), "]".repeat(10_000))).contains("cannot be read"));
}

#[test]
fn cycles_are_named() {
    let problem = only(
        "d:\n  tasks:\n    a: {operator: empty, dependencies: [c]}\n    b: {operator: empty, dependencies: [a]}\n    \
         c: {operator: empty, dependencies: [b]}\n",
    );
    assert_eq!(problem, ":3: DAG 'd', task 'a': cycle: a -> b -> c -> a");
    let problem = only(
        "d:\n  task_groups:\n    g: {parent_group_name: h}\n    h: {parent_group_name: g}\n  tasks: {a: {operator: empty}}\n",
    );
    assert_eq!(problem, ":3: DAG 'd', task 'g': task groups are within one another: g -> h -> g");
    let problem = only("d: {task_groups: {g: {}}, tasks: {a: {operator: empty, task_group_name: h}}}\n");
    assert_eq!(problem, ":1: DAG 'd', task 'a': its task_group_name 'h' is no task group");
}

#[test]
fn keys_and_types_are_checked() {
    let task = |line: &str| {
        only(&format!("d:\n  tasks:\n    a:\n      operator: bash\n      bash_command: x\n      {line}\n"))
    };
    let said = |line: &str, message: &str| {
        let problem = task(line);
        assert!(problem.contains(message) && problem.contains("DAG 'd', task 'a'"), "{line}: {problem}");
    };
    said(
        "bash_comand: y",
        "Invalid arguments were passed to BashOperator (task_id: a): unexpected argument 'bash_comand'",
    );
    said("retries: many", "'retries': its type must be int, not str");
    said("pool_slots: 0", "pool_slots must be at least 1");
    said("pool: 7", "'pool' has an invalid type 'int', expected type is 'str'");
    said("trigger_rule: sometimes", "'sometimes' is not one of the trigger rules all_success, all_failed");
    said("weight_rule: heavy", "'heavy' is not a weight rule");
    said("execution_timeout: 5", "'execution_timeout': a datetime.timedelta is expected, not a value of type 'int'");
    said("retry_delay: {__type__: datetime.timedelta, second: 1}", "'second' is an invalid keyword argument");
    said("dependencies: b", "'dependencies' has an invalid type 'str', expected type is 'list'");
    said("start_date: tomorrow", "'start_date': 'tomorrow' is neither a date nor a relative time");

    let dag = |line: &str| only(&format!("d:\n  {line}\n  tasks: {{a: {{operator: empty}}}}\n"));
    for (line, message) in [
        ("schedule_interval: '@daily'", "'schedule_interval' is no longer supported; use 'schedule'"),
        ("schedul: '@daily'", "a DAG has no key 'schedul'"),
        ("schedule: '* * *'", "is not a cron expression: it has 3 fields"),
        ("schedule: '61 * * * *'", "'61' is not possible in its place"),
        ("schedule: {__type__: datetime.timedelta, days: 0}", "must be positive, not 0:00:00"),
        (
            "schedule: {__type__: airflow.timetables.trigger.CronTriggerTimetable, cron: '@daily'}",
            "needs the argument 'timezone'",
        ),
        (
            "schedule: {__type__: company.Afternoons}",
            "the class 'company.Afternoons' is not one that __type__ can make",
        ),
        ("schedule: {a: 1}", "a value of type 'dict' is not a valid schedule"),
        ("schedule: '@continuous'", "requires max_active_runs <= 1"),
        ("catchup: 'no'", "'catchup' has an invalid type 'str', expected type is 'bool'"),
        ("max_active_runs: -1", "'max_active_runs' must be a number from 0"),
        ("tags: etl", "'tags' has an invalid type 'str', expected type is 'list'"),
        ("timezone: Mars", "'Mars' is not the name of a time zone"),
        ("doc_md_file_path: notes.md", "`doc_md_file_path` must be absolute path"),
        ("template_searchpath: [relative]", "template_searchpath must be absolute paths"),
        ("default_args: [1]", "'default_args' has an invalid type 'list'"),
        ("params: {p: {__type__: os.system}}", "the class 'os.system' is not one that __type__ can make"),
    ] {
        let problem = dag(line);
        assert!(problem.contains(message) && problem.starts_with(":2: DAG 'd'"), "{line}: {problem}");
    }
    assert_eq!(
        only("d:\n  tasks:\n    a: {operator: empty, bash_command: x}\n"),
        ":3: DAG 'd', task 'a': Invalid arguments were passed to EmptyOperator (task_id: a): unexpected argument 'bash_command'"
    );
    assert_eq!(
        only("d:\n  tasks:\n    a: {retries: 1}\n"),
        ":3: DAG 'd', task 'a': a task must name an 'operator' or a 'decorator'"
    );
}

#[test]
fn ids_are_checked() {
    assert!(only("'bad id': {tasks: {a: {operator: empty}}}\n").contains("contains ' '"));
    assert!(only("7: {tasks: {a: {operator: empty}}}\n").contains("the DAG id 7 must be a text"));
    assert!(only("d: {tasks: {'a:': {operator: empty}}}\n").contains("contains ':'"));
    assert!(only("d: {tasks: {1: {operator: empty}}}\n").contains("the task_id must be a text, not of type 'int'"));
    let twice = only("d:\n  tasks:\n    - {task_id: a, operator: empty}\n    - {task_id: a, operator: empty}\n");
    assert_eq!(twice, ":4: DAG 'd': Duplicate task_id detected in tasks list: 'a'");
    let clash = only("d: {task_groups: {a: {}}, tasks: {a: {operator: empty}}}\n");
    assert!(clash.contains("\"a\" names more than one task or task group"), "{clash}");
}

#[test]
fn environment_variables_must_be_allowed() {
    let text = "first:\n  # costs $SECRET\n  description: about $SECRET\n  tasks: {a: {operator: empty}}\n\
                second:\n  description: ${TEAM} and $UNSET\n  tasks:\n    a: {operator: bash, bash_command: 'for i in 1; do echo $i $1; done'}\n\
                third:\n  tasks:\n    a: {operator: bash, bash_command: 'echo $SECRET'}\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dags.yaml");
    std::fs::write(&path, text).unwrap();
    let loader = |allowed: &[&str]| {
        support::loader(folder.path())
            .allow_env(allowed.iter().copied())
            .environment(Arc::new(|name| matches!(name, "SECRET" | "TEAM").then(|| name.to_lowercase())))
    };
    let load = loader(&["TEAM", "UNSET"]).load_file(&path);
    assert_eq!(load.dags.len(), 1);
    assert_eq!(load.dags[0].description.as_deref(), Some("team and $UNSET"));
    let problems: Vec<_> = load.problems.iter().map(|p| (p.line, p.dag_id.as_deref(), p.message.as_str())).collect();
    let message = "the environment variable 'SECRET' is not on the list of those that DAG files may name";
    assert_eq!(problems, [(Some(3), Some("first"), message), (Some(11), Some("third"), message)]);
    let load = loader(&["*"]).load_file(&path);
    assert_eq!(load.problems, []);
    assert_eq!(load.dags[2].tasks[0].arguments["bash_command"], "echo secret");
}

#[test]
fn files_that_cannot_be_read_are_problems() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("latin.yaml"), b"a: \xff\n").unwrap();
    let load = support::loader(folder.path()).load_file(&folder.path().join("latin.yaml"));
    assert!(load.error().unwrap().ends_with("latin.yaml: the file is not UTF-8"));
    let clock = Arc::new(SimulatedClock::new(support::start()));
    let load = Loader::new(support::registry(), clock).load_file(Path::new("/no/such/file.yaml"));
    assert!(load.error().unwrap().contains("the file cannot be read"));
}

#[test]
fn a_dag_of_two_files_belongs_to_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let dag = "same: {tasks: {a: {operator: empty}}}\n";
    std::fs::write(folder.path().join("a.yaml"), dag).unwrap();
    std::fs::write(folder.path().join("b.yml"), format!("{dag}other: {{tasks: {{a: {{operator: empty}}}}}}\n"))
        .unwrap();
    let loads = support::loader(folder.path()).load_folder();
    assert_eq!(loads[0].error(), None);
    assert_eq!(loads[1].dags.len(), 1);
    let error = loads[1].error().unwrap();
    assert!(error.contains("DAG 'same': the DAG is declared in") && error.contains("a.yaml already"), "{error}");
}
