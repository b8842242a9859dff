use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::handle::{GroupHandle, IntoNodes, Node, TaskHandle, chain};
use super::{DagError, DagProblem, Wiring, check, content_hash, read_access_control, settle};
use crate::id::{DagId, TaskId, TaskIx};
use crate::model::{Action, Dag, OperatorRef, Param, Resource, Schedule, Task, TaskGroup};
use crate::operator::{Operator, Outcome, Registry, TaskContext, TaskError};

/// Declares a DAG in Rust.
///
/// Its own settings are chained; tasks and groups are added through a shared reference, and the handles that this returns
/// put them in order:
///
/// ```
/// use updraft_core::dag::{DagBuilder, chain};
/// use updraft_core::operator::{Outcome, Registry, TaskContext, TaskError};
///
/// let dag = DagBuilder::new("etl").tag("example").default_args(|task| task.retries(2));
/// let extract = dag.task("extract", |_: TaskContext| async { Ok(Outcome::value(3)) });
/// let transform = dag.task("transform", |cx: TaskContext| async move {
///     let rows = cx.xcom_pull("extract").await.map_err(|error| TaskError::failed(error.to_string()))?;
///     Ok(Outcome::value(rows.unwrap_or_default()))
/// });
/// let done = dag.operator("done", "empty", serde_json::json!({}));
/// chain([&extract, &transform, &done]);
///
/// let built = dag.build(&Registry::default())?;
/// assert_eq!(built.dag.tasks.len(), 3);
/// # Ok::<(), updraft_core::dag::DagError>(())
/// ```
#[derive(Clone)]
pub struct DagBuilder {
    draft: Rc<RefCell<Draft>>,
}

/// A DAG that has passed all checks, and the code of those of its tasks that are code.
#[derive(Debug, Clone)]
pub struct BuiltDag {
    /// The declaration.
    pub dag: Arc<Dag>,
    /// The work of the tasks that are closures.
    pub code: BTreeMap<TaskId, Arc<dyn Operator>>,
}

type Defaults = Rc<dyn Fn(TaskHandle) -> TaskHandle>;

/// A DAG as far as it has been declared.
pub(super) struct Draft {
    pub(super) dag: Dag,
    pub(super) edges: Vec<(Node, Node)>,
    work: Vec<Work>,
    defaults: BTreeMap<Option<u32>, Defaults>,
    problems: Vec<DagProblem>,
}

enum Work {
    Code(Arc<dyn Operator>),
    Operator(String),
}

impl Debug for DagBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DagBuilder").field(&self.draft.borrow().dag.dag_id).finish()
    }
}

pub(super) fn simple_param(name: &str, value: Value) -> Param {
    Param { name: name.into(), value: Some(value), description: None, schema: Map::new() }
}

impl DagBuilder {
    /// A DAG with Airflow's defaults and no tasks.
    pub fn new(dag_id: impl Into<DagId>) -> Self {
        let draft = Draft {
            dag: Dag::new(dag_id),
            edges: Vec::new(),
            work: Vec::new(),
            defaults: BTreeMap::new(),
            problems: Vec::new(),
        };
        Self { draft: Rc::new(RefCell::new(draft)) }
    }

    fn with(self, set: impl FnOnce(&mut Dag)) -> Self {
        set(&mut self.draft.borrow_mut().dag);
        self
    }

    /// Shown in place of the id.
    pub fn display_name(self, name: &str) -> Self {
        self.with(|dag| dag.display_name = Some(name.into()))
    }

    /// One line for people.
    pub fn description(self, text: &str) -> Self {
        self.with(|dag| dag.description = Some(text.into()))
    }

    /// Documentation, in Markdown.
    pub fn doc_md(self, text: &str) -> Self {
        self.with(|dag| dag.doc_md = Some(text.into()))
    }

    /// Where it is declared, for people; `file!()` will do.
    pub fn fileloc(self, file: &str) -> Self {
        self.with(|dag| dag.fileloc = file.into())
    }

    /// When it wants runs, such as [`Schedule::cron`] or [`Schedule::every`]; without a schedule, only when triggered.
    pub fn schedule(self, schedule: Schedule) -> Self {
        self.with(|dag| dag.schedule = schedule)
    }

    /// Earliest logical date.
    pub fn start_date(self, date: DateTime<Utc>) -> Self {
        self.with(|dag| dag.start_date = Some(date))
    }

    /// Latest logical date.
    pub fn end_date(self, date: DateTime<Utc>) -> Self {
        self.with(|dag| dag.end_date = Some(date))
    }

    /// IANA name of its zone; UTC by default.
    pub fn timezone(self, name: &str) -> Self {
        self.with(|dag| dag.timezone = name.into())
    }

    /// Whether missed intervals are made up for.
    pub fn catchup(self, on: bool) -> Self {
        self.with(|dag| dag.catchup = on)
    }

    /// Most runs at a time.
    pub fn max_active_runs(self, most: u32) -> Self {
        self.with(|dag| dag.max_active_runs = most)
    }

