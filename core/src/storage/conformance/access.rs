//! Users, roles, tokens, and what DAGs say of access.

use std::collections::BTreeSet;

use serde_json::json;

use super::world::{World, assert_err, at};
use super::{Trial, naive};
use crate::dag::content_hash;
use crate::model::{Dag, Role, Token, User};
use crate::storage::{
    DagRegistration, OrderBy, PageRequest, RoleOrder, RoleUpdate, Storage, StorageError, Subject, UserOrder, UserUpdate,
};

fn role(name: &str, permissions: &[(&str, &str)]) -> Role {
    let permissions = permissions.iter().map(|(action, resource)| ((*action).into(), (*resource).into())).collect();
    Role { id: 0, name: name.into(), permissions }
}

fn user(username: &str) -> User {
    User {
        id: 0,
        username: username.into(),
        email: format!("{username}@example.com"),
        first_name: "Ada".into(),
        last_name: "L".into(),
        active: true,
        roles: ["Op".into()].into(),
        password_hash: "$argon2id$".into(),
        created_on: at(0),
        changed_on: at(0),
        login_count: None,
        fail_login_count: None,
        last_login: None,
    }
}

fn token(username: &str, name: &str) -> Token {
    Token {
        id: 0,
        username: username.into(),
        name: name.into(),
        roles: None,
        read_only: false,
        created_on: at(0),
        expires: None,
        last_used: None,
    }
}

/// A storage with the roles Op and Viewer.
async fn with_roles(trial: &dyn Trial) -> World {
    let world = World::new(trial);
    for name in ["Op", "Viewer"] {
        world.storage.create_role(role(name, &[("can_read", "DAGs")])).await.unwrap();
    }
    world
}

async fn names(storage: &dyn Storage) -> Vec<String> {
    let users = storage.users(None, PageRequest::ALL).await.unwrap();
    assert_eq!(users.total, users.items.len() as u64);
    users.items.into_iter().map(|user| user.username).collect()
}

/// Users are made, changed under their id, found in any case, by email to log in, and removed.
pub async fn users_are_kept(trial: &dyn Trial) {
    let world = with_roles(trial).await;
    let storage = &world.storage;
    assert!(names(storage.as_ref()).await.is_empty());
    for name in ["Zoe", "a"] {
        let made = storage.create_user(user(name)).await.unwrap();
        assert_eq!(made, User { id: made.id, ..user(name) });
        assert_eq!(storage.user(name).await.unwrap(), made);
    }
    let zoe = storage.user("zOE").await.unwrap();
    assert_eq!(zoe.username, "Zoe");
    for login in ["ZOE", "Zoe@example.com"] {
        assert_eq!(storage.user_by_login(login).await.unwrap(), zoe);
    }
    assert_err!(storage.user_by_login("zoe@example.com").await, StorageError::NotFound(Subject::User(_)));
    assert_err!(storage.user("Zoe@example.com").await, StorageError::NotFound(Subject::User(_)));
    let update = UserUpdate {
        username: Some("zoe".into()),
        active: Some(false),
        roles: Some(["Viewer".into()].into()),
        ..UserUpdate::default()
    };
    let changed = storage.update_user("ZOE", update).await.unwrap();
    assert_eq!(changed, User { username: "zoe".into(), active: false, roles: ["Viewer".into()].into(), ..zoe });
    assert_eq!(storage.user("Zoe").await.unwrap(), changed);
    assert_eq!(names(storage.as_ref()).await, ["zoe", "a"], "in the order of their creation");
    let page = storage.users(None, PageRequest { limit: 1, offset: 5 }).await.unwrap();
    assert_eq!((page.items.len(), page.total), (0, 2));
    storage.delete_user("ZOE").await.unwrap();
    assert_err!(storage.user("zoe").await, StorageError::NotFound(_));
    assert_err!(storage.delete_user("zoe").await, StorageError::NotFound(_));
    assert_err!(storage.update_user("zoe", UserUpdate::default()).await, StorageError::NotFound(_));
}

