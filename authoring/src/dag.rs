//! A DAG of a file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use updraft_core::dag::{Node as End, Wiring, check, read_access_control, settle};
use updraft_core::id::TaskIx;
use updraft_core::model::Dag;
use updraft_core::operator::Registry;
use updraft_core::schedule::Timetables;

use crate::fields::Fields;
use crate::group::{self, Group};
use crate::node::{Data, Mapping, Node, Place, key_text};
use crate::problem::{Found, Problems};
use crate::{date, merge, parse, schedule, task};

/// Keys that a DAG may have.
const KNOWN: [&str; 53] = [
    "description",
    "dag_id",
    "dag_display_name",
    "schedule",
    "timetable",
    "start_date",
    "end_date",
    "timezone",
    "catchup",
    "concurrency",
    "max_active_runs",
    "max_active_tasks",
    "max_consecutive_failed_dag_runs",
    "dagrun_timeout",
    "fail_stop",
    "default_args",
    "params",
    "tags",
    "doc_md",
    "doc_md_file_path",
    "access_control",
    "is_paused_upon_creation",
    "render_template_as_native_obj",
    "template_searchpath",
    "default_view",
    "orientation",
    "tasks",
    "task_groups",
    // Of dag-factory before 1.0.
    "dagrun_timeout_sec",
    // Holds anchors.
    "vars",
    // Kept, but not acted on.
    "owner_links",
    "auto_register",
    "jinja_environment_kwargs",
    "user_defined_macros",
    "user_defined_filters",
    "sla_miss_callback",
    "sla_miss_callback_name",
    "sla_miss_callback_file",
    "on_execute_callback",
    "on_execute_callback_name",
    "on_execute_callback_file",
    "on_success_callback",
    "on_success_callback_name",
    "on_success_callback_file",
    "on_failure_callback",
    "on_failure_callback_name",
    "on_failure_callback_file",
    "on_retry_callback",
    "on_retry_callback_name",
    "on_retry_callback_file",
    "on_skipped_callback",
    "on_skipped_callback_name",
    "on_skipped_callback_file",
];
const FIRST_KEPT: usize = 30;

/// What all DAGs of a file are read with.
pub(crate) struct DagContext<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) timetables: &'a Timetables,
    pub(crate) now: DateTime<Utc>,
    /// The file.
    pub(crate) path: &'a Path,
    /// Other files that were read.
    pub(crate) also_read: Vec<PathBuf>,
}

