//! The forms in which a file may say things.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use support::load;
use updraft_core::model::{Dag, DatasetNode, Schedule};
use updraft_core::schedule::Timetables;

fn dag(text: &str) -> Arc<Dag> {
    let load = load(text);
    assert_eq!(load.error(), None);
    Arc::clone(&load.dags[0])
}

fn upstream<'a>(dag: &'a Dag, task_id: &str) -> Vec<&'a str> {
    let task = dag.task(dag.find_task(task_id).unwrap()).unwrap();
    task.upstream.iter().map(|&up| dag.task(up).unwrap().task_id.as_str()).collect()
}

fn schedule(text: &str) -> Schedule {
    dag(&format!("d:\n  max_active_runs: 1\n  {text}\n  tasks: {{a: {{operator: empty}}}}\n")).schedule.clone()
}

#[test]
fn tasks_and_groups_may_be_lists() {
    let text = "d:\n  task_groups:\n  - group_name: outer\n    tooltip: all\n  - group_name: inner\n    parent_group_name: outer\n    \
                prefix_group_id: false\n    dependencies: [first]\n  tasks:\n  - {task_id: first, operator: empty}\n  \
                - {task_id: a, operator: empty, task_group_name: outer, dependencies: [first]}\n  \
                - {task_id: b, operator: empty, task_group_name: inner}\n  - {task_id: last, operator: empty, dependencies: [outer]}\n";
    let dag = dag(text);
    assert_eq!(dag.task_ids().map(ToString::to_string).collect::<Vec<_>>(), ["first", "outer.a", "b", "last"]);
    assert_eq!(dag.groups.iter().map(|group| group.group_id.as_str()).collect::<Vec<_>>(), ["outer", "outer.inner"]);
    assert_eq!(dag.groups[0].tooltip, "all");
    assert_eq!(upstream(&dag, "b"), ["first"]);
    assert_eq!(upstream(&dag, "last"), ["outer.a", "b"]);
    assert_eq!(dag.tasks[0].effective_priority, 4);
}

#[test]
fn nearer_settings_win() {
    let text = "default:\n  catchup: false\n  default_args: {owner: file, retries: 1, pool: file}\n  tags: [all]\n\
                d:\n  default_args: {owner: dag, bash_command: echo default, unknown: 1}\n  task_groups:\n    \
                g: {default_args: {owner: group, retries: 2}}\n  tasks:\n    a: {operator: bash}\n    \
                b: {operator: empty, task_group_name: g}\n    c: {operator: empty, task_group_name: g, retries: 3, owner: task}\n";
    let dag = dag(text);
    assert!(!dag.catchup);
    assert_eq!(dag.tags, ["all", "dagfactory"]);
    let facts: Vec<_> = dag.tasks.iter().map(|t| (t.owner.as_str(), t.retries, t.pool.as_str())).collect();
    assert_eq!(facts, [("dag", 1, "file"), ("group", 2, "file"), ("task", 3, "file")]);
    assert_eq!(dag.tasks[0].arguments["bash_command"], "echo default");
    assert_eq!(dag.tasks[1].arguments.len(), 0);
}

#[test]
fn files_of_defaults_reach_down() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("team/etl");
    std::fs::create_dir_all(&folder).unwrap();
    let write = |path: &str, text: &str| std::fs::write(root.path().join(path), text).unwrap();
    write(
        "defaults.yml",
        "default_args: {owner: root, retries: 1, queue: root}\nmax_active_runs: 3\ntags: [root]\nschedule: '@hourly'\n",
    );
    write("team/defaults.yaml", "default_args: {owner: team}\ntags: [team]\nmax_active_runs: 5\n");
    write(
        "team/etl/dags.yaml",
        "default:\n  default_args: {retries: 2}\n  max_active_tasks: 9\nd:\n  tasks: {a: {operator: empty}}\n",
    );
    let loads = support::loader(root.path()).load_folder();
    assert_eq!(loads.len(), 1, "files of defaults hold no DAGs");
    assert_eq!(loads[0].error(), None);
    let dag = &loads[0].dags[0];
    let task = &dag.tasks[0];
    assert_eq!((task.owner.as_str(), task.retries, task.queue.as_str()), ("team", 2, "root"));
    assert_eq!((dag.max_active_runs, dag.max_active_tasks), (5, 9));
    assert_eq!(dag.tags, ["dagfactory", "root", "team"]);
    assert_eq!(dag.schedule, Schedule::Cron { expression: "@hourly".into() });

    write("team/defaults.yaml", "default_args: [1]\n");
    let error = support::loader(root.path()).load_folder()[0].error().unwrap();
    assert!(error.contains("team/defaults.yaml:1: 'default_args' has an invalid type 'list'"), "{error}");
}

