use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{OrderBy, Page, PageRequest, Result};
use crate::model::User;

/// By what users are listed; the order of their creation by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UserOrder {
    /// The order of creation.
    Id,
    /// The given name.
    FirstName,
    /// The family name.
    LastName,
    /// The name to log in with.
    Username,
    /// The email.
    Email,
    /// Active ones last.
    Active,
}

/// What changes in a user; `None` leaves a field.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UserUpdate {
    /// New name.
    pub username: Option<String>,
    /// New email.
    pub email: Option<String>,
    /// New given name.
    pub first_name: Option<String>,
    /// New family name.
    pub last_name: Option<String>,
    /// Whether the user may log in.
    pub active: Option<bool>,
    /// New roles.
    pub roles: Option<BTreeSet<String>>,
    /// New hash of the password.
    pub password_hash: Option<String>,
}

impl std::fmt::Debug for UserUpdate {
    /// Leaves the hash out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserUpdate")
            .field("username", &self.username)
            .field("roles", &self.roles)
            .finish_non_exhaustive()
    }
}

/// Users. Names are compared without regard to the case of ASCII letters, and kept as they were given.
#[async_trait]
pub trait UserStorage {
    /// A user.
    ///
    /// # Errors
    /// `NotFound`.
    async fn user(&self, username: &str) -> Result<User>;

    /// Who logs in under a name: the user of this name, else the one with this email.
    ///
    /// # Errors
    /// `NotFound`.
    async fn user_by_login(&self, login: &str) -> Result<User>;

    /// A page of users.
    async fn users(&self, order_by: Option<OrderBy<UserOrder>>, page: PageRequest) -> Result<Page<User>>;

    /// Makes a user; its `id` and what is counted of its logins are ignored.
    ///
    /// # Errors
    /// `AlreadyExists` for the name, then for the email; `NotFound` for a role.
    async fn create_user(&self, user: User) -> Result<User>;

    /// Changes a user. New roles, another password or an end of being active end the user's tokens.
    ///
    /// # Errors
    /// `NotFound` for the user; else as when one is made.
    async fn update_user(&self, username: &str, update: UserUpdate) -> Result<User>;

    /// Removes a user with its tokens.
    ///
    /// # Errors
    /// `NotFound`.
    async fn delete_user(&self, username: &str) -> Result<()>;

    /// Counts that a user has logged in, or that somebody has failed to. It may be durable up to a second later, unlike
    /// other changes; reads by this process show it at once. Unknown users are ignored.
    async fn record_login(&self, now: DateTime<Utc>, username: &str, succeeded: bool) -> Result<()>;
}
