//! Updraft's shared storage: everything in a PostgreSQL database, for any number of processes.
//!
//! All tables are in a schema of their own; [`PostgresStorage::migrate`] makes and upgrades them. `ARCHITECTURE.md` tells
//! how a batch of a scheduler becomes one transaction.

mod audit;
mod claim;
mod code;
mod commit;
mod dag;
mod dag_run;
mod dag_warning;
mod dataset;
mod dataset_run;
mod error;
mod event_log;
mod hint;
mod image;
mod import_error;
mod log;
mod login;
mod migrate;
mod outlet;
mod page;
mod parsing_request;
mod past;
#[cfg(test)]
mod plan_test;
mod pool;
mod purge;
mod readers;
mod registration;
mod role;
mod room;
mod run_write;
mod schedule;
mod scheduler;
mod secret;
mod settings;
mod sql;
mod storage;
mod task_instance;
mod token;
mod user;
mod verdict;
mod version;
mod xcom;

pub use log::PostgresLogs;
pub use purge::{PurgeRequest, Purged};
pub use settings::{InvalidSettings, PostgresSettings};
pub use sqlx;
pub use storage::PostgresStorage;
