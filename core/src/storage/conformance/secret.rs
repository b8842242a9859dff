//! Variables and connections.

use super::world::{World, assert_err, audit};
use super::{Trial, naive};
use crate::model::{Connection, Variable};
use crate::secret::StoredSecret;
use crate::storage::{
    ConnectionOrder, ConnectionUpdate, EventLogQuery, OrderBy, PageRequest, StorageError, VariableOrder, VariableUpdate,
};

fn variable(key: &str, value: &str) -> Variable {
    Variable { id: 0, key: key.into(), value: value.into(), description: None, is_encrypted: false }
}

fn connection(conn_id: &str) -> Connection {
    Connection { conn_id: conn_id.into(), conn_type: "http".into(), ..Connection::default() }
}

fn sealed(text: &str) -> StoredSecret {
    StoredSecret { text: text.into(), is_encrypted: true }
}

async fn events(world: &World) -> Vec<String> {
    let events = world.storage.events(&EventLogQuery::default()).await.unwrap().items;
    events.into_iter().map(|entry| entry.event).collect()
}

/// Variables are made, listed in the order of creation and removed; one that is replaced is made anew.
pub async fn variables_are_kept(trial: &dyn Trial) {
    let world = World::new(trial);
    let keys = |request| async move {
        let page = World::new(trial).storage.variables(None, request).await.unwrap();
        (page.items.into_iter().map(|variable| variable.key).collect::<Vec<_>>(), page.total)
    };
    for key in ["z", "a", "m", ""] {
        world.storage.put_variable(variable(key, "1"), audit("create")).await.unwrap();
    }
    let before = world.storage.variable("z").await.unwrap();
    assert_eq!(keys(PageRequest { limit: 2, offset: 0 }).await, (vec!["z".into(), "a".into()], 4));
    let new = Variable { description: Some("text".into()), is_encrypted: true, ..variable("z", "2") };
    let after = world.storage.put_variable(new.clone(), audit("create")).await.unwrap();
    assert!(after.id > before.id);
    assert!(after == Variable { id: after.id, ..new } && world.storage.variable("z").await.unwrap() == after);
    world.storage.delete_variable("a", audit("delete")).await.unwrap();
    assert_err!(world.storage.variable("a").await, StorageError::NotFound(_));
    assert_err!(world.storage.delete_variable("a", audit("no")).await, StorageError::NotFound(_));
    assert_eq!(keys(PageRequest { limit: 9, offset: 1 }).await, (vec![String::new(), "z".into()], 3));
    assert_eq!(events(&world).await, ["create", "create", "create", "create", "create", "delete"]);
}

/// What a change of a variable does not name, stays.
pub async fn variables_change_field_by_field(trial: &dyn Trial) {
    let world = World::new(trial);
    let made = Variable { description: Some("d".into()), ..variable("v", "1") };
    let made = world.storage.put_variable(made, None).await.unwrap();
    let update = |update| world.storage.update_variable("v", update, audit("edit"));
    assert!(update(VariableUpdate::default()).await.unwrap() == made);
    let changed = update(VariableUpdate { value: Some(sealed("2")), description: None }).await.unwrap();
    assert!(changed == Variable { value: "2".into(), is_encrypted: true, ..made.clone() });
    let changed = update(VariableUpdate { value: None, description: Some(None) }).await.unwrap();
    assert!(changed == Variable { value: "2".into(), is_encrypted: true, description: None, ..made });
    assert!(world.storage.variable("v").await.unwrap() == changed);
    let absent = world.storage.update_variable("w", VariableUpdate::default(), audit("no")).await;
    assert_err!(absent, StorageError::NotFound(_));
    assert_eq!(events(&world).await, ["edit"; 3]);
}

/// Each order and page of variables is what a naive sort gives.
pub async fn variable_orders_agree_with_a_naive_sort(trial: &dyn Trial) {
    let world = World::new(trial);
    for (index, key) in ["z", "b", "Y", "a", "é", "c", "_"].into_iter().enumerate() {
        world.storage.put_variable(variable(key, ["b", "A", "a-c"][index % 3]), None).await.unwrap();
    }
    let all = world.storage.variables(None, PageRequest::ALL).await.unwrap().items;
    assert!(all.len() == 7 && all.is_sorted_by_key(|variable| variable.id), "in the order of creation");
    let orders: Vec<(VariableOrder, naive::Compare<Variable>)> = vec![
        (VariableOrder::Id, naive::by(|variable: &Variable| variable.id)),
        (VariableOrder::Key, naive::by(|variable: &Variable| variable.key.clone())),
        (VariableOrder::Value, naive::by(|variable: &Variable| variable.value.clone())),
    ];
    for (field, compare) in orders {
        for descending in [false, true] {
            for page in naive::PAGES {
                let got = world.storage.variables(Some(OrderBy { field, descending }), page).await.unwrap();
                let expected = naive::list(&all, descending, &compare, page);
                assert_eq!((got.items, got.total), expected, "{field:?} {descending} {page:?}");
            }
        }
    }
}

