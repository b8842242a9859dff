//! Updraft inside an axum application: its API beside the application's own routes, on one port.
//!
//!     cargo run --example axum
//!     curl -X POST -H 'content-type: application/json' -d '{}' http://127.0.0.1:3000/workflows/api/v1/dags/nightly/dagRuns

use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use updraft::Updraft;
use updraft::dag::{DagBuilder, chain};
use updraft::operator::{Outcome, TaskContext};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dag = DagBuilder::new("nightly").tag("example");
    let fetch = dag.task("fetch", |_: TaskContext| async { Ok(Outcome::value(42)) });
    let store = dag.task("store", |cx: TaskContext| async move {
        let rows = cx.xcom_pull("fetch").await.unwrap_or_default();
        cx.log().line(&format!("storing {rows:?}"));
        Ok(Outcome::success())
    });
    chain([&fetch, &store]);

    let updraft = Updraft::builder().dag(dag).build()?;
    let running = updraft.start().await?;

    // Whoever reaches this port may do everything: fit for a demonstration only.
    let api = updraft.airflow().anonymous_role("Admin").build()?;
    let app = Router::new()
        .route("/", get(|| async { "the application's own page\n" }))
        .nest_service("/workflows/api/v1", api);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    axum::serve(listener, app).with_graceful_shutdown(stop).await?;
    running.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
