use async_trait::async_trait;

use super::{OrderBy, Page, PageRequest, Result};
use crate::model::{AuditEntry, Connection, Variable};
use crate::secret::StoredSecret;

/// By what variables are listed; the order of their creation by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum VariableOrder {
    /// The order of creation.
    Id,
    /// The key.
    Key,
    /// The value as it is kept.
    Value,
}

/// What changes in a variable; `None` leaves a field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VariableUpdate {
    /// New value.
    pub value: Option<StoredSecret>,
    /// New description, or none.
    pub description: Option<Option<String>>,
}

/// Variables. Values are kept as they come, encrypted or not.
#[async_trait]
pub trait VariableStorage {
    /// A variable.
    ///
    /// # Errors
    /// `NotFound`.
    async fn variable(&self, key: &str) -> Result<Variable>;

    /// A page of variables.
    async fn variables(&self, order_by: Option<OrderBy<VariableOrder>>, page: PageRequest) -> Result<Page<Variable>>;

    /// Makes a variable, in place of the one with its key; its `id` is ignored, and a new one.
    async fn put_variable(&self, variable: Variable, audit: Option<AuditEntry>) -> Result<Variable>;

    /// Changes a variable.
    ///
    /// # Errors
    /// `NotFound`.
    async fn update_variable(&self, key: &str, update: VariableUpdate, audit: Option<AuditEntry>) -> Result<Variable>;

    /// Removes a variable.
    ///
    /// # Errors
    /// `NotFound`.
    async fn delete_variable(&self, key: &str, audit: Option<AuditEntry>) -> Result<()>;

    /// The first `limit` variables whose `id` is greater than `after`, by `id`.
    async fn variables_after(&self, after: i64, limit: usize) -> Result<Vec<Variable>>;

    /// Writes the value of a variable anew, if it still is what `old` has; says whether it was.
    async fn reseal_variable(&self, old: &Variable, value: &StoredSecret) -> Result<bool>;
}

/// By what connections are listed; the order of their creation by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionOrder {
    /// The order of creation.
    Id,
    /// The text id.
    ConnId,
    /// The type.
    ConnType,
    /// The description.
    Description,
    /// The host.
    Host,
    /// The port.
    Port,
}

/// What changes in a connection; `None` leaves a field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectionUpdate {
    /// New type.
    pub conn_type: Option<String>,
    /// New description, or none.
    pub description: Option<Option<String>>,
    /// New host, or none.
    pub host: Option<Option<String>>,
    /// New user name, or none.
    pub login: Option<Option<String>>,
    /// New database or path, or none.
    pub schema: Option<Option<String>>,
    /// New port, or none.
    pub port: Option<Option<i32>>,
    /// New password.
    pub password: Option<StoredSecret>,
    /// New extra, or none.
    pub extra: Option<Option<StoredSecret>>,
}

impl ConnectionUpdate {
    /// Changes `connection`.
    pub fn apply(self, connection: &mut Connection) {
        fn set<T>(field: &mut T, new: Option<T>) {
            if let Some(new) = new {
                *field = new;
            }
        }
        set(&mut connection.conn_type, self.conn_type);
        set(&mut connection.description, self.description);
        set(&mut connection.host, self.host);
        set(&mut connection.login, self.login);
        set(&mut connection.schema, self.schema);
        set(&mut connection.port, self.port);
        if let Some(password) = self.password {
            connection.is_encrypted = password.is_encrypted;
            connection.password = Some(password.text);
        }
        if let Some(extra) = self.extra {
            connection.is_extra_encrypted = extra.as_ref().is_some_and(|extra| extra.is_encrypted);
            connection.extra = extra.map(|extra| extra.text);
        }
    }
}

/// Connections. Secrets are kept as they come, encrypted or not.
#[async_trait]
pub trait ConnectionStorage {
    /// A connection.
    ///
    /// # Errors
    /// `NotFound`.
    async fn connection(&self, conn_id: &str) -> Result<Connection>;

    /// A page of connections.
    async fn connections(
        &self,
        order_by: Option<OrderBy<ConnectionOrder>>,
        page: PageRequest,
    ) -> Result<Page<Connection>>;

    /// Makes a connection; its `id` is ignored.
    ///
    /// # Errors
    /// `AlreadyExists`.
    async fn create_connection(&self, connection: Connection, audit: Option<AuditEntry>) -> Result<Connection>;

    /// Changes a connection.
    ///
    /// # Errors
    /// `NotFound`.
    async fn update_connection(
        &self,
        conn_id: &str,
        update: ConnectionUpdate,
        audit: Option<AuditEntry>,
    ) -> Result<Connection>;

    /// Removes a connection.
    ///
    /// # Errors
    /// `NotFound`.
    async fn delete_connection(&self, conn_id: &str, audit: Option<AuditEntry>) -> Result<()>;

    /// The first `limit` connections whose `id` is greater than `after`, by `id`.
    async fn connections_after(&self, after: i64, limit: usize) -> Result<Vec<Connection>>;

    /// Writes the secrets of a connection anew, if they still are what `old` has; says whether they were. `new` is `old`
    /// with other secrets.
    async fn reseal_connection(&self, old: &Connection, new: &Connection) -> Result<bool>;
}
