//! Users.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::{Result, Service, ServiceError};
use crate::model::User;
use crate::storage::{OrderBy, Page, PageRequest, StorageError, Subject, UserOrder, UserUpdate};

/// The role of users who are given none, as in Airflow.
const DEFAULT_ROLE: &str = "Public";

/// A user that somebody asks for.
#[derive(Clone, Default)]
pub struct NewUser {
    /// Name to log in with.
    pub username: String,
    /// Email.
    pub email: String,
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
    /// Names of roles; Public if there are none.
    pub roles: Vec<String>,
    /// The password's hash, as a PHC string; empty for a user who cannot log in with one.
    pub password_hash: String,
}

impl std::fmt::Debug for NewUser {
    /// Leaves the hash out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewUser").field("username", &self.username).field("roles", &self.roles).finish_non_exhaustive()
    }
}

impl Service {
    /// A user, by name in any case.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn user(&self, username: &str) -> Result<User> {
        Ok(self.storage.user(username).await?)
    }

    /// Who logs in under a name: the user of this name, else the one with this email.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn user_by_login(&self, login: &str) -> Result<User> {
        Ok(self.storage.user_by_login(login).await?)
    }

    /// A page of users.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn users(&self, order_by: Option<OrderBy<UserOrder>>, page: PageRequest) -> Result<Page<User>> {
        Ok(self.storage.users(order_by, page).await?)
    }

    /// Refuses a name or an email that somebody has.
    ///
    /// # Errors
    /// `AlreadyExists` for the name, then for the email.
    pub async fn check_user_is_new(&self, username: Option<&str>, email: Option<&str>) -> Result<()> {
        if let Some(username) = username
            && found(self.storage.user(username).await)?.is_some()
        {
            return Err(ServiceError::AlreadyExists(Subject::User(username.into())));
        }
        if let Some(email) = email
            && let Some(user) = found(self.storage.user_by_login(email).await)?
            && user.email == email
        {
            return Err(ServiceError::AlreadyExists(Subject::Email(email.into())));
        }
        Ok(())
    }

    /// Makes a user.
    ///
    /// # Errors
    /// `AlreadyExists` for the name, then for the email; `Invalid` for roles that do not exist.
    pub async fn create_user(&self, user: NewUser) -> Result<User> {
        self.check_user_is_new(Some(&user.username), Some(&user.email)).await?;
        let mut roles = user.roles;
        if roles.is_empty() {
            roles.push(DEFAULT_ROLE.to_owned());
        }
        self.check_roles(&roles).await?;
        let now = self.now().await?;
        let made = self.storage.create_user(User {
            id: 0,
            username: user.username,
            email: user.email,
            first_name: user.first_name,
            last_name: user.last_name,
            active: true,
            roles: roles.into_iter().collect(),
            password_hash: user.password_hash,
            created_on: now,
            changed_on: now,
            login_count: None,
            fail_login_count: None,
            last_login: None,
        });
        made.await.map_err(unknown_role)
    }

    /// Changes a user. New roles, another password or an end of being active end the user's tokens.
    ///
    /// # Errors
    /// `NotFound`; else as when one is made.
    pub async fn update_user(&self, username: &str, update: UserUpdate) -> Result<User> {
        if let Some(roles) = &update.roles {
            self.check_roles(&Vec::from_iter(roles.iter().cloned())).await?;
        }
        self.storage.update_user(username, update).await.map_err(unknown_role)
    }

    /// Makes a user, or gives the one of this name these roles and this password.
    ///
    /// # Errors
    /// As when a user is made.
    pub async fn put_user(&self, user: NewUser) -> Result<User> {
        let update = UserUpdate {
            active: Some(true),
            roles: Some(user.roles.iter().cloned().collect()),
            password_hash: Some(user.password_hash.clone()),
            ..UserUpdate::default()
        };
        match self.update_user(&user.username.clone(), update).await {
            Err(ServiceError::NotFound(Subject::User(_))) => self.create_user(user).await,
            result => result,
        }
    }

    /// Removes a user with its tokens.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn delete_user(&self, username: &str) -> Result<()> {
        Ok(self.storage.delete_user(username).await?)
    }

    /// Counts that a user has logged in, or that somebody has failed to.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn record_login(&self, now: DateTime<Utc>, username: &str, succeeded: bool) -> Result<()> {
        Ok(self.storage.record_login(now, username, succeeded).await?)
    }

    async fn check_roles(&self, names: &[String]) -> Result<()> {
        let known: BTreeSet<String> = self.all_roles().await?.into_iter().map(|role| role.name).collect();
        let unknown: Vec<_> = names.iter().filter(|name| !known.contains(*name)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let unknown: Vec<_> = unknown.into_iter().map(|name| crate::python::str_repr(name)).collect();
        Err(ServiceError::invalid("roles", format!("Unknown roles: {}", unknown.join(", "))))
    }
}

/// A role that has gone since it was looked for.
fn unknown_role(error: StorageError) -> ServiceError {
    match error {
        StorageError::NotFound(Subject::Role(name)) => {
            ServiceError::invalid("roles", format!("Unknown roles: {}", crate::python::str_repr(&name)))
        }
        error => error.into(),
    }
}

fn found(user: Result<User, StorageError>) -> Result<Option<User>> {
    match user {
        Ok(user) => Ok(Some(user)),
        Err(StorageError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
