//! Import errors.

use super::unanswered;
use crate::access::{Action, Resource};
use crate::airflow::State;
use crate::airflow::operation::{Access, Operation, operation};

pub(super) fn operations() -> Vec<Operation<State>> {
    vec![
        operation!(
            get_import_errors,
            Access::Plain(Action::Read, Resource::ImportErrors),
            unanswered
        ),
        operation!(
            get_import_error,
            Access::Plain(Action::Read, Resource::ImportErrors),
            unanswered
        ),
    ]
}