/// No two users have one name, whatever its case, nor one email.
pub async fn names_and_emails_of_users_are_unique(trial: &dyn Trial) {
    let world = with_roles(trial).await;
    let storage = &world.storage;
    for name in ["ann", "bob"] {
        storage.create_user(user(name)).await.unwrap();
    }
    assert_err!(storage.create_user(user("ANN")).await, StorageError::AlreadyExists(Subject::User(_)));
    let same_email = User { email: "ann@example.com".into(), ..user("eve") };
    assert_err!(storage.create_user(same_email.clone()).await, StorageError::AlreadyExists(Subject::Email(_)));
    let to = |username: Option<&str>, email: Option<&str>| UserUpdate {
        username: username.map(Into::into),
        email: email.map(Into::into),
        ..UserUpdate::default()
    };
    assert_err!(storage.update_user("bob", to(Some("Ann"), None)).await, StorageError::AlreadyExists(Subject::User(_)));
    let to_email = to(None, Some("ann@example.com"));
    assert_err!(storage.update_user("bob", to_email).await, StorageError::AlreadyExists(Subject::Email(_)));
    assert_eq!(storage.user("bob").await.unwrap().email, "bob@example.com");
    storage.update_user("bob", to(Some("Bob"), Some("bob@example.com"))).await.unwrap();
    let both = futures_util::future::join(
        storage.create_user(user("dan")),
        storage.create_user(User { email: "other@example.com".into(), ..user("DAN") }),
    );
    let both = both.await;
    assert!(both.0.is_ok() != both.1.is_ok(), "of two at once one is made");
}

/// A user has no role that does not exist.
pub async fn a_users_roles_exist(trial: &dyn Trial) {
    let world = with_roles(trial).await;
    let storage = &world.storage;
    let roles: BTreeSet<String> = ["Op".into(), "Nope".into()].into();
    let made = storage.create_user(User { roles: roles.clone(), ..user("ann") }).await;
    assert_err!(made, StorageError::NotFound(Subject::Role(_)));
    assert_err!(storage.user("ann").await, StorageError::NotFound(_));
    storage.create_user(user("ann")).await.unwrap();
    let update = UserUpdate { roles: Some(roles), first_name: Some("New".into()), ..UserUpdate::default() };
    assert_err!(storage.update_user("ann", update).await, StorageError::NotFound(Subject::Role(_)));
    assert_eq!(storage.user("ann").await.unwrap().first_name, "Ada");
    storage.create_user(User { roles: BTreeSet::new(), ..user("bob") }).await.unwrap();
}

/// Logins are counted; a success forgives the failures before it.
pub async fn logins_are_counted(trial: &dyn Trial) {
    let world = with_roles(trial).await;
    let storage = &world.storage;
    storage.create_user(user("ann")).await.unwrap();
    let counts = || async {
        let ann = storage.user("ann").await.unwrap();
        (ann.login_count, ann.fail_login_count, ann.last_login)
    };
    assert_eq!(counts().await, (None, None, None));
    storage.record_login(at(1), "ann", false).await.unwrap();
    storage.record_login(at(1), "nobody", false).await.unwrap();
    assert_eq!(counts().await, (Some(0), Some(1), None));
    storage.record_login(at(2), "ANN", false).await.unwrap();
    storage.record_login(at(3), "ann", true).await.unwrap();
    storage.record_login(at(4), "ann", true).await.unwrap();
    storage.record_login(at(5), "ann", false).await.unwrap();
    assert_eq!(counts().await, (Some(2), Some(1), Some(at(4))));
    let listed = storage.users(None, PageRequest::ALL).await.unwrap().items.remove(0);
    assert_eq!(listed, storage.user("ann").await.unwrap());
    let update = UserUpdate { first_name: Some("New".into()), ..UserUpdate::default() };
    let changed = storage.update_user("ann", update).await.unwrap();
    assert_eq!((changed.login_count, changed.last_login), (Some(2), Some(at(4))));
}

/// Each order and page of users is what a naive sort gives.
pub async fn user_orders_agree_with_a_naive_sort(trial: &dyn Trial) {
    let world = with_roles(trial).await;
    for (name, first, last) in [("z", "b", "X"), ("b", "B", "y"), ("y", "a", "X"), ("a", "b", "Z")] {
        let user = User { first_name: first.into(), last_name: last.into(), active: name < "c", ..user(name) };
        world.storage.create_user(user).await.unwrap();
    }
    let all = world.storage.users(None, PageRequest::ALL).await.unwrap().items;
    let orders: Vec<(UserOrder, naive::Compare<User>)> = vec![
        (UserOrder::Id, naive::by(|user: &User| user.id)),
        (UserOrder::FirstName, naive::by(|user: &User| user.first_name.clone())),
        (UserOrder::LastName, naive::by(|user: &User| user.last_name.clone())),
        (UserOrder::Username, naive::by(|user: &User| user.username.clone())),
        (UserOrder::Email, naive::by(|user: &User| user.email.clone())),
        (UserOrder::Active, naive::by(|user: &User| user.active)),
    ];
    for (field, compare) in orders {
        for descending in [false, true] {
            for page in naive::PAGES {
                let got = world.storage.users(Some(OrderBy { field, descending }), page).await.unwrap();
                let expected = naive::list(&all, descending, &compare, page);
                assert_eq!((got.items, got.total), expected, "{field:?} {descending} {page:?}");
            }
        }
    }
}

