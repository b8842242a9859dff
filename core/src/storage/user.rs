use async_trait::async_trait;

use super::Result;
use crate::model::{Role, User};

/// Users and roles. Storages start without either; the default roles are known to the HTTP adapter.
#[async_trait]
pub trait UserStorage {
    /// A user.
    ///
    /// # Errors
    /// `NotFound`.
    async fn user(&self, username: &str) -> Result<User>;

    /// All users, in the order of their creation.
    async fn users(&self) -> Result<Vec<User>>;

    /// Makes or replaces a user; its `id` is ignored.
    ///
    /// # Errors
    /// `AlreadyExists` if another user has the email.
    async fn put_user(&self, user: User) -> Result<User>;

    /// Removes a user.
    ///
    /// # Errors
    /// `NotFound`.
    async fn delete_user(&self, username: &str) -> Result<()>;

    /// All roles, by name.
    async fn roles(&self) -> Result<Vec<Role>>;

    /// Makes or replaces a role.
    async fn put_role(&self, role: Role) -> Result<()>;

    /// Removes a role.
    ///
    /// # Errors
    /// `NotFound`.
    async fn delete_role(&self, name: &str) -> Result<()>;
}
