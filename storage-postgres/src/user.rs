//! Users and roles.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use sqlx::Row;
use sqlx::postgres::PgRow;
use updraft_core::model::{Role, User};
use updraft_core::storage::{Result, StorageError, Subject, UserStorage};

use crate::PostgresStorage;
use crate::error::{is_duplicate, storage_error};
use crate::sql::sql;

fn read(row: &PgRow) -> sqlx::Result<User> {
    Ok(User {
        id: row.try_get("id")?,
        username: row.try_get("username")?,
        email: row.try_get("email")?,
        first_name: row.try_get("first_name")?,
        last_name: row.try_get("last_name")?,
        active: row.try_get("active")?,
        roles: row.try_get::<Vec<String>, _>("roles")?.into_iter().collect(),
        // No password is the hash of nothing.
        password_hash: row.try_get::<Option<String>, _>("hash")?.unwrap_or_default(),
        created_on: row.try_get("created_on")?,
        changed_on: row.try_get("changed_on")?,
    })
}

fn read_role(row: &PgRow, roles: &mut BTreeMap<String, BTreeSet<(String, String)>>) -> sqlx::Result<()> {
    let permissions = roles.entry(row.try_get("name")?).or_default();
    if let (Some(action), Some(resource)) = (row.try_get("action")?, row.try_get("resource")?) {
        permissions.insert((action, resource));
    }
    Ok(())
}

#[async_trait]
impl UserStorage for PostgresStorage {
    async fn user(&self, username: &str) -> Result<User> {
        // Each request asks for this.
        let statement = || sqlx::query(self.inner.schema.sql(sql!("user/by_name"))).bind(username);
        let row = self.inner.readers.optional(statement).await.map_err(storage_error)?;
        read(&row.ok_or_else(|| StorageError::NotFound(Subject::User(username.into())))?).map_err(storage_error)
    }

    async fn users(&self) -> Result<Vec<User>> {
        let rows = sqlx::query(self.inner.schema.sql(sql!("user/list")))
            .fetch_all(&self.inner.clients)
            .await
            .map_err(storage_error)?;
        rows.iter().map(read).collect::<sqlx::Result<_>>().map_err(storage_error)
    }

    async fn put_user(&self, mut user: User) -> Result<User> {
        let put = sqlx::query_scalar(self.inner.schema.sql(sql!("user/put")))
            .bind(&user.username)
            .bind(&user.email)
            .bind(&user.first_name)
            .bind(&user.last_name)
            .bind(user.active)
            .bind(Vec::from_iter(&user.roles))
            .bind(user.created_on)
            .bind(user.changed_on)
            .bind(&user.password_hash)
            .fetch_one(&self.inner.clients)
            .await;
        user.id = match put {
            Ok(id) => id,
            // Names are replaced: what exists already is the email.
            Err(error) if is_duplicate(&error) => return Err(StorageError::AlreadyExists(Subject::User(user.email))),
            Err(error) => return Err(storage_error(error)),
        };
        Ok(user)
    }

    async fn delete_user(&self, username: &str) -> Result<()> {
        self.delete_named(sql!("user/delete"), username, Subject::User, None).await
    }

    async fn roles(&self) -> Result<Vec<Role>> {
        let rows = sqlx::query(self.inner.schema.sql(sql!("user/roles")))
            .fetch_all(&self.inner.clients)
            .await
            .map_err(storage_error)?;
        let mut roles = BTreeMap::new();
        for row in &rows {
            read_role(row, &mut roles).map_err(storage_error)?;
        }
        Ok(roles.into_iter().map(|(name, permissions)| Role { name, permissions }).collect())
    }

    async fn put_role(&self, role: Role) -> Result<()> {
        let schema = &self.inner.schema;
        let mut tx = self.begin().await?;
        let id: i64 = sqlx::query_scalar(schema.sql(sql!("user/put_role")))
            .bind(role.name)
            .fetch_one(&mut *tx)
            .await
            .map_err(storage_error)?;
        sqlx::query(schema.sql(sql!("user/delete_permissions")))
            .bind(id)
            .execute(&mut *tx)
            .await
            .map_err(storage_error)?;
        let (actions, resources): (Vec<_>, Vec<_>) = role.permissions.into_iter().unzip();
        sqlx::query(schema.sql(sql!("user/insert_permissions")))
            .bind(id)
            .bind(actions)
            .bind(resources)
            .execute(&mut *tx)
            .await
            .map_err(storage_error)?;
        tx.commit().await.map_err(storage_error)
    }

    async fn delete_role(&self, name: &str) -> Result<()> {
        self.delete_named(sql!("user/delete_role"), name, Subject::Role, None).await
    }
}
