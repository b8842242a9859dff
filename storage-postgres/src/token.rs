//! Tokens of users.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;
use updraft_core::model::{Token, User};
use updraft_core::storage::{Result, StorageError, Subject, TokenStorage};

use crate::PostgresStorage;
use crate::error::storage_error;
use crate::sql::sql;
use crate::user::{no_user, read};

fn no_token(id: i64) -> StorageError {
    StorageError::NotFound(Subject::Token(id))
}

fn read_token(row: &PgRow) -> sqlx::Result<Token> {
    Ok(Token {
        id: row.try_get("token")?,
        username: row.try_get("username")?,
        name: row.try_get("token_name")?,
        roles: row.try_get::<Option<Vec<String>>, _>("token_roles")?.map(|roles| roles.into_iter().collect()),
        read_only: row.try_get("read_only")?,
        created_on: row.try_get("token_created_on")?,
        expires: row.try_get("expires")?,
        last_used: row.try_get("last_used")?,
    })
}

#[async_trait]
impl TokenStorage for PostgresStorage {
    async fn create_token(&self, mut token: Token, hash: [u8; 32]) -> Result<Token> {
        let mut tx = self.begin_access().await?;
        let made: Option<(i64, String)> = sqlx::query_as(self.inner.schema.sql(sql!("token/insert")))
            .bind(&token.username)
            .bind(hash.as_slice())
            .bind(&token.name)
            .bind(token.roles.as_ref().map(Vec::from_iter))
            .bind(token.read_only)
            .bind(token.created_on)
            .bind(token.expires)
            .fetch_optional(&mut *tx)
            .await
            .map_err(storage_error)?;
        (token.id, token.username) = made.ok_or_else(|| no_user(&token.username))?;
        self.commit_access(tx).await?;
        Ok(token)
    }

    async fn token(&self, hash: [u8; 32]) -> Result<(Token, User)> {
        let row = sqlx::query(self.inner.schema.sql(sql!("token/by_hash")))
            .bind(hash.as_slice())
            .fetch_optional(&self.inner.clients)
            .await
            .map_err(storage_error)?;
        let row = row.ok_or_else(|| no_token(0))?;
        let both = || Ok((read_token(&row)?, read(&row)?));
        both().map_err(storage_error)
    }

    async fn tokens(&self, username: Option<&str>) -> Result<Vec<Token>> {
        let rows = sqlx::query(self.inner.schema.sql(sql!("token/list")))
            .bind(username)
            .fetch_all(&self.inner.clients)
            .await
            .map_err(storage_error)?;
        rows.iter().map(read_token).collect::<sqlx::Result<_>>().map_err(storage_error)
    }

    async fn touch_token(&self, now: DateTime<Utc>, id: i64) -> Result<()> {
        let touched = sqlx::query(self.inner.schema.sql(sql!("token/touch"))).bind(id).bind(now);
        touched.execute(&self.inner.clients).await.map(drop).map_err(storage_error)
    }

    async fn delete_token(&self, id: i64) -> Result<()> {
        let mut tx = self.begin_access().await?;
        let deleted = sqlx::query(self.inner.schema.sql(sql!("token/delete"))).bind(id).execute(&mut *tx).await;
        if deleted.map_err(storage_error)?.rows_affected() == 0 {
            return Err(no_token(id));
        }
        self.commit_access(tx).await
    }
}
