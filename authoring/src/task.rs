//! A task of a DAG.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use updraft_core::model::{OperatorRef, Task, TriggerRule, WeightRule};
use updraft_core::operator::{OperatorInfo, Registry};

use crate::fields::Fields;
use crate::node::{Data, Mapping, Node, Place, key_text};
use crate::problem::Problems;
use crate::schedule::NamedUris;

/// Keys that arrange tasks and are no operator's.
const ARRANGING: [&str; 11] = [
    "operator",
    "decorator",
    "dependencies",
    "task_group_name",
    "parent_group_name",
    "task_id",
    "default_args",
    "expand",
    "partial",
    "inlets",
    "outlets",
];

/// Arguments that every operator takes (Airflow 2.11, `BaseOperator`) and that have a place of their own in a task.
const COMMON: [&str; 31] = [
    "task_display_name",
    "owner",
    "trigger_rule",
    "retries",
    "retry_delay",
    "retry_exponential_backoff",
    "max_retry_delay",
    "pool",
    "pool_slots",
    "queue",
    "priority_weight",
    "weight_rule",
    "execution_timeout",
    "depends_on_past",
    "wait_for_downstream",
    "ignore_first_depends_on_past",
    "max_active_tis_per_dag",
    "task_concurrency",
    "max_active_tis_per_dagrun",
    "start_date",
    "end_date",
    "doc_md",
    "do_xcom_push",
    "sla",
    "params",
    "executor",
    "map_index_template",
    "on_failure_fail_dagrun",
    // Of dag-factory before 1.0.
    "retry_delay_sec",
    "execution_timeout_secs",
    "sla_secs",
];

/// Arguments that every operator takes and that are kept, but not acted on.
const KEPT: [&str; 33] = [
    "email",
    "email_on_retry",
    "email_on_failure",
    "wait_for_past_depends_before_skipping",
    "resources",
    "run_as_user",
    "executor_config",
    "multiple_outputs",
    "doc",
    "doc_json",
    "doc_yaml",
    "doc_rst",
    "logger_name",
    "allow_nested_operators",
    "pre_execute",
    "post_execute",
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
    "sla_miss_callback",
    "timezone",
];

/// What a task is read with.
pub(crate) struct TaskContext<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) now: DateTime<Utc>,
    pub(crate) default_args: &'a Mapping,
    /// The URIs of datasets that a file names.
    pub(crate) uris: &'a mut NamedUris<'a>,
}

/// Reads a task. `None` if it is so wrong that nothing more can be said of it; the problems are noted.
pub(crate) fn read(
    task_id: String,
    place: Place,
    conf: &Mapping,
    cx: &mut TaskContext<'_>,
    problems: &mut Problems,
) -> Option<Task> {
    let mut fields = Fields { map: conf, problems };
    let operator = match (fields.text("operator"), fields.text("decorator")) {
        (Some(operator), _) | (None, Some(operator)) => operator,
        (None, None) => {
            if conf.get_set("operator").or(conf.get_set("decorator")).is_none() {
                problems.add(place, "a task must name an 'operator' or a 'decorator'");
            }
            return None;
        }
    };
    let operator_place = conf.get("operator").or_else(|| conf.get("decorator")).map_or(place, |node| node.place);
    let info = match cx.registry.info(operator) {
        Ok(info) => info.clone(),
        Err(error) => {
            problems.add(operator_place, error.to_string());
            return None;
        }
    };

    let mut task = Task::new(task_id.clone(), OperatorRef::from_path(operator));
    info.apply_to(&mut task);

    // The nearest setting wins: the task's own, its own defaults, those of its groups, those of the DAG.
    let mut settings = cx.default_args.clone();
    if let Some(own) = conf.get_set("default_args") {
        match own.as_map() {
            Some(own) => own.entries.iter().for_each(|(key, value)| settings.insert(key.clone(), value.clone())),
            None => problems.wrong_type("default_args", own, "dict"),
        }
    }
    let mut own_arguments: Vec<(&str, &Node)> = Vec::new();
    let partial = conf.get_set("partial").and_then(Node::as_map);
    for (key, value) in conf.entries.iter().chain(partial.into_iter().flat_map(|partial| &partial.entries)) {
        let Some(name) = key.as_str() else {
            problems.add(key.place, format!("the key '{}' is no text", key_text(key)));
            continue;
        };
        if ARRANGING.contains(&name) {
            continue;
        }
        if name == "variables_as_arguments" {
            problems.add(key.place, "'variables_as_arguments' is not supported; use the template {{ var.value.NAME }}");
        } else if COMMON.contains(&name) || KEPT.contains(&name) {
            settings.insert(key.clone(), value.clone());
        } else {
            own_arguments.push((name, value));
        }
    }
    read_settings(&mut task, &settings, cx.now, problems);
    task.inlets = datasets("inlets", conf.get_set("inlets").or(settings.get_set("inlets")), cx, problems);
    task.outlets = datasets("outlets", conf.get_set("outlets").or(settings.get_set("outlets")), cx, problems);
    task.mapping = mapping(conf, problems);

    task.arguments = own_arguments.iter().map(|(name, value)| ((*name).into(), value.to_json())).collect();
    if conf.get_set("decorator").is_some() && conf.get_set("operator").is_none() {
        gather_call(&mut task.arguments);
    }
    let candidates: Vec<(String, Value)> = settings
        .entries
        .iter()
        .map(|(key, value)| (key_text(key), value))
        .filter(|(name, value)| {
            let is_common = [&ARRANGING[..], &COMMON, &KEPT].iter().any(|list| list.contains(&name.as_str()));
            !is_common && !value.is_null() && !task.arguments.contains_key(name)
        })
        .map(|(name, value)| (name, value.to_json()))
        .collect();
    add_defaults(&mut task.arguments, candidates, &info);
    let checked = match info.check {
        // What is mapped comes to the operator only when the task is expanded.
        Some(check) if task.mapping.is_none() => check(&task.arguments),
        None if info.is_empty => match task.arguments.keys().next() {
            Some(name) => Err(format!("unexpected argument '{name}'")),
            None => Ok(()),
        },
        _ => Ok(()),
    };
    let class = &task.operator.class_name;
    let checked =
        checked.map_err(|message| format!("Invalid arguments were passed to {class} (task_id: {task_id}): {message}"));
    problems.take(operator_place, checked);
    Some(task)
}

