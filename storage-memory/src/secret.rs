//! Variables and connections.

use async_trait::async_trait;
use updraft_core::model::{AuditEntry, Connection, Variable};
use updraft_core::secret::StoredSecret;
use updraft_core::storage::{
    ConnectionOrder, ConnectionStorage, ConnectionUpdate, OrderBy, Page, PageRequest, Result, StorageError, Subject,
    VariableOrder, VariableStorage, VariableUpdate,
};

use crate::MemoryStorage;
use crate::list::{NoneLast, page, sort};

fn no_variable(key: &str) -> StorageError {
    StorageError::NotFound(Subject::Variable(key.into()))
}

fn no_connection(conn_id: &str) -> StorageError {
    StorageError::NotFound(Subject::Connection(conn_id.into()))
}

#[async_trait]
impl VariableStorage for MemoryStorage {
    async fn variable(&self, key: &str) -> Result<Variable> {
        self.lock().variables.get(key).cloned().ok_or_else(|| no_variable(key))
    }

    async fn variables(
        &self,
        order_by: Option<OrderBy<VariableOrder>>,
        request: PageRequest,
    ) -> Result<Page<Variable>> {
        let state = self.lock();
        let mut variables: Vec<&Variable> = state.variables.values().collect();
        sort(&mut variables, false, |variable| variable.id);
        if let Some(OrderBy { field, descending }) = order_by {
            match field {
                VariableOrder::Key => sort(&mut variables, descending, |variable| &*variable.key),
                VariableOrder::Value => sort(&mut variables, descending, |variable| &*variable.value),
                _ => sort(&mut variables, descending, |variable| variable.id),
            }
        }
        Ok(page(variables.into_iter(), request).map(Variable::clone))
    }

    async fn put_variable(&self, mut variable: Variable, audit: Option<AuditEntry>) -> Result<Variable> {
        let mut state = self.lock();
        variable.id = state.variable_serial.next();
        state.variables.insert(variable.key.clone(), variable.clone());
        state.audit(self.clock.now(), audit);
        Ok(variable)
    }

    async fn update_variable(&self, key: &str, update: VariableUpdate, audit: Option<AuditEntry>) -> Result<Variable> {
        let mut state = self.lock();
        let variable = state.variables.get_mut(key).ok_or_else(|| no_variable(key))?;
        if let Some(value) = update.value {
            (variable.value, variable.is_encrypted) = (value.text, value.is_encrypted);
        }
        if let Some(description) = update.description {
            variable.description = description;
        }
        let variable = variable.clone();
        state.audit(self.clock.now(), audit);
        Ok(variable)
    }

    async fn delete_variable(&self, key: &str, audit: Option<AuditEntry>) -> Result<()> {
        let mut state = self.lock();
        state.variables.remove(key).ok_or_else(|| no_variable(key))?;
        state.audit(self.clock.now(), audit);
        Ok(())
    }

    async fn variables_after(&self, after: i64, limit: usize) -> Result<Vec<Variable>> {
        let state = self.lock();
        let mut variables: Vec<&Variable> = state.variables.values().filter(|variable| variable.id > after).collect();
        sort(&mut variables, false, |variable| variable.id);
        Ok(variables.into_iter().take(limit).cloned().collect())
    }

    async fn reseal_variable(&self, old: &Variable, value: &StoredSecret) -> Result<bool> {
        let mut state = self.lock();
        let same = |variable: &&mut Variable| {
            (variable.id, &variable.value, variable.is_encrypted) == (old.id, &old.value, old.is_encrypted)
        };
        let Some(variable) = state.variables.get_mut(&old.key).filter(same) else { return Ok(false) };
        (variable.value, variable.is_encrypted) = (value.text.clone(), value.is_encrypted);
        Ok(true)
    }
}

#[async_trait]
impl ConnectionStorage for MemoryStorage {
    async fn connection(&self, conn_id: &str) -> Result<Connection> {
        self.lock().connections.get(conn_id).cloned().ok_or_else(|| no_connection(conn_id))
    }

    async fn connections(
        &self,
        order_by: Option<OrderBy<ConnectionOrder>>,
        request: PageRequest,
    ) -> Result<Page<Connection>> {
        let state = self.lock();
        let mut connections: Vec<&Connection> = state.connections.values().collect();
        sort(&mut connections, false, |connection| connection.id);
        if let Some(OrderBy { field, descending }) = order_by {
            match field {
                ConnectionOrder::ConnId => sort(&mut connections, descending, |connection| &*connection.conn_id),
                ConnectionOrder::ConnType => sort(&mut connections, descending, |connection| &*connection.conn_type),
                ConnectionOrder::Description => {
                    sort(&mut connections, descending, |connection| NoneLast(connection.description.as_deref()));
                }
                ConnectionOrder::Host => {
                    sort(&mut connections, descending, |connection| NoneLast(connection.host.as_deref()));
                }
                ConnectionOrder::Port => sort(&mut connections, descending, |connection| NoneLast(connection.port)),
                _ => sort(&mut connections, descending, |connection| connection.id),
            }
        }
        Ok(page(connections.into_iter(), request).map(Connection::clone))
    }

    async fn create_connection(&self, mut connection: Connection, audit: Option<AuditEntry>) -> Result<Connection> {
        let mut state = self.lock();
        if state.connections.contains_key(&connection.conn_id) {
            return Err(StorageError::AlreadyExists(Subject::Connection(connection.conn_id)));
        }
        connection.id = state.connection_serial.next();
        state.connections.insert(connection.conn_id.clone(), connection.clone());
        state.audit(self.clock.now(), audit);
        Ok(connection)
    }

    async fn update_connection(
        &self,
        conn_id: &str,
        update: ConnectionUpdate,
        audit: Option<AuditEntry>,
    ) -> Result<Connection> {
        let mut state = self.lock();
        let connection = state.connections.get_mut(conn_id).ok_or_else(|| no_connection(conn_id))?;
        update.apply(connection);
        let connection = connection.clone();
        state.audit(self.clock.now(), audit);
        Ok(connection)
    }

    async fn delete_connection(&self, conn_id: &str, audit: Option<AuditEntry>) -> Result<()> {
        let mut state = self.lock();
        state.connections.remove(conn_id).ok_or_else(|| no_connection(conn_id))?;
        state.audit(self.clock.now(), audit);
        Ok(())
    }

    async fn connections_after(&self, after: i64, limit: usize) -> Result<Vec<Connection>> {
        let state = self.lock();
        let mut connections: Vec<&Connection> = state.connections.values().filter(|one| one.id > after).collect();
        sort(&mut connections, false, |connection| connection.id);
        Ok(connections.into_iter().take(limit).cloned().collect())
    }

    async fn reseal_connection(&self, old: &Connection, new: &Connection) -> Result<bool> {
        fn secrets(connection: &Connection) -> (Option<&str>, bool, Option<&str>, bool) {
            let (password, extra) = (connection.password.as_deref(), connection.extra.as_deref());
            (password, connection.is_encrypted, extra, connection.is_extra_encrypted)
        }
        let mut state = self.lock();
        let same = |one: &&mut Connection| one.id == old.id && secrets(one) == secrets(old);
        let Some(connection) = state.connections.get_mut(&old.conn_id).filter(same) else { return Ok(false) };
        (connection.password, connection.is_encrypted) = (new.password.clone(), new.is_encrypted);
        (connection.extra, connection.is_extra_encrypted) = (new.extra.clone(), new.is_extra_encrypted);
        Ok(true)
    }
}
