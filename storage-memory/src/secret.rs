//! Variables and connections.

use async_trait::async_trait;
use updraft_core::model::{AuditEntry, Connection, Variable};
use updraft_core::storage::{ConnectionStorage, Page, PageRequest, Result, StorageError, Subject, VariableStorage};

use crate::MemoryStorage;
use crate::list::{page, sort};

#[async_trait]
impl VariableStorage for MemoryStorage {
    async fn variable(&self, key: &str) -> Result<Variable> {
        let state = self.lock();
        state.variables.get(key).cloned().ok_or_else(|| StorageError::NotFound(Subject::Variable(key.into())))
    }

    async fn variables(&self, request: PageRequest) -> Result<Page<Variable>> {
        let state = self.lock();
        let mut variables: Vec<&Variable> = state.variables.values().collect();
        sort(&mut variables, false, |variable| variable.id);
        Ok(page(variables.into_iter(), request).map(Variable::clone))
    }

    async fn put_variable(&self, mut variable: Variable, audit: Option<AuditEntry>) -> Result<Variable> {
        let mut state = self.lock();
        variable.id = match state.variables.get(&variable.key) {
            Some(old) => old.id,
            None => state.variable_serial.next(),
        };
        state.variables.insert(variable.key.clone(), variable.clone());
        state.audit(self.clock.now(), audit);
        Ok(variable)
    }

    async fn delete_variable(&self, key: &str, audit: Option<AuditEntry>) -> Result<()> {
        let mut state = self.lock();
        if state.variables.remove(key).is_none() {
            return Err(StorageError::NotFound(Subject::Variable(key.into())));
        }
        state.audit(self.clock.now(), audit);
        Ok(())
    }
}

#[async_trait]
impl ConnectionStorage for MemoryStorage {
    async fn connection(&self, conn_id: &str) -> Result<Connection> {
        let state = self.lock();
        state
            .connections
            .get(conn_id)
            .cloned()
            .ok_or_else(|| StorageError::NotFound(Subject::Connection(conn_id.into())))
    }

    async fn connections(&self, request: PageRequest) -> Result<Page<Connection>> {
        let state = self.lock();
        let mut connections: Vec<&Connection> = state.connections.values().collect();
        sort(&mut connections, false, |connection| connection.id);
        Ok(page(connections.into_iter(), request).map(Connection::clone))
    }

    async fn put_connection(&self, mut connection: Connection, audit: Option<AuditEntry>) -> Result<Connection> {
        let mut state = self.lock();
        connection.id = match state.connections.get(&connection.conn_id) {
            Some(old) => old.id,
            None => state.connection_serial.next(),
        };
        state.connections.insert(connection.conn_id.clone(), connection.clone());
        state.audit(self.clock.now(), audit);
        Ok(connection)
    }

    async fn delete_connection(&self, conn_id: &str, audit: Option<AuditEntry>) -> Result<()> {
        let mut state = self.lock();
        if state.connections.remove(conn_id).is_none() {
            return Err(StorageError::NotFound(Subject::Connection(conn_id.into())));
        }
        state.audit(self.clock.now(), audit);
        Ok(())
    }
}
