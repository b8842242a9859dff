//! The operations, each with what it demands and who answers it; one file a resource.

mod dag;
mod dag_run;
mod dag_source;
mod event_log;
mod import_error;
mod log;
mod monitor;
mod pool;
mod role;
mod task;
mod task_instance;
mod user;
mod xcom;

use super::State;
use super::operation::Operation;

/// All operations that are answered.
pub(super) fn operations() -> Vec<Operation<State>> {
    let resources = [
        dag::operations(),
        dag_run::operations(),
        dag_source::operations(),
        event_log::operations(),
        import_error::operations(),
        log::operations(),
        monitor::operations(),
        pool::operations(),
        role::operations(),
        task::operations(),
        task_instance::operations(),
        user::operations(),
        xcom::operations(),
    ];
    resources.into_iter().flatten().collect()
}
