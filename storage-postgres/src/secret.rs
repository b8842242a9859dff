//! Variables and connections.

use async_trait::async_trait;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{Postgres, Row, SqlStr};
use updraft_core::model::{AuditEntry, Connection, Variable};
use updraft_core::secret::StoredSecret;
use updraft_core::storage::{
    ConnectionOrder, ConnectionStorage, ConnectionUpdate, OrderBy, Page, PageRequest, Result, StorageError, Subject,
    VariableOrder, VariableStorage, VariableUpdate,
};

use crate::PostgresStorage;
use crate::audit::write_audit;
use crate::error::storage_error;
use crate::page::{Orders, limit_and_offset, order, read_page};
use crate::sql::sql;

/// Orders of `secret/variables`.
pub(crate) const VARIABLE_ORDERS: &Orders<VariableOrder> = &[
    (VariableOrder::Id, ["", "id DESC,"]),
    (VariableOrder::Key, ["key,", "key DESC,"]),
    (VariableOrder::Value, ["value COLLATE \"C\",", "value COLLATE \"C\" DESC,"]),
];

/// Orders of `secret/connections`.
pub(crate) const CONNECTION_ORDERS: &Orders<ConnectionOrder> = &[
    (ConnectionOrder::Id, ["", "id DESC,"]),
    (ConnectionOrder::ConnId, ["conn_id,", "conn_id DESC,"]),
    (ConnectionOrder::ConnType, ["conn_type COLLATE \"C\",", "conn_type COLLATE \"C\" DESC,"]),
    (ConnectionOrder::Description, ["description COLLATE \"C\",", "description COLLATE \"C\" DESC,"]),
    (ConnectionOrder::Host, ["host COLLATE \"C\",", "host COLLATE \"C\" DESC,"]),
    (ConnectionOrder::Port, ["port,", "port DESC,"]),
];

fn read_variable(row: &PgRow) -> sqlx::Result<Variable> {
    Ok(Variable {
        id: row.try_get("id")?,
        key: row.try_get("key")?,
        value: row.try_get("value")?,
        description: row.try_get("description")?,
        is_encrypted: row.try_get("is_encrypted")?,
    })
}

fn read_connection(row: &PgRow) -> sqlx::Result<Connection> {
    Ok(Connection {
        id: row.try_get("id")?,
        conn_id: row.try_get("conn_id")?,
        conn_type: row.try_get("conn_type")?,
        description: row.try_get("description")?,
        host: row.try_get("host")?,
        login: row.try_get("login")?,
        schema: row.try_get("schema")?,
        port: row.try_get("port")?,
        password: row.try_get("password")?,
        extra: row.try_get("extra")?,
        is_encrypted: row.try_get("is_encrypted")?,
        is_extra_encrypted: row.try_get("is_extra_encrypted")?,
    })
}

fn no_variable(key: &str) -> StorageError {
    StorageError::NotFound(Subject::Variable(key.into()))
}

fn no_connection(conn_id: &str) -> StorageError {
    StorageError::NotFound(Subject::Connection(conn_id.into()))
}

/// A statement with all that a connection has, but for its keys.
fn bind_fields(statement: SqlStr, connection: &Connection) -> Query<'_, Postgres, PgArguments> {
    sqlx::query(statement)
        .bind(&connection.conn_id)
        .bind(&connection.conn_type)
        .bind(&connection.description)
        .bind(&connection.host)
        .bind(&connection.login)
        .bind(&connection.schema)
        .bind(connection.port)
        .bind(&connection.password)
        .bind(&connection.extra)
        .bind(connection.is_encrypted)
        .bind(connection.is_extra_encrypted)
}

impl PostgresStorage {
    /// One row by its key, outside a transaction.
    async fn one_secret(&self, statement: &'static str, key: &str) -> Result<Option<PgRow>> {
        let row = sqlx::query(self.inner.schema.sql(statement)).bind(key);
        row.fetch_optional(&self.inner.clients).await.map_err(storage_error)
    }

    /// Rows behind an id.
    async fn secrets_after(&self, statement: &'static str, after: i64, limit: usize) -> Result<Vec<PgRow>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = sqlx::query(self.inner.schema.sql(statement)).bind(after).bind(limit);
        rows.fetch_all(&self.inner.clients).await.map_err(storage_error)
    }
}

#[async_trait]
impl VariableStorage for PostgresStorage {
    async fn variable(&self, key: &str) -> Result<Variable> {
        let row = self.one_secret(sql!("secret/variable"), key).await?;
        read_variable(&row.ok_or_else(|| no_variable(key))?).map_err(storage_error)
    }

    async fn variables(&self, order_by: Option<OrderBy<VariableOrder>>, page: PageRequest) -> Result<Page<Variable>> {
        let (limit, offset) = limit_and_offset(page);
        let statement = self.inner.schema.ordered(sql!("secret/variables"), order(VARIABLE_ORDERS, order_by));
        let rows = sqlx::query(statement).bind(limit).bind(offset).fetch_all(&self.inner.clients).await;
        read_page(&rows.map_err(storage_error)?, read_variable)
    }

    async fn put_variable(&self, mut variable: Variable, audit: Option<AuditEntry>) -> Result<Variable> {
        let schema = &self.inner.schema;
        let mut tx = self.begin().await?;
        variable.id = sqlx::query_scalar(schema.sql(sql!("secret/put_variable")))
            .bind(&variable.key)
            .bind(&variable.value)
            .bind(&variable.description)
            .bind(variable.is_encrypted)
            .fetch_one(&mut *tx)
            .await
            .map_err(storage_error)?;
        write_audit(&mut tx, schema, None, audit).await?;
        tx.commit().await.map_err(storage_error)?;
        Ok(variable)
    }

