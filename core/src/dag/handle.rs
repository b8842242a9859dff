use std::cell::RefCell;
use std::fmt::{self, Debug};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::builder::{Draft, simple_param};
use crate::id::TaskIx;
use crate::model::{Dataset, Task, TriggerRule, WeightRule};
use crate::operator::{Outcome, TaskContext, TaskError};

/// A task or a group, as an end of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// A task.
    Task(TaskIx),
    /// A group, as an index of [`Dag::groups`](crate::model::Dag::groups).
    Group(u32),
}

/// A task while its DAG is being built. Clones name the same task.
#[derive(Clone)]
pub struct TaskHandle {
    pub(super) draft: Rc<RefCell<Draft>>,
    pub(super) ix: TaskIx,
}

/// A group of tasks while its DAG is being built. Clones name the same group.
#[derive(Clone)]
pub struct GroupHandle {
    pub(super) draft: Rc<RefCell<Draft>>,
    pub(super) group: u32,
}

impl Debug for TaskHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TaskHandle").field(&self.ix).finish()
    }
}

impl Debug for GroupHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GroupHandle").field(&self.group).finish()
    }
}

/// One or several tasks or groups: what may stand on either side of an edge.
pub trait IntoNodes {
    /// Them, each with the draft that it belongs to.
    #[doc(hidden)]
    fn into_nodes(self) -> Vec<Linked>;
}

/// An end of an edge and the draft that it belongs to.
#[doc(hidden)]
#[derive(Clone)]
pub struct Linked {
    pub(super) draft: Rc<RefCell<Draft>>,
    pub(super) node: Node,
}

impl Debug for Linked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.node.fmt(f)
    }
}

impl IntoNodes for &TaskHandle {
    fn into_nodes(self) -> Vec<Linked> {
        vec![Linked { draft: Rc::clone(&self.draft), node: Node::Task(self.ix) }]
    }
}

impl IntoNodes for &GroupHandle {
    fn into_nodes(self) -> Vec<Linked> {
        vec![Linked { draft: Rc::clone(&self.draft), node: Node::Group(self.group) }]
    }
}

impl<T> IntoNodes for &Vec<T>
where
    for<'a> &'a T: IntoNodes,
{
    fn into_nodes(self) -> Vec<Linked> {
        self.iter().flat_map(IntoNodes::into_nodes).collect()
    }
}

impl<T: IntoNodes> IntoNodes for Vec<T> {
    fn into_nodes(self) -> Vec<Linked> {
        self.into_iter().flat_map(IntoNodes::into_nodes).collect()
    }
}

impl<T: IntoNodes, const N: usize> IntoNodes for [T; N] {
    fn into_nodes(self) -> Vec<Linked> {
        self.into_iter().flat_map(IntoNodes::into_nodes).collect()
    }
}

fn connect(before: &[Linked], after: &[Linked]) {
    for up in before {
        for down in after {
            let same = Rc::ptr_eq(&up.draft, &down.draft);
            let mut draft = down.draft.borrow_mut();
            if same {
                draft.edges.push((up.node, down.node));
            } else {
                draft.note_other_dag(down.node);
            }
        }
    }
}

/// Puts each element before the next: `chain([&extract, &transform, &load])`. An element may itself be several tasks or
/// groups.
pub fn chain<T: IntoNodes>(elements: impl IntoIterator<Item = T>) {
    let mut last: Option<Vec<Linked>> = None;
    for element in elements {
        let nodes = element.into_nodes();
        if let Some(before) = &last {
            connect(before, &nodes);
        }
        last = Some(nodes);
    }
}

macro_rules! edges {
    ($name:ident) => {
        impl $name {
            /// Starts once these have ended as the trigger rule asks.
            pub fn after(&self, others: impl IntoNodes) -> &Self {
                connect(&others.into_nodes(), &self.into_nodes());
                self
            }

            /// These start once it has ended as their trigger rules ask.
            pub fn before(&self, others: impl IntoNodes) -> &Self {
                connect(&self.into_nodes(), &others.into_nodes());
                self
            }
        }
    };
}

edges!(TaskHandle);
edges!(GroupHandle);

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $kind:ty),*) => $set:expr;)*) => {
        impl TaskHandle {
            $(
                $(#[$doc])*
                pub fn $name(self, $($argument: $kind),*) -> Self {
                    let set: fn(&mut Task, $($kind),*) = $set;
                    self.with(|task| set(task, $($argument),*))
                }
            )*
        }
    };
}

