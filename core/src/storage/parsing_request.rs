use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::Result;

/// Files of DAGs that somebody wants to be read again (Airflow's `dag_priority_parsing_request`).
#[async_trait]
pub trait ParsingRequestStorage {
    /// Asks whoever watches a file to read it again. Returns whether that is new: a file that waits already waits once.
    async fn request_parsing(&self, now: DateTime<Utc>, fileloc: &str) -> Result<bool>;

    /// The files that wait, those that were asked for first in front.
    async fn parsing_requests(&self) -> Result<Vec<String>>;

    /// Takes requests away, and returns the files that were still waiting, sorted: each request is taken once.
    async fn take_parsing_requests(&self, filelocs: &[String]) -> Result<Vec<String>>;
}
