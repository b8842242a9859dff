//! DAGs, versions and sources.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::world::{World, assert_err, at, audit, dag, registration, task};
use super::{Trial, naive};
use crate::id::DagId;
use crate::model::{Dag, DagRecord, RunState, TaskState};
use crate::storage::{
    Change, DagOrder, DagQuery, EventLogQuery, OrderBy, PageRequest, StorageError, TaskInstanceQuery,
};

/// A registered DAG is there with its declaration, active and unpaused.
pub async fn a_registered_dag_is_there(trial: &dyn Trial) {
    let world = World::new(trial);
    let declared = dag("d", &["a"]);
    let version = world.register(declared.clone()).await;
    let record = world.storage.dag("d").await.unwrap();
    assert_eq!((record.version.id, record.dag().as_ref()), (version, &declared));
    assert!(record.is_active && !record.is_paused && !record.has_import_errors);
    assert_eq!((record.last_parsed_time, record.last_expired), (at(0), None));
    assert_eq!(world.storage.dag_version(version).await.unwrap().dag.as_ref(), &declared);
    assert_err!(world.storage.dag("other").await, StorageError::NotFound(_));
    assert_err!(world.storage.dag_version(crate::id::DagVersionId(999)).await, StorageError::NotFound(_));
}

/// The same content makes no new version, but counts as seen.
pub async fn the_same_content_makes_no_version(trial: &dyn Trial) {
    let world = World::new(trial);
    let version = world.register(dag("d", &["a"])).await;
    let again = world.storage.register_dags(at(9), vec![registration(dag("d", &["a"]))]).await.unwrap();
    assert_eq!(again[0].id, version);
    assert_eq!(world.storage.dag("d").await.unwrap().last_parsed_time, at(9));
    assert_eq!(world.storage.versions_after(None, 10).await.unwrap().len(), 1);
}

/// Other content makes a version; runs keep theirs.
pub async fn runs_keep_their_version(trial: &dyn Trial) {
    let world = World::new(trial);
    let first = world.register(dag("d", &["a"])).await;
    let run = world.create(first, "r").await;
    let mut second = first;
    for tasks in [&["a", "b"][..], &["a"], &["b"], &["c"]] {
        let next = world.register(dag("d", tasks)).await;
        assert!(next > second, "versions grow");
        second = next;
    }
    assert_eq!(world.storage.dag("d").await.unwrap().version.id, second);
    assert_eq!(world.storage.dag_version(first).await.unwrap().dag.tasks.len(), 1);
    assert_eq!(world.reread(&run).await.dag_version, first);
    assert_eq!(world.instance(&run, "a").await.dag.tasks[0].task_id.as_str(), "a");
}

/// Versions are listed in the order of registration, from any one on.
pub async fn versions_are_listed_after_one(trial: &dyn Trial) {
    let world = World::new(trial);
    let mut ids = Vec::new();
    for name in ["a", "b", "c", "d"] {
        ids.push(world.register(dag(name, &["t"])).await);
    }
    let listed = |after, limit| {
        let storage = Arc::clone(&world.storage);
        async move {
            let versions = storage.versions_after(after, limit).await.unwrap();
            versions.into_iter().map(|version| version.id).collect::<Vec<_>>()
        }
    };
    assert_eq!(listed(None, 10).await, ids);
    assert_eq!(listed(Some(ids[1]), 10).await, ids[2..]);
    assert_eq!(listed(Some(ids[0]), 2).await, ids[1..3]);
    assert_eq!(listed(Some(ids[3]), 2).await, []);
}

/// A DAG that nobody declares is inactive, keeps its runs, and comes back.
pub async fn a_deactivated_dag_keeps_its_runs(trial: &dyn Trial) {
    let world = World::new(trial);
    let version = world.register(dag("d", &["a"])).await;
    let run = world.create(version, "r").await;
    world.storage.deactivate_dags(at(5), &["d".into(), "unknown".into()]).await.unwrap();
    let record = world.storage.dag("d").await.unwrap();
    assert_eq!((record.is_active, record.last_expired), (false, Some(at(5))));
    assert_eq!(world.reread(&run).await.state, RunState::Queued);
    world.register(dag("d", &["a"])).await;
    assert!(world.storage.dag("d").await.unwrap().is_active);
}