#[test]
fn schedules_have_many_forms() {
    assert_eq!(schedule("catchup: false"), Schedule::TimeDelta { microseconds: 86_400_000_000 });
    assert_eq!(schedule("schedule: null"), Schedule::TimeDelta { microseconds: 86_400_000_000 });
    assert_eq!(schedule("schedule: ' NONE '"), Schedule::None);
    assert_eq!(schedule("schedule: '@continuous'"), Schedule::Continuous);
    assert_eq!(schedule("timetable: {__type__: airflow.timetables.simple.OnceTimetable}"), Schedule::Once);
    let cron =
        "schedule: {__type__: airflow.timetables.trigger.CronTriggerTimetable, cron: '0 1 * * 3', timezone: UTC}";
    assert_eq!(
        schedule(cron),
        Schedule::Timetable {
            class: "airflow.timetables.trigger.CronTriggerTimetable".into(),
            arguments: json!({"args": [], "kwargs": {"cron": "0 1 * * 3", "timezone": "UTC"}}),
        }
    );
    let nodes = |text: &str| match schedule(text) {
        Schedule::Datasets { condition } | Schedule::DatasetOrTime { condition, .. } => condition.postfix,
        other => panic!("{other:?}"),
    };
    let uri = |text: &str| DatasetNode::Uri(text.into());
    assert_eq!(nodes("schedule: ['s3://a', 's3://b']"), [uri("s3://a/"), uri("s3://b/"), DatasetNode::All(2)]);
    assert_eq!(nodes("schedule: {datasets: ['s3://a']}"), [uri("s3://a/")]);
    let tree = "schedule: {datasets: {__or__: [{__and__: [a, b]}, c]}}";
    assert_eq!(nodes(tree), [uri("a"), uri("b"), DatasetNode::All(2), uri("c"), DatasetNode::Any(2)]);
    let objects =
        "schedule: {__and__: [{__type__: airflow.datasets.Dataset, uri: a}, {__type__: airflow.sdk.Asset, name: b}]}";
    assert_eq!(nodes(objects), [uri("a"), uri("b"), DatasetNode::All(2)]);
    let both = "schedule: {datasets: a | b, timetable: {__type__: airflow.timetables.trigger.CronTriggerTimetable, cron: '* * * * *', timezone: UTC}}";
    assert_eq!(nodes(both).len(), 3);
}

#[test]
fn weekdays_of_lengths_are_objects() {
    let fields = |schedule| match schedule {
        Schedule::RelativeDelta { fields } => serde_json::Value::Object(fields),
        other => panic!("{other:?}"),
    };
    let delta = |weekday: &str| {
        fields(schedule(&format!(
            "schedule: {{__type__: dateutil.relativedelta.relativedelta, months: 1, weekday: {weekday}}}"
        )))
    };
    assert_eq!(delta("4"), json!({"months": 1, "weekday": 4}));
    let last = "{__type__: dateutil.relativedelta.FR, __args__: [-1]}";
    assert_eq!(delta(last), json!({"months": 1, "weekday": "FR(-1)"}));
    assert_eq!(delta("{__type__: dateutil.relativedelta.weekday, weekday: 0}")["weekday"], "MO");
}

#[test]
fn hosts_add_timetables() {
    let folder = tempfile::tempdir().unwrap();
    let text = "d:\n  schedule: {__type__: company.Afternoons, __args__: [15]}\n  start_date: 2024-01-01\n  tasks: {a: {operator: empty}}\n";
    std::fs::write(folder.path().join("d.yaml"), text).unwrap();
    let mut timetables = Timetables::default();
    timetables.add("company.Afternoons", |arguments, zone| match arguments["args"][0].as_u64() {
        Some(hour) => Timetables::default().timetable(&Schedule::cron(format!("0 {hour} * * *")), zone),
        None => Err("an hour is missing".into()),
    });
    let loader = support::loader(folder.path()).timetables(Arc::new(timetables));
    let load = loader.load_folder().remove(0);
    assert_eq!(load.error(), None);
    let arguments = json!({"args": [15], "kwargs": {}});
    assert_eq!(load.dags[0].schedule, Schedule::Timetable { class: "company.Afternoons".into(), arguments });
    std::fs::write(folder.path().join("d.yaml"), text.replace("[15]", "[]")).unwrap();
    assert!(loader.load_folder()[0].error().unwrap().contains("an hour is missing"));
}

