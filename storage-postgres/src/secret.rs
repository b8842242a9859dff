//! Variables and connections.

use async_trait::async_trait;
use sqlx::Row;
use sqlx::postgres::PgRow;
use updraft_core::model::{AuditEntry, Connection, Variable};
use updraft_core::storage::{ConnectionStorage, Page, PageRequest, Result, StorageError, Subject, VariableStorage};

use crate::PostgresStorage;
use crate::audit::write_audit;
use crate::error::storage_error;
use crate::page::{limit_and_offset, read_page};
use crate::sql::sql;

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

#[async_trait]
impl VariableStorage for PostgresStorage {
    async fn variable(&self, key: &str) -> Result<Variable> {
        let row = sqlx::query(self.inner.schema.sql(sql!("secret/variable")))
            .bind(key)
            .fetch_optional(&self.inner.clients)
            .await
            .map_err(storage_error)?;
        let row = row.ok_or_else(|| StorageError::NotFound(Subject::Variable(key.into())))?;
        read_variable(&row).map_err(storage_error)
    }

    async fn variables(&self, page: PageRequest) -> Result<Page<Variable>> {
        let (limit, offset) = limit_and_offset(page);
        let rows = sqlx::query(self.inner.schema.sql(sql!("secret/variables")))
            .bind(limit)
            .bind(offset)
            .fetch_all(&self.inner.clients)
            .await
            .map_err(storage_error)?;
        read_page(&rows, read_variable)
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

    async fn delete_variable(&self, key: &str, audit: Option<AuditEntry>) -> Result<()> {
        self.delete_named(sql!("secret/delete_variable"), key, Subject::Variable, audit).await
    }
}

#[async_trait]
impl ConnectionStorage for PostgresStorage {
    async fn connection(&self, conn_id: &str) -> Result<Connection> {
        let row = sqlx::query(self.inner.schema.sql(sql!("secret/connection")))
            .bind(conn_id)
            .fetch_optional(&self.inner.clients)
            .await
            .map_err(storage_error)?;
        let row = row.ok_or_else(|| StorageError::NotFound(Subject::Connection(conn_id.into())))?;
        read_connection(&row).map_err(storage_error)
    }

    async fn connections(&self, page: PageRequest) -> Result<Page<Connection>> {
        let (limit, offset) = limit_and_offset(page);
        let rows = sqlx::query(self.inner.schema.sql(sql!("secret/connections")))
            .bind(limit)
            .bind(offset)
            .fetch_all(&self.inner.clients)
            .await
            .map_err(storage_error)?;
        read_page(&rows, read_connection)
    }

    async fn put_connection(&self, mut connection: Connection, audit: Option<AuditEntry>) -> Result<Connection> {
        let schema = &self.inner.schema;
        let mut tx = self.begin().await?;
        connection.id = sqlx::query_scalar(schema.sql(sql!("secret/put_connection")))
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
            .fetch_one(&mut *tx)
            .await
            .map_err(storage_error)?;
        write_audit(&mut tx, schema, None, audit).await?;
        tx.commit().await.map_err(storage_error)?;
        Ok(connection)
    }

    async fn delete_connection(&self, conn_id: &str, audit: Option<AuditEntry>) -> Result<()> {
        self.delete_named(sql!("secret/delete_connection"), conn_id, Subject::Connection, audit).await
    }
}
