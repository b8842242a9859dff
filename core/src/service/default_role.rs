//! The roles that exist without anyone making them, as in Airflow 2.10.

use crate::model::{Action, Resource, Role};

/// What Viewer may do, and what User and Op may do besides: C create, R read, E edit, D delete, m menu.
const TABLE: &[(Resource, &str, &str, &str)] = &[
    (Resource::Browse, "m", "", ""),
    (Resource::Dags, "Rm", "ED", ""),
    (Resource::DagDependencies, "Rm", "", ""),
    (Resource::DagCode, "R", "", ""),
    (Resource::DagRuns, "Rm", "CED", ""),
    (Resource::Datasets, "Rm", "C", "CD"),
    (Resource::ClusterActivity, "Rm", "", ""),
    (Resource::Documentation, "m", "", ""),
    (Resource::Docs, "m", "", ""),
    (Resource::Pools, "R", "", "CEDm"),
    (Resource::ImportErrors, "R", "", ""),
    (Resource::DagWarnings, "R", "", ""),
    (Resource::Jobs, "Rm", "", ""),
    (Resource::MyPassword, "RE", "", ""),
    (Resource::MyProfile, "RE", "", ""),
    (Resource::SlaMisses, "Rm", "", ""),
    (Resource::TaskInstances, "Rm", "CED", ""),
    (Resource::TaskLogs, "R", "", ""),
    (Resource::XComs, "R", "", "Dm"),
    (Resource::Website, "R", "", ""),
    (Resource::Configurations, "", "", "Rm"),
    (Resource::Admin, "", "", "m"),
    (Resource::Connections, "", "", "CREDm"),
    (Resource::Plugins, "", "", "Rm"),
    (Resource::Providers, "", "", "Rm"),
    (Resource::Variables, "", "", "CREDm"),
];

/// What only Admin may do: with what others may, these are all permissions that are about no single DAG.
const ADMIN: &[(Resource, &str)] = &[
    (Resource::Passwords, "ER"),
    (Resource::Users, "CRED"),
    (Resource::ListUsers, "m"),
    (Resource::Security, "m"),
    (Resource::Roles, "CRED"),
    (Resource::ListRoles, "m"),
    (Resource::UserStatsChart, "R"),
    (Resource::UserStatistics, "m"),
    (Resource::Permissions, "R"),
    (Resource::ActionsPage, "m"),
    (Resource::ViewMenus, "R"),
    (Resource::ResourcesPage, "m"),
    (Resource::PermissionViews, "R"),
    (Resource::PermissionPairs, "m"),
    (Resource::AuditLogs, "Rm"),
    (Resource::TaskReschedules, "Rm"),
    (Resource::Triggers, "Rm"),
    (Resource::SlaMisses, "ED"),
];

/// The default roles, in the order in which Airflow makes them. Public may do nothing.
pub fn default_roles() -> Vec<Role> {
    let mut permissions: Vec<(String, String)> = Vec::new();
    let column = |letters: fn(&(Resource, &'static str, &'static str, &'static str)) -> &'static str| {
        let rows = || TABLE.iter().map(|row| (row.0, letters(row)));
        rows().flat_map(|row| actions(row, "CRED")).chain(rows().flat_map(|row| actions(row, "m"))).collect::<Vec<_>>()
    };
    let mut next = |more: Vec<(String, String)>| {
        for permission in more {
            if !permissions.contains(&permission) {
                permissions.push(permission);
            }
        }
        permissions.clone()
    };
    let viewer = next(column(|row| row.1));
    let user = next(column(|row| row.2));
    let op = next(column(|row| row.3));
    let admin = next(ADMIN.iter().flat_map(|row| actions(*row, "CREDm")).collect());
    let role = |name: &str, permissions| Role { id: 0, name: name.to_owned(), permissions };
    vec![role("Admin", admin), role("Public", Vec::new()), role("Viewer", viewer), role("User", user), role("Op", op)]
}

/// The permissions that a row's letters stand for, as far as they are among `wanted`.
fn actions((resource, letters): (Resource, &'static str), wanted: &'static str) -> Vec<(String, String)> {
    let action = |letter| match letter {
        'C' => Some(Action::Create),
        'R' => Some(Action::Read),
        'E' => Some(Action::Edit),
        'D' => Some(Action::Delete),
        'm' => Some(Action::Menu),
        _ => None,
    };
    let chosen = letters.chars().filter(|letter| wanted.contains(*letter)).filter_map(action);
    chosen.map(|action| (action.to_string(), resource.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_roles_have_as_many_permissions_as_in_airflow() {
        let roles = default_roles();
        let counts: Vec<_> = roles.iter().map(|role| (role.name.as_str(), role.permissions.len())).collect();
        assert_eq!(counts, [("Admin", 92), ("Public", 0), ("Viewer", 30), ("User", 39), ("Op", 63)]);
        let first: Vec<_> = roles[2].permissions.iter().take(2).map(|(action, on)| format!("{action} {on}")).collect();
        assert_eq!(first, ["can_read DAGs", "can_read DAG Dependencies"]);
    }

    #[test]
    fn the_event_log_is_for_admins() {
        let asked = ("can_read".to_owned(), "Audit Logs".to_owned());
        let who: Vec<_> = default_roles().into_iter().filter(|role| role.permissions.contains(&asked)).collect();
        assert_eq!(who.iter().map(|role| role.name.as_str()).collect::<Vec<_>>(), ["Admin"]);
    }
}
