//! Workflows: DAGs made of stages whose tasks hand their results on.
//!
//! What a loader knows of a workflow stands in the DAG's [`extra`](Dag::extra) and in that of its tasks, under
//! [`WORKFLOW`]; whoever runs or shows workflows reads it here.

use serde_json::{Map, Value, json};

use super::{Dag, DagRun, RunType, Task};
use crate::id::TaskIx;

/// Where DAGs and tasks keep what is said of them as parts of a workflow; also the tag of all workflows.
pub const WORKFLOW: &str = "director";

/// The operator of tasks that are Python functions of the workflow's project; its argument `task` names the function.
pub const WORKFLOW_FUNCTION: &str = "updraft.director.PythonTask";

/// The key under which a task that failed leaves what it failed with: an object with `exception` and `traceback`.
pub const WORKFLOW_ERROR: &str = "error";

/// What a DAG says of itself as a workflow.
#[derive(Debug, Clone, Copy)]
pub struct Workflow<'a> {
    dag: &'a Dag,
    facts: &'a Map<String, Value>,
}

impl<'a> Workflow<'a> {
    /// The DAG as a workflow, if it is one.
    pub fn of(dag: &'a Dag) -> Option<Self> {
        let facts = dag.extra.get(WORKFLOW)?.as_object()?;
        Some(Self { dag, facts })
    }

    /// What a DAG keeps in [`Dag::extra`]. The last task of the DAG must be the one that [`Workflow::end`] tells.
    pub fn facts(definition: Map<String, Value>, retention: Option<u64>) -> Value {
        json!({ "definition": definition, "retention": retention })
    }

    /// The definition, as written; schemas that it names are put in place of their names.
    pub fn definition(&self) -> Option<&'a Map<String, Value>> {
        self.facts.get("definition")?.as_object()
    }

    /// The schema of payloads.
    pub fn schema(&self) -> Option<&'a Value> {
        self.definition()?.get("schema")
    }

    /// How many runs are kept; all if absent.
    pub fn retention(&self) -> Option<u64> {
        self.facts.get("retention")?.as_u64()
    }

    /// The task without work that ends each run: its state tells how the run ended, as soon as that is known. It succeeds
    /// after all stages, is `upstream_failed` as soon as a task of a stage has failed, and skipped once somebody has
    /// cancelled the run.
    pub fn end(&self) -> Option<TaskIx> {
        let last = self.dag.tasks.len().checked_sub(1)?;
        Some(TaskIx::from_index(last)).filter(|ix| self.dag.task(*ix).is_some_and(|task| task.is_empty))
    }

    /// What a run's tasks are given: its conf, or what the definition says where the schedule made the run.
    pub fn payload(&self, run: &'a DagRun) -> &'a Value {
        let is_given = run.run_type != RunType::Scheduled || run.conf.as_object().is_some_and(|conf| !conf.is_empty());
        let periodic = || self.definition()?.get("periodic")?.get("payload");
        if is_given { &run.conf } else { periodic().unwrap_or(&run.conf) }
    }
}

/// What a task says of itself as a part of a workflow. Tasks without it only hold stages together.
#[derive(Debug, Clone, Copy)]
pub struct WorkflowTask<'a> {
    facts: &'a Map<String, Value>,
}

impl<'a> WorkflowTask<'a> {
    /// The task as a part of a workflow, if the definition names it.
    pub fn of(task: &'a Task) -> Option<Self> {
        let facts = task.extra.get(WORKFLOW)?.as_object()?;
        facts.contains_key("key").then_some(Self { facts })
    }

    /// What a task keeps in [`Task::extra`]; see [`WorkflowTask::input`].
    pub fn facts(key: &str, is_hook: bool, input: Value) -> Value {
        json!({ "key": key, "is_hook": is_hook, "input": input })
    }

    /// What a task without work keeps that others take their input from.
    pub fn input_of_others(input: Value) -> Value {
        json!({ "input": input })
    }

    /// The name by which the definition calls it.
    pub fn key(&self) -> &'a str {
        self.facts.get("key").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether it is a hook rather than a part of a stage.
    pub fn is_hook(&self) -> bool {
        self.facts.get("is_hook").and_then(Value::as_bool).unwrap_or_default()
    }

    /// Whose results it takes, in postfix order: a text stands for the result of the task of that id, `null` for nothing,
    /// and a number for a list of so many values before it. What is left are its arguments. Empty for a task that takes
    /// nothing. A text in place of the list names the task of `dag` that keeps the list.
    pub fn input(&self, dag: &'a Dag) -> &'a [Value] {
        let mut input = self.facts.get("input");
        if let Some(Value::String(other)) = input {
            let other = dag.find_task(other).and_then(|ix| dag.task(ix));
            input = other.and_then(|other| other.extra.get(WORKFLOW)?.get("input"));
        }
        input.and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }
}
