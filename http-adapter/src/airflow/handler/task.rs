//! Tasks of DAGs.

use super::unanswered;
use crate::access::{Action, Resource};
use crate::airflow::State;
use crate::airflow::operation::{Access, Operation, operation};

pub(super) fn operations() -> Vec<Operation<State>> {
    vec![
        operation!(get_tasks, Access::DagPart(Action::Read, &[Resource::TaskInstances]), unanswered),
        operation!(get_task, Access::DagPart(Action::Read, &[Resource::TaskInstances]), unanswered),
    ]
}
