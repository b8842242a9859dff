//! One definition of `workflows.yml`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use updraft_core::dag::{check, check_key, settle};
use updraft_core::id::TaskIx;
use updraft_core::model::{
    Dag, OperatorRef, Task, TaskGroup, TriggerRule, WORKFLOW, WORKFLOW_FUNCTION, WeightRule, Workflow, WorkflowTask,
};
use updraft_core::operator::{OperatorInfo, Registry};

use super::periodic;
use super::shape::{self, Part};
use crate::loader::read_text;
use crate::node::{Mapping, Node, Place};
use crate::problem::Problems;

/// Celery's queue of whatever names no other.
const DEFAULT_QUEUE: &str = "celery";
/// The limits of Updraft's that Director does not have. Launches beyond so many that run wait.
const MAX_ACTIVE_RUNS: u32 = 1024;
const MAX_ACTIVE_TASKS: u32 = 1_000_000;

/// What all definitions of a project share.
pub(super) struct Ground<'a> {
    pub(super) folder: &'a Path,
    pub(super) registry: &'a Registry,
    /// The names of the project's Python functions.
    pub(super) functions: &'a BTreeSet<String>,
    /// How many runs of a workflow are kept that does not say so.
    pub(super) retention: Option<u64>,
    /// Schemas that were read, by file.
    pub(super) schemas: BTreeMap<PathBuf, Result<Value, String>>,
}

impl Ground<'_> {
    /// The operator of the tasks of a name: one that the host registered under it, or that of the project's functions.
    fn operator(&self, name: &str) -> Result<&Arc<OperatorInfo>, String> {
        if let Ok(info) = self.registry.info(name) {
            return Ok(info);
        }
        let unknown = || format!("no task is registered as '{name}'");
        if self.functions.contains(name) {
            return self.registry.info(WORKFLOW_FUNCTION).map_err(|_| unknown());
        }
        Err(unknown())
    }

    fn schema(&mut self, name: &str) -> Result<Value, String> {
        let path = self.folder.join("schemas").join(format!("{name}.json"));
        let read = |path: &Path| {
            let text = read_text(path).map_err(|error| format!("the schema '{name}' ({}): {error}", path.display()))?;
            let wrong = |error: &dyn std::fmt::Display| {
                format!("the schema '{name}' ({}) is not valid: {error}", path.display())
            };
            let schema: Value = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
            jsonschema::options().should_ignore_unknown_formats(true).build(&schema).map_err(|error| wrong(&error))?;
            Ok(schema)
        };
        self.schemas.entry(path).or_insert_with_key(|path| read(path)).clone()
    }
}

/// Which queue tasks are in.
#[derive(Default)]
struct Queues {
    default: Option<String>,
    customs: BTreeMap<String, String>,
}

impl Queues {
    fn of(&self, task: &str) -> &str {
        self.customs.get(task).or(self.default.as_ref()).map_or(DEFAULT_QUEUE, String::as_str)
    }
}

/// The DAG of a definition, unless something is wrong with it.
pub(super) fn read(
    name: &str,
    value: &Node,
    path: &Path,
    ground: &mut Ground<'_>,
    problems: &mut Problems,
) -> Option<Dag> {
    let Some(map) = value.as_map() else {
        problems.add(value.place, format!("a definition must be a mapping, not of type '{}'", value.type_name()));
        return None;
    };
    let place = value.place;
    if !name.split_once('.').is_some_and(|(project, name)| !project.is_empty() && !name.is_empty()) {
        problems.add(place, "its name must be of the form PROJECT.NAME");
    }
    problems.take(place, check_key(name).map_err(|problem| format!("its name {problem}")));

    let queues = queues(map, problems);
    let hook = |event: &str, problems: &mut Problems| hook(map, event, problems);
    let (success, failure) = (hook("success", problems), hook("failure", problems));
    let schedule = mapping(map, "periodic", problems)
        .and_then(|node| problems.take(node.place, periodic::read(node.as_map()?)))
        .unwrap_or_default();
    let retention = mapping(map, "retention", problems)
        .and_then(|node| problems.take(node.place, periodic::retention(&node.to_json())))
        .flatten();
    let mut definition = map.to_json();
    if let Some(schema) = map.get("schema") {
        let found = match schema.as_str() {
            Some(name) => ground.schema(name),
            None => Err(format!("'schema' must be the name of a file, not of type '{}'", schema.type_name())),
        };
        if let Some(found) = problems.take(schema.place, found) {
            definition.insert("schema".into(), found);
        }
    }

    let mut dag = Dag::new(name);
    dag.fileloc = path.to_string_lossy().into_owned();
    dag.tags = vec![WORKFLOW.into()];
    dag.schedule = schedule;
    // As with Celery's beat, intervals count from when the workflow is first known, and what has passed is not made up for.
    dag.catchup = false;
    dag.is_paused_upon_creation = Some(false);
    dag.max_active_runs = MAX_ACTIVE_RUNS;
    dag.max_active_tasks = MAX_ACTIVE_TASKS;
    dag.default_view = "graph".into();

    let mut build = Build { dag: &mut dag, ground, queues: &queues, names: Names::default(), problems };
    let stages = match map.get("tasks").map(|tasks| (tasks, tasks.as_list())) {
        Some((tasks, Some(stages))) => shape::lay_out(tasks.place, stages, &mut build),
        Some((tasks, None)) => {
            build.problems.add(tasks.place, format!("'tasks' must be a list, not of type '{}'", tasks.type_name()));
            None
        }
        None => {
            build.problems.add(place, "'tasks' is missing");
            None
        }
    };
    let mut before = stages?;
    if success.is_some() || failure.is_some() {
        before = build.gathered(before);
    }
    if let Some((task, place)) = &success {
        build.hook(task, *place, &before, TriggerRule::AllSuccess);
    }
    if let Some((task, place)) = &failure {
        build.hook(task, *place, &before, TriggerRule::OneFailed);
    }
    build.empty("end", before.tails);
    if problems.list.is_empty() {
        let retention = match map.get("retention").is_some_and(|retention| !retention.is_null()) {
            true => retention,
            false => ground.retention,
        };
        dag.extra.insert(WORKFLOW.into(), Workflow::facts(definition, retention));
        for problem in check(&dag) {
            problems.add(place, problem.to_string());
        }
    }
    if !problems.list.is_empty() {
        return None;
    }
    settle(&mut dag);
    Some(dag)
}