    /// Most task instances at a time, over all runs.
    pub fn max_active_tasks(self, most: u32) -> Self {
        self.with(|dag| dag.max_active_tasks = most)
    }

    /// Failed runs in a row after which it is paused.
    pub fn max_consecutive_failed_dag_runs(self, most: u32) -> Self {
        self.with(|dag| dag.max_consecutive_failed_dag_runs = most)
    }

    /// The longest time of a run.
    pub fn dagrun_timeout(self, timeout: Duration) -> Self {
        self.with(|dag| dag.dagrun_timeout = Some(timeout))
    }

    /// Whether the first failed task fails the run.
    pub fn fail_stop(self, on: bool) -> Self {
        self.with(|dag| dag.fail_stop = on)
    }

    /// Whether it starts paused; without this the host decides.
    pub fn is_paused_upon_creation(self, on: bool) -> Self {
        self.with(|dag| dag.is_paused_upon_creation = Some(on))
    }

    /// Adds a label.
    pub fn tag(self, tag: &str) -> Self {
        self.with(|dag| {
            if let Err(at) = dag.tags.binary_search_by(|have| have.as_str().cmp(tag)) {
                dag.tags.insert(at, tag.into());
            }
        })
    }

    /// Lets a role do this on the DAG ([`Resource::Dags`]) or on its runs ([`Resource::DagRuns`]). A DAG that says anything
    /// of access takes from roles what it does not say; who may access all DAGs still may access this one.
    pub fn access(self, role: &str, resource: Resource, actions: &[Action]) -> Self {
        self.with(|dag| {
            let declared = dag.access_control.get_or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(roles) = declared {
                let of_role = roles.entry(role).or_insert_with(|| Value::Object(Map::new()));
                let mut all: BTreeSet<&str> = actions.iter().map(|action| action.as_str()).collect();
                let before = of_role[resource.as_str()].take();
                all.extend(before.as_array().into_iter().flatten().filter_map(Value::as_str));
                of_role[resource.as_str()] = all.into_iter().collect();
            }
        })
    }

    /// Adds a parameter with its default.
    pub fn param(self, name: &str, value: impl Into<Value>) -> Self {
        self.param_with(simple_param(name, value.into()))
    }

    /// Adds a parameter with a description and a schema.
    pub fn param_with(self, param: Param) -> Self {
        self.with(|dag| dag.params.push(param))
    }

    /// Names the version of its code: a scheduler runs the DAG's runs only if it registered the same. By default the hash
    /// of the structure, which does not change when only the insides of closures do.
    pub fn code_version(self, version: &str) -> Self {
        self.with(|dag| dag.code_version = Some(version.into()))
    }

    /// Settings of each task that is added from now on, unless it has its own.
    pub fn default_args(self, defaults: impl Fn(TaskHandle) -> TaskHandle + 'static) -> Self {
        self.draft.borrow_mut().set_defaults(None, Rc::new(defaults));
        self
    }

    /// Adds a task whose work is an async closure.
    pub fn task<F, R>(&self, task_id: &str, work: F) -> TaskHandle
    where
        F: Fn(TaskContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Outcome, TaskError>> + Send + 'static,
    {
        Draft::add_code(&self.draft, task_id, None, Arc::new(crate::operator::Closure(work)))
    }

    /// Adds a task of a registered operator, with its arguments as a JSON object.
    pub fn operator(&self, task_id: &str, operator: &str, arguments: Value) -> TaskHandle {
        Draft::add_operator(&self.draft, task_id, None, operator, arguments)
    }

    /// Adds a group. Ids of its members start with its id and a dot.
    pub fn group(&self, group_id: &str) -> GroupHandle {
        let group = self.draft.borrow_mut().add_group(group_id, None);
        GroupHandle { draft: Rc::clone(&self.draft), group }
    }

    /// Puts each element before the next; see [`chain`].
    pub fn chain<T: IntoNodes>(&self, elements: impl IntoIterator<Item = T>) {
        chain(elements);
    }

    /// Checks everything and hands out the DAG.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn build(&self, registry: &Registry) -> Result<BuiltDag, DagError> {
        let draft = self.draft.borrow();
        let mut dag = draft.dag.clone();
        let mut problems = draft.problems.clone();

        // Edges of tasks come first, then those of groups from the innermost out, so that the first and last tasks of a
        // group don't depend on the order of the lines.
        let mut wiring = Wiring::new(&dag);
        let mut edges = draft.edges.clone();
        edges.sort_by_cached_key(|edge| match edge {
            (Node::Task(_), Node::Task(_)) => 0,
            (before, after) => u32::MAX - common_depth(&dag, *before, *after),
        });
        for (before, after) in edges {
            wiring.connect(&dag, before, after);
        }
        wiring.write_to(&mut dag);

        let mut code = BTreeMap::new();
        for (task, work) in dag.tasks.iter_mut().zip(&draft.work) {
            match work {
                Work::Code(operator) => {
                    code.insert(task.task_id.clone(), Arc::clone(operator));
                }
                Work::Operator(name) => match registry.info(name) {
                    Ok(info) => {
                        info.apply_to(task);
                        if let Some(Err(problem)) = info.check.map(|check| check(&task.arguments)) {
                            problems.push(DagProblem::Task { task: task.task_id.clone(), problem });
                        }
                    }
                    Err(_) => problems
                        .push(DagProblem::UnknownOperator { task: task.task_id.clone(), operator: name.clone() }),
                },
            }
        }
        if let Some(declared) = dag.access_control.take() {
            match read_access_control(&declared) {
                Ok(read) => dag.access_control = Some(read),
                Err(problem) => problems.push(DagProblem::Dag(problem)),
            }
        }
        problems.extend(check(&dag));
        if !problems.is_empty() {
            return Err(DagError { dag_id: dag.dag_id, problems });
        }
        settle(&mut dag);
        if !code.is_empty() && dag.code_version.is_none() {
            dag.code_version = Some(content_hash(&dag));
        }
        Ok(BuiltDag { dag: Arc::new(dag), code })
    }
}

