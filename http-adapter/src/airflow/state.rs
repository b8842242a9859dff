//! What handlers share.

use std::sync::Arc;

use updraft_core::clock::Clock;
use updraft_core::engine::SchedulerStatus;
use updraft_core::service::Service;

use super::config::ConfigOption;
use super::token::TokenKey;

/// What the handlers of all operations share.
#[derive(Debug)]
pub(crate) struct State {
    /// What callers may ask.
    pub(crate) service: Service,
    /// For waiting.
    pub(crate) clock: Arc<dyn Clock>,
    /// Signs the tokens with which callers go on where they stopped.
    pub(crate) token_key: TokenKey,
    /// Whether callers may try connections out.
    pub(crate) allows_connection_test: bool,
    /// The scheduler of this process, if it has one.
    pub(crate) scheduler: Option<SchedulerStatus>,
    /// What the configuration says, by section.
    pub(crate) config: Vec<ConfigOption>,
    /// Whether callers may read it.
    pub(crate) exposes_config: bool,
    /// Whether callers may ask for XComs as objects.
    pub(crate) deserializes_xcoms: bool,
}
