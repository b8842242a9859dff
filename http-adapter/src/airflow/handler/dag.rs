//! DAGs.

use super::unanswered;
use crate::access::Action;
use crate::airflow::State;
use crate::airflow::operation::{Access, Operation, operation};

pub(super) fn operations() -> Vec<Operation<State>> {
    vec![
        operation!(get_dags, Access::Dag(Action::Read), unanswered),
        operation!(get_dag, Access::Dag(Action::Read), unanswered),
        operation!(get_dag_details, Access::Dag(Action::Read), unanswered),
        operation!(patch_dag, Access::Dag(Action::Edit), unanswered),
        operation!(patch_dags, Access::Dag(Action::Edit), unanswered),
        operation!(delete_dag, Access::Dag(Action::Delete), unanswered),
    ]
}
