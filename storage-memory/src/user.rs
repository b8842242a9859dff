//! Users and roles.

use async_trait::async_trait;
use updraft_core::model::{Role, User};
use updraft_core::storage::{Result, StorageError, Subject, UserStorage};

use crate::MemoryStorage;
use crate::list::sort;

#[async_trait]
impl UserStorage for MemoryStorage {
    async fn user(&self, username: &str) -> Result<User> {
        let state = self.lock();
        state.users.get(username).cloned().ok_or_else(|| StorageError::NotFound(Subject::User(username.into())))
    }

    async fn users(&self) -> Result<Vec<User>> {
        let mut users: Vec<User> = self.lock().users.values().cloned().collect();
        sort(&mut users, false, |user| user.id);
        Ok(users)
    }

    async fn put_user(&self, mut user: User) -> Result<User> {
        let mut state = self.lock();
        if state.users.values().any(|other| other.username != user.username && other.email == user.email) {
            return Err(StorageError::AlreadyExists(Subject::User(user.email)));
        }
        user.id = match state.users.get(&user.username) {
            Some(old) => old.id,
            None => state.user_serial.next(),
        };
        state.users.insert(user.username.clone(), user.clone());
        Ok(user)
    }

    async fn delete_user(&self, username: &str) -> Result<()> {
        let removed = self.lock().users.remove(username);
        removed.map(drop).ok_or_else(|| StorageError::NotFound(Subject::User(username.into())))
    }

    async fn roles(&self) -> Result<Vec<Role>> {
        Ok(self.lock().roles.values().cloned().collect())
    }

    async fn put_role(&self, role: Role) -> Result<()> {
        self.lock().roles.insert(role.name.clone(), role);
        Ok(())
    }

    async fn delete_role(&self, name: &str) -> Result<()> {
        let removed = self.lock().roles.remove(name);
        removed.map(drop).ok_or_else(|| StorageError::NotFound(Subject::Role(name.into())))
    }
}