/// The mapping under a key, if there is one.
fn mapping<'a>(map: &'a Mapping, key: &str, problems: &mut Problems) -> Option<&'a Node> {
    let node = map.get_set(key)?;
    if node.as_map().is_none() {
        problems.wrong_type(key, node, "dict");
        return None;
    }
    Some(node)
}

fn hook(map: &Mapping, event: &str, problems: &mut Problems) -> Option<(String, Place)> {
    let hook = map.get_set("hooks").and_then(Node::as_map)?.get_set(event);
    if map.get_set("hooks").is_some_and(|hooks| hooks.as_map().is_none()) {
        return None;
    }
    let hook = hook?;
    match hook.as_str() {
        Some(task) => Some((task.to_owned(), hook.place)),
        None => {
            problems.wrong_type(event, hook, "str");
            None
        }
    }
}

fn queues(map: &Mapping, problems: &mut Problems) -> Queues {
    let mut queues = Queues::default();
    if let Some(hooks) = map.get_set("hooks").filter(|hooks| hooks.as_map().is_none()) {
        problems.wrong_type("hooks", hooks, "dict");
    }
    let Some(queue) = map.get_set("queue") else { return queues };
    if let Some(name) = queue.as_str() {
        queues.default = Some(name.to_owned());
        return queues;
    }
    let Some(queue_map) = queue.as_map() else {
        problems.add(queue.place, "'queue' must be a name, or a mapping of 'default' and 'customs'");
        return queues;
    };
    if let Some(default) = queue_map.get_set("default") {
        match default.as_str() {
            Some(name) => queues.default = Some(name.to_owned()),
            None => problems.wrong_type("default", default, "str"),
        }
    }
    if let Some(customs) = mapping(queue_map, "customs", problems).and_then(Node::as_map) {
        for (task, queue) in &customs.entries {
            match (task.as_str(), queue.as_str()) {
                (Some(task), Some(queue)) => {
                    queues.customs.insert(task.to_owned(), queue.to_owned());
                }
                _ => problems.add(queue.place, "'customs' must map names of tasks to names of queues"),
            }
        }
    }
    queues
}

/// Ids that are taken, of tasks and groups.
#[derive(Default)]
pub(super) struct Names(BTreeMap<String, u32>);

impl Names {
    /// An id for what is called so: the name itself for the first, and with a number behind it for others.
    fn take(&mut self, name: &str, allows_dots: bool) -> String {
        let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-') || (allows_dots && c == '.');
        let plain: String = name.chars().map(|c| if fits(c) { c } else { '_' }).collect();
        if !self.0.contains_key(&plain) {
            self.0.insert(plain.clone(), 1);
            return plain;
        }
        let mut number = self.0.get(&plain).copied().unwrap_or(1);
        let id = loop {
            number += 1;
            let id = format!("{plain}__{number}");
            if !self.0.contains_key(&id) {
                break id;
            }
        };
        self.0.insert(plain, number);
        self.0.insert(id.clone(), 1);
        id
    }
}

