//! Tokens, which programs show in place of a password.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::{Result, Service, ServiceError};
use crate::model::Token;
use crate::storage::StorageError;

/// What the text of each token begins with, so that it is known for one wherever it turns up.
pub const TOKEN_PREFIX: &str = "udt_";

/// How often it is noted that a token is used.
const TOUCH: chrono::TimeDelta = chrono::TimeDelta::seconds(60);

/// A token that somebody asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewToken {
    /// Whose it is.
    pub username: String,
    /// What it is for.
    pub name: String,
    /// The roles that it gives, as far as the user has them; `None` for all of the user's.
    pub roles: Option<BTreeSet<String>>,
    /// Whether it lets nothing be changed.
    pub read_only: bool,
    /// From when on it is good for nothing.
    pub expires: Option<DateTime<Utc>>,
}

/// The text of a token, which is shown once.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText(String);

impl TokenText {
    /// What the program sends, as `Authorization: Bearer …`.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenText {
    /// Leaves the secret out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText")
    }
}

/// Who shows a token, and what it lets them do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenHolder {
    /// The token.
    pub token: Token,
    /// The roles that it gives now.
    pub roles: BTreeSet<String>,
}

impl Service {
    /// Makes a token of 256 random bits. Only its hash is kept.
    ///
    /// # Errors
    /// `NotFound` for the user; `Invalid` for a time that has passed.
    pub async fn create_token(&self, new: NewToken) -> Result<(Token, TokenText)> {
        let now = self.now().await?;
        if new.expires.is_some_and(|expires| expires <= now) {
            return Err(ServiceError::invalid("expires", "the token would have expired already"));
        }
        let mut secret = [0; 32];
        self.ids.fill(&mut secret);
        let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = TokenText(format!("{TOKEN_PREFIX}{secret}"));
        let token = Token {
            id: 0,
            username: new.username,
            name: new.name,
            roles: new.roles,
            read_only: new.read_only,
            created_on: now,
            expires: new.expires,
            last_used: None,
        };
        let token = self.storage.create_token(token, hash(text.reveal())).await?;
        Ok((token, text))
    }

    /// Who shows this text, if it is that of a token which is good at this time. Notes now and then that it is used.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn token_holder(&self, now: DateTime<Utc>, text: &str) -> Result<Option<TokenHolder>> {
        if !text.starts_with(TOKEN_PREFIX) {
            return Ok(None);
        }
        let (token, user) = match self.storage.token(hash(text)).await {
            Ok(found) => found,
            Err(StorageError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if !user.active || token.expires.is_some_and(|expires| expires <= now) {
            return Ok(None);
        }
        if token.last_used.is_none_or(|used| now - used >= TOUCH) {
            self.storage.touch_token(now, token.id).await?;
        }
        let roles = match &token.roles {
            Some(roles) => user.roles.intersection(roles).cloned().collect(),
            None => user.roles,
        };
        Ok(Some(TokenHolder { token, roles }))
    }

    /// The tokens of a user, or all, in the order of their creation.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn tokens(&self, username: Option<&str>) -> Result<Vec<Token>> {
        Ok(self.storage.tokens(username).await?)
    }

    /// Ends a token.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn revoke_token(&self, id: i64) -> Result<()> {
        Ok(self.storage.delete_token(id).await?)
    }
}

/// A token has 256 random bits, so nobody finds it by its hash, however fast that is computed.
fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}
