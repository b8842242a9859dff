//! The operations, each with what it demands and who answers it; one file a resource.

mod connection;
mod dag;
mod dag_run;
mod dag_source;
mod event_log;
mod import_error;
mod log;
mod monitor;
mod pool;
mod task;
mod task_instance;
mod variable;
mod xcom;

use super::State;
use super::operation::Operation;

/// All operations that are answered.
pub(super) fn operations() -> Vec<Operation<State>> {
    let resources = [
        connection::operations(),
        dag::operations(),
        dag_run::operations(),
        dag_source::operations(),
        event_log::operations(),
        import_error::operations(),
        log::operations(),
        monitor::operations(),
        pool::operations(),
        task::operations(),
        task_instance::operations(),
        variable::operations(),
        xcom::operations(),
    ];
    resources.into_iter().flatten().collect()
}
