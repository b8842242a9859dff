//! What a task does: the [`Operator`] trait, the registry that finds operators by name, and what an operator sees.

mod code;
mod context;
mod masking;
mod outcome;
mod registry;
mod store;

use std::fmt::Debug;

use async_trait::async_trait;

pub use code::CodeTasks;
pub use context::{CancelReason, Cancellation, RenderTemplates, TaskContext, TaskContextParts, TaskStore};
pub use masking::MaskingStore;
pub use outcome::{Outcome, SkipDownstream, TaskError};
pub use registry::{CheckArguments, OperatorInfo, Registry, UnknownOperator};
pub use store::StorageTaskStore;

/// Work that a task can do.
///
/// One value serves every task of its kind, at the same time: what differs among tasks comes in the [`TaskContext`].
/// When the future is dropped or [`TaskContext::cancellation`] fires, whatever it started must end.
#[async_trait]
pub trait Operator: Send + Sync + Debug {
    /// Does the work of one try.
    ///
    /// # Errors
    /// The try has failed; [`TaskError::may_retry`] says whether another may be made.
    async fn execute(&self, context: &TaskContext) -> Result<Outcome, TaskError>;
}

/// The operator of a task whose work is an async closure.
pub(crate) struct Closure<F>(pub(crate) F);

impl<F> Debug for Closure<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Closure")
    }
}

#[async_trait]
impl<F, R> Operator for Closure<F>
where
    F: Fn(TaskContext) -> R + Send + Sync,
    R: Future<Output = Result<Outcome, TaskError>> + Send,
{
    async fn execute(&self, context: &TaskContext) -> Result<Outcome, TaskError> {
        (self.0)(context.clone()).await
    }
}
