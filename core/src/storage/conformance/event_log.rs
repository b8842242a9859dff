//! The event log.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::world::{World, assert_err, at};
use super::{Trial, naive};
use crate::model::{AuditEntry, EventLogEntry, TaskState};
use crate::storage::{EventLogOrder, EventLogQuery, OrderBy, StorageError};

/// An entry is found by its id, as it was written.
pub async fn an_entry_is_kept(trial: &dyn Trial) {
    let world = World::new(trial);
    let entry = AuditEntry {
        event: "api.post".into(),
        dag_id: Some("never_registered".into()),
        task_id: Some("t".into()),
        run_id: Some("r".into()),
        map_index: Some(3),
        logical_date: Some(at(1)),
        owner: Some("admin".into()),
        extra: Some("{}".into()),
    };
    world.storage.append_event(at(5), entry.clone()).await.unwrap();
    let id = world.storage.events(&EventLogQuery::default()).await.unwrap().items[0].id;
    let expected = EventLogEntry {
        id,
        when: at(5),
        event: entry.event,
        dag_id: entry.dag_id,
        task_id: entry.task_id,
        run_id: entry.run_id,
        map_index: entry.map_index,
        try_number: None,
        logical_date: entry.logical_date,
        owner: entry.owner,
        extra: entry.extra,
    };
    assert_eq!(world.storage.event(id).await.unwrap(), expected);
    for id in [0, -1, id + 1, i64::MIN, i64::MAX] {
        assert_err!(world.storage.event(id).await, StorageError::NotFound(_));
    }
}

async fn population(world: &World) -> Vec<EventLogEntry> {
    let (mut scheduler, run) = world.started().await;
    for index in 0..24_i64 {
        let pick = |n: i64, text: &str| (index % n > 0).then(|| format!("{text}{}", index % n));
        let entry = AuditEntry {
            event: format!("event{}", index % 4),
            dag_id: pick(3, "dag").map(Into::into),
            task_id: pick(4, "task"),
            run_id: pick(5, "run"),
            map_index: (index % 2 == 0).then(|| i32::try_from(index % 3).unwrap() - 1),
            logical_date: (index % 3 == 0).then(|| at(index % 7)),
            owner: pick(6, "owner"),
            extra: pick(2, "extra"),
        };
        world.storage.append_event(at(index % 8), entry).await.unwrap();
        if index % 8 == 0 {
            let task = u32::try_from(index / 8).unwrap();
            scheduler.run_try(at(index % 5), run.id, task, 1, TaskState::Success).await;
        }
    }
    let all = world.storage.events(&EventLogQuery::default()).await.unwrap();
    assert_eq!((all.items.len(), all.total), (30, 30));
    assert!(all.items.is_sorted_by_key(|entry| entry.id), "in the order of writing, unless told otherwise");
    all.items
}

/// Each filter of the log gives what a naive filter gives, with the exact total.
pub async fn event_filters_agree_with_a_naive_filter(trial: &dyn Trial) {
    let world = World::new(trial);
    let all = population(&world).await;
    let query = EventLogQuery::default;
    let events = |events: &[&str]| Some(events.iter().map(|&event| event.to_owned()).collect::<Vec<_>>());
    let readable: BTreeSet<_> = ["dag1".into()].into();
    type Case = (EventLogQuery, fn(&EventLogEntry) -> bool);
    let cases: Vec<Case> = vec![
        (EventLogQuery { dag_id: Some("dag1".into()), ..query() }, |e| {
            e.dag_id.as_ref().is_some_and(|id| id.as_str() == "dag1")
        }),
        (EventLogQuery { dag_id: Some("d".into()), ..query() }, |e| {
            e.dag_id.as_ref().is_some_and(|id| id.as_str() == "d")
        }),
        (EventLogQuery { task_id: Some("task2".into()), ..query() }, |e| e.task_id.as_deref() == Some("task2")),
        (EventLogQuery { task_id: Some("a".into()), ..query() }, |e| e.task_id.as_deref() == Some("a")),
        (EventLogQuery { run_id: Some("r".into()), ..query() }, |e| e.run_id.as_deref() == Some("r")),
        (EventLogQuery { map_index: Some(-1), ..query() }, |e| e.map_index == Some(-1)),
        (EventLogQuery { try_number: Some(1), ..query() }, |e| e.try_number == Some(1)),
        (EventLogQuery { event: Some("event2".into()), ..query() }, |e| e.event == "event2"),
        (EventLogQuery { event: Some("running".into()), ..query() }, |e| e.event == "running"),
        (EventLogQuery { owner: Some("lab".into()), ..query() }, |e| e.owner.as_deref() == Some("lab")),
        (EventLogQuery { before: Some(at(3)), ..query() }, |e| e.when < at(3)),
        (EventLogQuery { after: Some(at(3)), ..query() }, |e| e.when > at(3)),
        (EventLogQuery { included_events: events(&["event1", "success"]), ..query() }, |e| {
            e.event == "event1" || e.event == "success"
        }),
        (EventLogQuery { excluded_events: events(&["event1", "success"]), ..query() }, |e| {
            e.event != "event1" && e.event != "success"
        }),
        (EventLogQuery { included_events: Some(Vec::new()), ..query() }, |_| false),
        (EventLogQuery { readable: Some(Arc::new(readable)), ..query() }, |e| {
            e.dag_id.as_ref().is_none_or(|id| id.as_str() == "dag1")
        }),
        (EventLogQuery { after: Some(at(1)), before: Some(at(6)), event: Some("event3".into()), ..query() }, |e| {
            e.when > at(1) && e.when < at(6) && e.event == "event3"
        }),
    ];
    for (query, matches) in cases {
        let expected: Vec<_> = all.iter().filter(|entry| matches(entry)).cloned().collect();
        let page = world.storage.events(&query).await.unwrap();
        assert_eq!((page.total, page.items), (expected.len() as u64, expected), "{query:?}");
    }
}

/// Each order and page of the log is what a naive sort gives.
pub async fn event_orders_agree_with_a_naive_sort(trial: &dyn Trial) {
    let world = World::new(trial);
    let all = population(&world).await;
    let orders: Vec<(EventLogOrder, naive::Compare<EventLogEntry>)> = vec![
        (EventLogOrder::Id, naive::by(|entry: &EventLogEntry| entry.id)),
        (EventLogOrder::When, naive::by(|entry: &EventLogEntry| entry.when)),
        (EventLogOrder::DagId, naive::by_option(|entry: &EventLogEntry| entry.dag_id.clone())),
        (EventLogOrder::TaskId, naive::by_option(|entry: &EventLogEntry| entry.task_id.clone())),
        (EventLogOrder::RunId, naive::by_option(|entry: &EventLogEntry| entry.run_id.clone())),
        (EventLogOrder::Event, naive::by(|entry: &EventLogEntry| entry.event.clone())),
        (EventLogOrder::LogicalDate, naive::by_option(|entry: &EventLogEntry| entry.logical_date)),
        (EventLogOrder::Owner, naive::by_option(|entry: &EventLogEntry| entry.owner.clone())),
        (EventLogOrder::Extra, naive::by_option(|entry: &EventLogEntry| entry.extra.clone())),
    ];
    for (field, compare) in orders {
        for descending in [false, true] {
            for page in naive::PAGES {
                let order_by = Some(OrderBy { field, descending });
                let got =
                    world.storage.events(&EventLogQuery { order_by, page, ..EventLogQuery::default() }).await.unwrap();
                let expected = naive::list(&all, descending, &compare, page);
                assert_eq!((got.items, got.total), expected, "{field:?} {descending} {page:?}");
            }
        }
    }
}