/// While two schedulers live, a DAG turns inactive only when nobody has reported it for a while.
pub async fn a_dag_that_another_scheduler_may_declare_stays_active(trial: &dyn Trial) {
    let world = World::new(trial);
    world.register(dag("d", &["a"])).await;
    let first = world.scheduler("one").await;
    let _second = world.scheduler("two").await;
    let ids: [DagId; 2] = ["d".into(), "unknown".into()];
    let kept = async |second| world.storage.deactivate_dags(at(second), &ids).await.unwrap();
    assert_eq!(kept(5).await, ids[..1]);
    assert_eq!(world.storage.report_dags(at(30), &ids[..1]).await.unwrap(), []);
    assert_eq!(kept(61).await, ids[..1]);
    assert_eq!(kept(89).await, ids[..1]);
    let record = world.storage.dag("d").await.unwrap();
    assert_eq!((record.is_active, record.last_expired), (true, None));
    assert_eq!(kept(90).await, []);
    let record = world.storage.dag("d").await.unwrap();
    assert_eq!((record.is_active, record.last_expired), (false, Some(at(90))));

    world.storage.report_dags(at(100), &ids[..1]).await.unwrap();
    assert!(world.storage.dag("d").await.unwrap().is_active);
    world.storage.unregister_scheduler(&first.session).await.unwrap();
    assert_eq!(kept(101).await, [], "only one is left");
    assert!(!world.storage.dag("d").await.unwrap().is_active);
}

/// Who reports a DAG does not make its own version the newest again.
pub async fn a_report_brings_no_version_back(trial: &dyn Trial) {
    let world = World::new(trial);
    let old = world.register(dag("d", &["a"])).await;
    let new = world.register(dag("d", &["a", "b"])).await;
    assert_ne!(old, new);
    let ids: [DagId; 3] = ["x".into(), "d".into(), "b".into()];
    assert_eq!(world.storage.report_dags(at(7), &ids).await.unwrap(), ["b".into(), "x".into()]);
    let record = world.storage.dag("d").await.unwrap();
    assert_eq!((record.version.id, record.last_parsed_time), (new, at(7)));
    assert_eq!(world.storage.versions_after(Some(new), 10).await.unwrap().len(), 0);
}

/// Pausing changes what is known and ignores the rest.
pub async fn pausing_ignores_unknown_dags(trial: &dyn Trial) {
    let world = World::new(trial);
    world.register(dag("d", &["a"])).await;
    for is_paused in [true, true, false] {
        let ids = ["d".into(), "unknown".into()];
        world.storage.set_paused(at(1), &ids, is_paused, audit("pause")).await.unwrap();
        assert_eq!(world.storage.dag("d").await.unwrap().is_paused, is_paused);
    }
    assert_eq!(world.storage.events(&EventLogQuery::default()).await.unwrap().total, 3);
}

/// Whether a DAG starts paused matters when it is new, and never again.
pub async fn paused_upon_creation_is_for_new_dags(trial: &dyn Trial) {
    let world = World::new(trial);
    let mut new = registration(dag("d", &["a"]));
    new.paused_upon_creation = true;
    world.storage.register_dags(at(0), vec![new.clone()]).await.unwrap();
    assert!(world.storage.dag("d").await.unwrap().is_paused);
    world.storage.set_paused(at(1), &["d".into()], false, None).await.unwrap();
    new.content_hash = "other".into();
    world.storage.register_dags(at(2), vec![new]).await.unwrap();
    assert!(!world.storage.dag("d").await.unwrap().is_paused);
}

