//! Users and roles of processes that share a database.

use std::sync::Arc;
use std::time::Duration;

use updraft_core::clock::{Clock, SystemClock};
use updraft_core::model::Role;
use updraft_core::storage::{PageRequest, RoleStorage};
use updraft_storage_postgres::{PostgresSettings, PostgresStorage};
use updraft_test_postgres::Cluster;

fn role(name: &str) -> Role {
    Role { id: 0, name: name.into(), permissions: vec![("can_read".into(), "DAGs".into())] }
}

/// What one process changes, others know soon, also without notifications.
#[tokio::test]
async fn a_change_by_another_process_is_seen() {
    let database = Cluster::shared().await.database().await;
    let clock = Arc::new(SystemClock::new());
    let open = || {
        let settings = PostgresSettings::from_options(database.options()).notifications(false);
        PostgresStorage::new(settings, clock.clone())
    };
    let (one, other) = (open(), open());
    let before = other.access_version().await.expect("a version");
    one.create_role(role("a")).await.expect("a role");
    let began = clock.monotonic();
    assert_ne!(one.access_version().await.expect("a version"), before, "at once where it was changed");
    while other.access_version().await.expect("a version") == before {
        clock.sleep(Duration::from_millis(5)).await;
    }
    assert!(clock.monotonic() - began < Duration::from_secs(10));
}

/// Two processes that start at the same time make the default roles once, and none brings back what was removed.
#[tokio::test]
async fn two_processes_make_the_default_roles_once() {
    let database = Cluster::shared().await.database().await;
    let clock = Arc::new(SystemClock::new());
    let open = || PostgresStorage::new(PostgresSettings::from_options(database.options()), clock.clone());
    let (one, other) = (open(), open());
    let defaults = [role("Admin"), role("Viewer")];
    let (first, second) = tokio::join!(one.seed_roles(&defaults), other.seed_roles(&defaults));
    assert!(first.is_ok() && second.is_ok());
    one.delete_role("Viewer").await.expect("it is removed");
    open().seed_roles(&defaults).await.expect("another start");
    let left = other.roles(None, PageRequest::ALL).await.expect("roles").items;
    assert_eq!(left.iter().map(|role| role.name.as_str()).collect::<Vec<_>>(), ["Admin"]);
}
