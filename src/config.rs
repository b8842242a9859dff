//! What the API tells of the settings, under Airflow's names where they mean the same.

use updraft_core::model::{Dag, OperatorRef, Task};
use updraft_core::storage::Storage;
use updraft_http_adapter::airflow::ConfigOption;

use crate::builder::BuilderSettings;

/// The options that are true of an orchestrator with these settings.
pub(crate) fn options(storage: &dyn Storage, settings: &BuilderSettings) -> Vec<ConfigOption> {
    // What DAGs and tasks have that do not say so themselves.
    let (dag, task) = (Dag::new(""), Task::new("", OperatorRef::from_path("")));
    let folders: Vec<_> = settings.folders.iter().map(|folder| folder.to_string_lossy()).collect();
    let mut options = Vec::new();
    if !folders.is_empty() {
        options.push(ConfigOption::new("core", "dags_folder", folders.join(",")));
    }
    options.extend([
        ConfigOption::new("core", "default_timezone", dag.timezone.to_lowercase()),
        ConfigOption::new("core", "executor", "LocalExecutor"),
        ConfigOption::new("core", "parallelism", settings.parallelism),
        ConfigOption::new("core", "max_active_tasks_per_dag", dag.max_active_tasks),
        ConfigOption::flag("core", "dags_are_paused_at_creation", settings.dags_are_paused_at_creation),
        ConfigOption::new("core", "max_active_runs_per_dag", dag.max_active_runs),
        ConfigOption::new("core", "max_consecutive_failed_dag_runs_per_dag", dag.max_consecutive_failed_dag_runs),
        ConfigOption::new("core", "default_task_retries", task.retries),
        ConfigOption::new("core", "default_task_retry_delay", task.retry_delay.as_secs()),
        ConfigOption::new("core", "default_task_weight_rule", task.weight_rule.as_str()),
        ConfigOption::new("operators", "default_owner", &task.owner),
        ConfigOption::new("operators", "default_queue", &task.queue),
        ConfigOption::flag("scheduler", "catchup_by_default", dag.catchup),
        ConfigOption::flag("logging", "remote_logging", false),
    ]);
    if is_database(storage) {
        options.push(ConfigOption::hidden("database", "sql_alchemy_conn"));
    }
    options
}

fn is_database(storage: &dyn Storage) -> bool {
    #[cfg(feature = "postgres")]
    return crate::postgres::storage_of(storage).is_some();
    #[cfg(not(feature = "postgres"))]
    {
        let _ = storage;
        false
    }
}
