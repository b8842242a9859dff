//! Updraft's wire APIs as tower services.

pub mod access;
pub mod airflow;
mod body;
mod schema;

pub use body::Body;
