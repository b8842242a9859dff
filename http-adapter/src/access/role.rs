//! The roles that exist without anyone making them, as in Airflow 2.10.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;

use super::permission::{Action, Resource};
use super::{AccessError, Authorizer, Principal};

type Permissions = BTreeSet<(Action, Resource)>;

/// What Viewer may do, and what User and Op may do besides: C create, R read, E edit, D delete, m menu.
const TABLE: &[(Resource, &str, &str, &str)] = &[
    (Resource::Admin, "", "", "m"),
    (Resource::Browse, "m", "", ""),
    (Resource::ClusterActivity, "Rm", "", ""),
    (Resource::Configurations, "", "", "Rm"),
    (Resource::Connections, "", "", "CREDm"),
    (Resource::DagCode, "R", "", ""),
    (Resource::DagDependencies, "Rm", "", ""),
    (Resource::DagRuns, "Rm", "CED", ""),
    (Resource::DagWarnings, "R", "", ""),
    (Resource::Dags, "Rm", "ED", ""),
    (Resource::Datasets, "Rm", "C", "CD"),
    (Resource::Docs, "m", "", ""),
    (Resource::Documentation, "m", "", ""),
    (Resource::ImportErrors, "R", "", ""),
    (Resource::Jobs, "Rm", "", ""),
    (Resource::MyPassword, "RE", "", ""),
    (Resource::MyProfile, "RE", "", ""),
    (Resource::Plugins, "", "", "Rm"),
    (Resource::Pools, "R", "", "CEDm"),
    (Resource::Providers, "", "", "Rm"),
    (Resource::SlaMisses, "Rm", "", ""),
    (Resource::TaskInstances, "Rm", "CED", ""),
    (Resource::TaskLogs, "R", "", ""),
    (Resource::Variables, "", "", "CREDm"),
    (Resource::Website, "R", "", ""),
    (Resource::XComs, "R", "", "Dm"),
];

/// The default roles with the names of their permissions. Admin has every permission that exists, Public none.
pub fn default_roles() -> BTreeMap<&'static str, Permissions> {
    let mut viewer = Permissions::new();
    let mut user = Permissions::new();
    let mut op = Permissions::new();
    for (resource, for_viewer, for_user, for_op) in TABLE {
        viewer.extend(actions(for_viewer).map(|action| (action, *resource)));
        user.extend(actions(for_user).map(|action| (action, *resource)));
        op.extend(actions(for_op).map(|action| (action, *resource)));
    }
    user.extend(&viewer);
    op.extend(&user);
    let every = Resource::ALL.iter().flat_map(|resource| Action::ALL.iter().map(|action| (*action, *resource)));
    BTreeMap::from([
        ("Admin", every.collect()),
        ("Op", op),
        ("Public", Permissions::new()),
        ("User", user),
        ("Viewer", viewer),
    ])
}

fn actions(letters: &str) -> impl Iterator<Item = Action> {
    letters.chars().filter_map(|letter| match letter {
        'C' => Some(Action::Create),
        'R' => Some(Action::Read),
        'E' => Some(Action::Edit),
        'D' => Some(Action::Delete),
        'm' => Some(Action::Menu),
        _ => None,
    })
}

/// Permits what one of the caller's roles permits. A role that it does not know permits nothing.
#[derive(Debug, Clone)]
pub struct RoleAuthorizer {
    roles: BTreeMap<String, Permissions>,
}

impl RoleAuthorizer {
    /// With the [default roles](default_roles).
    pub fn new() -> Self {
        Self { roles: default_roles().into_iter().map(|(name, permissions)| (name.to_owned(), permissions)).collect() }
    }

    /// Whether there is a role of this name.
    pub fn knows(&self, role: &str) -> bool {
        self.roles.contains_key(role)
    }
}

impl Default for RoleAuthorizer {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Authorizer for RoleAuthorizer {
    async fn permits(
        &self,
        principal: &Principal,
        action: Action,
        resource: Resource,
        _dag: Option<&str>,
    ) -> Result<bool, AccessError> {
        Ok(principal.roles.iter().filter_map(|role| self.roles.get(role)).any(|set| set.contains(&(action, resource))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_roles_have_as_many_permissions_as_in_airflow() {
        let roles = default_roles();
        assert_eq!(roles["Viewer"].len(), 30);
        assert_eq!(roles["User"].len(), 30 + 9);
        // One of Op's 25 is User's already.
        assert_eq!(roles["Op"].len(), 30 + 9 + 25 - 1);
        assert!(roles["Public"].is_empty());
        assert!(roles["Op"].is_subset(&roles["Admin"]));
    }

    #[test]
    fn the_event_log_is_for_admins() {
        let roles = default_roles();
        let asked = (Action::Read, Resource::AuditLogs);
        assert!(roles["Admin"].contains(&asked));
        assert!(!roles["Op"].contains(&asked));
    }
}
