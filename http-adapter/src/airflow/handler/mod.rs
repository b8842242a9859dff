//! The operations, each with what it demands and who answers it; one file a resource.

mod config;
mod connection;
mod dag;
mod dag_parsing;
mod dag_run;
mod dag_source;
mod dag_stats;
mod dag_warning;
mod dataset;
mod event_log;
mod import_error;
mod log;
mod monitor;
mod plugin;
mod pool;
mod provider;
mod role;
mod task;
mod task_instance;
mod user;
mod variable;
mod xcom;

use super::State;
use super::operation::Operation;

/// All operations that are answered.
pub(super) fn operations() -> Vec<Operation<State>> {
    let resources = [
        config::operations(),
        connection::operations(),
        dag::operations(),
        dag_parsing::operations(),
        dag_run::operations(),
        dag_source::operations(),
        dag_stats::operations(),
        dag_warning::operations(),
        dataset::operations(),
        event_log::operations(),
        import_error::operations(),
        log::operations(),
        monitor::operations(),
        plugin::operations(),
        pool::operations(),
        provider::operations(),
        role::operations(),
        task::operations(),
        task_instance::operations(),
        user::operations(),
        variable::operations(),
        xcom::operations(),
    ];
    resources.into_iter().flatten().collect()
}
