//! Updraft: a workflow orchestrator as a library.
//!
//! Declare DAGs in Rust or in files, run them inside your service, and mount the REST API that Airflow's clients speak onto
//! the server you have.
//!
//! ```
//! use updraft::dag::{DagBuilder, chain};
//! use updraft::operator::{Outcome, TaskContext};
//! use updraft::{TriggerRequest, Updraft};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let dag = DagBuilder::new("greet");
//! let hello = dag.task("hello", |_: TaskContext| async { Ok(Outcome::value("hello")) });
//! let world = dag.task("world", |_: TaskContext| async { Ok(Outcome::success()) });
//! chain([&hello, &world]);
//!
//! let updraft = Updraft::builder().dag(dag).build()?;
//! let running = updraft.start().await?;
//! let run = updraft.trigger("greet", TriggerRequest::default()).await?;
//! let ended = updraft.wait_for_run("greet", &run.run_id).await?;
//! assert_eq!(ended.state.as_str(), "success");
//! running.shutdown(std::time::Duration::from_secs(5)).await;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! - `memory` (default): the embedded storage.
//! - `postgres`: the storage in a PostgreSQL database, which many processes may share; with `postgres-tls-rustls` or
//!   `postgres-tls-rustls-native-roots` it is reached by TLS.
//! - `yaml` (default): DAG files in dag-factory's format, and the operators they name.
//! - `operators`: Bash, Python, branches, short circuits and templates, without the files.
//! - `airflow`: Airflow's stable REST API, and its old experimental one, as [`tower` services](https://docs.rs/tower-service).
//! - `director`: Celery Director's projects, and its API as a tower service.
//! - `server`: an accept loop for hosts that have no HTTP server of their own.
//! - `full`: all of them, but for TLS to the database.

mod builder;
#[cfg(feature = "airflow")]
mod config;
mod declared;
#[cfg(feature = "director")]
mod director;
mod error;
#[cfg(feature = "yaml")]
mod folder;
#[cfg(feature = "postgres")]
pub mod postgres;
mod runnable;
mod running;
mod supervisor;

#[cfg(any(feature = "airflow", feature = "director"))]
pub use updraft_http_adapter as http;
#[cfg(feature = "operators")]
pub use updraft_operators as operators;
#[cfg(feature = "memory")]
pub use updraft_storage_memory::MemoryStorage;

pub use builder::{Builder, Updraft};
pub use error::{BuildError, StartError};
pub use running::{Health, Running};
pub use updraft_core::service::{Service, TriggerRequest};
pub use updraft_core::{
    clock, dag, engine, executor, id, log, mask, model, operator, schedule, secret, service, storage,
};

/// The README's examples compile.
#[cfg(all(doctest, feature = "memory", feature = "postgres"))]
#[doc = include_str!("../README.md")]
struct Readme;