/// Connections are made once, listed in the order of creation and removed.
pub async fn connections_are_kept(trial: &dyn Trial) {
    let world = World::new(trial);
    for id in ["z", "a", "m"] {
        world.storage.create_connection(connection(id), audit("create")).await.unwrap();
    }
    let new = Connection {
        description: Some("d".into()),
        host: Some("h".into()),
        login: Some("l".into()),
        schema: Some("s".into()),
        port: Some(80),
        password: Some("secret".into()),
        extra: Some("{}".into()),
        is_encrypted: true,
        is_extra_encrypted: true,
        ..connection("k")
    };
    let made = world.storage.create_connection(new.clone(), audit("create")).await.unwrap();
    assert!(made == Connection { id: made.id, ..new } && world.storage.connection("k").await.unwrap() == made);
    assert_err!(
        world.storage.create_connection(connection("k"), audit("no")).await,
        StorageError::AlreadyExists(crate::storage::Subject::Connection(_))
    );
    assert!(world.storage.connection("k").await.unwrap() == made, "a refused change changes nothing");
    let page = world.storage.connections(None, PageRequest { limit: 2, offset: 0 }).await.unwrap();
    assert_eq!((page.items.iter().map(|c| &*c.conn_id).collect::<Vec<_>>(), page.total), (vec!["z", "a"], 4));
    world.storage.delete_connection("a", audit("delete")).await.unwrap();
    assert_err!(world.storage.connection("a").await, StorageError::NotFound(_));
    assert_err!(world.storage.delete_connection("a", audit("no")).await, StorageError::NotFound(_));
    assert_eq!(events(&world).await, ["create", "create", "create", "create", "delete"]);
}

/// What a change of a connection does not name, stays.
pub async fn connections_change_field_by_field(trial: &dyn Trial) {
    let world = World::new(trial);
    let made = Connection { host: Some("h".into()), extra: Some("{}".into()), ..connection("c") };
    let mut expected = world.storage.create_connection(made, None).await.unwrap();
    let updates = [
        ConnectionUpdate::default(),
        ConnectionUpdate { conn_type: Some("ftp".into()), port: Some(Some(21)), ..ConnectionUpdate::default() },
        ConnectionUpdate { password: Some(sealed("p")), login: Some(Some("l".into())), ..ConnectionUpdate::default() },
        ConnectionUpdate {
            extra: Some(Some(sealed("x"))),
            schema: Some(Some("s".into())),
            ..ConnectionUpdate::default()
        },
        ConnectionUpdate { extra: Some(None), host: Some(None), port: Some(None), ..ConnectionUpdate::default() },
        ConnectionUpdate { description: Some(Some("d".into())), ..ConnectionUpdate::default() },
    ];
    for update in updates {
        update.clone().apply(&mut expected);
        let changed = world.storage.update_connection("c", update, audit("edit")).await.unwrap();
        assert!(changed == expected && world.storage.connection("c").await.unwrap() == expected, "{expected:?}");
    }
    assert_eq!((&*expected.conn_type, expected.is_encrypted, expected.is_extra_encrypted), ("ftp", true, false));
    let absent = world.storage.update_connection("d", ConnectionUpdate::default(), audit("no")).await;
    assert_err!(absent, StorageError::NotFound(_));
    assert_eq!(events(&world).await, ["edit"; 6]);
}

