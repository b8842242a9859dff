//! The event log.

use super::unanswered;
use crate::access::{Action, Resource};
use crate::airflow::State;
use crate::airflow::operation::{Access, Operation, operation};

pub(super) fn operations() -> Vec<Operation<State>> {
    vec![
        operation!(
            get_event_logs,
            Access::DagPart(Action::Read, &[Resource::AuditLogs]),
            unanswered
        ),
        operation!(
            get_event_log,
            Access::DagPart(Action::Read, &[Resource::AuditLogs]),
            unanswered
        ),
    ]
}
