//! Users.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use updraft_core::model::{Role, Token, User};
use updraft_core::storage::{
    OrderBy, Page, PageRequest, Result, StorageError, Subject, UserOrder, UserStorage, UserUpdate,
};

use crate::MemoryStorage;
use crate::list::{page, sort};
use crate::state::Serial;

/// Users, their roles and tokens.
#[derive(Debug, Default)]
pub(crate) struct People {
    /// By name in small letters.
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) user_serial: Serial,
    pub(crate) roles: BTreeMap<String, Role>,
    pub(crate) role_serial: Serial,
    pub(crate) has_default_roles: bool,
    /// By id, each with its hash.
    pub(crate) tokens: BTreeMap<i64, (Token, [u8; 32])>,
    pub(crate) token_serial: Serial,
    /// Counts changes.
    pub(crate) version: i64,
}

pub(crate) fn no_user(username: &str) -> StorageError {
    StorageError::NotFound(Subject::User(username.into()))
}

pub(crate) fn key(username: &str) -> String {
    username.to_ascii_lowercase()
}

impl People {
    pub(crate) fn user(&self, username: &str) -> Result<&User> {
        self.users.get(&key(username)).ok_or_else(|| no_user(username))
    }

    fn check_roles(&self, roles: &BTreeSet<String>) -> Result<()> {
        match roles.iter().find(|role| !self.roles.contains_key(*role)) {
            Some(unknown) => Err(StorageError::NotFound(Subject::Role(unknown.clone()))),
            None => Ok(()),
        }
    }

    fn check_is_new(&self, username: Option<&str>, email: Option<&str>) -> Result<()> {
        if let Some(username) = username.filter(|name| self.users.contains_key(&key(name))) {
            return Err(StorageError::AlreadyExists(Subject::User(username.into())));
        }
        match email.filter(|email| self.users.values().any(|user| user.email == *email)) {
            Some(email) => Err(StorageError::AlreadyExists(Subject::Email(email.into()))),
            None => Ok(()),
        }
    }

    fn update(&mut self, username: &str, update: UserUpdate) -> Result<User> {
        let old = self.user(username)?.clone();
        let new_name = update.username.filter(|name| *name != old.username);
        let is_renamed = new_name.as_ref().is_some_and(|name| key(name) != key(&old.username));
        let new_email = update.email.filter(|email| *email != old.email);
        self.check_is_new(new_name.as_deref().filter(|_| is_renamed), new_email.as_deref())?;
        if let Some(roles) = &update.roles {
            self.check_roles(roles)?;
        }
        let new = User {
            username: new_name.unwrap_or_else(|| old.username.clone()),
            email: new_email.unwrap_or_else(|| old.email.clone()),
            first_name: update.first_name.unwrap_or_else(|| old.first_name.clone()),
            last_name: update.last_name.unwrap_or_else(|| old.last_name.clone()),
            active: update.active.unwrap_or(old.active),
            roles: update.roles.unwrap_or_else(|| old.roles.clone()),
            password_hash: update.password_hash.unwrap_or_else(|| old.password_hash.clone()),
            ..old.clone()
        };
        if new.roles != old.roles || new.password_hash != old.password_hash || (old.active && !new.active) {
            self.end_tokens(&old.username);
        }
        for (token, _) in self.tokens.values_mut().filter(|(token, _)| token.username == old.username) {
            token.username.clone_from(&new.username);
        }
        self.users.remove(&key(&old.username));
        self.users.insert(key(&new.username), new.clone());
        self.version += 1;
        Ok(new)
    }

    fn end_tokens(&mut self, username: &str) {
        self.tokens.retain(|_, (token, _)| token.username != username);
    }
}

#[async_trait]
impl UserStorage for MemoryStorage {
    async fn user(&self, username: &str) -> Result<User> {
        self.lock().people.user(username).cloned()
    }

    async fn user_by_login(&self, login: &str) -> Result<User> {
        let state = self.lock();
        let by_email = || state.people.users.values().find(|user| user.email == login);
        let found = state.people.users.get(&key(login)).or_else(by_email);
        found.cloned().ok_or_else(|| no_user(login))
    }

    async fn users(&self, order_by: Option<OrderBy<UserOrder>>, request: PageRequest) -> Result<Page<User>> {
        let state = self.lock();
        let mut users: Vec<&User> = state.people.users.values().collect();
        sort(&mut users, false, |user| user.id);
        if let Some(order) = order_by {
            let (users, down) = (users.as_mut_slice(), order.descending);
            match order.field {
                UserOrder::FirstName => sort(users, down, |user| user.first_name.clone()),
                UserOrder::LastName => sort(users, down, |user| user.last_name.clone()),
                UserOrder::Username => sort(users, down, |user| user.username.clone()),
                UserOrder::Email => sort(users, down, |user| user.email.clone()),
                UserOrder::Active => sort(users, down, |user| user.active),
                _ => sort(users, down, |user| user.id),
            }
        }
        Ok(page(users.into_iter(), request).map(User::clone))
    }

    async fn create_user(&self, mut user: User) -> Result<User> {
        let people = &mut self.lock().people;
        people.check_is_new(Some(&user.username), Some(&user.email))?;
        people.check_roles(&user.roles)?;
        user.id = people.user_serial.next();
        (user.login_count, user.fail_login_count, user.last_login) = (None, None, None);
        people.users.insert(key(&user.username), user.clone());
        people.version += 1;
        Ok(user)
    }

    async fn update_user(&self, username: &str, update: UserUpdate) -> Result<User> {
        self.lock().people.update(username, update)
    }

    async fn delete_user(&self, username: &str) -> Result<()> {
        let people = &mut self.lock().people;
        let removed = people.users.remove(&key(username)).ok_or_else(|| no_user(username))?;
        people.end_tokens(&removed.username);
        people.version += 1;
        Ok(())
    }

    async fn record_login(&self, now: DateTime<Utc>, username: &str, succeeded: bool) -> Result<()> {
        if let Some(user) = self.lock().people.users.get_mut(&key(username)) {
            let failures = user.fail_login_count.unwrap_or(0);
            user.login_count = Some(user.login_count.unwrap_or(0) + i64::from(succeeded));
            user.fail_login_count = Some(if succeeded { 0 } else { failures + 1 });
            if succeeded {
                user.last_login = Some(now);
            }
        }
        Ok(())
    }
}
