use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::Result;
use crate::model::{Token, User};

/// Tokens of users. Only the SHA-256 of a token's text is kept.
#[async_trait]
pub trait TokenStorage {
    /// Makes a token; its `id` is ignored.
    ///
    /// # Errors
    /// `NotFound` for the user.
    async fn create_token(&self, token: Token, hash: [u8; 32]) -> Result<Token>;

    /// The token whose text has this hash, and its user.
    ///
    /// # Errors
    /// `NotFound`.
    async fn token(&self, hash: [u8; 32]) -> Result<(Token, User)>;

    /// The tokens of a user, or all, in the order of their creation.
    async fn tokens(&self, username: Option<&str>) -> Result<Vec<Token>>;

    /// Notes that a token was used. Unknown ids are ignored.
    async fn touch_token(&self, now: DateTime<Utc>, id: i64) -> Result<()>;

    /// Removes a token.
    ///
    /// # Errors
    /// `NotFound`.
    async fn delete_token(&self, id: i64) -> Result<()>;
}