#[test]
fn datasets_may_have_names_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("sets")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("sets/names.txt", "datasets: [{name: one, uri: 's3://x/1'}, {name: two, uri: 's3://x/2'}]\n");
    write(
        "dags.yaml",
        "d:\n  schedule: {file: sets/names.txt, datasets: (one | two)}\n  tasks:\n    \
         a: {operator: empty, outlets: {file: sets/names.txt, datasets: [two]}, inlets: ['s3://y']}\n",
    );
    let load = support::loader(folder.path()).load_file(&folder.path().join("dags.yaml"));
    assert_eq!(load.error(), None);
    let Schedule::Datasets { condition } = &load.dags[0].schedule else { panic!("datasets") };
    assert_eq!(condition.uris().collect::<Vec<_>>(), ["s3://x/1", "s3://x/2"]);
    assert_eq!(load.dags[0].tasks[0].outlets, [json!("s3://x/2")]);
    assert_eq!(load.dags[0].tasks[0].inlets, [json!("s3://y/")]);
    assert!(load.also_read.iter().any(|path| path.ends_with("sets/names.txt")));
}

#[test]
fn what_is_not_run_yet_is_kept() {
    let text = "d:\n  on_failure_callback: my.notify\n  access_control: {Viewer: [can_read]}\n  owner_links: {me: 'mailto:x'}\n  \
                tasks:\n    list: {operator: empty, on_success_callback: {callback: my.tell, who: me}, email: a@b, executor_config: {x: 1}}\n    \
                each:\n      operator: bash\n      partial: {env: {A: b}}\n      expand: {bash_command: list.output}\n      \
                map_index_template: '{{ task }}'\n      sla: PT1H\n";
    let dag = dag(text);
    assert_eq!(dag.extra["on_failure_callback"], "my.notify");
    assert_eq!(dag.access_control, Some(json!({"Viewer": {"DAGs": ["can_read"]}})));
    assert_eq!(dag.tasks[0].extra["on_success_callback"], json!({"callback": "my.tell", "who": "me"}));
    let each = &dag.tasks[1];
    assert_eq!(each.mapping, Some(json!({"expand": {"bash_command": "list.output"}, "partial": {"env": {"A": "b"}}})));
    assert_eq!(each.arguments["env"], json!({"A": "b"}));
    assert_eq!(each.sla, Some(Duration::from_secs(3600)));
    assert_eq!(each.map_index_template.as_deref(), Some("{{ task }}"));
}

#[test]
fn dates_are_those_of_the_zone() {
    let text = "d:\n  timezone: Europe/Amsterdam\n  start_date: 2024-07-01\n  end_date: '2024-08-01 12:00:00'\n  \
                default_args: {start_date: 2 days}\n  tasks:\n    a: {operator: empty}\n    b: {operator: empty, end_date: 2024-07-10 00:00:00}\n";
    let dag = dag(text);
    assert_eq!(dag.timezone, "Europe/Amsterdam");
    let at = |text: &str| Some(text.parse().unwrap());
    assert_eq!((dag.start_date, dag.end_date), (at("2024-06-30T22:00:00Z"), at("2024-08-01T10:00:00Z")));
    assert_eq!(dag.tasks[0].start_date, at("2030-06-13T00:00:00Z"));
    assert_eq!((dag.tasks[0].end_date, dag.tasks[1].end_date), (dag.end_date, at("2024-07-10T00:00:00Z")));
}

#[test]
fn documentation_shows_the_configuration() {
    let text = "default: {catchup: false}\nd:\n  doc_md: Words.\n  params: {p: {__type__: airflow.models.param.Param, default: 1, type: integer, minimum: 0}}\n  \
                tasks:\n    a:\n      operator: empty\n      retry_delay: {__type__: datetime.timedelta, minutes: 1}\n";
    let dag = dag(text);
    let expected = "Words.\n## YML DAG\n```yaml\ndefault:\n  catchup: false\n  default_args: {}\n\nd:\n  doc_md: Words.\n  params:\n    \
                    p: !!python/object:airflow.models.param.Param\n      value: 1\n      description: null\n      schema:\n        \
                    type: integer\n        minimum: 0\n  tasks:\n    a:\n      operator: empty\n      \
                    retry_delay: !!python/object/apply:datetime.timedelta\n      - 0\n      - 60\n      - 0\n\n```";
    assert_eq!(dag.doc_md.as_deref(), Some(expected));
    assert_eq!(dag.params[0].schema["minimum"], 0);
}

#[test]
fn a_hundred_thousand_tasks_load() {
    let mut text = String::from("big:\n  tasks:\n");
    for i in 0..100_000_u32 {
        text.push_str(&format!("    t{i}: {{operator: empty"));
        if i > 0 {
            text.push_str(&format!(", dependencies: [t{}]", i - 1));
        }
        text.push_str("}\n");
    }
    assert_eq!(dag(&text).tasks[0].effective_priority, 100_000);
}
