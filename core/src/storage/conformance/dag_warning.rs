//! Warnings about DAGs.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Trial;
use super::world::{World, at, dag, pool, registration};
use crate::id::DagId;
use crate::storage::{DagWarningOrder, DagWarningQuery, OrderBy, PageRequest};

/// Active DAGs whose tasks name pools that do not exist have a warning, as long as these do not.
pub async fn pools_that_do_not_exist_are_warned_of(trial: &dyn Trial) {
    let world = World::new(trial);
    for (second, (id, pools)) in
        [("z", ["no", "default_pool"]), ("a", ["yes", "no"]), ("m", ["zeta", "alpha"]), ("gone", ["no", "no"])]
            .into_iter()
            .enumerate()
    {
        let mut dag = dag(id, &["one", "two", "three"]);
        for (task, pool) in dag.tasks.iter_mut().zip(pools) {
            task.pool = pool.into();
        }
        world.storage.register_dags(at(i64::try_from(second).unwrap() % 2), vec![registration(dag)]).await.unwrap();
    }
    world.storage.create_pool(pool("yes", 1), None).await.unwrap();
    world.storage.deactivate_dags(at(9), &[DagId::from("gone")]).await.unwrap();
    let list = async |query: DagWarningQuery| {
        let found = world.storage.dag_warnings(&query).await.unwrap();
        let show =
            |warning: &crate::model::DagWarning| format!("{} {}", warning.dag_id, warning.missing_pools.join(","));
        (found.items.iter().map(show).collect::<Vec<_>>().join("; "), found.total)
    };
    let all = DagWarningQuery::default;
    assert_eq!(list(all()).await, ("m alpha,zeta; z no; a no".into(), 3));
    assert_eq!(world.storage.dag_warnings(&all()).await.unwrap().items[2].timestamp, at(1));
    let order = |field, descending| DagWarningQuery { order_by: Some(OrderBy { field, descending }), ..all() };
    assert_eq!(list(order(DagWarningOrder::DagId, true)).await.0, "z no; m alpha,zeta; a no");
    assert_eq!(list(order(DagWarningOrder::Timestamp, true)).await.0, "a no; m alpha,zeta; z no");
    let page = PageRequest { limit: 1, offset: 1 };
    assert_eq!(
        list(DagWarningQuery { page, ..order(DagWarningOrder::DagId, false) }).await,
        ("m alpha,zeta".into(), 3)
    );
    assert_eq!(list(DagWarningQuery { dag_id: Some("a".into()), ..all() }).await, ("a no".into(), 1));
    let readable = Some(Arc::new(BTreeSet::from([DagId::from("z"), DagId::from("other")])));
    assert_eq!(list(DagWarningQuery { readable, ..all() }).await, ("z no".into(), 1));
    world.storage.create_pool(pool("no", 1), None).await.unwrap();
    assert_eq!(list(all()).await, ("m alpha,zeta".into(), 1));
    world.storage.delete_pool("yes", None).await.unwrap();
    assert_eq!(list(all()).await, ("m alpha,zeta; a yes".into(), 2));
}