/// Adds those defaults that the operator takes: they are meant for whichever operator has an argument of their name.
fn add_defaults(arguments: &mut Map<String, Value>, mut candidates: Vec<(String, Value)>, info: &OperatorInfo) {
    let Some(check) = info.check else {
        candidates.retain(|(name, _)| info.template_fields.contains(name));
        return arguments.extend(candidates);
    };
    loop {
        let mut all = arguments.clone();
        all.extend(candidates.iter().cloned());
        let refused = check(&all)
            .err()
            .and_then(|error| candidates.iter().position(|(name, _)| error.contains(&format!("'{name}'"))));
        match refused {
            Some(at) => {
                candidates.remove(at);
            }
            None => break arguments.extend(candidates),
        }
    }
}

fn read_settings(task: &mut Task, settings: &Mapping, now: DateTime<Utc>, problems: &mut Problems) {
    let mut fields = Fields { map: settings, problems };
    task.display_name = fields.text("task_display_name").filter(|name| *name != task.task_id.as_str()).map(Into::into);
    set(&mut task.owner, fields.text("owner").map(Into::into));
    set(
        &mut task.trigger_rule,
        parsed(&mut fields, "trigger_rule", |text| {
            TriggerRule::from_str(text).map_err(|_| {
                let all: Vec<_> = TriggerRule::ALL.iter().map(|rule| rule.as_str()).collect();
                format!("'{text}' is not one of the trigger rules {}", all.join(", "))
            })
        }),
    );
    set(
        &mut task.weight_rule,
        parsed(&mut fields, "weight_rule", |text| WeightRule::from_str(text).map_err(|error| error.to_string())),
    );
    set(&mut task.retries, fields.with("retries", retries));
    set(
        &mut task.retry_delay,
        fields.duration_or_seconds("retry_delay").or_else(|| fields.duration_or_seconds("retry_delay_sec")),
    );
    set(&mut task.retry_exponential_backoff, fields.flag("retry_exponential_backoff"));
    task.max_retry_delay = fields.duration_or_seconds("max_retry_delay");
    set(&mut task.pool, fields.text("pool").map(Into::into));
    set(
        &mut task.pool_slots,
        fields.with("pool_slots", |node| match node.data {
            Data::Int(slots) => u32::try_from(slots.max(0)).map_err(|_| format!("{slots} is too many")),
            _ => Err(format!("it has an invalid type '{}', expected type is 'int'", node.type_name())),
        }),
    );
    set(&mut task.queue, fields.text("queue").map(Into::into));
    set(
        &mut task.priority_weight,
        fields.with("priority_weight", |node| match node.data {
            Data::Int(weight) => i32::try_from(weight).map_err(|_| format!("{weight} does not fit into 32 bits")),
            _ => Err(format!("it only accepts integers, received '{}'", node.type_name())),
        }),
    );
    task.execution_timeout =
        fields.duration("execution_timeout").or_else(|| fields.duration_or_seconds("execution_timeout_secs"));
    set(&mut task.depends_on_past, fields.flag("depends_on_past"));
    set(&mut task.wait_for_downstream, fields.flag("wait_for_downstream"));
    task.depends_on_past |= task.wait_for_downstream;
    set(&mut task.ignore_first_depends_on_past, fields.flag("ignore_first_depends_on_past"));
    task.max_active_tis_per_dag = fields.count("max_active_tis_per_dag").or_else(|| fields.count("task_concurrency"));
    task.max_active_tis_per_dagrun = fields.count("max_active_tis_per_dagrun");
    task.start_date = fields.date("start_date", now);
    task.end_date = fields.date("end_date", now);
    task.doc_md = fields.text("doc_md").map(Into::into);
    set(&mut task.do_xcom_push, fields.flag("do_xcom_push"));
    task.sla = fields.duration("sla").or_else(|| fields.duration_or_seconds("sla_secs"));
    task.params = fields.params("params");
    task.executor = fields.text("executor").map(Into::into);
    task.map_index_template = fields.text("map_index_template").map(Into::into);
    set(&mut task.on_failure_fail_dagrun, fields.flag("on_failure_fail_dagrun"));
    for key in KEPT {
        if let Some(value) = fields.get(key) {
            task.extra.insert(key.into(), value.to_json());
        }
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn parsed<T>(fields: &mut Fields<'_, '_>, key: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
    fields.text(key)?;
    fields.with(key, |node| read(node.as_str().unwrap_or_default()))
}

fn retries(node: &Node) -> Result<u32, String> {
    let number = match &node.data {
        Data::Int(number) => Some(*number),
        Data::Bool(value) => Some((*value).into()),
        Data::Str(text) => text.trim().parse().ok(),
        _ => None,
    };
    let number = number.ok_or_else(|| format!("its type must be int, not {}", node.type_name()))?;
    // Below zero there is no further try either.
    u32::try_from(number.max(0)).map_err(|_| format!("{number} is too many"))
}

/// Datasets as declared: URIs, or a file that gives URIs to names.
fn datasets(key: &str, node: Option<&Node>, cx: &mut TaskContext<'_>, problems: &mut Problems) -> Vec<Value> {
    let Some(node) = node else { return Vec::new() };
    match &node.data {
        Data::List(items) => items.iter().map(Node::to_json).collect(),
        Data::Str(_) | Data::Datasets(_) | Data::Object(_) => vec![node.to_json()],
        Data::Map(map) => {
            let names = match map.get_set("datasets").map(|names| &names.data) {
                Some(Data::List(names)) => names.iter().filter_map(Node::as_str).map(ToOwned::to_owned).collect(),
                Some(Data::Str(name)) => vec![name.clone()],
                _ => Vec::new(),
            };
            match map.get_set("file") {
                Some(file) => {
                    let found = problems.take(file.place, (cx.uris)(file, &names)).unwrap_or_default();
                    found.into_iter().map(|(_, uri)| uri.into()).collect()
                }
                None => {
                    problems.add(node.place, format!("'{key}' needs a 'file' beside its 'datasets'"));
                    Vec::new()
                }
            }
        }
        _ => {
            problems.wrong_type(key, node, "list");
            Vec::new()
        }
    }
}

fn mapping(conf: &Mapping, problems: &mut Problems) -> Option<Value> {
    let expand = conf.get_set("expand")?;
    let Some(expand) = expand.as_map() else {
        problems.wrong_type("expand", expand, "dict");
        return None;
    };
    let mut mapping = Map::new();
    mapping.insert("expand".into(), expand.to_json().into());
    if let Some(partial) = conf.get_set("partial") {
        match partial.as_map() {
            Some(partial) => {
                mapping.insert("partial".into(), partial.to_json().into());
            }
            None => problems.wrong_type("partial", partial, "dict"),
        }
    }
    Some(mapping.into())
}

/// Of a decorated function's task, what is not the function is its keyword arguments.
fn gather_call(arguments: &mut Map<String, Value>) {
    let names: Vec<String> = arguments.keys().filter(|name| !name.starts_with("python_callable")).cloned().collect();
    let call: Map<String, Value> = names.into_iter().filter_map(|name| arguments.remove_entry(&name)).collect();
    if !call.is_empty() {
        arguments.insert("op_kwargs".into(), call.into());
    }
}
