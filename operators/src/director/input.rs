//! What a task is given.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use updraft_core::model::{RETURN_VALUE, Workflow, WorkflowTask};
use updraft_core::operator::{TaskContext, TaskError};
use updraft_core::storage::XComQuery;

/// What a task is called with.
#[derive(Debug)]
pub(super) struct Input {
    /// In order.
    pub(super) args: Vec<Value>,
    /// The run's.
    pub(super) payload: Value,
    /// The run's uid.
    pub(super) workflow_id: String,
}

impl Input {
    pub(super) async fn of(context: &TaskContext) -> Result<Self, TaskError> {
        let attempt = context.attempt();
        let (dag, run) = (&attempt.dag, &attempt.run);
        let steps = WorkflowTask::of(context.task()).map(|task| task.input(dag)).unwrap_or_default();
        let task_ids: BTreeSet<String> = steps.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        let mut results = BTreeMap::new();
        if !task_ids.is_empty() {
            let query = XComQuery { task_ids: Some(task_ids), key: Some(RETURN_VALUE.into()), ..XComQuery::default() };
            let found = context.store().xcoms(attempt, &query, false).await;
            let found = found.map_err(|error| TaskError::Other(Box::new(error)))?;
            results.extend(found.into_iter().map(|entry| (entry.task_id, entry.xcom.value)));
        }
        let payload = Workflow::of(dag).map_or(&run.conf, |workflow| workflow.payload(run)).clone();
        Ok(Self { args: evaluate(steps, &results), payload, workflow_id: run.uid.to_string() })
    }
}

/// Evaluates an input in postfix order. Tasks that left nothing returned `None`.
fn evaluate(steps: &[Value], results: &BTreeMap<String, Value>) -> Vec<Value> {
    let mut values: Vec<Value> = Vec::new();
    for step in steps {
        let value = match step {
            Value::String(task) => results.get(task).cloned().unwrap_or_default(),
            Value::Number(count) => {
                let count = count.as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or_default();
                values.split_off(values.len().saturating_sub(count)).into()
            }
            _ => Value::Null,
        };
        values.push(value);
    }
    values
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_are_made_of_what_stands_before_them() {
        let results =
            BTreeMap::from([("a".to_owned(), json!(1)), ("b".to_owned(), json!([2])), ("c".to_owned(), json!(3))]);
        for (steps, expected) in [
            (json!([]), json!([])),
            (json!([null]), json!([null])),
            (json!(["a"]), json!([1])),
            (json!(["a", "b", 2]), json!([[1, [2]]])),
            (json!(["a", "b", "c", 2, 2]), json!([[1, [[2], 3]]])),
            (json!(["none", 1]), json!([[null]])),
            (json!([5]), json!([[]])),
        ] {
            let Value::Array(steps) = steps else { panic!("a list") };
            assert_eq!(Value::Array(evaluate(&steps, &results)), expected);
        }
    }
}