/// Roles are made, changed, listed by name or in the order of creation, and removed; permissions keep their order.
pub async fn roles_are_kept(trial: &dyn Trial) {
    let world = World::new(trial);
    let storage = &world.storage;
    let two = [("can_read", "DAGs"), ("can_edit", "Pools")];
    for (name, permissions) in [("b", two.as_slice()), ("a", &[]), ("c", &two[..1])] {
        let made = storage.create_role(role(name, permissions)).await.unwrap();
        assert_eq!(made, Role { id: made.id, ..role(name, permissions) });
        assert_eq!(storage.role(name).await.unwrap(), made);
    }
    assert_err!(storage.create_role(role("a", &two)).await, StorageError::AlreadyExists(Subject::Role(_)));
    let list = |field, descending, page| async move {
        let page = storage.roles(Some(OrderBy { field, descending }), page).await.unwrap();
        (page.items.into_iter().map(|role| role.name).collect::<Vec<_>>().join(""), page.total)
    };
    assert_eq!(list(RoleOrder::Name, false, PageRequest::ALL).await, ("abc".into(), 3));
    assert_eq!(list(RoleOrder::Name, true, PageRequest::ALL).await, ("cba".into(), 3));
    assert_eq!(list(RoleOrder::Id, false, PageRequest { limit: 2, offset: 0 }).await, ("ba".into(), 3));
    assert_eq!(list(RoleOrder::Id, true, PageRequest { limit: 2, offset: 1 }).await, ("ab".into(), 3));
    assert_eq!(list(RoleOrder::Id, true, PageRequest { limit: 2, offset: 9 }).await, (String::new(), 3));
    let all = storage.roles(None, PageRequest::ALL).await.unwrap().items;
    assert_eq!(all[1], storage.role("b").await.unwrap());
    let update = RoleUpdate {
        name: Some("d".into()),
        add: vec![("can_edit".into(), "Pools".into()), ("can_create".into(), "DAG Runs".into())],
        remove: vec![("can_read".into(), "DAGs".into()), ("can_read".into(), "Nothing".into())],
    };
    let changed = storage.update_role("b", update).await.unwrap();
    let expected = role("d", &[("can_edit", "Pools"), ("can_create", "DAG Runs")]);
    assert_eq!(changed, Role { id: all[1].id, ..expected });
    let taken = RoleUpdate { name: Some("a".into()), ..RoleUpdate::default() };
    assert_err!(storage.update_role("d", taken).await, StorageError::AlreadyExists(_));
    assert_err!(storage.update_role("b", RoleUpdate::default()).await, StorageError::NotFound(_));
    storage.delete_role("a").await.unwrap();
    assert_err!(storage.delete_role("a").await, StorageError::NotFound(Subject::Role(_)));
    assert_err!(storage.role("a").await, StorageError::NotFound(_));
}

/// Users keep a role under its new name, and lose one that is removed.
pub async fn who_has_a_role_follows_it(trial: &dyn Trial) {
    let world = with_roles(trial).await;
    let storage = &world.storage;
    storage.create_user(User { roles: ["Op".into(), "Viewer".into()].into(), ..user("ann") }).await.unwrap();
    storage.update_role("Op", RoleUpdate { name: Some("Ops".into()), ..RoleUpdate::default() }).await.unwrap();
    assert_eq!(storage.user("ann").await.unwrap().roles, ["Ops".into(), "Viewer".into()].into());
    storage.delete_role("Viewer").await.unwrap();
    assert_eq!(storage.user("ann").await.unwrap().roles, ["Ops".into()].into());
}

