use async_trait::async_trait;

use super::{Page, PageRequest, Result};
use crate::model::{AuditEntry, Connection, Variable};

/// Variables.
#[async_trait]
pub trait VariableStorage {
    /// A variable.
    ///
    /// # Errors
    /// `NotFound`.
    async fn variable(&self, key: &str) -> Result<Variable>;

    /// A page of variables, in the order of their creation.
    async fn variables(&self, page: PageRequest) -> Result<Page<Variable>>;

    /// Makes or replaces a variable; its `id` is ignored.
    async fn put_variable(&self, variable: Variable, audit: Option<AuditEntry>) -> Result<Variable>;

    /// Removes a variable.
    ///
    /// # Errors
    /// `NotFound`.
    async fn delete_variable(&self, key: &str, audit: Option<AuditEntry>) -> Result<()>;
}

/// Connections.
#[async_trait]
pub trait ConnectionStorage {
    /// A connection.
    ///
    /// # Errors
    /// `NotFound`.
    async fn connection(&self, conn_id: &str) -> Result<Connection>;

    /// A page of connections, in the order of their creation.
    async fn connections(&self, page: PageRequest) -> Result<Page<Connection>>;

    /// Makes or replaces a connection; its `id` is ignored.
    async fn put_connection(&self, connection: Connection, audit: Option<AuditEntry>) -> Result<Connection>;

    /// Removes a connection.
    ///
    /// # Errors
    /// `NotFound`.
    async fn delete_connection(&self, conn_id: &str, audit: Option<AuditEntry>) -> Result<()>;
}