/// With a DAG everything goes that belongs to it, and nothing else.
pub async fn a_deleted_dag_is_wholly_gone(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    scheduler.run_try(at(2), run.id, 0, 1, TaskState::Success).await;
    let mut other = registration(dag("other", &["a"]));
    other.source = Some("source".into());
    let other = world.storage.register_dags(at(0), vec![other]).await.unwrap()[0].clone();
    let other_run = world.create(other.id, "r").await;
    world.storage.set_import_error(at(1), "/dags/d.yaml", Some("broken")).await.unwrap();
    world.storage.set_import_error(at(1), "/dags/other.yaml", Some("broken")).await.unwrap();
    let events = world.storage.events(&EventLogQuery::default()).await.unwrap().total;
    world.storage.delete_dag(at(3), "d", audit("delete")).await.unwrap();

    assert_err!(world.storage.dag("d").await, StorageError::NotFound(_));
    assert_err!(world.storage.dag_version(run.dag_version).await, StorageError::NotFound(_));
    assert_err!(world.storage.dag_run("d", "r").await, StorageError::NotFound(_));
    assert_err!(world.storage.task_instance("d", "r", "a", -1).await, StorageError::NotFound(_));
    assert!(world.xcom_keys(&run).await.is_empty());
    let instances = world.storage.task_instances(&TaskInstanceQuery::default()).await.unwrap();
    assert!(instances.items.iter().all(|instance| instance.run.dag_id.as_str() == "other"));
    let errors = world.storage.import_errors(None, PageRequest::ALL).await.unwrap();
    assert_eq!(errors.items.iter().map(|error| &*error.filename).collect::<Vec<_>>(), ["/dags/other.yaml"]);
    assert_eq!(world.reread(&other_run).await.id, other_run.id);
    assert_eq!(&*world.storage.dag_source("/dags/other.yaml").await.unwrap(), "source");
    assert_eq!(world.storage.events(&EventLogQuery::default()).await.unwrap().total, events + 1, "the log stays");
    assert_err!(world.storage.delete_dag(at(3), "d", None).await, StorageError::NotFound(_));

    let again = world.register(dag("d", &["a", "b", "c"])).await;
    assert_ne!(world.create(again, "r").await.id, run.id, "names are free, keys are not");
}

/// A DAG is not deleted while one of its attempts is live.
pub async fn a_dag_with_a_live_attempt_is_not_deleted(trial: &dyn Trial) {
    let world = World::new(trial);
    let (mut scheduler, run) = world.started().await;
    let token = scheduler.admit(at(2), run.id, 0, 1).await;
    assert_err!(world.storage.delete_dag(at(3), "d", audit("no")).await, StorageError::Conflict(..));
    assert_eq!(world.state(&run, "a").await, TaskState::Running);
    world.storage.delete_run(run.id, None).await.unwrap();
    assert_err!(world.storage.delete_dag(at(3), "d", audit("no")).await, StorageError::Conflict(..));
    scheduler.done(at(4), run.id, Change::Release(token)).await;
    world.storage.delete_dag(at(5), "d", audit("yes")).await.unwrap();
    let events = world.storage.events(&EventLogQuery::default()).await.unwrap();
    assert!(!events.items.iter().any(|entry| entry.event == "no"), "a refused call writes nothing");
}

/// Sources are kept by file, the newest one.
pub async fn sources_are_kept_by_file(trial: &dyn Trial) {
    let world = World::new(trial);
    for source in ["one", "two"] {
        let mut new = registration(dag("d", &["a"]));
        new.source = Some(source.into());
        world.storage.register_dags(at(0), vec![new]).await.unwrap();
        assert_eq!(&*world.storage.dag_source("/dags/d.yaml").await.unwrap(), source);
    }
    assert_err!(world.storage.dag_source("/dags/other.yaml").await, StorageError::NotFound(_));
}

