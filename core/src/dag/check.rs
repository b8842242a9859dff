use std::collections::BTreeMap;
use std::fmt;

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::id::{DagId, TaskId};
use crate::model::{DEFAULT_POOL, Dag, Dataset, Schedule, TriggerRule, normal_uri};
use crate::schedule::Timetables;

use super::MAX_TASKS;

/// Longest id of a DAG, task or pool, in characters.
const MAX_KEY: usize = 250;
/// Longest id of a group without its parents' prefixes.
const MAX_GROUP_KEY: usize = 200;
/// Longest tag.
const MAX_TAG: usize = 100;
/// How many tasks of a cycle are named.
const NAMED_IN_CYCLE: usize = 50;

/// Something that is wrong with a DAG.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DagProblem {
    /// A DAG's or pool's name is not a key.
    #[error("{what} {key:?} {problem}")]
    Key {
        /// What is named.
        what: &'static str,
        /// The name.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Two tasks or groups have one id.
    #[error("{0:?} names more than one task or task group")]
    Duplicate(String),
    /// A task comes after itself.
    #[error("task {0:?} comes after itself")]
    SelfDependency(TaskId),
    /// Tasks wait for one another.
    #[error("cycle: {}", CycleText(.0))]
    Cycle(Vec<TaskId>),
    /// A dependency names nothing.
    #[error("{task:?} depends on {name:?}, which is neither a task nor a task group")]
    UnknownDependency {
        /// Who depends.
        task: String,
        /// On what.
        name: String,
    },
    /// A task comes after something of another DAG.
    #[error("task or task group {0:?} is put in relation to one of another DAG")]
    OtherDag(String),
    /// No operator has the name.
    #[error("task {task:?}: no operator is registered as {operator:?}")]
    UnknownOperator {
        /// The task.
        task: TaskId,
        /// The name.
        operator: String,
    },
    /// A task is declared wrongly.
    #[error("task {task:?}: {problem}")]
    Task {
        /// The task.
        task: TaskId,
        /// What is wrong.
        problem: String,
    },
    /// The DAG is declared wrongly.
    #[error("{0}")]
    Dag(String),
}

impl DagProblem {
    /// The task that it is about, if it is about one.
    pub fn task_id(&self) -> Option<&str> {
        match self {
            Self::SelfDependency(task) | Self::UnknownOperator { task, .. } | Self::Task { task, .. } => {
                Some(task.as_str())
            }
            Self::UnknownDependency { task, .. } => Some(task),
            Self::Cycle(tasks) => tasks.first().map(TaskId::as_str),
            Self::Duplicate(id) | Self::OtherDag(id) => Some(id),
            Self::Key { .. } | Self::Dag(_) => None,
        }
    }
}

struct CycleText<'a>(&'a [TaskId]);

impl fmt::Display for CycleText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for task in self.0.iter().take(NAMED_IN_CYCLE) {
            write!(f, "{task} -> ")?;
        }
        if self.0.len() > NAMED_IN_CYCLE {
            write!(f, "({} more) -> ", self.0.len() - NAMED_IN_CYCLE)?;
        }
        write!(f, "{}", self.0.first().map_or("", TaskId::as_str))
    }
}

/// Everything that is wrong with a DAG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DagError {
    /// The DAG.
    pub dag_id: DagId,
    /// What is wrong; at least one problem.
    pub problems: Vec<DagProblem>,
}

