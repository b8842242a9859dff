//! XComs.

use super::unanswered;
use crate::access::{Action, Resource};
use crate::airflow::State;
use crate::airflow::operation::{Access, Operation, operation};

pub(super) fn operations() -> Vec<Operation<State>> {
    vec![
        operation!(
            get_xcom_entries,
            Access::DagPart(Action::Read, &[Resource::XComs]),
            unanswered
        ),
        operation!(
            get_xcom_entry,
            Access::DagPart(Action::Read, &[Resource::XComs]),
            unanswered
        ),
    ]
}