/// Of many that make the same connection at once, one does.
pub async fn of_concurrent_connections_one_is_made(trial: &dyn Trial) {
    let world = World::new(trial);
    let tries = (0..8).map(|port| {
        let storage = world.storage.clone();
        let new = Connection { port: Some(port), ..connection("c") };
        tokio::spawn(async move { storage.create_connection(new, audit("create")).await })
    });
    let mut made = Vec::new();
    for one in tries.collect::<Vec<_>>() {
        match one.await.unwrap() {
            Ok(connection) => made.push(connection),
            Err(StorageError::AlreadyExists(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(made.len() == 1 && world.storage.connection("c").await.unwrap() == made[0]);
    assert_eq!(events(&world).await, ["create"]);
}

/// Each order and page of connections is what a naive sort gives.
pub async fn connection_orders_agree_with_a_naive_sort(trial: &dyn Trial) {
    let world = World::new(trial);
    for (index, id) in ["z", "b", "Y", "a", "x", "c", "_"].into_iter().enumerate() {
        let new = Connection {
            conn_type: ["http", "Ftp", "a_b"][index % 3].into(),
            description: (index % 3 > 0).then(|| format!("text {}", index % 2)),
            host: (index % 2 > 0).then(|| ["H", "h"][index / 2 % 2].into()),
            port: (index > 1).then(|| i32::try_from(index % 4).unwrap() - 1),
            ..connection(id)
        };
        world.storage.create_connection(new, None).await.unwrap();
    }
    let all = world.storage.connections(None, PageRequest::ALL).await.unwrap().items;
    assert!(all.len() == 7 && all.is_sorted_by_key(|connection| connection.id), "in the order of creation");
    let orders: Vec<(ConnectionOrder, naive::Compare<Connection>)> = vec![
        (ConnectionOrder::Id, naive::by(|connection: &Connection| connection.id)),
        (ConnectionOrder::ConnId, naive::by(|connection: &Connection| connection.conn_id.clone())),
        (ConnectionOrder::ConnType, naive::by(|connection: &Connection| connection.conn_type.clone())),
        (ConnectionOrder::Description, naive::by_option(|connection: &Connection| connection.description.clone())),
        (ConnectionOrder::Host, naive::by_option(|connection: &Connection| connection.host.clone())),
        (ConnectionOrder::Port, naive::by_option(|connection: &Connection| connection.port)),
    ];
    for (field, compare) in orders {
        for descending in [false, true] {
            for page in naive::PAGES {
                let got = world.storage.connections(Some(OrderBy { field, descending }), page).await.unwrap();
                let expected = naive::list(&all, descending, &compare, page);
                assert_eq!((got.items, got.total), expected, "{field:?} {descending} {page:?}");
            }
        }
    }
}

/// Whoever encrypts anew finds all in steps, and overwrites nothing that was written meanwhile.
pub async fn secrets_are_written_anew_if_they_are_as_they_were(trial: &dyn Trial) {
    let world = World::new(trial);
    for key in ["c", "b", "a"] {
        world.storage.put_variable(variable(key, "old"), None).await.unwrap();
        let new = Connection { password: Some("old".into()), ..connection(key) };
        world.storage.create_connection(new, None).await.unwrap();
    }
    let first = world.storage.variables_after(0, 2).await.unwrap();
    assert_eq!(first.iter().map(|variable| &*variable.key).collect::<Vec<_>>(), ["c", "b"]);
    let rest = world.storage.variables_after(first[1].id, 2).await.unwrap();
    assert_eq!(rest.iter().map(|variable| &*variable.key).collect::<Vec<_>>(), ["a"]);
    assert!(world.storage.variables_after(rest[0].id, 2).await.unwrap().is_empty());
    assert!(world.storage.reseal_variable(&first[0], &sealed("new")).await.unwrap());
    let resealed = world.storage.variable("c").await.unwrap();
    assert!(resealed == Variable { value: "new".into(), is_encrypted: true, ..first[0].clone() });
    assert!(!world.storage.reseal_variable(&first[0], &sealed("late")).await.unwrap());
    world.storage.put_variable(variable("b", "old"), None).await.unwrap();
    assert!(!world.storage.reseal_variable(&first[1], &sealed("late")).await.unwrap(), "another variable by now");
    assert!(world.storage.variable("c").await.unwrap() == resealed);

    let first = world.storage.connections_after(0, 2).await.unwrap();
    assert_eq!(first.iter().map(|connection| &*connection.conn_id).collect::<Vec<_>>(), ["c", "b"]);
    let rest = world.storage.connections_after(first[1].id, 2).await.unwrap();
    assert_eq!(rest.iter().map(|connection| &*connection.conn_id).collect::<Vec<_>>(), ["a"]);
    let new = Connection { password: Some("new".into()), is_encrypted: true, ..first[0].clone() };
    let update = ConnectionUpdate { host: Some(Some("h".into())), ..ConnectionUpdate::default() };
    let moved = world.storage.update_connection("c", update, None).await.unwrap();
    assert!(world.storage.reseal_connection(&first[0], &new).await.unwrap(), "other fields do not matter");
    let resealed = world.storage.connection("c").await.unwrap();
    assert!(resealed == Connection { host: moved.host, ..new.clone() });
    assert!(!world.storage.reseal_connection(&first[0], &new).await.unwrap());
    let update = ConnectionUpdate { extra: Some(Some(sealed("x"))), ..ConnectionUpdate::default() };
    world.storage.update_connection("b", update, None).await.unwrap();
    assert!(!world.storage.reseal_connection(&first[1], &new).await.unwrap());
    assert_eq!(world.storage.events(&EventLogQuery::default()).await.unwrap().total, 0);
}
