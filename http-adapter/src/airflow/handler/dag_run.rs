//! Runs of DAGs.

use super::unanswered;
use crate::access::{Action, Resource};
use crate::airflow::State;
use crate::airflow::operation::{Access, Operation, operation};

/// What they are part of.
const PARTS: &[Resource] = &[Resource::DagRuns];

pub(super) fn operations() -> Vec<Operation<State>> {
    vec![
        operation!(
            get_dag_runs,
            Access::DagPart(Action::Read, PARTS),
            unanswered
        ),
        operation!(
            get_dag_runs_batch,
            Access::DagPart(Action::Read, PARTS),
            unanswered
        ),
        operation!(
            get_dag_run,
            Access::DagPart(Action::Read, PARTS),
            unanswered
        ),
        operation!(
            post_dag_run,
            Access::DagPart(Action::Create, PARTS),
            unanswered
        ),
        operation!(
            update_dag_run_state,
            Access::DagPart(Action::Edit, PARTS),
            unanswered
        ),
        operation!(
            clear_dag_run,
            Access::DagPart(Action::Edit, PARTS),
            unanswered
        ),
        operation!(
            set_dag_run_note,
            Access::DagPart(Action::Edit, PARTS),
            unanswered
        ),
        operation!(
            delete_dag_run,
            Access::DagPart(Action::Delete, PARTS),
            unanswered
        ),
    ]
}