impl fmt::Display for DagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DAG {:?} is not valid: ", self.dag_id)?;
        for (i, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for DagError {}

/// Says what is wrong with the id of a DAG, task or pool (Airflow 2.11, `utils/helpers.py`).
///
/// # Errors
/// The text completes a sentence that begins with the key.
pub fn check_key(key: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    check_text(key, MAX_KEY, allowed, "letters, digits, dashes, dots and underscores")
}

/// Says what is wrong with the id of a group, without its parents' prefixes.
///
/// # Errors
/// The text completes a sentence that begins with the key.
pub fn check_group_key(key: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    check_text(key, MAX_GROUP_KEY, allowed, "letters, digits, dashes and underscores")
}

fn check_text(key: &str, longest: usize, allowed: impl Fn(char) -> bool, list: &str) -> Result<(), String> {
    if key.is_empty() {
        return Err("must not be empty".into());
    }
    if key.chars().count() > longest {
        return Err(format!("is longer than {longest} characters"));
    }
    match key.chars().find(|&c| !allowed(c)) {
        Some(c) => Err(format!("contains {c:?}; only {list} are allowed")),
        None => Ok(()),
    }
}

/// Everything that is wrong with a declaration, apart from what its operators say about their arguments.
pub fn check(dag: &Dag) -> Vec<DagProblem> {
    let mut problems = Vec::new();
    let key = |what, key: &str, result: Result<(), String>| {
        result.err().map(|problem| DagProblem::Key { what, key: shorten(key), problem })
    };
    problems.extend(key("the DAG id", dag.dag_id.as_str(), check_key(dag.dag_id.as_str())));
    if dag.tasks.len() > MAX_TASKS {
        problems.push(DagProblem::Dag(format!("it has {} tasks; at most {MAX_TASKS} are allowed", dag.tasks.len())));
        return problems;
    }
    for tag in dag.tags.iter().filter(|tag| tag.chars().count() > MAX_TAG) {
        problems.push(DagProblem::Dag(format!("the tag {:?} is longer than {MAX_TAG} characters", shorten(tag))));
    }
    if dag.schedule != Schedule::None {
        // As in Airflow: a scheduled run has nobody who could give values.
        for param in dag.params.iter().filter(|param| param.value.is_none() && !allows_null(&param.schema)) {
            let text =
                format!("its schedule must be None, since the param {:?} is required and has no default", param.name);
            problems.push(DagProblem::Dag(text));
        }
    }
    problems.extend(check_schedule(dag).err().map(DagProblem::Dag));
    for uri in dag.consumed_uris() {
        problems.extend(normal_uri(uri).err().map(|problem| {
            DagProblem::Dag(format!("the URI {:?} of a dataset in its schedule {problem}", shorten(uri)))
        }));
    }

    let mut ids: BTreeMap<&str, u32> = BTreeMap::new();
    for group in &dag.groups {
        *ids.entry(&group.group_id).or_default() += 1;
        let parent = group.parent.and_then(|parent| dag.groups.get(parent as usize));
        let prefix = parent.filter(|parent| parent.prefix_group_id).map(|parent| parent.group_id.as_str());
        let own =
            prefix.and_then(|prefix| group.group_id.strip_prefix(prefix)?.strip_prefix('.')).unwrap_or(&group.group_id);
        problems.extend(key("the task group id", own, check_group_key(own)));
    }
    for (ix, task) in dag.tasks() {
        *ids.entry(task.task_id.as_str()).or_default() += 1;
        problems.extend(key("the task id", task.task_id.as_str(), check_key(task.task_id.as_str())));
        if task.pool != DEFAULT_POOL {
            problems.extend(check_key(&task.pool).err().map(|problem| DagProblem::Task {
                task: task.task_id.clone(),
                problem: format!("the pool {:?} {problem}", shorten(&task.pool)),
            }));
        }
        let mut wrong = |problem: String| problems.push(DagProblem::Task { task: task.task_id.clone(), problem });
        if task.pool_slots < 1 {
            wrong("pool_slots must be at least 1".into());
        }
        if task.max_active_tis_per_dag == Some(0) || task.max_active_tis_per_dagrun == Some(0) {
            wrong("a limit of active task instances must be at least 1".into());
        }
        if dag.fail_stop && task.trigger_rule != TriggerRule::AllSuccess && !task.is_teardown {
            wrong(format!("a DAG with fail_stop allows the trigger rule all_success only, not {}", task.trigger_rule));
        }
        for dataset in task.inlets.iter().chain(&task.outlets).filter_map(Dataset::from_value) {
            if let Err(problem) = normal_uri(&dataset.uri) {
                wrong(format!("the URI {:?} of a dataset {problem}", shorten(&dataset.uri)));
            }
        }
        if task.upstream.iter().any(|up| up.index() >= dag.tasks.len()) {
            wrong("it comes after a task that does not exist".into());
        }
        if !task.is_teardown && task.trigger_rule != TriggerRule::AllSuccess {
            let setup = task.upstream.iter().filter_map(|&up| dag.task(up)).find(|up| up.is_setup);
            if let Some(setup) = setup {
                wrong(format!("it comes after the setup {:?}, so its trigger rule must be all_success", setup.task_id));
            }
        }
        if task.upstream.contains(&ix) {
            problems.push(DagProblem::SelfDependency(task.task_id.clone()));
        }
    }
    problems.extend(ids.iter().filter(|(_, count)| **count > 1).map(|(id, _)| DagProblem::Duplicate((*id).into())));
    problems.extend(find_cycles(dag).into_iter().map(DagProblem::Cycle));
    problems
}

/// Says what is wrong with a DAG's schedule. Of classes that only its host knows, only that can say.
fn check_schedule(dag: &Dag) -> Result<(), String> {
    let timetables = Timetables::default();
    if !timetables.knows(&dag.schedule) {
        return Ok(());
    }
    let timetable = timetables.timetable(&dag.schedule, &dag.timezone);
    let timetable = timetable.map_err(|problem| format!("its schedule is not possible: {problem}"))?;
    match timetable.active_runs_limit() {
        Some(most) if dag.max_active_runs > most => {
            Err(format!("the schedule {} requires max_active_runs <= {most}", timetable.summary()))
        }
        _ => Ok(()),
    }
}

/// One cycle for each knot of tasks that wait for one another: each task is followed by one that waits for it. Cycles of
/// one task are left out.
fn find_cycles(dag: &Dag) -> Vec<Vec<TaskId>> {
    let count = dag.tasks.len();
    let mut graph: DiGraph<(), (), u32> = DiGraph::with_capacity(count, count);
    for _ in 0..count {
        graph.add_node(());
    }
    for (ix, task) in dag.tasks() {
        for up in task.upstream.iter().filter(|up| up.index() < count) {
            graph.add_edge(up.0.into(), ix.0.into(), ());
        }
    }
    // Of petgraph's algorithms for this, Kosaraju's is the one that does not recurse.
    let mut knots = kosaraju_scc(&graph);
    knots.retain(|knot| knot.len() > 1);
    let mut knot_of = vec![usize::MAX; count];
    for (number, knot) in knots.iter().enumerate() {
        for task in knot {
            knot_of[task.index()] = number;
        }
    }
    // Walking up within a knot never ends, so it comes back to a task that it has seen.
    let mut step = vec![usize::MAX; count];
    let walk = |(number, knot): (usize, &Vec<_>)| {
        let mut at = knot.iter().map(|task: &NodeIndex| task.index()).min()?;
        let mut path = Vec::new();
        while step[at] == usize::MAX {
            step[at] = path.len();
            path.push(at);
            at = dag.tasks[at]
                .upstream
                .iter()
                .map(|up| up.index())
                .find(|&up| up != at && knot_of.get(up) == Some(&number))?;
        }
        let mut cycle: Vec<usize> = path[step[at]..].iter().rev().copied().collect();
        let first = cycle.iter().enumerate().min_by_key(|(_, task)| **task).map_or(0, |(place, _)| place);
        cycle.rotate_left(first);
        Some(cycle)
    };
    let mut cycles: Vec<_> = knots.iter().enumerate().filter_map(walk).collect();
    cycles.sort();
    cycles.into_iter().map(|cycle| cycle.into_iter().map(|at| dag.tasks[at].task_id.clone()).collect()).collect()
}

fn allows_null(schema: &serde_json::Map<String, serde_json::Value>) -> bool {
    match schema.get("type") {
        Some(serde_json::Value::String(kind)) => kind == "null",
        Some(serde_json::Value::Array(kinds)) => kinds.iter().any(|kind| kind == "null"),
        _ => false,
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_KEY) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.into(),
    }
}