/// Adds tasks to a DAG.
pub(super) struct Build<'a, 'g> {
    dag: &'a mut Dag,
    ground: &'a Ground<'g>,
    queues: &'a Queues,
    names: Names,
    pub(super) problems: &'a mut Problems,
}

impl Build<'_, '_> {
    /// A task of a stage, after `before`.
    pub(super) fn task(&mut self, name: &str, place: Place, before: &Part, group: Option<u32>) -> Part {
        self.add(name, place, before, group, TriggerRule::AllSuccess, false, before.result.clone())
    }

    /// A hook. It takes nothing (after a failure), or `None`.
    fn hook(&mut self, name: &str, place: Place, before: &Part, rule: TriggerRule) {
        let input = if rule == TriggerRule::AllSuccess { Input::List(vec![Value::Null]) } else { Input::List(vec![]) };
        let ix = self.add(name, place, before, None, rule, true, input);
        if rule == TriggerRule::OneFailed
            && let Some(task) = ix.tails.first().and_then(|ix| self.dag.tasks.get_mut(ix.index()))
        {
            task.queue = DEFAULT_QUEUE.into();
        }
    }

    #[allow(clippy::too_many_arguments, reason = "all that is said of a task")]
    fn add(
        &mut self,
        name: &str,
        place: Place,
        before: &Part,
        group: Option<u32>,
        rule: TriggerRule,
        is_hook: bool,
        input: Input,
    ) -> Part {
        let id = self.names.take(name, true);
        let mut task = Task::new(id.clone(), OperatorRef::from_path(WORKFLOW_FUNCTION));
        match self.ground.operator(name) {
            Ok(info) => {
                info.apply_to(&mut task);
                if info.path.path() == WORKFLOW_FUNCTION {
                    task.arguments.insert("task".into(), name.into());
                }
                if let Some(Err(problem)) = info.check.map(|check| check(&task.arguments)) {
                    self.problems.add(place, format!("task '{name}': {problem}"));
                }
            }
            Err(problem) => self.problems.add(place, problem),
        }
        task.display_name = Some(name.into());
        task.queue = self.queues.of(name).into();
        task.owner = "director".into();
        task.weight_rule = WeightRule::Absolute;
        task.trigger_rule = rule;
        task.group = group;
        task.upstream.clone_from(&before.tails);
        task.extra.insert(WORKFLOW.into(), WorkflowTask::facts(name, is_hook, input.into()));
        let ix = self.push(task);
        Part { tails: vec![ix], result: Input::List(vec![id.into()]) }
    }

    /// A task without work, after `upstream`. Returns its place and id.
    fn empty(&mut self, name: &str, upstream: Vec<TaskIx>) -> (TaskIx, String) {
        let id = self.names.take(name, true);
        let mut task = Task::new(id.clone(), OperatorRef::from_path("EmptyOperator"));
        // The default registry has it; without it the DAG could not end.
        match self.ground.registry.info("EmptyOperator") {
            Ok(info) => info.apply_to(&mut task),
            Err(error) => self.problems.add(Place::default(), error.to_string()),
        }
        task.is_empty = true;
        task.owner = "director".into();
        task.weight_rule = WeightRule::Absolute;
        task.upstream = upstream;
        (self.push(task), id)
    }

    fn push(&mut self, mut task: Task) -> TaskIx {
        task.upstream.sort_unstable();
        task.upstream.dedup();
        let ix = TaskIx::from_index(self.dag.tasks.len());
        self.dag.tasks.push(task);
        ix
    }

    /// A part of several ends as one of a single end, so that many may come after it.
    pub(super) fn gathered(&mut self, part: Part) -> Part {
        if part.tails.len() < 2 {
            return part;
        }
        let (ix, id) = self.empty("join", part.tails);
        let task = &mut self.dag.tasks[ix.index()];
        task.extra.insert(WORKFLOW.into(), WorkflowTask::input_of_others(part.result.into()));
        Part { tails: vec![ix], result: Input::Of(id) }
    }

    /// A group of the DAG for a stage that is called so.
    pub(super) fn group(&mut self, name: &str, parent: Option<u32>) -> u32 {
        let group_id = self.names.take(name, false);
        let group = u32::try_from(self.dag.groups.len()).unwrap_or(u32::MAX);
        let tooltip = String::new();
        self.dag.groups.push(TaskGroup { group_id, prefix_group_id: false, parent, tooltip });
        group
    }
}

/// Whose results a task takes; see [`WorkflowTask::input`].
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Input {
    List(Vec<Value>),
    Of(String),
}

impl From<Input> for Value {
    fn from(input: Input) -> Self {
        match input {
            Input::List(list) => list.into(),
            Input::Of(id) => id.into(),
        }
    }
}
