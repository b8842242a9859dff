//! Logs of tries.

use super::{Result, Service};
use crate::log::LogKey;
use crate::model::{TaskInstance, TaskState};

/// How much is asked of the log store at a time.
const CHUNK: usize = 1 << 20;

/// A part of the log of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    /// The lines, without the last one's end.
    pub text: String,
    /// Where the next part starts.
    pub position: u64,
    /// Whether more is there already.
    pub has_more: bool,
    /// Whether nothing can follow.
    pub is_end: bool,
    /// Whether there is a log at all.
    pub exists: bool,
}

impl Service {
    /// The log of a try of `instance` from `position` on; about `max` bytes at most.
    ///
    /// # Errors
    /// Those of the log store.
    pub async fn task_log(
        &self,
        instance: &TaskInstance,
        try_number: u32,
        position: u64,
        max: usize,
    ) -> Result<LogPage> {
        let key = log_key(instance, try_number);
        let may_grow =
            instance.try_number == try_number && matches!(instance.state, TaskState::Running | TaskState::Deferred);
        let mut bytes = Vec::new();
        let mut next = position;
        let mut exists = false;
        let mut has_more = false;
        while let Some(chunk) = self.logs.read(&key, next, CHUNK.min(max.saturating_sub(bytes.len()))).await? {
            exists = true;
            if chunk.bytes.is_empty() || chunk.next_offset <= next {
                break;
            }
            bytes.extend_from_slice(&chunk.bytes);
            next = chunk.next_offset;
            if bytes.len() >= max {
                has_more = true;
                break;
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        // The last line's end belongs to what follows: so joining the parts gives the log.
        let (text, position) = match text.strip_suffix('\n') {
            Some(lines) if !bytes.is_empty() => (lines, next.saturating_sub(1)),
            _ => (text.as_ref(), next),
        };
        Ok(LogPage { text: text.to_owned(), position, has_more, is_end: !has_more && !may_grow, exists })
    }
}

fn log_key(instance: &TaskInstance, try_number: u32) -> LogKey {
    LogKey {
        dag_id: instance.dag.dag_id.to_string(),
        run_id: instance.run.run_id.clone(),
        task_id: instance.task().map(|task| task.task_id.to_string()).unwrap_or_default(),
        map_index: instance.key.map_index,
        try_number,
    }
}
