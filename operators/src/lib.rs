//! Updraft's built-in operators: processes and templates.

mod airflow_env;
mod bash;
mod branch;
mod config;
pub mod director;
mod output;
mod process;
mod python;
mod python_literal;
mod python_repr;
mod register;
mod render;
mod talk;
pub mod template;
mod xcom;

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use tokio::process::Child;
use updraft_core::operator::{CancelReason, TaskContext, TaskError};
use updraft_core::storage::StorageError;

pub use config::OperatorsConfig;
pub use register::register_all;
pub use render::TemplateRenderer;

/// The exit code, or as Python has it the negative number of the signal that ended the process.
fn exit_code(status: ExitStatus) -> i64 {
    let code = status.code().or_else(|| status.signal().map(|signal| -signal));
    code.unwrap_or(-1).into()
}

/// Tells where the try runs.
async fn note_process(context: &TaskContext, process: &Child) -> Result<(), TaskError> {
    let Some(pid) = process.id() else { return Ok(()) };
    match context.store().set_process(context.attempt(), pid).await {
        Err(StorageError::Fenced) => Err(TaskError::Cancelled(CancelReason::Obsolete)),
        Err(error) => {
            tracing::warn!(%error, token = %context.attempt().token, "a process id was not stored");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
