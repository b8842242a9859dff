//! What handlers share.

use updraft_core::engine::SchedulerStatus;
use updraft_core::service::Service;

/// What the handlers of all operations share.
#[derive(Debug)]
pub(crate) struct State {
    /// What a client may ask.
    pub(crate) service: Service,
    /// The scheduler of this process, if it has one.
    pub(crate) scheduler: Option<SchedulerStatus>,
}
