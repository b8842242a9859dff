//! Servers come when they are asked for, and go with whoever asked.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use updraft_core::clock::{Clock, SystemClock};
use updraft_test_postgres::{Cluster, Database, Durability, VARIABLE};

async fn count(database: &Database, statement: &'static str) -> i64 {
    sqlx::query_scalar(statement).fetch_one(&mut database.connect().await).await.expect("a count")
}

async fn wait_until(mut holds: impl AsyncFnMut() -> bool, what: &str) {
    let clock = SystemClock::new();
    let wait = async {
        while !holds().await {
            clock.sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn each_test_has_a_database_of_its_own() {
    let cluster = Cluster::shared().await;
    let (one, two) = (cluster.database().await, cluster.database().await);
    let pools = "SELECT count(*) FROM updraft.pool";
    let removed = sqlx::query("DELETE FROM updraft.pool").execute(&mut one.connect().await).await.expect("a delete");
    assert_eq!(removed.rows_affected(), 1, "the tables are there");
    assert_eq!((count(&one, pools).await, count(&two, pools).await), (0, 1));
    let empty = cluster.empty_database().await;
    assert_eq!(count(&empty, "SELECT count(*) FROM pg_namespace WHERE nspname = 'updraft'").await, 0);
}

#[tokio::test]
async fn a_dropped_database_is_gone() {
    let cluster = Cluster::shared().await;
    let (one, other) = (cluster.empty_database().await, cluster.empty_database().await);
    let (url, _open) = (one.url(), one.connect().await);
    PgConnection::connect(&url).await.expect("its URL").close().await.expect("an end");
    drop(one);
    wait_until(async || PgConnection::connect(&url).await.is_err(), "the database stays").await;
    assert_eq!(count(&other, "SELECT 1::bigint").await, 1);
}

#[tokio::test]
async fn a_server_stops_and_starts_again() {
    let cluster = Cluster::start(Durability::Default).await.expect("a server");
    let database = cluster.empty_database().await;
    let create = "CREATE TABLE kept AS SELECT 1 AS one";
    sqlx::raw_sql(create).execute(&mut database.connect().await).await.expect("a table");
    cluster.stop().await;
    assert!(PgConnection::connect_with(&database.options()).await.is_err());
    cluster.restart().await;
    assert_eq!(count(&database, "SELECT count(*) FROM kept").await, 1);
    assert_eq!(count(&database, "SELECT (current_setting('fsync') = 'on')::int::bigint").await, 1);
}

#[tokio::test]
async fn a_server_ends_with_its_process() {
    let mut process = Command::new(env!("CARGO_BIN_EXE_updraft-test-postgres"))
        .args(["/bin/sh", "-c", &format!("echo ${VARIABLE}; read -r _")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program");
    let mut url = String::new();
    BufReader::new(process.stdout.take().expect("a pipe")).read_line(&mut url).expect("a line");
    PgConnection::connect(url.trim()).await.expect("the server").close().await.expect("an end");
    let at = url.find("updraft-postgres").or_else(|| url.find("updraft%2Dpostgres")).expect("the folder's name");
    let name = url[at..].split([':', '/']).next().expect("a name").replace("%2D", "-");
    let folder = std::env::temp_dir().join(name);
    assert!(folder.is_dir(), "{}", folder.display());
    process.kill().expect("a kill");
    process.wait().expect("an end");
    wait_until(async || !Path::new(&folder).exists(), "the server's folder stays").await;
    assert!(PgConnection::connect(url.trim()).await.is_err());
}