/// Default roles are made once, whoever tries: one that was changed or removed does not come back.
pub async fn default_roles_are_made_once(trial: &dyn Trial) {
    let world = World::new(trial);
    let storage = &world.storage;
    let defaults = [role("Admin", &[("can_read", "DAGs"), ("can_edit", "DAGs")]), role("Viewer", &[]), role("Op", &[])];
    storage.create_role(role("Op", &[("can_read", "Pools")])).await.unwrap();
    let both = futures_util::future::join(storage.seed_roles(&defaults), storage.seed_roles(&defaults)).await;
    assert!(both.0.is_ok() && both.1.is_ok());
    assert_eq!(storage.role("Admin").await.unwrap().permissions, defaults[0].permissions);
    assert_eq!(storage.role("Op").await.unwrap().permissions.len(), 1, "what exists stays");
    storage.delete_role("Viewer").await.unwrap();
    let remove = vec![("can_edit".into(), "DAGs".into())];
    storage.update_role("Admin", RoleUpdate { remove, ..RoleUpdate::default() }).await.unwrap();
    storage.seed_roles(&defaults).await.unwrap();
    let roles = storage.roles(None, PageRequest::ALL).await.unwrap().items;
    let left: Vec<_> = roles.iter().map(|role| (role.name.as_str(), role.permissions.len())).collect();
    assert_eq!(left, [("Admin", 1), ("Op", 1)]);
}

/// Tokens are found by the hash of their text alone, and removed.
pub async fn tokens_are_kept(trial: &dyn Trial) {
    let world = with_roles(trial).await;
    let storage = &world.storage;
    assert_err!(storage.create_token(token("ann", "ci"), [1; 32]).await, StorageError::NotFound(Subject::User(_)));
    for name in ["ann", "bob"] {
        storage.create_user(user(name)).await.unwrap();
    }
    let scoped = Token {
        roles: Some(["Viewer".into()].into()),
        read_only: true,
        expires: Some(at(90)),
        ..token("ANN", "scoped")
    };
    let first = storage.create_token(token("ann", "ci"), [1; 32]).await.unwrap();
    let second = storage.create_token(scoped.clone(), [2; 32]).await.unwrap();
    assert_eq!(second, Token { id: second.id, username: "ann".into(), ..scoped });
    storage.create_token(token("bob", "ci"), [3; 32]).await.unwrap();
    let ann = storage.user("ann").await.unwrap();
    assert_eq!(storage.token([2; 32]).await.unwrap(), (second.clone(), ann));
    assert_err!(storage.token([4; 32]).await, StorageError::NotFound(_));
    assert_eq!(storage.tokens(Some("Ann")).await.unwrap(), [first.clone(), second.clone()]);
    assert_eq!(storage.tokens(None).await.unwrap().len(), 3);
    storage.touch_token(at(7), second.id).await.unwrap();
    storage.touch_token(at(7), i64::MAX).await.unwrap();
    assert_eq!(storage.token([2; 32]).await.unwrap().0.last_used, Some(at(7)));
    storage.delete_token(first.id).await.unwrap();
    assert_err!(storage.delete_token(first.id).await, StorageError::NotFound(Subject::Token(_)));
    assert_err!(storage.token([1; 32]).await, StorageError::NotFound(_));
    let renamed = UserUpdate { username: Some("anna".into()), ..UserUpdate::default() };
    storage.update_user("ann", renamed).await.unwrap();
    assert_eq!(storage.tokens(Some("anna")).await.unwrap().len(), 1, "another name ends no token");
}

/// Another password, other roles and an end of being active end the tokens of a user; so does its removal.
pub async fn a_changed_user_has_no_tokens(trial: &dyn Trial) {
    let world = with_roles(trial).await;
    let storage = &world.storage;
    let changes = [
        UserUpdate { password_hash: Some("new".into()), ..UserUpdate::default() },
        UserUpdate { roles: Some(["Viewer".into()].into()), ..UserUpdate::default() },
        UserUpdate { active: Some(false), ..UserUpdate::default() },
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let name = format!("user{index}");
        storage.create_user(user(&name)).await.unwrap();
        let hash = [u8::try_from(index).unwrap(); 32];
        storage.create_token(token(&name, "ci"), hash).await.unwrap();
        let harmless = UserUpdate { last_name: Some("N".into()), ..UserUpdate::default() };
        storage.update_user(&name, harmless).await.unwrap();
        assert!(storage.token(hash).await.is_ok());
        storage.update_user(&name, change).await.unwrap();
        assert_err!(storage.token(hash).await, StorageError::NotFound(_));
    }
    storage.create_user(user("gone")).await.unwrap();
    storage.create_token(token("gone", "ci"), [9; 32]).await.unwrap();
    storage.delete_user("gone").await.unwrap();
    assert!(storage.tokens(None).await.unwrap().is_empty());
}

