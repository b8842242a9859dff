//! What follows from the decision of a branch or short circuit (Airflow 2.11, `operators/branch.py`,
//! `models/skipmixin.py`, `operators/python.py`).

use std::collections::BTreeSet;

use serde_json::Value;
use updraft_core::id::TaskIx;
use updraft_core::model::Dag;
use updraft_core::operator::{SkipDownstream, TaskContext, TaskError};
use updraft_core::python::str_repr;

use crate::python_repr::repr_all;

/// Of the tasks directly after the branch, those to follow; the others are skipped.
pub(crate) fn follow(context: &TaskContext, decision: &Value, shown: &str) -> Result<SkipDownstream, TaskError> {
    context.info(format_args!("Branch into {shown}"));
    let dag = &context.attempt().dag;
    let downstream = dag.downstream();
    let chosen = chosen_tasks(context, dag, decision)?;
    context.info(format_args!("Following branch {}", set(chosen.iter().map(|&ix| id(dag, ix)))));
    let after = downstream.get(context.attempt().key.task.index()).map(Vec::as_slice).unwrap_or_default();
    if after.is_empty() {
        return Ok(SkipDownstream::None);
    }
    let mut followed = vec![false; dag.tasks.len()];
    let mut open = chosen;
    while let Some(ix) = open.pop() {
        if !std::mem::replace(&mut followed[ix.index()], true) {
            open.extend_from_slice(&downstream[ix.index()]);
        }
    }
    let (follow, skip): (Vec<TaskIx>, Vec<TaskIx>) = after.iter().partition(|ix| followed[ix.index()]);
    let skip: Vec<String> = skip.into_iter().map(|ix| format!("({}, -1)", str_repr(id(dag, ix)))).collect();
    context.info(format_args!("Skipping tasks [{}]", skip.join(", ")));
    Ok(SkipDownstream::Follow(follow.into_iter().map(|ix| id(dag, ix).to_owned()).collect()))
}

/// All or the direct ones of the tasks after a short circuit whose condition did not hold.
pub(crate) fn short_circuit(context: &TaskContext, holds: bool, shown: &str) -> SkipDownstream {
    context.info(format_args!("Condition result is {shown}"));
    let attempt = context.attempt();
    if holds {
        context.info("Proceeding with downstream tasks...");
        return SkipDownstream::None;
    }
    if !attempt.dag.tasks.iter().any(|task| task.upstream.contains(&attempt.key.task)) {
        context.info("No downstream tasks; nothing to do.");
        return SkipDownstream::None;
    }
    context.info("Skipping downstream tasks");
    match context.arguments().get("ignore_downstream_trigger_rules") {
        None | Some(Value::Bool(true)) => SkipDownstream::All,
        Some(_) => SkipDownstream::Direct,
    }
}

/// The tasks of a decision: ids of tasks, or of groups, which stand for their first tasks.
fn chosen_tasks(context: &TaskContext, dag: &Dag, decision: &Value) -> Result<Vec<TaskIx>, TaskError> {
    let names = match decision {
        Value::Null => Vec::new(),
        Value::Array(names) => names.iter().collect(),
        Value::Object(names) => return chosen_tasks(context, dag, &names.keys().cloned().collect()),
        other => vec![other],
    };
    let not_strings: Vec<String> = names.iter().filter_map(|name| not_a_string(name)).collect();
    if !not_strings.is_empty() {
        return Err(TaskError::failed(format!(
            "'branch_task_ids' expected all task IDs are strings. Invalid tasks found: {{{}}}.",
            not_strings.join(", ")
        )));
    }
    let (mut chosen, mut unknown) = (BTreeSet::new(), BTreeSet::new());
    for name in names.into_iter().filter_map(Value::as_str) {
        if dag.groups.iter().any(|group| group.group_id == name) {
            let roots = first_tasks(dag, name);
            let ids = repr_all('[', roots.iter().map(|&ix| id(dag, ix)), ']');
            context.info(format_args!("Expanding task group {name} into {ids}"));
            chosen.extend(roots);
        } else if let Some(ix) = dag.find_task(name) {
            chosen.insert(ix);
        } else {
            unknown.insert(name);
        }
    }
    if unknown.is_empty() {
        return Ok(chosen.into_iter().collect());
    }
    Err(TaskError::failed(format!(
        "'branch_task_ids' must contain only valid task_ids. Invalid tasks found: {}.",
        set(unknown)
    )))
}

/// A value that is no string, with its type, as Python shows the two.
fn not_a_string(value: &Value) -> Option<String> {
    match value {
        Value::String(_) => None,
        Value::Null => Some("(None, 'NoneType')".into()),
        Value::Bool(true) => Some("(True, 'bool')".into()),
        Value::Bool(false) => Some("(False, 'bool')".into()),
        Value::Number(number) if number.is_f64() => Some(format!("({number}, 'float')")),
        Value::Number(number) => Some(format!("({number}, 'int')")),
        Value::Array(_) => Some(format!("({value}, 'list')")),
        Value::Object(_) => Some(format!("({value}, 'dict')")),
    }
}

/// The members of a group, groups within it included, that come after none of its members.
fn first_tasks(dag: &Dag, group_id: &str) -> Vec<TaskIx> {
    // A parent comes before its children, so one pass finds every group within the named one.
    let mut within: Vec<bool> = Vec::with_capacity(dag.groups.len());
    for group in &dag.groups {
        let inherited = group.parent.and_then(|parent| within.get(parent as usize)).is_some_and(|&is_in| is_in);
        within.push(inherited || group.group_id == group_id);
    }
    let is_member =
        |ix: TaskIx| dag.task(ix).and_then(|task| within.get(task.group? as usize)).is_some_and(|&is_in| is_in);
    dag.tasks()
        .filter(|(ix, task)| is_member(*ix) && !task.upstream.iter().any(|&up| is_member(up)))
        .map(|(ix, _)| ix)
        .collect()
}

fn id(dag: &Dag, ix: TaskIx) -> &str {
    dag.task(ix).map_or("", |task| task.task_id.as_str())
}

/// A set of strings as Python prints it.
fn set<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    match repr_all('{', texts, '}') {
        empty if empty == "{}" => "set()".into(),
        set => set,
    }
}
