//! Users.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, Row};
use updraft_core::model::User;
use updraft_core::storage::{
    OrderBy, Page, PageRequest, Result, StorageError, Subject, UserOrder, UserStorage, UserUpdate,
};

use crate::PostgresStorage;
use crate::error::storage_error;
use crate::page::{Orders, limit_and_offset, order, read_page};
use crate::sql::{Schema, sql};

/// Orders of `user/list`.
pub(crate) const ORDERS: &Orders<UserOrder> = &[
    (UserOrder::Id, ["", "p.id DESC,"]),
    (UserOrder::FirstName, ["p.first_name COLLATE \"C\",", "p.first_name COLLATE \"C\" DESC,"]),
    (UserOrder::LastName, ["p.last_name COLLATE \"C\",", "p.last_name COLLATE \"C\" DESC,"]),
    (UserOrder::Username, ["p.username,", "p.username DESC,"]),
    (UserOrder::Email, ["p.email,", "p.email DESC,"]),
    (UserOrder::Active, ["p.active,", "p.active DESC,"]),
];

pub(crate) fn no_user(username: &str) -> StorageError {
    StorageError::NotFound(Subject::User(username.into()))
}

pub(crate) fn read(row: &PgRow) -> sqlx::Result<User> {
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
        login_count: row.try_get("login_count")?,
        fail_login_count: row.try_get("fail_login_count")?,
        last_login: row.try_get("last_login")?,
    })
}

async fn find(
    executor: impl PgExecutor<'_>,
    schema: &Schema,
    statement: &'static str,
    name: &str,
) -> Result<Option<User>> {
    let row = sqlx::query(schema.sql(statement)).bind(name).fetch_optional(executor).await.map_err(storage_error)?;
    row.as_ref().map(read).transpose().map_err(storage_error)
}

/// Refuses what another user has, and roles that nobody made. No change of users or roles comes between.
async fn check(connection: &mut PgConnection, schema: &Schema, user: &User, old: Option<&User>) -> Result<()> {
    let is_renamed = old.is_none_or(|old| !old.username.eq_ignore_ascii_case(&user.username));
    if is_renamed && find(&mut *connection, schema, sql!("user/by_name"), &user.username).await?.is_some() {
        return Err(StorageError::AlreadyExists(Subject::User(user.username.clone())));
    }
    if old.is_none_or(|old| old.email != user.email) {
        let is_taken: bool = sqlx::query_scalar(schema.sql(sql!("user/is_email_taken")))
            .bind(&user.email)
            .fetch_one(&mut *connection)
            .await
            .map_err(storage_error)?;
        if is_taken {
            return Err(StorageError::AlreadyExists(Subject::Email(user.email.clone())));
        }
    }
    if old.is_none_or(|old| old.roles != user.roles) {
        let missing: Option<String> = sqlx::query_scalar(schema.sql(sql!("role/missing")))
            .bind(Vec::from_iter(&user.roles))
            .fetch_optional(connection)
            .await
            .map_err(storage_error)?;
        if let Some(missing) = missing {
            return Err(StorageError::NotFound(Subject::Role(missing)));
        }
    }
    Ok(())
}

#[async_trait]
impl UserStorage for PostgresStorage {
    async fn user(&self, username: &str) -> Result<User> {
        self.write_logins().await?;
        let found = find(&self.inner.clients, &self.inner.schema, sql!("user/by_name"), username).await?;
        found.ok_or_else(|| no_user(username))
    }

    async fn user_by_login(&self, login: &str) -> Result<User> {
        // Requests ask for this.
        let statement = || sqlx::query(self.inner.schema.sql(sql!("user/by_login"))).bind(login);
        let row = self.inner.readers.optional(statement).await.map_err(storage_error)?;
        read(&row.ok_or_else(|| no_user(login))?).map_err(storage_error)
    }

    async fn users(&self, order_by: Option<OrderBy<UserOrder>>, page: PageRequest) -> Result<Page<User>> {
        self.write_logins().await?;
        let (limit, offset) = limit_and_offset(page);
        let rows = sqlx::query(self.inner.schema.ordered(sql!("user/list"), order(ORDERS, order_by)))
            .bind(limit)
            .bind(offset)
            .fetch_all(&self.inner.clients)
            .await
            .map_err(storage_error)?;
        read_page(&rows, read)
    }

    async fn create_user(&self, mut user: User) -> Result<User> {
        let schema = &self.inner.schema;
        let mut tx = self.begin_access().await?;
        check(&mut tx, schema, &user, None).await?;
        user.id = sqlx::query_scalar(schema.sql(sql!("user/insert")))
            .bind(&user.username)
            .bind(&user.email)
            .bind(&user.first_name)
            .bind(&user.last_name)
            .bind(user.active)
            .bind(Vec::from_iter(&user.roles))
            .bind(user.created_on)
            .bind(user.changed_on)
            .bind(&user.password_hash)
            .fetch_one(&mut *tx)
            .await
            .map_err(storage_error)?;
        self.commit_access(tx).await?;
        (user.login_count, user.fail_login_count, user.last_login) = (None, None, None);
        Ok(user)
    }

    async fn update_user(&self, username: &str, update: UserUpdate) -> Result<User> {
        self.write_logins().await?;
        let schema = &self.inner.schema;
        let mut tx = self.begin_access().await?;
        let old = find(&mut *tx, schema, sql!("user/by_name"), username).await?.ok_or_else(|| no_user(username))?;
        let new = User {
            username: update.username.unwrap_or_else(|| old.username.clone()),
            email: update.email.unwrap_or_else(|| old.email.clone()),
            first_name: update.first_name.unwrap_or_else(|| old.first_name.clone()),
            last_name: update.last_name.unwrap_or_else(|| old.last_name.clone()),
            active: update.active.unwrap_or(old.active),
            roles: update.roles.unwrap_or_else(|| old.roles.clone()),
            password_hash: update.password_hash.unwrap_or_else(|| old.password_hash.clone()),
            ..old.clone()
        };
        check(&mut tx, schema, &new, Some(&old)).await?;
        sqlx::query(schema.sql(sql!("user/update")))
            .bind(new.id)
            .bind(&new.username)
            .bind(&new.email)
            .bind(&new.first_name)
            .bind(&new.last_name)
            .bind(new.active)
            .bind(Vec::from_iter(&new.roles))
            .bind(&new.password_hash)
            .execute(&mut *tx)
            .await
            .map_err(storage_error)?;
        if new.roles != old.roles || new.password_hash != old.password_hash || (old.active && !new.active) {
            sqlx::query(schema.sql(sql!("token/end"))).bind(new.id).execute(&mut *tx).await.map_err(storage_error)?;
        }
        self.commit_access(tx).await?;
        Ok(new)
    }

    async fn delete_user(&self, username: &str) -> Result<()> {
        let mut tx = self.begin_access().await?;
        let deleted = sqlx::query(self.inner.schema.sql(sql!("user/delete"))).bind(username).execute(&mut *tx).await;
        if deleted.map_err(storage_error)?.rows_affected() == 0 {
            return Err(no_user(username));
        }
        self.commit_access(tx).await
    }

    async fn record_login(&self, now: DateTime<Utc>, username: &str, succeeded: bool) -> Result<()> {
        self.note_login(now, username, succeeded);
        Ok(())
    }
}
