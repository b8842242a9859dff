//! Pools as clients see them.

use super::world::{World, assert_err, audit, pool};
use super::{Trial, naive};
use crate::model::{Pool, PoolUsage};
use crate::storage::{EventLogQuery, OrderBy, PageRequest, PoolOrder, PoolUpdate, StorageError};

/// The default pool is there from the start.
pub async fn the_default_pool_exists(trial: &dyn Trial) {
    let world = World::new(trial);
    let usage = world.pool("default_pool").await;
    assert_eq!((usage.pool.slots, usage.pool.include_deferred, usage.occupied()), (128, false, 0));
    assert_eq!(world.storage.pools(None, PageRequest::ALL).await.unwrap().total, 1);
    assert_eq!(world.storage.pool_slots().await.unwrap(), [("default_pool".to_owned(), 128)]);
}

/// The default pool keeps its name and stays; its slots may change.
pub async fn the_default_pool_stays(trial: &dyn Trial) {
    let world = World::new(trial);
    assert_err!(world.storage.delete_pool("default_pool", audit("no")).await, StorageError::Conflict(..));
    let rename = PoolUpdate { name: Some("other".into()), ..PoolUpdate::default() };
    assert_err!(world.storage.update_pool("default_pool", rename, audit("no")).await, StorageError::Conflict(..));
    let update = PoolUpdate { name: Some("default_pool".into()), slots: Some(3), ..PoolUpdate::default() };
    let usage = world.storage.update_pool("default_pool", update, audit("yes")).await.unwrap();
    assert_eq!((usage.pool.slots, usage), (3, world.pool("default_pool").await));
    assert_eq!(world.storage.events(&EventLogQuery::default()).await.unwrap().total, 1);
}

/// Pools are made, changed field by field, renamed and removed.
pub async fn pools_are_edited(trial: &dyn Trial) {
    let world = World::new(trial);
    let new = Pool { id: 77, name: "p".into(), slots: 5, description: Some("five".into()), include_deferred: true };
    let made = world.storage.create_pool(new.clone(), audit("post")).await.unwrap();
    assert_eq!(made.pool, Pool { id: made.pool.id, ..new.clone() });
    assert_err!(world.storage.create_pool(new.clone(), audit("no")).await, StorageError::AlreadyExists(_));
    let update = |name: &'static str, update: PoolUpdate| world.storage.update_pool(name, update, None);
    let same = update("p", PoolUpdate::default()).await.unwrap();
    assert_eq!(same, made);
    let changed =
        update("p", PoolUpdate { slots: Some(-1), description: Some(None), ..PoolUpdate::default() }).await.unwrap();
    assert_eq!((changed.pool.slots, changed.pool.description.clone(), changed.open()), (-1, None, None));
    let renamed =
        update("p", PoolUpdate { name: Some("q".into()), include_deferred: Some(false), ..PoolUpdate::default() });
    let renamed = renamed.await.unwrap().pool;
    assert_eq!((renamed.id, &*renamed.name, renamed.include_deferred), (made.pool.id, "q", false));
    assert_err!(world.storage.pool("p").await, StorageError::NotFound(_));
    assert_err!(update("p", PoolUpdate::default()).await, StorageError::NotFound(_));
    world.storage.create_pool(pool("p", 1), None).await.unwrap();
    let taken = update("p", PoolUpdate { name: Some("q".into()), slots: Some(9), ..PoolUpdate::default() }).await;
    assert_err!(taken, StorageError::AlreadyExists(_));
    assert_eq!(world.pool("p").await.pool.slots, 1, "a refused change changes nothing");
    world.storage.delete_pool("q", audit("delete")).await.unwrap();
    assert_err!(world.storage.delete_pool("q", audit("no")).await, StorageError::NotFound(_));
    let events = world.storage.events(&EventLogQuery::default()).await.unwrap().items;
    assert_eq!(events.iter().map(|entry| &*entry.event).collect::<Vec<_>>(), ["post", "delete"]);
}

/// Each order and page of pools is what a naive sort gives.
pub async fn pool_orders_agree_with_a_naive_sort(trial: &dyn Trial) {
    let world = World::new(trial);
    for (index, name) in ["z", "b", "y", "a", "x", "c", "Z"].into_iter().enumerate() {
        let new = Pool {
            description: (index % 3 > 0).then(|| format!("text {}", index % 2)),
            include_deferred: index % 2 == 0,
            ..pool(name, i32::try_from(index % 4).unwrap() - 1)
        };
        world.storage.create_pool(new, None).await.unwrap();
    }
    world
        .storage
        .update_pool("a", PoolUpdate { name: Some("renamed".into()), ..PoolUpdate::default() }, None)
        .await
        .unwrap();
    let all = world.storage.pools(None, PageRequest::ALL).await.unwrap().items;
    let names: Vec<_> = all.iter().map(|usage| &*usage.pool.name).collect();
    assert_eq!(names, ["default_pool", "z", "b", "y", "renamed", "x", "c", "Z"], "in the order of creation");
    let orders: Vec<(PoolOrder, naive::Compare<PoolUsage>)> = vec![
        (PoolOrder::Id, naive::by(|usage: &PoolUsage| usage.pool.id)),
        (PoolOrder::Name, naive::by(|usage: &PoolUsage| usage.pool.name.clone())),
        (PoolOrder::Slots, naive::by(|usage: &PoolUsage| usage.pool.slots)),
        (PoolOrder::Description, naive::by_option(|usage: &PoolUsage| usage.pool.description.clone())),
        (PoolOrder::IncludeDeferred, naive::by(|usage: &PoolUsage| usage.pool.include_deferred)),
    ];
    for (field, compare) in orders {
        for descending in [false, true] {
            for page in naive::PAGES {
                let got = world.storage.pools(Some(OrderBy { field, descending }), page).await.unwrap();
                let expected = naive::list(&all, descending, &compare, page);
                assert_eq!((got.items, got.total), expected, "{field:?} {descending} {page:?}");
            }
        }
    }
}

/// The storage's clock goes forward.
pub async fn time_goes_forward(trial: &dyn Trial) {
    let world = World::new(trial);
    let before = world.storage.now().await.unwrap();
    trial.pass(std::time::Duration::from_secs(2)).await;
    assert!(world.storage.now().await.unwrap() > before);
}