/// Makes a DAG of its merged configuration. `shown` is its configuration as its documentation shows it.
pub(crate) fn read(
    dag_id: &str,
    place: Place,
    conf: &Mapping,
    shown: &str,
    cx: &mut DagContext<'_>,
) -> Result<Dag, Vec<Found>> {
    let mut problems = Problems::default();
    let mut dag = Dag::new(dag_id);
    dag.fileloc = cx.path.to_string_lossy().into_owned();
    read_settings(&mut dag, conf, cx, &mut problems);
    document(&mut dag, conf, shown, cx, &mut problems);

    let (zone, default_args) = default_args(conf, cx.now, &mut problems);
    // The zone is that of the start date, as in Airflow.
    if conf.get_set("start_date").is_some() || default_args.get_set("start_date").is_some() {
        dag.timezone = zone;
    }
    dag.default_args = default_args.to_json();

    let groups = group::read(conf.get("task_groups"), &mut dag, &mut problems);
    let declared = group::named("tasks", "task_id", conf.get("tasks"), &mut problems);
    let group_of: HashMap<&str, &Group<'_>> = groups.iter().map(|group| (group.name, group)).collect();
    let mut places: HashMap<String, Place> = HashMap::new();
    let mut ends: HashMap<&str, End> = HashMap::new();
    let mut is_complete = true;
    let merged_args: Vec<Mapping> =
        groups.iter().map(|group| merge::overlaid(&default_args, &group.default_args)).collect();

    for (name, place, conf) in &declared {
        problems.enter_task(name);
        let group_name = Fields { map: conf, problems: &mut problems }.text("task_group_name");
        let group = group_name.filter(|name| !name.is_empty()).and_then(|group| {
            let known = group_of.get(group);
            // dag-factory leaves a group's name alone in a DAG that has no groups.
            if known.is_none() && !groups.is_empty() {
                problems.add(*place, format!("its task_group_name '{group}' is no task group"));
            }
            known
        });
        let index = group.map(|group| group.index);
        let task_id = group::prefixed(&dag, index, name);
        problems.enter_task(&task_id);
        let mut task_cx = task::TaskContext {
            registry: cx.registry,
            now: cx.now,
            default_args: index.and_then(|index| merged_args.get(index as usize)).unwrap_or(&default_args),
            uris: &mut |file, names| named_uris(file, names, cx.path, &mut cx.also_read),
        };
        match task::read(task_id, *place, conf, &mut task_cx, &mut problems) {
            Some(mut task) => {
                task.group = index;
                places.insert(task.task_id.to_string(), *place);
                ends.insert(name, End::Task(TaskIx::from_index(dag.tasks.len())));
                dag.tasks.push(task);
            }
            None => is_complete = false,
        }
        problems.leave_task();
    }
    for group in &groups {
        ends.insert(group.name, End::Group(group.index));
        if let Some(declared) = dag.groups.get(group.index as usize) {
            places.insert(declared.group_id.clone(), group.place);
        }
    }
    let known_names: std::collections::HashSet<&str> =
        declared.iter().map(|(name, ..)| *name).chain(groups.iter().map(|group| group.name)).collect();

    // In the order of the file: the first and last tasks of a group are those known by then, as in dag-factory.
    let mut wiring = Wiring::new(&dag);
    let tasks = declared.iter().map(|(name, _, conf)| (*name, *conf));
    for (name, conf) in tasks.chain(groups.iter().map(|group| (group.name, group.conf))) {
        problems.enter_task(name);
        for (other, node) in (Fields { map: conf, problems: &mut problems }).texts("dependencies") {
            match (ends.get(other), ends.get(name)) {
                (Some(&before), Some(&after)) => wiring.connect(&dag, before, after),
                (None, _) if !known_names.contains(other) => {
                    problems
                        .add(node.place, format!("it depends on '{other}', which is neither a task nor a task group"));
                }
                _ => {}
            }
        }
        problems.leave_task();
    }
    wiring.write_to(&mut dag);

    for problem in check(&dag) {
        // What follows from tasks that could not be read would only confuse.
        let place = problem.task_id().and_then(|task| places.get(task)).copied().unwrap_or(place);
        let task_id = problem.task_id().map(ToOwned::to_owned);
        problems.list.push(Found { place: Some(place), task_id, message: problem.to_string() });
    }
    if !problems.list.is_empty() || !is_complete {
        return Err(problems.list);
    }
    settle(&mut dag);
    Ok(dag)
}

