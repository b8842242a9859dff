use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use super::{LogChunk, LogKey, LogStore};

/// Logs in memory, for tests and short-lived hosts.
#[derive(Debug, Default)]
pub struct MemoryLogs {
    logs: Mutex<BTreeMap<LogKey, Vec<u8>>>,
}

#[async_trait]
impl LogStore for MemoryLogs {
    fn append(&self, key: &LogKey, bytes: &[u8]) {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.entry(key.clone()).or_default().extend_from_slice(bytes);
    }

    async fn flush(&self, _key: &LogKey) -> io::Result<()> {
        Ok(())
    }

    async fn read(&self, key: &LogKey, offset: u64, max: usize) -> io::Result<Option<LogChunk>> {
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(logs.get(key).map(|log| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(log.len());
            let rest = &log[start..];
            LogChunk::cut(rest[..rest.len().min(max.saturating_add(1))].to_vec(), start as u64, max)
        }))
    }

    async fn delete_run(&self, dag_id: &str, run_id: &str) -> io::Result<()> {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.retain(|key, _| key.dag_id != dag_id || key.run_id != run_id);
        Ok(())
    }
}
