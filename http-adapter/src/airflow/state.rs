//! What handlers share.

use updraft_core::engine::SchedulerStatus;
use updraft_core::service::Service;

use super::token::TokenKey;

/// What the handlers of all operations share.
#[derive(Debug)]
pub(crate) struct State {
    /// What callers may ask.
    pub(crate) service: Service,
    /// Signs the tokens with which callers go on where they stopped.
    pub(crate) token_key: TokenKey,
    /// The scheduler of this process, if it has one.
    pub(crate) scheduler: Option<SchedulerStatus>,
}
