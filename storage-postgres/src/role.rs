//! Roles, and what counts as a change of access.

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Postgres, Row, Transaction};
use updraft_core::dag::{Grant, dag_resource, grants};
use updraft_core::model::{Dag, Resource, Role};
use updraft_core::storage::{
    OrderBy, Page, PageRequest, Result, RoleOrder, RoleStorage, RoleUpdate, StorageError, Subject,
};

use crate::PostgresStorage;
use crate::error::{is_duplicate, storage_error};
use crate::hint::News;
use crate::page::{Orders, limit_and_offset, order, total};
use crate::sql::{Schema, sql};

/// Orders of `role/list`.
pub(crate) const ORDERS: &Orders<RoleOrder> =
    &[(RoleOrder::Name, ["", "name DESC,"]), (RoleOrder::Id, ["id,", "id DESC,"])];

fn no_role(name: &str) -> StorageError {
    StorageError::NotFound(Subject::Role(name.into()))
}

/// Reads rows of permissions, those of a role one after the other.
fn read_roles(rows: &[PgRow]) -> sqlx::Result<Vec<Role>> {
    let mut roles: Vec<Role> = Vec::new();
    for row in rows {
        let Some(id) = row.try_get::<Option<i64>, _>("id")? else { continue };
        if roles.last().is_none_or(|role| role.id != id) {
            roles.push(Role { id, name: row.try_get("name")?, permissions: Vec::new() });
        }
        if let (Some(role), Some(action), Some(resource)) =
            (roles.last_mut(), row.try_get("action")?, row.try_get("resource")?)
        {
            role.permissions.push((action, resource));
        }
    }
    Ok(roles)
}

async fn find(connection: &mut PgConnection, schema: &Schema, name: &str) -> Result<Role> {
    let rows =
        sqlx::query(schema.sql(sql!("role/by_name"))).bind(name).fetch_all(connection).await.map_err(storage_error)?;
    read_roles(&rows).map_err(storage_error)?.pop().ok_or_else(|| no_role(name))
}

async fn add_permissions(
    connection: &mut PgConnection,
    schema: &Schema,
    role: i64,
    permissions: Vec<(String, String)>,
) -> Result<()> {
    let (actions, resources): (Vec<_>, Vec<_>) = permissions.into_iter().unzip();
    sqlx::query(schema.sql(sql!("role/add_permissions")))
        .bind(role)
        .bind(actions)
        .bind(resources)
        .execute(connection)
        .await
        .map_err(storage_error)?;
    Ok(())
}

/// Counts a change of access, and keeps other such changes out until the transaction ends.
pub(crate) async fn count_change(connection: &mut PgConnection, schema: &Schema) -> Result<()> {
    sqlx::query(schema.sql(sql!("role/count_change"))).execute(connection).await.map_err(storage_error)?;
    Ok(())
}

/// Gives and takes what new versions of DAGs say of access to them; the DAGs' rows are locked.
pub(crate) async fn sync_access<'a>(
    connection: &mut PgConnection,
    schema: &Schema,
    dags: impl Iterator<Item = &'a Dag>,
) -> Result<()> {
    let (mut resources, mut roles, mut actions, mut on) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for dag in dags {
        let Some(grants) = grants(dag) else { continue };
        let kinds = [Resource::Dags, Resource::DagRuns];
        resources.extend(kinds.iter().filter_map(|kind| dag_resource(*kind, dag.dag_id.as_str())));
        for Grant { role, action, resource } in grants {
            roles.push(role);
            actions.push(action);
            on.push(resource);
        }
    }
    if resources.is_empty() {
        return Ok(());
    }
    count_change(connection, schema).await?;
    sqlx::query(schema.sql(sql!("role/revoke_of_dags")))
        .bind(resources)
        .bind(&roles)
        .bind(&actions)
        .bind(&on)
        .execute(&mut *connection)
        .await
        .map_err(storage_error)?;
    sqlx::query(schema.sql(sql!("role/grant_of_dags")))
        .bind(roles)
        .bind(actions)
        .bind(on)
        .execute(connection)
        .await
        .map_err(storage_error)?;
    Ok(())
}

impl PostgresStorage {
    /// A transaction that changes users, roles or tokens.
    pub(crate) async fn begin_access(&self) -> Result<Transaction<'static, Postgres>> {
        let mut tx = self.begin().await?;
        count_change(&mut tx, &self.inner.schema).await?;
        Ok(tx)
    }

    /// Makes a change of access durable, and known to this process at once.
    pub(crate) async fn commit_access(&self, tx: Transaction<'static, Postgres>) -> Result<()> {
        tx.commit().await.map_err(storage_error)?;
        self.announce(News::ACCESS);
        Ok(())
    }
}

