//! What handlers share.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use updraft_core::clock::Clock;
use updraft_core::service::Service;

use super::token::TokenKey;

/// Signs of life.
#[async_trait]
pub trait Vitals: Debug + Send + Sync + 'static {
    /// Whether the storage answers.
    async fn storage_answers(&self) -> bool;

    /// When a scheduler last gave a sign of life; none if none ever did, or where that is not known.
    async fn scheduler_heartbeat(&self) -> Option<DateTime<Utc>>;
}

/// What the handlers of all operations share.
#[derive(Debug, Clone)]
pub struct State {
    /// What callers may ask.
    pub service: Service,
    /// Signs the tokens with which callers go on where they stopped.
    pub token_key: TokenKey,
    /// Signs of life.
    pub vitals: Arc<dyn Vitals>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}
