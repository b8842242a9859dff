//! Requests to read files of DAGs again.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use updraft_core::storage::{ParsingRequestStorage, Result};

use crate::MemoryStorage;

#[async_trait]
impl ParsingRequestStorage for MemoryStorage {
    async fn request_parsing(&self, _now: DateTime<Utc>, fileloc: &str) -> Result<bool> {
        let mut state = self.lock();
        if state.parsing_requests.iter().any(|waiting| waiting == fileloc) {
            return Ok(false);
        }
        state.parsing_requests.push(fileloc.to_owned());
        Ok(true)
    }

    async fn parsing_requests(&self) -> Result<Vec<String>> {
        Ok(self.lock().parsing_requests.clone())
    }

    async fn take_parsing_requests(&self, filelocs: &[String]) -> Result<Vec<String>> {
        let mut state = self.lock();
        let is_wanted = |waiting: &mut String| filelocs.contains(waiting);
        let mut taken: Vec<String> = state.parsing_requests.extract_if(.., is_wanted).collect();
        taken.sort();
        Ok(taken)
    }
}
