//! Roles.

use std::collections::BTreeSet;

use super::default_role::default_roles;
use super::{Result, Service, ServiceError};
use crate::model::{Action, DAG_PREFIX, DAG_RUN_PREFIX, Dag, Resource, Role};
use crate::storage::{OrderBy, Page, PageRequest, RoleOrder, RoleUpdate, StorageError, Subject};

impl Service {
    /// Makes the default roles, if this was never done on this storage.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn seed_roles(&self) -> Result<()> {
        if self.roles_are_seeded.get().is_none() {
            self.storage.seed_roles(&default_roles()).await?;
            // Somebody else may have been first.
            self.roles_are_seeded.set(()).ok();
        }
        Ok(())
    }

    /// A role.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn role(&self, name: &str) -> Result<Role> {
        self.seed_roles().await?;
        Ok(self.storage.role(name).await?)
    }

    /// A page of roles.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn roles(&self, order_by: Option<OrderBy<RoleOrder>>, page: PageRequest) -> Result<Page<Role>> {
        self.seed_roles().await?;
        Ok(self.storage.roles(order_by, page).await?)
    }

    /// All roles, by name.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn all_roles(&self) -> Result<Vec<Role>> {
        Ok(self.roles(None, PageRequest::ALL).await?.items)
    }

    /// A number that is another after each change of users, roles or tokens.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn access_version(&self) -> Result<i64> {
        // Before roles are remembered, they are there.
        self.seed_roles().await?;
        Ok(self.storage.access_version().await?)
    }

    /// Makes a role.
    ///
    /// # Errors
    /// `AlreadyExists`; `Invalid` for an action or a resource that does not exist.
    pub async fn create_role(&self, name: String, permissions: Vec<(String, String)>) -> Result<Role> {
        self.seed_roles().await?;
        match self.storage.role(&name).await {
            Ok(_) => return Err(ServiceError::AlreadyExists(Subject::Role(name))),
            Err(StorageError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
        self.check_permissions(&permissions, &[]).await?;
        Ok(self.storage.create_role(Role { id: 0, name, permissions: once_each(permissions) }).await?)
    }

    /// Changes a role.
    ///
    /// # Errors
    /// `NotFound`; `AlreadyExists` for the new name; `Invalid` for an action or a resource that does not exist.
    pub async fn update_role(&self, name: &str, update: RoleUpdate) -> Result<Role> {
        let role = self.role(name).await?;
        self.check_permissions(&update.add, &role.permissions).await?;
        Ok(self.storage.update_role(name, RoleUpdate { add: once_each(update.add), ..update }).await?)
    }

    /// Removes a role; whoever has it loses it.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn delete_role(&self, name: &str) -> Result<()> {
        self.seed_roles().await?;
        Ok(self.storage.delete_role(name).await?)
    }

    /// What is wrong with the roles that a DAG names, if anything is.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn unknown_role_of(&self, dag: &Dag) -> Result<Option<String>> {
        if dag.access_control.is_none() {
            return Ok(None);
        }
        let known: BTreeSet<String> = self.all_roles().await?.into_iter().map(|role| role.name).collect();
        Ok(crate::dag::named_roles(dag).find(|name| !known.contains(*name)).map(|name| {
            format!(
                "The access_control mapping for DAG '{}' includes a role named '{name}', but that role does not exist",
                dag.dag_id
            )
        }))
    }

    /// Refuses permissions whose action or resource does not exist; those that a role has already are left alone.
    async fn check_permissions(&self, permissions: &[(String, String)], had: &[(String, String)]) -> Result<()> {
        for permission in permissions.iter().filter(|permission| !had.contains(permission)) {
            let (action, resource) = permission;
            if action.parse::<Action>().is_err() {
                let action = crate::python::str_repr(action);
                return Err(ServiceError::invalid("actions", format!("The specified action: {action} was not found")));
            }
            if resource.parse::<Resource>().is_err() && !self.is_known_dag(resource).await? {
                let resource = crate::python::str_repr(resource);
                let message = format!("The specified resource: {resource} was not found");
                return Err(ServiceError::invalid("actions", message));
            }
        }
        Ok(())
    }

    async fn is_known_dag(&self, resource: &str) -> Result<bool> {
        let Some(dag_id) = resource.strip_prefix(DAG_PREFIX).or_else(|| resource.strip_prefix(DAG_RUN_PREFIX)) else {
            return Ok(false);
        };
        match self.storage.dag(dag_id).await {
            Ok(_) => Ok(true),
            Err(StorageError::NotFound(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn once_each(permissions: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut seen = BTreeSet::new();
    permissions.into_iter().filter(|permission| seen.insert(permission.clone())).collect()
}