fn read_settings(dag: &mut Dag, conf: &Mapping, cx: &mut DagContext<'_>, problems: &mut Problems) {
    for (key, value) in &conf.entries {
        match key.as_str() {
            Some("schedule_interval") if !value.is_null() => {
                problems.add(key.place, "the key 'schedule_interval' is no longer supported; use 'schedule'");
            }
            Some("schedule_interval") => {}
            Some(name) if name.starts_with("doc_md_python") => {
                problems.add(key.place, format!("'{name}' needs Python in the loader, which there is not"));
            }
            Some(name) => match KNOWN.iter().position(|known| *known == name) {
                Some(at) if at >= FIRST_KEPT && !value.is_null() => {
                    dag.extra.insert(name.into(), value.to_json());
                }
                Some(_) => {}
                None => problems.add(key.place, format!("a DAG has no key '{name}'")),
            },
            None => problems.add(key.place, format!("the key '{}' is no text", key_text(key))),
        }
    }
    let now = cx.now;
    let mut fields = Fields { map: conf, problems };
    dag.display_name = fields.text("dag_display_name").filter(|name| *name != dag.dag_id.as_str()).map(Into::into);
    dag.description = fields.text("description").map(Into::into);
    let zone = fields.text("timezone").unwrap_or("UTC");
    let zone = match date::zone(zone) {
        Ok(zone) => zone,
        Err(message) => {
            let place = conf.get("timezone").map_or_else(Place::default, |node| node.place);
            fields.problems.add(place, message);
            Tz::UTC
        }
    };
    dag.start_date = fields.with("start_date", |node| date::dag_date(node, zone, now));
    dag.end_date = fields.with("end_date", |node| date::dag_date(node, zone, now));
    set(&mut dag.catchup, fields.flag("catchup"));
    set(&mut dag.max_active_tasks, fields.count("max_active_tasks"));
    set(&mut dag.max_active_tasks, fields.count("concurrency"));
    set(&mut dag.max_active_runs, fields.count("max_active_runs"));
    set(&mut dag.max_consecutive_failed_dag_runs, fields.count("max_consecutive_failed_dag_runs"));
    dag.dagrun_timeout = fields
        .duration("dagrun_timeout")
        .or_else(|| fields.duration_or_seconds("dagrun_timeout_sec"))
        .filter(|timeout| *timeout > Duration::ZERO);
    set(&mut dag.fail_stop, fields.flag("fail_stop"));
    dag.is_paused_upon_creation = fields.flag("is_paused_upon_creation");
    set(&mut dag.render_template_as_native_obj, fields.flag("render_template_as_native_obj"));
    set(
        &mut dag.default_view,
        choice(&mut fields, "default_view", &["grid", "graph", "duration", "gantt", "landing_times", "tree"]),
    );
    set(&mut dag.orientation, choice(&mut fields, "orientation", &["LR", "TB", "RL", "BT"]));
    dag.params = fields.params("params");
    dag.access_control = fields.with("access_control", |node| read_access_control(&node.to_json()));
    dag.tags = fields.texts("tags").into_iter().map(|(tag, _)| tag.into()).collect();
    dag.tags.push("dagfactory".into());
    dag.tags.sort();
    dag.tags.dedup();
    dag.template_searchpath = searchpath(&mut fields);

    let timetable = fields.get("timetable").filter(|node| node.is_truthy());
    let declared = fields.get("schedule");
    if let (Some(timetable), Some(_)) = (timetable, declared) {
        fields.problems.add(timetable.place, "at most one of 'schedule' and 'timetable' is allowed");
    }
    let node = declared.or(timetable);
    let also_read = &mut cx.also_read;
    let path = cx.path;
    let read = schedule::schedule(node, &mut |file, names| named_uris(file, names, path, also_read));
    let read = read.and_then(|schedule| schedule::checked(schedule, dag.max_active_runs, cx.timetables));
    let place = node.map_or_else(Place::default, |node| node.place);
    set(&mut dag.schedule, fields.problems.take(place, read));
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn choice(fields: &mut Fields<'_, '_>, key: &str, allowed: &[&str]) -> Option<String> {
    fields.text(key)?;
    fields.with(key, |node| {
        let text = node.as_str().unwrap_or_default();
        if allowed.contains(&text) {
            Ok(text.into())
        } else {
            Err(format!("'{text}' is not one of {}", allowed.join(", ")))
        }
    })
}

fn searchpath(fields: &mut Fields<'_, '_>) -> Vec<String> {
    let Some(node) = fields.get("template_searchpath") else { return Vec::new() };
    let paths: Vec<(&str, &Node)> = match node.as_str() {
        Some(path) => vec![(path, node)],
        None => fields.texts("template_searchpath"),
    };
    for (path, node) in &paths {
        if !Path::new(path).is_absolute() {
            fields.problems.add(node.place, "template_searchpath must be absolute paths");
        } else if !Path::new(path).is_dir() {
            fields.problems.add(node.place, "template_searchpath must be existing paths");
        }
    }
    paths.into_iter().map(|(path, _)| path.into()).collect()
}

/// The documentation, with the configuration behind it, as dag-factory shows it.
fn document(dag: &mut Dag, conf: &Mapping, shown: &str, cx: &mut DagContext<'_>, problems: &mut Problems) {
    let mut fields = Fields { map: conf, problems };
    let mut doc = fields.text("doc_md").map(ToOwned::to_owned);
    if let Some(file) = fields.text("doc_md_file_path").filter(|file| !file.is_empty()) {
        let mut read = || {
            let path = Path::new(file);
            if !path.is_absolute() {
                return Err("`doc_md_file_path` must be absolute path".to_owned());
            }
            cx.also_read.push(path.into());
            std::fs::read_to_string(path).map_err(|error| format!("'{file}' cannot be read: {error}"))
        };
        let place = fields.get("doc_md_file_path").map_or_else(Place::default, |node| node.place);
        doc = fields.problems.take(place, read()).or(doc);
    }
    let shown = format!("## YML DAG\n```yaml\n{shown}\n```");
    dag.doc_md = Some(match doc {
        Some(doc) => format!("{doc}\n{shown}"),
        None => shown,
    });
}

/// The DAG's zone and its `default_args`, with dates as moments.
fn default_args(conf: &Mapping, now: DateTime<Utc>, problems: &mut Problems) -> (String, Mapping) {
    let mut args = match conf.get_set("default_args") {
        Some(Node { data: Data::Map(args), .. }) => args.clone(),
        Some(other) => {
            problems.wrong_type("default_args", other, "dict");
            Mapping::default()
        }
        None => Mapping::default(),
    };
    let zone_name = args.get_set("timezone").and_then(Node::as_str).unwrap_or("UTC").to_owned();
    let zone = date::zone(&zone_name).unwrap_or(Tz::UTC);
    for key in ["start_date", "end_date"] {
        let Some(node) = args.get_mut(key).filter(|node| !node.is_null()) else { continue };
        let read = date::dag_date(node, zone, now).map_err(|message| format!("'{key}': {message}"));
        // A wrong date is a problem of the DAG, not again of each task.
        node.data = match problems.take(node.place, read) {
            Some(at) => Data::DateTime(at.naive_utc(), Some(0)),
            None => Data::Null,
        };
    }
    let own_zone = conf.get_set("timezone").and_then(Node::as_str).filter(|_| conf.get_set("start_date").is_some());
    (own_zone.map_or(zone_name, ToOwned::to_owned), args)
}

/// The URIs that a file gives to names of datasets.
fn named_uris(
    file: &Node,
    names: &[String],
    dag_file: &Path,
    also_read: &mut Vec<PathBuf>,
) -> Result<Vec<(String, String)>, String> {
    let name = file.as_str().ok_or("the file of datasets must be a path")?;
    let path = dag_file.parent().unwrap_or(Path::new("")).join(name);
    also_read.push(path.clone());
    let text = std::fs::read_to_string(&path).map_err(|error| format!("'{name}' cannot be read: {error}"))?;
    let document = parse::parse(&text, 0, &[]).map_err(|error| format!("'{name}': {}", error.message))?;
    let datasets = document.root.as_map().and_then(|map| map.get("datasets")).and_then(Node::as_list);
    let datasets = datasets.ok_or_else(|| format!("'{name}' has no list 'datasets'"))?;
    let pair = |dataset: &Node| {
        let map = dataset.as_map()?;
        Some((map.get("name")?.as_str()?.to_owned(), map.get("uri")?.as_str()?.to_owned()))
    };
    Ok(datasets.iter().filter_map(pair).filter(|(name, _)| names.contains(name)).collect())
}
