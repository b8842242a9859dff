//! Updraft's wire APIs as tower services.

pub mod access;
pub mod airflow;
pub mod airflow_experimental;
mod body;
#[cfg(feature = "director")]
pub mod director;
mod schema;
#[cfg(feature = "server")]
pub mod server;

pub use body::Body;