settings! {
    /// Shown in place of the id.
    display_name(name: &str) => |task, name| task.display_name = Some(name.into());
    /// Who answers for it.
    owner(owner: &str) => |task, owner| task.owner = owner.into();
    /// When it may start, given the states of the tasks directly before it.
    trigger_rule(rule: TriggerRule) => |task, rule| task.trigger_rule = rule;
    /// Further tries after a failed one.
    retries(retries: u32) => |task, retries| task.retries = retries;
    /// Pause before the next try.
    retry_delay(delay: Duration) => |task, delay| task.retry_delay = delay;
    /// Whether the pause doubles with each try.
    retry_exponential_backoff(on: bool) => |task, on| task.retry_exponential_backoff = on;
    /// The longest pause.
    max_retry_delay(delay: Duration) => |task, delay| task.max_retry_delay = Some(delay);
    /// The pool whose slots it takes.
    pool(pool: &str) => |task, pool| task.pool = pool.into();
    /// How many slots.
    pool_slots(slots: u32) => |task, slots| task.pool_slots = slots;
    /// The queue of workers.
    queue(queue: &str) => |task, queue| task.queue = queue.into();
    /// Its own weight.
    priority_weight(weight: i32) => |task, weight| task.priority_weight = weight;
    /// How the effective weight follows from the weights in the DAG.
    weight_rule(rule: WeightRule) => |task, rule| task.weight_rule = rule;
    /// The longest time of one try.
    execution_timeout(timeout: Duration) => |task, timeout| task.execution_timeout = Some(timeout);
    /// Whether the same task of the previous run must have ended well.
    depends_on_past(on: bool) => |task, on| task.depends_on_past = on;
    /// Whether the tasks directly after it in the previous run must have ended well, too; implies `depends_on_past`.
    wait_for_downstream(on: bool) => |task, on| {
        task.wait_for_downstream = on;
        task.depends_on_past |= on;
    };
    /// Most instances at a time over all runs.
    max_active_tis_per_dag(most: u32) => |task, most| task.max_active_tis_per_dag = Some(most);
    /// Most instances at a time within a run.
    max_active_tis_per_dagrun(most: u32) => |task, most| task.max_active_tis_per_dagrun = Some(most);
    /// Earliest logical date.
    start_date(date: DateTime<Utc>) => |task, date| task.start_date = Some(date);
    /// Latest logical date.
    end_date(date: DateTime<Utc>) => |task, date| task.end_date = Some(date);
    /// Documentation, in Markdown.
    doc_md(text: &str) => |task, text| task.doc_md = Some(text.into());
    /// Whether the result is stored as an XCom.
    do_xcom_push(on: bool) => |task, on| task.do_xcom_push = on;
    /// Named executor.
    executor(name: &str) => |task, name| task.executor = Some(name.into());
    /// Makes it a setup: tasks between it and its teardown need what it prepares.
    as_setup() => |task| task.is_setup = true;
    /// Whether the run fails if this teardown does.
    on_failure_fail_dagrun(on: bool) => |task, on| task.on_failure_fail_dagrun = on;
}

impl TaskHandle {
    /// Makes it a teardown of these setups: it runs once everything that needs them is done, even after failures.
    pub fn as_teardown(self, setups: impl IntoNodes) -> Self {
        let setups = setups.into_nodes();
        for setup in &setups {
            if let (Node::Task(ix), true) = (setup.node, Rc::ptr_eq(&setup.draft, &self.draft)) {
                self.draft.borrow_mut().dag.tasks[ix.index()].is_setup = true;
            }
        }
        connect(&setups, &(&self).into_nodes());
        self.with(|task| {
            task.is_teardown = true;
            task.trigger_rule = TriggerRule::AllDoneSetupSuccess;
        })
    }

    /// A parameter of the task alone, with its default.
    pub fn param(self, name: &str, value: impl Into<Value>) -> Self {
        self.with(|task| task.params.push(simple_param(name, value.into())))
    }

    /// Adds a dataset that it reads.
    pub fn inlet(self, dataset: impl Into<Dataset>) -> Self {
        self.with(|task| task.inlets.push(dataset.into().into_value()))
    }

    /// Adds a dataset that it updates.
    pub fn outlet(self, dataset: impl Into<Dataset>) -> Self {
        self.with(|task| task.outlets.push(dataset.into().into_value()))
    }

    fn with(self, set: impl FnOnce(&mut Task)) -> Self {
        set(&mut self.draft.borrow_mut().dag.tasks[self.ix.index()]);
        self
    }
}

impl GroupHandle {
    /// Shown to people.
    pub fn tooltip(self, text: &str) -> Self {
        self.draft.borrow_mut().dag.groups[self.group as usize].tooltip = text.into();
        self
    }

    /// Whether the ids of members added from now on start with the group's id and a dot; they do by default.
    pub fn prefix_group_id(self, on: bool) -> Self {
        self.draft.borrow_mut().dag.groups[self.group as usize].prefix_group_id = on;
        self
    }

    /// Settings of each task that is added from now on, unless it has its own.
    pub fn default_args(self, defaults: impl Fn(TaskHandle) -> TaskHandle + 'static) -> Self {
        self.draft.borrow_mut().set_defaults(Some(self.group), Rc::new(defaults));
        self
    }

    /// Adds a group inside it.
    pub fn group(&self, group_id: &str) -> Self {
        Self { draft: Rc::clone(&self.draft), group: self.draft.borrow_mut().add_group(group_id, Some(self.group)) }
    }

    /// Adds a task whose work is an async closure.
    pub fn task<F, R>(&self, task_id: &str, work: F) -> TaskHandle
    where
        F: Fn(TaskContext) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Outcome, TaskError>> + Send + 'static,
    {
        Draft::add_code(&self.draft, task_id, Some(self.group), Arc::new(crate::operator::Closure(work)))
    }

    /// Adds a task of a registered operator, with its arguments as a JSON object.
    pub fn operator(&self, task_id: &str, operator: &str, arguments: Value) -> TaskHandle {
        Draft::add_operator(&self.draft, task_id, Some(self.group), operator, arguments)
    }
}