impl Draft {
    pub(super) fn add_code(
        draft: &Rc<RefCell<Self>>,
        task_id: &str,
        group: Option<u32>,
        code: Arc<dyn Operator>,
    ) -> TaskHandle {
        let mut task = Task::new("", OperatorRef::from_path("updraft.RustOperator"));
        task.is_code = true;
        Self::add(draft, task_id, group, task, Work::Code(code))
    }

    pub(super) fn add_operator(
        draft: &Rc<RefCell<Self>>,
        task_id: &str,
        group: Option<u32>,
        operator: &str,
        arguments: Value,
    ) -> TaskHandle {
        let mut task = Task::new("", OperatorRef::from_path(operator));
        let mut wrong = false;
        match arguments {
            Value::Object(arguments) => task.arguments = arguments,
            Value::Null => {}
            _ => wrong = true,
        }
        let handle = Self::add(draft, task_id, group, task, Work::Operator(operator.into()));
        if wrong {
            let mut draft = draft.borrow_mut();
            let task = draft.dag.tasks[handle.ix.index()].task_id.clone();
            draft.problems.push(DagProblem::Task { task, problem: "its arguments must be a JSON object".into() });
        }
        handle
    }

    fn add(draft: &Rc<RefCell<Self>>, id: &str, group: Option<u32>, mut task: Task, work: Work) -> TaskHandle {
        let (handle, defaults) = {
            let mut this = draft.borrow_mut();
            task.task_id = this.full_id(id, group).into();
            task.group = group;
            let ix = TaskIx::from_index(this.dag.tasks.len());
            this.dag.tasks.push(task);
            this.work.push(work);
            (TaskHandle { draft: Rc::clone(draft), ix }, this.defaults_for(group))
        };
        // Defaults go through the same setters as a task's own settings, so the draft must not be borrowed here.
        defaults.into_iter().fold(handle, |handle, defaults| defaults(handle))
    }

    pub(super) fn add_group(&mut self, group_id: &str, parent: Option<u32>) -> u32 {
        let group = u32::try_from(self.dag.groups.len()).unwrap_or(u32::MAX);
        let group_id = self.full_id(group_id, parent);
        self.dag.groups.push(TaskGroup { group_id, prefix_group_id: true, parent, tooltip: String::new() });
        group
    }

    pub(super) fn set_defaults(&mut self, group: Option<u32>, defaults: Defaults) {
        self.defaults.insert(group, defaults);
    }

    pub(super) fn note_other_dag(&mut self, node: Node) {
        let id = match node {
            Node::Task(ix) => self.dag.tasks[ix.index()].task_id.to_string(),
            Node::Group(group) => self.dag.groups[group as usize].group_id.clone(),
        };
        self.problems.push(DagProblem::OtherDag(id));
    }

    fn full_id(&self, id: &str, group: Option<u32>) -> String {
        match group.map(|group| &self.dag.groups[group as usize]) {
            Some(group) if group.prefix_group_id => format!("{}.{id}", group.group_id),
            _ => id.into(),
        }
    }

    /// The DAG's defaults, then those of the groups around the task from the outermost in.
    fn defaults_for(&self, group: Option<u32>) -> Vec<Defaults> {
        let mut defaults: Vec<Defaults> = Vec::new();
        let mut at = group;
        while let Some(group) = at {
            defaults.extend(self.defaults.get(&Some(group)).cloned());
            at = self.dag.groups[group as usize].parent;
        }
        defaults.extend(self.defaults.get(&None).cloned());
        defaults.reverse();
        defaults
    }
}

/// How many groups have both ends inside.
fn common_depth(dag: &Dag, before: Node, after: Node) -> u32 {
    let around = |node| {
        let mut groups = Vec::new();
        let mut at = match node {
            Node::Task(ix) => dag.task(ix).and_then(|task| task.group),
            Node::Group(group) => dag.groups[group as usize].parent,
        };
        while let Some(group) = at {
            groups.push(group);
            at = dag.groups[group as usize].parent;
        }
        groups.into_iter().rev()
    };
    let common = around(before).zip(around(after)).take_while(|(left, right)| left == right).count();
    u32::try_from(common).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[path = "builder_test.rs"]
mod tests;