    async fn update_variable(&self, key: &str, update: VariableUpdate, audit: Option<AuditEntry>) -> Result<Variable> {
        let schema = &self.inner.schema;
        let mut tx = self.begin().await?;
        let row = sqlx::query(schema.sql(sql!("secret/lock_variable")))
            .bind(key)
            .fetch_optional(&mut *tx)
            .await
            .map_err(storage_error)?;
        let mut variable = read_variable(&row.ok_or_else(|| no_variable(key))?).map_err(storage_error)?;
        if let Some(value) = update.value {
            (variable.value, variable.is_encrypted) = (value.text, value.is_encrypted);
        }
        variable.description = update.description.unwrap_or(variable.description);
        sqlx::query(schema.sql(sql!("secret/update_variable")))
            .bind(variable.id)
            .bind(&variable.value)
            .bind(&variable.description)
            .bind(variable.is_encrypted)
            .execute(&mut *tx)
            .await
            .map_err(storage_error)?;
        write_audit(&mut tx, schema, None, audit).await?;
        tx.commit().await.map_err(storage_error)?;
        Ok(variable)
    }

    async fn delete_variable(&self, key: &str, audit: Option<AuditEntry>) -> Result<()> {
        self.delete_named(sql!("secret/delete_variable"), key, Subject::Variable, audit).await
    }

    async fn variables_after(&self, after: i64, limit: usize) -> Result<Vec<Variable>> {
        let rows = self.secrets_after(sql!("secret/variables_after"), after, limit).await?;
        rows.iter().map(read_variable).collect::<sqlx::Result<_>>().map_err(storage_error)
    }

    async fn reseal_variable(&self, old: &Variable, value: &StoredSecret) -> Result<bool> {
        let updated = sqlx::query(self.inner.schema.sql(sql!("secret/reseal_variable")))
            .bind(old.id)
            .bind(&old.value)
            .bind(old.is_encrypted)
            .bind(&value.text)
            .bind(value.is_encrypted)
            .execute(&self.inner.clients)
            .await
            .map_err(storage_error)?;
        Ok(updated.rows_affected() > 0)
    }
}

#[async_trait]
impl ConnectionStorage for PostgresStorage {
    async fn connection(&self, conn_id: &str) -> Result<Connection> {
        let row = self.one_secret(sql!("secret/connection"), conn_id).await?;
        read_connection(&row.ok_or_else(|| no_connection(conn_id))?).map_err(storage_error)
    }

    async fn connections(
        &self,
        order_by: Option<OrderBy<ConnectionOrder>>,
        page: PageRequest,
    ) -> Result<Page<Connection>> {
        let (limit, offset) = limit_and_offset(page);
        let statement = self.inner.schema.ordered(sql!("secret/connections"), order(CONNECTION_ORDERS, order_by));
        let rows = sqlx::query(statement).bind(limit).bind(offset).fetch_all(&self.inner.clients).await;
        read_page(&rows.map_err(storage_error)?, read_connection)
    }

    async fn create_connection(&self, mut connection: Connection, audit: Option<AuditEntry>) -> Result<Connection> {
        let schema = &self.inner.schema;
        let mut tx = self.begin().await?;
        let row = bind_fields(schema.sql(sql!("secret/insert_connection")), &connection)
            .fetch_optional(&mut *tx)
            .await
            .map_err(storage_error)?;
        let Some(row) = row else {
            return Err(StorageError::AlreadyExists(Subject::Connection(connection.conn_id)));
        };
        connection.id = row.try_get("id").map_err(storage_error)?;
        write_audit(&mut tx, schema, None, audit).await?;
        tx.commit().await.map_err(storage_error)?;
        Ok(connection)
    }

    async fn update_connection(
        &self,
        conn_id: &str,
        update: ConnectionUpdate,
        audit: Option<AuditEntry>,
    ) -> Result<Connection> {
        let schema = &self.inner.schema;
        let mut tx = self.begin().await?;
        let row = sqlx::query(schema.sql(sql!("secret/lock_connection")))
            .bind(conn_id)
            .fetch_optional(&mut *tx)
            .await
            .map_err(storage_error)?;
        let mut connection = read_connection(&row.ok_or_else(|| no_connection(conn_id))?).map_err(storage_error)?;
        update.apply(&mut connection);
        bind_fields(schema.sql(sql!("secret/update_connection")), &connection)
            .execute(&mut *tx)
            .await
            .map_err(storage_error)?;
        write_audit(&mut tx, schema, None, audit).await?;
        tx.commit().await.map_err(storage_error)?;
        Ok(connection)
    }

    async fn delete_connection(&self, conn_id: &str, audit: Option<AuditEntry>) -> Result<()> {
        self.delete_named(sql!("secret/delete_connection"), conn_id, Subject::Connection, audit).await
    }

    async fn connections_after(&self, after: i64, limit: usize) -> Result<Vec<Connection>> {
        let rows = self.secrets_after(sql!("secret/connections_after"), after, limit).await?;
        rows.iter().map(read_connection).collect::<sqlx::Result<_>>().map_err(storage_error)
    }

    async fn reseal_connection(&self, old: &Connection, new: &Connection) -> Result<bool> {
        let updated = sqlx::query(self.inner.schema.sql(sql!("secret/reseal_connection")))
            .bind(old.id)
            .bind(&old.password)
            .bind(old.is_encrypted)
            .bind(&old.extra)
            .bind(old.is_extra_encrypted)
            .bind(&new.password)
            .bind(new.is_encrypted)
            .bind(&new.extra)
            .bind(new.is_extra_encrypted)
            .execute(&self.inner.clients)
            .await
            .map_err(storage_error)?;
        Ok(updated.rows_affected() > 0)
    }
}
