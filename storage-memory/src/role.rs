//! Roles.

use std::collections::BTreeSet;

use async_trait::async_trait;
use updraft_core::dag::{Grant, dag_resource, grants};
use updraft_core::model::{Dag, Resource, Role};
use updraft_core::storage::{
    OrderBy, Page, PageRequest, Result, RoleOrder, RoleStorage, RoleUpdate, StorageError, Subject,
};

use crate::MemoryStorage;
use crate::list::{page, sort};
use crate::user::People;

fn no_role(name: &str) -> StorageError {
    StorageError::NotFound(Subject::Role(name.into()))
}

impl People {
    fn create_role(&mut self, mut role: Role) -> Result<Role> {
        if self.roles.contains_key(&role.name) {
            return Err(StorageError::AlreadyExists(Subject::Role(role.name)));
        }
        role.id = self.role_serial.next();
        self.roles.insert(role.name.clone(), role.clone());
        self.version += 1;
        Ok(role)
    }

    fn update_role(&mut self, name: &str, update: RoleUpdate) -> Result<Role> {
        let mut role = self.roles.get(name).cloned().ok_or_else(|| no_role(name))?;
        if let Some(new) = update.name.filter(|new| *new != role.name) {
            if self.roles.contains_key(&new) {
                return Err(StorageError::AlreadyExists(Subject::Role(new)));
            }
            role.name = new;
        }
        role.permissions.retain(|permission| !update.remove.contains(permission));
        add(&mut role, update.add);
        self.roles.remove(name);
        self.roles.insert(role.name.clone(), role.clone());
        if role.name != name {
            let of_users = self.users.values_mut().map(|user| &mut user.roles);
            let of_tokens = self.tokens.values_mut().filter_map(|(token, _)| token.roles.as_mut());
            for roles in of_users.chain(of_tokens) {
                if roles.remove(name) {
                    roles.insert(role.name.clone());
                }
            }
        }
        self.version += 1;
        Ok(role)
    }

    fn delete_role(&mut self, name: &str) -> Result<()> {
        self.roles.remove(name).ok_or_else(|| no_role(name))?;
        for user in self.users.values_mut() {
            user.roles.remove(name);
        }
        self.version += 1;
        Ok(())
    }

    /// Gives and takes what a new version of a DAG says of access to it.
    pub(crate) fn sync_access(&mut self, dag: &Dag) {
        let Some(grants) = grants(dag) else { return };
        let kinds = [Resource::Dags, Resource::DagRuns];
        let resources: Vec<_> = kinds.iter().filter_map(|kind| dag_resource(*kind, dag.dag_id.as_str())).collect();
        for role in self.roles.values_mut() {
            let given: BTreeSet<_> = grants
                .iter()
                .filter(|grant| grant.role == role.name)
                .map(|Grant { action, resource, .. }| (action.clone(), resource.clone()))
                .collect();
            if role.name != "Admin" {
                role.permissions.retain(|one| !resources.contains(&one.1) || given.contains(one));
            }
            add(role, given);
        }
        self.version += 1;
    }
}

fn add(role: &mut Role, permissions: impl IntoIterator<Item = (String, String)>) {
    let mut known: BTreeSet<_> = role.permissions.iter().cloned().collect();
    role.permissions.extend(permissions.into_iter().filter(|permission| known.insert(permission.clone())));
}

#[async_trait]
impl RoleStorage for MemoryStorage {
    async fn role(&self, name: &str) -> Result<Role> {
        self.lock().people.roles.get(name).cloned().ok_or_else(|| no_role(name))
    }

    async fn roles(&self, order_by: Option<OrderBy<RoleOrder>>, request: PageRequest) -> Result<Page<Role>> {
        let state = self.lock();
        let mut roles: Vec<&Role> = state.people.roles.values().collect();
        if let Some(order) = order_by {
            match order.field {
                RoleOrder::Id => sort(&mut roles, order.descending, |role| role.id),
                _ => sort(&mut roles, order.descending, |role| role.name.clone()),
            }
        }
        Ok(page(roles.into_iter(), request).map(Role::clone))
    }

    async fn seed_roles(&self, roles: &[Role]) -> Result<()> {
        let people = &mut self.lock().people;
        if !std::mem::replace(&mut people.has_default_roles, true) {
            for role in roles.iter().filter(|role| !people.roles.contains_key(&role.name)).cloned().collect::<Vec<_>>()
            {
                people.create_role(role)?;
            }
        }
        Ok(())
    }

    async fn create_role(&self, role: Role) -> Result<Role> {
        self.lock().people.create_role(role)
    }

    async fn update_role(&self, name: &str, update: RoleUpdate) -> Result<Role> {
        self.lock().people.update_role(name, update)
    }

    async fn delete_role(&self, name: &str) -> Result<()> {
        self.lock().people.delete_role(name)
    }

    async fn access_version(&self) -> Result<i64> {
        Ok(self.lock().people.version)
    }
}