/// The DAGs of a file are those whose newest version it declares, active or not.
pub async fn dags_are_found_by_file(trial: &dyn Trial) {
    let world = World::new(trial);
    for (id, file) in [("b", "one"), ("a", "one"), ("c", "two"), ("d", "one")] {
        let mut dag = dag(id, &["t"]);
        dag.fileloc = format!("/dags/{file}.yaml");
        world.storage.register_dags(at(0), vec![registration(dag)]).await.unwrap();
    }
    let mut moved = dag("d", &["t"]);
    moved.fileloc = "/dags/two.yaml".into();
    world.storage.register_dags(at(1), vec![registration(moved)]).await.unwrap();
    world.storage.deactivate_dags(at(2), &["a".into()]).await.unwrap();
    let found = async |file: &str| {
        let ids = world.storage.dags_of_file(file).await.unwrap();
        ids.iter().map(|id| id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(found("/dags/one.yaml").await, ["a", "b"]);
    assert_eq!(found("/dags/two.yaml").await, ["c", "d"]);
    assert!(found("/dags/none.yaml").await.is_empty());
    world.storage.delete_dag(at(3), "b", None).await.unwrap();
    assert_eq!(found("/dags/one.yaml").await, ["a"]);
}

/// An import error shows at the DAGs of its file that nobody declares any more, and at no other.
pub async fn a_dag_shows_its_files_import_error(trial: &dyn Trial) {
    let world = World::new(trial);
    world.register(dag("d", &["a"])).await;
    world.storage.set_import_error(at(1), "/dags/d.yaml", Some("broken")).await.unwrap();
    assert!(!world.storage.dag("d").await.unwrap().has_import_errors);
    world.storage.deactivate_dags(at(1), &["d".into()]).await.unwrap();
    assert!(world.storage.dag("d").await.unwrap().has_import_errors);
    world.storage.set_import_error(at(1), "/dags/d.yaml", None).await.unwrap();
    assert!(!world.storage.dag("d").await.unwrap().has_import_errors);
}

fn populated(index: u32) -> Dag {
    let names = ["Etl_daily", "etl-hourly", "ml%train", "report_x", "report-y", "zeta", "Alpha", "ETL", "a_b", "axb"];
    let mut dag = dag(names[index as usize % names.len()], &["t"]);
    dag.fileloc = format!("/dags/{}.yaml", index % 3);
    dag.description = (!index.is_multiple_of(3)).then(|| format!("text {}", index % 4));
    dag.max_active_runs = index % 4;
    dag.max_active_tasks = index % 5;
    dag.tags = ["red", "green", "blue"].iter().take(index as usize % 4).map(|&tag| tag.into()).collect();
    let mut other = task("u");
    other.owner = format!("owner{}", index % 3);
    dag.tasks.push(other);
    dag
}

/// Each filter, order and page of DAGs is what a naive filter gives, with the exact total.
pub async fn dag_queries_agree_with_a_naive_filter(trial: &dyn Trial) {
    let world = World::new(trial);
    for index in 0..10 {
        let new = registration(populated(index));
        world.storage.register_dags(at(i64::from(index % 4)), vec![new]).await.unwrap();
    }
    world.storage.set_paused(at(9), &["zeta".into(), "ETL".into(), "a_b".into()], true, None).await.unwrap();
    world.storage.deactivate_dags(at(9), &["zeta".into(), "Alpha".into()]).await.unwrap();
    let mut all = world.storage.dags(&DagQuery::default()).await.unwrap().items;
    assert_eq!(all.len(), 10);
    assert!(all.is_sorted_by_key(|dag| dag.dag_id().clone()), "by id, unless told otherwise");
    all.sort_by_key(|dag| dag.dag_id().clone());

    let some: BTreeSet<_> = ["zeta".into(), "ETL".into(), "none".into()].into();
    let query = DagQuery::default;
    let pattern = |pattern: &str| DagQuery { dag_id_pattern: Some(pattern.into()), ..query() };
    let tags = |tags: &[&str]| DagQuery { tags: tags.iter().map(|&tag| tag.into()).collect(), ..query() };
    let id_has = |part: &'static str| move |dag: &DagRecord| dag.dag_id().as_str().to_lowercase().contains(part);
    let has_tag = |tag: &'static str| move |dag: &DagRecord| dag.dag().tags.iter().any(|has| has == tag);
    type Case = (DagQuery, Box<dyn Fn(&DagRecord) -> bool>);
    let cases: Vec<Case> = vec![
        (DagQuery { is_active: Some(true), ..query() }, Box::new(|dag| dag.is_active)),
        (DagQuery { is_active: Some(false), ..query() }, Box::new(|dag| !dag.is_active)),
        (DagQuery { is_paused: Some(true), ..query() }, Box::new(|dag| dag.is_paused)),
        (
            DagQuery { is_paused: Some(false), is_active: Some(true), ..query() },
            Box::new(|dag| !dag.is_paused && dag.is_active),
        ),
        (tags(&["red"]), Box::new(has_tag("red"))),
        (tags(&["blue", "nope"]), Box::new(has_tag("blue"))),
        (pattern("ETL"), Box::new(id_has("etl"))),
        (pattern("a_b"), Box::new(|dag| ["a_b", "axb"].contains(&dag.dag_id().as_str()))),
        (pattern("e%y"), Box::new(|dag| ["Etl_daily", "etl-hourly", "report-y"].contains(&dag.dag_id().as_str()))),
        (
            DagQuery { dag_ids: Some(some.clone()), ..query() },
            Box::new(|dag| ["zeta", "ETL"].contains(&dag.dag_id().as_str())),
        ),
        (
            DagQuery { readable: Some(Arc::new(some)), ..query() },
            Box::new(|dag| ["zeta", "ETL"].contains(&dag.dag_id().as_str())),
        ),
        (
            DagQuery { filelocs: Some(["/dags/1.yaml".into()].into()), ..query() },
            Box::new(|dag| dag.dag().fileloc == "/dags/1.yaml"),
        ),
        (DagQuery { dag_ids: Some(BTreeSet::new()), ..query() }, Box::new(|_| false)),
    ];
    for (query, matches) in cases {
        let expected: Vec<_> = all.iter().filter(|dag| matches(dag)).map(|dag| dag.dag_id().clone()).collect();
        let page = world.storage.dags(&query).await.unwrap();
        assert_eq!(page.total, expected.len() as u64, "{query:?}");
        assert_eq!(page.items.iter().map(|dag| dag.dag_id().clone()).collect::<Vec<_>>(), expected, "{query:?}");
    }
    let orders: Vec<(DagOrder, naive::Compare<DagRecord>)> = vec![
        (DagOrder::DagId, naive::by(|dag: &DagRecord| dag.dag_id().clone())),
        (DagOrder::IsPaused, naive::by(|dag: &DagRecord| dag.is_paused)),
        (DagOrder::IsActive, naive::by(|dag: &DagRecord| dag.is_active)),
        (DagOrder::LastParsedTime, naive::by(|dag: &DagRecord| dag.last_parsed_time)),
        (DagOrder::Fileloc, naive::by(|dag: &DagRecord| dag.dag().fileloc.clone())),
        (DagOrder::Description, naive::by_option(|dag: &DagRecord| dag.dag().description.clone())),
        (DagOrder::MaxActiveRuns, naive::by(|dag: &DagRecord| dag.dag().max_active_runs)),
        (DagOrder::MaxActiveTasks, naive::by(|dag: &DagRecord| dag.dag().max_active_tasks)),
        (DagOrder::Owners, naive::by(|dag: &DagRecord| dag.dag().owners().join(", "))),
    ];
    for (field, compare) in orders {
        for descending in [false, true] {
            for page in naive::PAGES {
                let query = DagQuery { order_by: Some(OrderBy { field, descending }), page, ..DagQuery::default() };
                let (expected, total) = naive::list(&all, descending, &compare, page);
                let got = world.storage.dags(&query).await.unwrap();
                let ids = |dags: Vec<DagRecord>| dags.iter().map(|dag| dag.dag_id().clone()).collect::<Vec<_>>();
                assert_eq!((ids(got.items), got.total), (ids(expected), total), "{field:?} {descending} {page:?}");
            }
        }
    }
}
