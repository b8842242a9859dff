use async_trait::async_trait;

use super::{OrderBy, Page, PageRequest, Result};
use crate::model::Role;

/// By what roles are listed; their name by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoleOrder {
    /// The name.
    Name,
    /// The order of creation.
    Id,
}

/// What changes in a role; `None` leaves a field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleUpdate {
    /// New name.
    pub name: Option<String>,
    /// Permissions that it gets besides those it has.
    pub add: Vec<(String, String)>,
    /// Permissions that it loses.
    pub remove: Vec<(String, String)>,
}

/// Roles. What DAGs declare of access to themselves is in the roles, too: see
/// [`register_dags`](super::DagStorage::register_dags).
#[async_trait]
pub trait RoleStorage {
    /// A role.
    ///
    /// # Errors
    /// `NotFound`.
    async fn role(&self, name: &str) -> Result<Role>;

    /// A page of roles.
    async fn roles(&self, order_by: Option<OrderBy<RoleOrder>>, page: PageRequest) -> Result<Page<Role>>;

    /// Makes those of these roles that do not exist, unless this was ever done before: what was deleted or changed since
    /// stays so, whoever starts.
    async fn seed_roles(&self, roles: &[Role]) -> Result<()>;

    /// Makes a role; its `id` is ignored.
    ///
    /// # Errors
    /// `AlreadyExists`.
    async fn create_role(&self, role: Role) -> Result<Role>;

    /// Changes a role. Who has it, has it under a new name, too.
    ///
    /// # Errors
    /// `NotFound`; `AlreadyExists` for the new name.
    async fn update_role(&self, name: &str, update: RoleUpdate) -> Result<Role>;

    /// Removes a role; whoever has it loses it.
    ///
    /// # Errors
    /// `NotFound`.
    async fn delete_role(&self, name: &str) -> Result<()>;

    /// A number that is another after each change of users, roles or tokens; logins do not count. What other processes
    /// change it may tell up to a second later. It is asked for with each request, so it is cheap.
    async fn access_version(&self) -> Result<i64>;
}
