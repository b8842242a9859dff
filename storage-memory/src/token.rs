//! Tokens of users.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use updraft_core::model::{Token, User};
use updraft_core::storage::{Result, StorageError, Subject, TokenStorage};

use crate::MemoryStorage;
use crate::user::key;

fn no_token(id: i64) -> StorageError {
    StorageError::NotFound(Subject::Token(id))
}

#[async_trait]
impl TokenStorage for MemoryStorage {
    async fn create_token(&self, mut token: Token, hash: [u8; 32]) -> Result<Token> {
        let people = &mut self.lock().people;
        token.username = people.user(&token.username)?.username.clone();
        token.id = people.token_serial.next();
        people.tokens.insert(token.id, (token.clone(), hash));
        people.version += 1;
        Ok(token)
    }

    async fn token(&self, hash: [u8; 32]) -> Result<(Token, User)> {
        let people = &self.lock().people;
        let found = people.tokens.values().find(|(_, known)| *known == hash).ok_or_else(|| no_token(0))?;
        Ok((found.0.clone(), people.user(&found.0.username)?.clone()))
    }

    async fn tokens(&self, username: Option<&str>) -> Result<Vec<Token>> {
        let username = username.map(key);
        let people = &self.lock().people;
        let tokens = people.tokens.values().map(|(token, _)| token);
        Ok(tokens.filter(|token| username.as_ref().is_none_or(|name| *name == key(&token.username))).cloned().collect())
    }

    async fn touch_token(&self, now: DateTime<Utc>, id: i64) -> Result<()> {
        if let Some((token, _)) = self.lock().people.tokens.get_mut(&id) {
            token.last_used = Some(now);
        }
        Ok(())
    }

    async fn delete_token(&self, id: i64) -> Result<()> {
        let people = &mut self.lock().people;
        people.tokens.remove(&id).ok_or_else(|| no_token(id))?;
        people.version += 1;
        Ok(())
    }
}
