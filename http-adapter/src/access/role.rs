//! What stored roles permit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use updraft_core::id::DagId;
use updraft_core::model::{DAG_PREFIX, DAG_RUN_PREFIX, Role};
use updraft_core::service::{Service, ServiceError};

use super::{AccessError, Action, Authorizer, Dags, Principal, Resource};

/// What a role permits: on everything, and on single DAGs and their runs.
#[derive(Debug, Default)]
struct Permissions {
    everywhere: BTreeSet<(Action, Resource)>,
    on_dags: BTreeMap<(Action, Resource), Arc<BTreeSet<DagId>>>,
}

impl Permissions {
    /// Permissions of other programs, which name what is not known here, permit nothing.
    fn of(role: &Role) -> Self {
        let mut permissions = Self::default();
        let mut on_dags: BTreeMap<_, BTreeSet<DagId>> = BTreeMap::new();
        for (action, resource) in &role.permissions {
            let Ok(action) = action.parse::<Action>() else { continue };
            if let Ok(resource) = resource.parse() {
                permissions.everywhere.insert((action, resource));
            } else if let Some(dag_id) = resource.strip_prefix(DAG_PREFIX) {
                on_dags.entry((action, Resource::Dags)).or_default().insert(dag_id.into());
            } else if let Some(dag_id) = resource.strip_prefix(DAG_RUN_PREFIX) {
                on_dags.entry((action, Resource::DagRuns)).or_default().insert(dag_id.into());
            }
        }
        permissions.on_dags = on_dags.into_iter().map(|(on, dag_ids)| (on, Arc::new(dag_ids))).collect();
        permissions
    }

    fn permits(&self, asked: (Action, Resource), dag: Option<&str>) -> bool {
        self.everywhere.contains(&asked)
            || dag.is_some_and(|dag| self.on_dags.get(&asked).is_some_and(|dag_ids| dag_ids.contains(dag)))
    }
}

type Roles = BTreeMap<String, Permissions>;

/// Permits what one of the caller's stored roles permits. Roles are remembered for as long as nothing of access changes.
#[derive(Debug)]
pub struct RoleAuthorizer {
    service: Service,
    known: Mutex<Option<(i64, Arc<Roles>)>>,
}

impl RoleAuthorizer {
    /// With the roles of a service, which makes the [default roles](updraft_core::service::default_roles) when it is first
    /// asked.
    pub fn new(service: Service) -> Self {
        Self { service, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Option<(i64, Arc<Roles>)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn roles(&self) -> Result<Arc<Roles>, AccessError> {
        let unavailable = |error: ServiceError| AccessError::Unavailable(Box::new(error));
        let version = self.service.access_version().await.map_err(unavailable)?;
        if let Some((known, roles)) = &*self.known()
            && *known == version
        {
            return Ok(Arc::clone(roles));
        }
        // What is read is at least as new as the version.
        let roles = self.service.all_roles().await.map_err(unavailable)?;
        let roles: Arc<Roles> =
            Arc::new(roles.into_iter().map(|role| (role.name.clone(), Permissions::of(&role))).collect());
        *self.known() = Some((version, Arc::clone(&roles)));
        Ok(roles)
    }
}

#[async_trait]
impl Authorizer for RoleAuthorizer {
    async fn permits(
        &self,
        principal: &Principal,
        action: Action,
        resource: Resource,
        dag: Option<&str>,
    ) -> Result<bool, AccessError> {
        let roles = self.roles().await?;
        let mut own = principal.roles.iter().filter_map(|role| roles.get(role));
        Ok(own.any(|permissions| permissions.permits((action, resource), dag)))
    }

    async fn dags(&self, principal: &Principal, action: Action) -> Result<Dags, AccessError> {
        let roles = self.roles().await?;
        let asked = (action, Resource::Dags);
        let own: Vec<_> = principal.roles.iter().filter_map(|role| roles.get(role)).collect();
        if own.iter().any(|permissions| permissions.everywhere.contains(&asked)) {
            return Ok(Dags::All);
        }
        let mut on_dags: Vec<_> = own.iter().filter_map(|permissions| permissions.on_dags.get(&asked)).collect();
        let first = on_dags.pop().cloned().unwrap_or_default();
        if on_dags.is_empty() {
            return Ok(Dags::Only(first));
        }
        let all = on_dags.into_iter().fold(BTreeSet::clone(&first), |mut all, dag_ids| {
            all.extend(dag_ids.iter().cloned());
            all
        });
        Ok(Dags::Only(Arc::new(all)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(resource: &str) -> Permissions {
        let permissions = vec![("can_read".to_owned(), resource.to_owned())];
        Permissions::of(&Role { id: 1, name: "r".into(), permissions })
    }

    #[test]
    fn permissions_on_a_dag_are_about_its_whole_id() {
        let dag = (Action::Read, Resource::Dags);
        let ids = ["a", "a.b", "a.b.c", "A", "a ", "ab", "a%2Fb", "a/b", "é", "e\u{301}", "DAG:a", "", "~", "a\u{0}"];
        for id in ids {
            let permissions = of(&format!("DAG:{id}"));
            for other in ids {
                assert_eq!(permissions.permits(dag, Some(other)), id == other, "{id:?} {other:?}");
            }
            assert!(!permissions.permits(dag, None));
            assert!(!permissions.permits((Action::Edit, Resource::Dags), Some(id)));
            assert!(!permissions.permits((Action::Read, Resource::DagRuns), Some(id)));
        }
        let run = of("DAG Run:a");
        assert!(run.permits((Action::Read, Resource::DagRuns), Some("a")));
        assert!(!run.permits(dag, Some("a")) && !run.permits((Action::Read, Resource::DagRuns), Some("b")));
        assert!(of("DAGs").permits(dag, None) && of("DAGs").permits(dag, Some("a")));
        for nothing in ["DAG", "DAG:", "dags", "DAGs ", "Nope"] {
            assert!(!of(nothing).permits(dag, Some("a")), "{nothing}");
        }
    }
}