#[async_trait]
impl RoleStorage for PostgresStorage {
    async fn role(&self, name: &str) -> Result<Role> {
        let mut connection = self.inner.clients.acquire().await.map_err(storage_error)?;
        find(&mut connection, &self.inner.schema, name).await
    }

    async fn roles(&self, order_by: Option<OrderBy<RoleOrder>>, page: PageRequest) -> Result<Page<Role>> {
        let (limit, offset) = limit_and_offset(page);
        let rows = sqlx::query(self.inner.schema.ordered(sql!("role/list"), order(ORDERS, order_by)))
            .bind(limit)
            .bind(offset)
            .fetch_all(&self.inner.clients)
            .await
            .map_err(storage_error)?;
        let read = || {
            let count = rows.first().map_or(Ok(0), |row| row.try_get("total"))?;
            Ok(Page { items: read_roles(&rows)?, total: total(count) })
        };
        read().map_err(storage_error)
    }

    async fn seed_roles(&self, roles: &[Role]) -> Result<()> {
        let schema = &self.inner.schema;
        let is_seeded: bool = sqlx::query_scalar(schema.sql(sql!("role/is_seeded")))
            .fetch_one(&self.inner.clients)
            .await
            .map_err(storage_error)?;
        if is_seeded {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        let begun = sqlx::query(schema.sql(sql!("role/begin_seeding"))).execute(&mut *tx).await;
        if begun.map_err(storage_error)?.rows_affected() == 0 {
            return Ok(());
        }
        let permissions = || {
            roles.iter().flat_map(|role| {
                role.permissions.iter().map(|(action, on)| (role.name.as_str(), action.as_str(), on.as_str()))
            })
        };
        sqlx::query(schema.sql(sql!("role/seed")))
            .bind(roles.iter().map(|role| role.name.as_str()).collect::<Vec<_>>())
            .bind(permissions().map(|one| one.0).collect::<Vec<_>>())
            .bind(permissions().map(|one| one.1).collect::<Vec<_>>())
            .bind(permissions().map(|one| one.2).collect::<Vec<_>>())
            .execute(&mut *tx)
            .await
            .map_err(storage_error)?;
        self.commit_access(tx).await
    }

    async fn create_role(&self, mut role: Role) -> Result<Role> {
        let schema = &self.inner.schema;
        let mut tx = self.begin_access().await?;
        let made = sqlx::query_scalar(schema.sql(sql!("role/insert"))).bind(&role.name).fetch_one(&mut *tx).await;
        role.id = match made {
            Ok(id) => id,
            Err(error) if is_duplicate(&error) => return Err(StorageError::AlreadyExists(Subject::Role(role.name))),
            Err(error) => return Err(storage_error(error)),
        };
        add_permissions(&mut tx, schema, role.id, role.permissions.clone()).await?;
        self.commit_access(tx).await?;
        Ok(role)
    }

    async fn update_role(&self, name: &str, update: RoleUpdate) -> Result<Role> {
        let schema = &self.inner.schema;
        let mut tx = self.begin_access().await?;
        let role = find(&mut tx, schema, name).await?;
        let (actions, resources): (Vec<_>, Vec<_>) = update.remove.into_iter().unzip();
        sqlx::query(schema.sql(sql!("role/remove_permissions")))
            .bind(role.id)
            .bind(actions)
            .bind(resources)
            .execute(&mut *tx)
            .await
            .map_err(storage_error)?;
        add_permissions(&mut tx, schema, role.id, update.add).await?;
        let new_name = update.name.filter(|new| *new != role.name);
        if let Some(new) = &new_name {
            match sqlx::query(schema.sql(sql!("role/rename"))).bind(name).bind(new).execute(&mut *tx).await {
                Ok(_) => {}
                Err(error) if is_duplicate(&error) => {
                    return Err(StorageError::AlreadyExists(Subject::Role(new.clone())));
                }
                Err(error) => return Err(storage_error(error)),
            }
        }
        let role = find(&mut tx, schema, new_name.as_deref().unwrap_or(name)).await?;
        self.commit_access(tx).await?;
        Ok(role)
    }

    async fn delete_role(&self, name: &str) -> Result<()> {
        let mut tx = self.begin_access().await?;
        let deleted = sqlx::query(self.inner.schema.sql(sql!("role/delete"))).bind(name).execute(&mut *tx).await;
        if deleted.map_err(storage_error)?.rows_affected() == 0 {
            return Err(no_role(name));
        }
        self.commit_access(tx).await
    }

    async fn access_version(&self) -> Result<i64> {
        let now = self.read_at(News::ACCESS);
        if let Some(version) = self.inner.hints.known_access(now) {
            return Ok(version);
        }
        let version = sqlx::query_scalar(self.inner.schema.sql(sql!("role/version")))
            .fetch_one(&self.inner.clients)
            .await
            .map_err(storage_error)?;
        self.inner.hints.learn_access(now, version);
        Ok(version)
    }
}
