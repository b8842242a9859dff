//! Encrypting secrets anew.

use super::{Actor, Result, Service, ServiceError};
use crate::model::{Connection, Variable};
use crate::secret::SecretError;
use crate::storage::{StorageError, Subject};

/// How many variables or connections are read at a time.
const STEP: usize = 100;

/// What [`Service::rotate_secrets`] has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rotation {
    /// How many variables and connections were encrypted anew.
    pub resealed: u64,
    /// Those that no key fits. They are as they were.
    pub unreadable: Vec<Subject>,
}

impl Service {
    /// Encrypts all secrets with the first key: those that are in the clear, and those of other keys, which are then no
    /// longer needed unless something was unreadable. It works beside those who read and write, and may be stopped and
    /// started again.
    ///
    /// # Errors
    /// `Invalid` without keys. The storage failed; what was done until then stays.
    pub async fn rotate_secrets(&self, actor: &Actor) -> Result<Rotation> {
        if self.settings.secret_keys.is_empty() {
            return Err(ServiceError::invalid("secret_keys", "no secret key is configured"));
        }
        let mut rotation = Rotation::default();
        let mut after = 0;
        loop {
            let variables = self.storage.variables_after(after, STEP).await?;
            let Some(last) = variables.last() else { break };
            after = last.id;
            for variable in variables {
                let subject = Subject::Variable(variable.key.clone());
                rotation.note(subject, self.rotate_variable(variable).await)?;
            }
        }
        after = 0;
        loop {
            let connections = self.storage.connections_after(after, STEP).await?;
            let Some(last) = connections.last() else { break };
            after = last.id;
            for connection in connections {
                let subject = Subject::Connection(connection.conn_id.clone());
                rotation.note(subject, self.rotate_connection(connection).await)?;
            }
        }
        self.record(actor.audit("rotate_fernet_key")).await?;
        Ok(rotation)
    }

    /// Whether the variable was encrypted anew. A writer that comes between starts it over.
    async fn rotate_variable(&self, mut variable: Variable) -> Result<bool, RotateError> {
        let keys = &self.settings.secret_keys;
        loop {
            if keys.is_newest(&variable.value, variable.is_encrypted) {
                return Ok(false);
            }
            let value = keys.open(&variable.value, variable.is_encrypted)?;
            let value = keys.seal(&value, self.storage.now().await?, &self.ids);
            if self.storage.reseal_variable(&variable, &value).await? {
                return Ok(true);
            }
            variable = match self.storage.variable(&variable.key).await {
                Err(StorageError::NotFound(_)) => return Ok(false),
                result => result?,
            };
        }
    }

    /// Whether the connection was encrypted anew. A writer that comes between starts it over.
    async fn rotate_connection(&self, mut connection: Connection) -> Result<bool, RotateError> {
        let keys = &self.settings.secret_keys;
        loop {
            let now = self.storage.now().await?;
            let mut new = connection.clone();
            for (text, is_encrypted) in
                [(&mut new.password, &mut new.is_encrypted), (&mut new.extra, &mut new.is_extra_encrypted)]
            {
                let Some(old) = text.as_mut().filter(|old| !old.is_empty()) else { continue };
                if !keys.is_newest(old, *is_encrypted) {
                    let sealed = keys.seal(&keys.open(old, *is_encrypted)?, now, &self.ids);
                    (*old, *is_encrypted) = (sealed.text, sealed.is_encrypted);
                }
            }
            if new == connection {
                return Ok(false);
            }
            if self.storage.reseal_connection(&connection, &new).await? {
                return Ok(true);
            }
            connection = match self.storage.connection(&connection.conn_id).await {
                Err(StorageError::NotFound(_)) => return Ok(false),
                result => result?,
            };
        }
    }
}

impl Rotation {
    fn note(&mut self, subject: Subject, result: Result<bool, RotateError>) -> Result<()> {
        match result {
            Ok(was_resealed) => self.resealed += u64::from(was_resealed),
            Err(RotateError::Secret(error)) => {
                tracing::warn!(%error, %subject, "a secret was not encrypted anew");
                self.unreadable.push(subject);
            }
            Err(RotateError::Storage(error)) => return Err(error.into()),
        }
        Ok(())
    }
}

/// Why one could not be encrypted anew.
enum RotateError {
    Secret(SecretError),
    Storage(StorageError),
}

impl From<SecretError> for RotateError {
    fn from(error: SecretError) -> Self {
        Self::Secret(error)
    }
}

impl From<StorageError> for RotateError {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}
