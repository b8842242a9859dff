//! A file that a client asks for is read again by the process that watches it.

use std::sync::Arc;
use std::time::Duration;

use updraft::clock::{Clock, SystemClock};
use updraft::model::DagRecord;
use updraft::operators::OperatorsConfig;
use updraft::postgres::{PostgresSettings, PostgresStorage};
use updraft::service::Actor;
use updraft::storage::Storage;
use updraft::{MemoryStorage, Updraft};
use updraft_test_postgres::Cluster;

const PATIENCE: Duration = Duration::from_secs(60);

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let clock = SystemClock::new();
    let wait = async {
        while !is_so().await {
            clock.sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}"));
}

async fn find(api: &Updraft) -> Option<DagRecord> {
    api.service().dag("one").await.ok()
}

/// `api` has no scheduler; what it is asked for reaches the process that watches the folder.
async fn a_file_is_read_again(watching: Arc<dyn Storage>, asked: Arc<dyn Storage>) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("one.yaml"), "one: {tasks: {a: {operator: empty}}}\n").expect("a file");
    let updraft = Updraft::builder()
        .storage(watching)
        .builtin_operators(OperatorsConfig::default())
        .dag_folder(folder.path())
        .build()
        .expect("an orchestrator");
    let running = updraft.start().await.expect("a start");
    let api = Updraft::builder().storage(asked).build().expect("an API");

    let before = find(&api).await.expect("the DAG");
    let fileloc = before.dag().fileloc.clone();
    assert!(api.service().request_parsing(&fileloc).await.expect("a request"));
    until("the DAG is parsed again", async || {
        find(&api).await.is_some_and(|dag| dag.last_parsed_time > before.last_parsed_time)
    })
    .await;
    assert_eq!(find(&api).await.expect("the DAG").version.id, before.version.id, "nothing has changed");

    // A deleted DAG whose file exists does not wait for the next report.
    api.service().delete_dag("one", &Actor::default()).await.expect("a deletion");
    assert!(api.service().request_parsing(&fileloc).await.expect("a request"));
    until("the DAG is back", async || find(&api).await.is_some()).await;
    until("no request is left", async || api.storage().parsing_requests().await.is_ok_and(|left| left.is_empty()))
        .await;
    running.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_one_process() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let storage = Arc::new(MemoryStorage::new(clock));
    a_file_is_read_again(storage.clone(), storage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn through_a_database() {
    let database = Cluster::shared().await.database().await;
    let open =
        || PostgresStorage::new(PostgresSettings::from_options(database.options()), Arc::new(SystemClock::new()));
    let (watching, asked) = (open(), open());
    watching.migrate().await.expect("tables");
    a_file_is_read_again(Arc::new(watching.clone()), Arc::new(asked.clone())).await;
    watching.close().await;
    asked.close().await;
}
