//! Sources of DAG files.

use super::unanswered;
use crate::access::{Action, Resource};
use crate::airflow::State;
use crate::airflow::operation::{Access, Operation, operation};

pub(super) fn operations() -> Vec<Operation<State>> {
    vec![operation!(
        get_dag_source,
        Access::DagPart(Action::Read, &[Resource::DagCode]),
        unanswered
    )]
}