/// Whoever remembers what a version of access holds learns of each change; logins are none.
pub async fn each_change_of_access_is_counted(trial: &dyn Trial) {
    let world = with_roles(trial).await;
    let storage = &world.storage;
    let mut seen = BTreeSet::from([storage.access_version().await.unwrap()]);
    let mut is_new = async |what: &str| {
        assert!(seen.insert(storage.access_version().await.unwrap()), "{what}");
    };
    storage.create_user(user("ann")).await.unwrap();
    is_new("a user is made").await;
    storage.update_user("ann", UserUpdate { active: Some(false), ..UserUpdate::default() }).await.unwrap();
    is_new("a user is changed").await;
    let made = storage.create_token(token("ann", "ci"), [1; 32]).await.unwrap();
    is_new("a token is made").await;
    storage.delete_token(made.id).await.unwrap();
    is_new("a token is removed").await;
    storage.create_role(role("r", &[])).await.unwrap();
    is_new("a role is made").await;
    let add = vec![("can_read".into(), "Pools".into())];
    storage.update_role("r", RoleUpdate { add, ..RoleUpdate::default() }).await.unwrap();
    is_new("a role is changed").await;
    storage.delete_role("r").await.unwrap();
    is_new("a role is removed").await;
    storage.delete_user("ann").await.unwrap();
    is_new("a user is removed").await;
    let version = storage.access_version().await.unwrap();
    storage.record_login(at(1), "ann", true).await.unwrap();
    assert_eq!(storage.access_version().await.unwrap(), version);
}

/// What a new version of a DAG says of access is in the roles from then on; what it does not say is taken away from all
/// but Admin. A DAG that says nothing leaves roles alone, and so does the same version again.
pub async fn a_dag_says_who_may_access_it(trial: &dyn Trial) {
    let world = World::new(trial);
    let storage = &world.storage;
    for name in ["Admin", "a", "b"] {
        let permissions = [("can_delete", "DAG:d.x"), ("can_read", "DAG:d"), ("can_read", "Pools")];
        storage.create_role(role(name, &permissions)).await.unwrap();
    }
    let declare = async |access: serde_json::Value| {
        let mut dag = Dag::new("d.x");
        dag.access_control = (!access.is_null()).then_some(access);
        let content_hash = content_hash(&dag);
        let dag = DagRegistration { dag: dag.into(), content_hash, paused_upon_creation: true, source: None };
        storage.register_dags(at(0), vec![dag]).await.unwrap();
    };
    let of = async |name: &str| {
        let permissions = storage.role(name).await.unwrap().permissions;
        let on = permissions.into_iter().filter(|(_, resource)| resource.ends_with(":d.x"));
        on.map(|(action, resource)| format!("{action} {resource}"))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
    };
    let before = storage.access_version().await.unwrap();
    declare(json!(null)).await;
    assert_eq!(of("a").await, ["can_delete DAG:d.x"]);
    declare(json!({"a": {"DAGs": ["can_read"], "DAG Runs": ["can_create"]}, "Gone": {"DAGs": ["can_read"]}})).await;
    assert_eq!(of("a").await, ["can_create DAG Run:d.x", "can_read DAG:d.x"]);
    assert!(of("b").await.is_empty());
    assert_eq!(of("Admin").await, ["can_delete DAG:d.x"]);
    assert_ne!(storage.access_version().await.unwrap(), before);
    assert_eq!(storage.role("b").await.unwrap().permissions.len(), 2, "other DAGs and resources are left alone");
    let add = vec![("can_edit".into(), "DAG:d.x".into())];
    storage.update_role("b", RoleUpdate { add, ..RoleUpdate::default() }).await.unwrap();
    declare(json!({"a": {"DAGs": ["can_read"], "DAG Runs": ["can_create"]}, "Gone": {"DAGs": ["can_read"]}})).await;
    assert_eq!(of("b").await, ["can_edit DAG:d.x"], "the same version changes nothing");
    declare(json!({"a": {"DAGs": ["can_edit"]}})).await;
    assert_eq!(of("a").await, ["can_edit DAG:d.x"]);
    assert!(of("b").await.is_empty());
    declare(json!(null)).await;
    assert_eq!(of("a").await, ["can_edit DAG:d.x"]);
}
