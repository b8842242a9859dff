//! Pools.

use super::unanswered;
use crate::access::{Action, Resource};
use crate::airflow::State;
use crate::airflow::operation::{Access, Operation, operation};

pub(super) fn operations() -> Vec<Operation<State>> {
    vec![
        operation!(
            get_pools,
            Access::Plain(Action::Read, Resource::Pools),
            unanswered
        ),
        operation!(
            get_pool,
            Access::Plain(Action::Read, Resource::Pools),
            unanswered
        ),
        operation!(
            post_pool,
            Access::Plain(Action::Create, Resource::Pools),
            unanswered
        ),
        operation!(
            patch_pool,
            Access::Plain(Action::Edit, Resource::Pools),
            unanswered
        ),
        operation!(
            delete_pool,
            Access::Plain(Action::Delete, Resource::Pools),
            unanswered
        ),
    ]
}
