//! Updraft's API on a plain hyper server.
//!
//!     cargo run --example hyper
//!     curl http://127.0.0.1:3001/api/v1/dags

use std::error::Error;

use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use updraft::Updraft;
use updraft::dag::DagBuilder;
use updraft::operator::{Outcome, TaskContext};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dag = DagBuilder::new("hello");
    dag.task("say", |cx: TaskContext| async move {
        cx.log().line("hello");
        Ok(Outcome::success())
    });
    let updraft = Updraft::builder().dag(dag).build()?;
    let _running = updraft.start().await?;

    // Whoever reaches this port may look, but not touch.
    let api = updraft.airflow().anonymous_role("Viewer").build()?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3001").await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(api.clone());
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                eprintln!("a connection ended badly: {error}");
            }
        });
    }
}
