//! XComs.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Trial;
use super::naive::PAGES;
use super::world::{World, at, dag, end_of, ended};
use crate::model::TaskState;
use crate::storage::{Change, Page, XComEntry, XComQuery};

/// A value is replaced by one with the same key.
pub async fn an_xcom_is_replaced(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    let token = scheduler.admit(at(2), run.id, 0, 1).await;
    for (time, value) in [(3, json!("one")), (4, Value::Null), (5, json!({"deep": [1, 2.5, "ü"]}))] {
        world.storage.set_xcom(at(time), token, "k", value.clone()).await.unwrap();
        let page = world.storage.xcoms(&XComQuery::default()).await.unwrap();
        assert_eq!(page.total, 1);
        let xcom = &page.items[0].xcom;
        assert_eq!((&xcom.value, xcom.timestamp, xcom.run, &*xcom.key), (&value, at(time), run.id, "k"));
        assert_eq!((page.items[0].run.id, &*page.items[0].task_id), (run.id, "a"));
    }
}

/// Values are kept to the letter: the order of members, the kinds of numbers, any character.
pub async fn json_is_kept_to_the_letter(trial: &dyn Trial) {
    let world = World::new(trial);
    let text = r#"{"longer":[1.0,1e16,-0.0,12345678901234567890],"b":"\u0000 \\u0000 \ud83d\ude00","a":{}}"#;
    let value: Value = serde_json::from_str(text).unwrap();
    let version = world.register(dag("d", &["a"])).await;
    let mut new = world.new_run(version, "r");
    new.conf = value.clone();
    let run = world.try_create(new).await.unwrap();
    let mut scheduler = world.scheduler("s").await;
    scheduler.claim(&[version]).await;
    scheduler.done(at(1), run.id, Change::StartRun).await;
    let token = scheduler.admit(at(2), run.id, 0, 1).await;
    world.storage.set_xcom(at(3), token, "k", value.clone()).await.unwrap();
    world.storage.set_rendered_fields(token, value.clone()).await.unwrap();
    let mut end = end_of(token, 0, TaskState::Success, at(4));
    end.value = Some(value.clone());
    scheduler.done(at(4), run.id, Change::Ended(Arc::new(end))).await;
    let instance = world.instance(&run, "a").await;
    let page = world.storage.xcoms(&XComQuery::default()).await.unwrap();
    let kept = [&run.conf, &instance.run.conf, &instance.rendered_fields];
    let kept: Vec<_> = kept.into_iter().chain(page.items.iter().map(|entry| &entry.xcom.value)).collect();
    assert_eq!(kept.len(), 5);
    for one in kept {
        assert_eq!(one.to_string(), value.to_string());
    }
}

/// A new try removes what earlier ones left.
pub async fn a_new_try_removes_xcoms(trial: &dyn Trial) {
    let world = World::new(trial);
    let mut declared = dag("d", &["a", "b"]);
    declared.tasks[0].retries = 1;
    let (mut scheduler, run) = world.started_of(declared).await;
    let (token, other) = (scheduler.admit(at(2), run.id, 0, 1).await, scheduler.admit(at(2), run.id, 1, 1).await);
    for token in [token, other] {
        world.storage.set_xcom(at(3), token, "k", json!(1)).await.unwrap();
    }
    scheduler.done(at(4), run.id, ended(token, 0, TaskState::UpForRetry, at(4))).await;
    assert_eq!(world.xcom_keys(&run).await.len(), 2, "they stay until the next try");
    scheduler.admit(at(5), run.id, 0, 2).await;
    assert_eq!(world.xcom_keys(&run).await, [("b".to_owned(), "k".to_owned())]);
}

fn names(page: &Page<XComEntry>) -> Vec<(String, String, String, String)> {
    let name = |entry: &XComEntry| {
        (entry.run.dag_id.to_string(), entry.task_id.clone(), entry.run.run_id.clone(), entry.xcom.key.clone())
    };
    page.items.iter().map(name).collect()
}

/// XComs are listed by DAG, task, run and key; each filter and page is what a naive one gives.
pub async fn xcom_queries_agree_with_a_naive_filter(trial: &dyn Trial) {
    let world = World::new(trial);
    let mut scheduler = world.scheduler("s").await;
    let mut all = Vec::new();
    for dag_id in ["y", "x"] {
        let version = world.register(dag(dag_id, &["b", "a", "c"])).await;
        for run_id in ["r2", "r1"] {
            let run = world.create(version, run_id).await;
            scheduler.claim(&[version]).await;
            scheduler.done(at(1), run.id, Change::StartRun).await;
            for (task, task_id) in ["b", "a"].into_iter().enumerate() {
                let token = scheduler.admit(at(2), run.id, u32::try_from(task).unwrap(), 1).await;
                for key in ["z", "k", "return_value"] {
                    world.storage.set_xcom(at(3), token, key, json!(key)).await.unwrap();
                    all.push((dag_id.to_owned(), task_id.to_owned(), run_id.to_owned(), key.to_owned()));
                }
            }
        }
    }
    all.sort();
    let query = XComQuery::default;
    let x: BTreeSet<_> = ["x".into()].into();
    type Case = (XComQuery, fn(&(String, String, String, String)) -> bool);
    let cases: Vec<Case> = vec![
        (query(), |_| true),
        (XComQuery { dag_id: Some("x".into()), ..query() }, |(dag, ..)| dag == "x"),
        (XComQuery { dag_id: Some("none".into()), ..query() }, |_| false),
        (XComQuery { readable: Some(Arc::new(x)), ..query() }, |(dag, ..)| dag == "x"),
        (XComQuery { run_id: Some("r1".into()), ..query() }, |(_, _, run, _)| run == "r1"),
        (XComQuery { dag_id: Some("y".into()), run_id: Some("r2".into()), ..query() }, |(dag, _, run, _)| {
            dag == "y" && run == "r2"
        }),
        (XComQuery { task_ids: Some(["a".into(), "c".into(), "none".into()].into()), ..query() }, |(_, task, ..)| {
            task == "a"
        }),
        (XComQuery { key: Some("k".into()), ..query() }, |(.., key)| key == "k"),
        (XComQuery { map_index: Some(-1), ..query() }, |_| true),
        (XComQuery { map_index: Some(0), ..query() }, |_| false),
    ];
    for (query, matches) in cases {
        let expected: Vec<_> = all.iter().filter(|name| matches(name)).cloned().collect();
        for page in PAGES {
            let got = world.storage.xcoms(&XComQuery { page, ..query.clone() }).await.unwrap();
            let part: Vec<_> = expected.iter().skip(page.offset).take(page.limit).cloned().collect();
            assert_eq!((got.total, names(&got)), (expected.len() as u64, part), "{query:?} {page:?}");
        }
    }
}
