//! Variables.

use super::{Actor, Result, Service, ServiceError};
use crate::model::Variable;
use crate::secret::{SecretError, StoredSecret};
use crate::storage::{OrderBy, Page, PageRequest, StorageError, Subject, VariableOrder, VariableUpdate};

/// Longest key of a variable.
const MAX_KEY: usize = 250;

impl Service {
    /// A variable, its value in the clear.
    ///
    /// # Errors
    /// `NotFound`; `Undecipherable`, from the storage, if no key fits.
    pub async fn variable(&self, key: &str) -> Result<Variable> {
        self.open_variable(self.storage.variable(key).await?)
    }

    /// A page of variables, their values in the clear. One that cannot be decrypted has no value, and comes with the
    /// reason: it must not keep others from being listed.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn variables(
        &self,
        order_by: Option<OrderBy<VariableOrder>>,
        page: PageRequest,
    ) -> Result<Page<(Variable, Option<SecretError>)>> {
        let keys = &self.settings.secret_keys;
        Ok(self.storage.variables(order_by, page).await?.map(|mut variable| {
            let opened = keys.open(&variable.value, variable.is_encrypted);
            variable.value = opened.as_deref().unwrap_or_default().to_owned();
            (variable, opened.err())
        }))
    }

    /// Makes a variable in place of the one with its key, if there is one; its value comes in the clear. What it replaces
    /// is gone as a whole, with its description and its place in the order.
    ///
    /// # Errors
    /// `Invalid` for a key that is too long.
    pub async fn set_variable(&self, variable: Variable, actor: &Actor) -> Result<Variable> {
        if variable.key.chars().count() > MAX_KEY {
            return Err(ServiceError::invalid("key", format!("Longer than maximum length {MAX_KEY}.")));
        }
        let value = self.seal(&variable.value).await?;
        let sealed = Variable { value: value.text, is_encrypted: value.is_encrypted, ..variable.clone() };
        let stored = self.storage.put_variable(sealed, Some(actor.audit("variable.create"))).await?;
        Ok(Variable { value: variable.value, ..stored })
    }

    /// Changes a variable; a new value comes in the clear.
    ///
    /// # Errors
    /// `NotFound`; `Undecipherable`, from the storage, if it has been changed but cannot be shown.
    pub async fn update_variable(&self, key: &str, mut update: VariableUpdate, actor: &Actor) -> Result<Variable> {
        self.seal_given(update.value.as_mut()).await?;
        let stored = self.storage.update_variable(key, update, Some(actor.audit("variable.edit"))).await?;
        self.open_variable(stored)
    }

    /// Removes a variable.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn delete_variable(&self, key: &str, actor: &Actor) -> Result<()> {
        Ok(self.storage.delete_variable(key, Some(actor.audit("variable.delete"))).await?)
    }

    fn open_variable(&self, variable: Variable) -> Result<Variable> {
        let subject = Subject::Variable(variable.key.clone());
        let opened = self.settings.secret_keys.open_variable(variable);
        opened.map_err(|error| StorageError::Undecipherable(subject, error).into())
    }

    /// A secret as it is to be kept.
    pub(super) async fn seal(&self, text: &str) -> Result<StoredSecret> {
        Ok(self.settings.secret_keys.seal(text, self.now().await?, &self.ids))
    }

    /// Encrypts what comes in the clear.
    pub(super) async fn seal_given(&self, secret: Option<&mut StoredSecret>) -> Result<()> {
        if let Some(secret) = secret.filter(|secret| !secret.is_encrypted) {
            *secret = self.seal(&secret.text).await?;
        }
        Ok(())
    }
}
