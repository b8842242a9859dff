//! Task instances.

use super::unanswered;
use crate::access::{Action, Resource};
use crate::airflow::State;
use crate::airflow::operation::{Access, Operation, operation};

/// What they are part of.
const PARTS: &[Resource] = &[Resource::DagRuns, Resource::TaskInstances];

pub(super) fn operations() -> Vec<Operation<State>> {
    vec![
        operation!(
            get_task_instances,
            Access::DagPart(Action::Read, PARTS),
            unanswered
        ),
        operation!(
            get_task_instances_batch,
            Access::DagPart(Action::Read, PARTS),
            unanswered
        ),
        operation!(
            get_task_instance,
            Access::DagPart(Action::Read, PARTS),
            unanswered
        ),
        operation!(
            get_mapped_task_instance,
            Access::DagPart(Action::Read, PARTS),
            unanswered
        ),
        operation!(
            get_mapped_task_instances,
            Access::DagPart(Action::Read, PARTS),
            unanswered
        ),
        operation!(
            get_task_instance_dependencies,
            Access::DagPart(Action::Read, PARTS),
            unanswered
        ),
        operation!(
            get_mapped_task_instance_dependencies,
            Access::DagPart(Action::Read, PARTS),
            unanswered
        ),
        operation!(
            get_task_instance_tries,
            Access::DagPart(Action::Read, PARTS),
            unanswered
        ),
        operation!(
            get_task_instance_try_details,
            Access::DagPart(Action::Read, PARTS),
            unanswered
        ),
        operation!(
            get_mapped_task_instance_tries,
            Access::DagPart(Action::Read, PARTS),
            unanswered
        ),
        operation!(
            get_mapped_task_instance_try_details,
            Access::DagPart(Action::Read, PARTS),
            unanswered
        ),
        operation!(
            get_extra_links,
            Access::DagPart(Action::Read, PARTS),
            unanswered
        ),
        operation!(
            patch_task_instance,
            Access::DagPart(Action::Edit, PARTS),
            unanswered
        ),
        operation!(
            patch_mapped_task_instance,
            Access::DagPart(Action::Edit, PARTS),
            unanswered
        ),
        operation!(
            set_task_instance_note,
            Access::DagPart(Action::Edit, PARTS),
            unanswered
        ),
        operation!(
            set_mapped_task_instance_note,
            Access::DagPart(Action::Edit, PARTS),
            unanswered
        ),
        operation!(
            post_clear_task_instances,
            Access::DagPart(Action::Edit, PARTS),
            unanswered
        ),
        operation!(
            post_set_task_instances_state,
            Access::DagPart(Action::Edit, PARTS),
            unanswered
        ),
    ]
}
