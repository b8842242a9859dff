//! Connections.

use super::{Actor, Result, Service, ServiceError};
use crate::model::Connection;
use crate::python;
use crate::storage::{ConnectionOrder, ConnectionUpdate, OrderBy, Page, PageRequest, StorageError, Subject};

/// Longest id of a connection.
const MAX_ID: usize = 200;

impl Service {
    /// A connection, its secrets in the clear.
    ///
    /// # Errors
    /// `NotFound`; `Undecipherable`, from the storage, if no key fits.
    pub async fn connection(&self, conn_id: &str) -> Result<Connection> {
        self.open_connection(self.storage.connection(conn_id).await?)
    }

    /// A page of connections, without passwords and extras.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn connections(
        &self,
        order_by: Option<OrderBy<ConnectionOrder>>,
        page: PageRequest,
    ) -> Result<Page<Connection>> {
        let page = self.storage.connections(order_by, page).await?;
        Ok(page.map(|connection| Connection { password: None, extra: None, ..connection.clone() }))
    }

    /// Makes a connection; its secrets come in the clear.
    ///
    /// # Errors
    /// `Invalid` for an id of other characters than letters, digits, dashes, dots and underscores, or of more than 200;
    /// `AlreadyExists`.
    pub async fn create_connection(&self, connection: Connection, actor: &Actor) -> Result<Connection> {
        check_id(&connection.conn_id)?;
        let mut sealed = connection.clone();
        (sealed.password, sealed.is_encrypted) = (None, false);
        // As in Airflow, an empty password is none; an empty extra is kept, but there is nothing to encrypt.
        if let Some(password) = connection.password.as_deref().filter(|password| !password.is_empty()) {
            let password = self.seal(password).await?;
            (sealed.password, sealed.is_encrypted) = (Some(password.text), password.is_encrypted);
        }
        sealed.is_extra_encrypted = false;
        if let Some(extra) = connection.extra.as_deref().filter(|extra| !extra.is_empty()) {
            let extra = self.seal(extra).await?;
            (sealed.extra, sealed.is_extra_encrypted) = (Some(extra.text), extra.is_encrypted);
        }
        let stored = self.storage.create_connection(sealed, Some(actor.audit("connection.create"))).await?;
        self.open_connection(stored)
    }

    /// Changes a connection; new secrets come in the clear. An empty password changes nothing.
    ///
    /// # Errors
    /// `NotFound`; `Undecipherable`, from the storage, if it has been changed but cannot be shown.
    pub async fn update_connection(
        &self,
        conn_id: &str,
        mut update: ConnectionUpdate,
        actor: &Actor,
    ) -> Result<Connection> {
        update.password = update.password.filter(|password| !password.text.is_empty());
        self.seal_given(update.password.as_mut()).await?;
        let extra = update.extra.as_mut().and_then(Option::as_mut);
        self.seal_given(extra.filter(|extra| !extra.text.is_empty())).await?;
        let stored = self.storage.update_connection(conn_id, update, Some(actor.audit("connection.edit"))).await?;
        self.open_connection(stored)
    }

    /// Removes a connection.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn delete_connection(&self, conn_id: &str, actor: &Actor) -> Result<()> {
        Ok(self.storage.delete_connection(conn_id, Some(actor.audit("connection.delete"))).await?)
    }

    fn open_connection(&self, connection: Connection) -> Result<Connection> {
        let subject = Subject::Connection(connection.conn_id.clone());
        let opened = self.settings.secret_keys.open_connection(connection);
        opened.map_err(|error| StorageError::Undecipherable(subject, error).into())
    }
}

fn check_id(conn_id: &str) -> Result<()> {
    if conn_id.chars().count() > MAX_ID {
        let message = format!("The key has to be less than {MAX_ID} characters");
        return Err(ServiceError::invalid("connection_id", message));
    }
    let fits = |char: char| char.is_alphanumeric() || matches!(char, '_' | '-' | '.');
    if conn_id.is_empty() || !conn_id.chars().all(fits) {
        let message = format!(
            "The key {} has to be made of alphanumeric characters, dashes, dots and underscores exclusively",
            python::str_repr(conn_id)
        );
        return Err(ServiceError::invalid("connection_id", message));
    }
    Ok(())
}
