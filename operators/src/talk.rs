//! Lines of JSON to and from a process.

use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use updraft_core::operator::TaskError;

/// Longest message of a process.
const MAX_MESSAGE: u64 = 64 << 20;

/// Talks with a driver in a process: a line of JSON each way.
#[derive(Debug)]
pub(crate) struct Talk {
    to: Option<ChildStdin>,
    from: Option<BufReader<ChildStdout>>,
}

impl Talk {
    pub(crate) fn new(to: Option<ChildStdin>, from: Option<ChildStdout>) -> Self {
        Self { to, from: from.map(BufReader::new) }
    }

    pub(crate) async fn send(&mut self, value: &Value) {
        let Some(to) = &mut self.to else { return };
        let mut line = value.to_string();
        line.push('\n');
        // A process that has ended is noticed when it is read from.
        let _ = to.write_all(line.as_bytes()).await;
        let _ = to.flush().await;
    }

    /// The next message; `None` once the process says nothing more.
    pub(crate) async fn receive(&mut self) -> Result<Option<Map<String, Value>>, TaskError> {
        let Some(from) = &mut self.from else { return Ok(None) };
        let mut line = Vec::new();
        // A broken pipe is a process that has ended.
        let count = from.take(MAX_MESSAGE).read_until(b'\n', &mut line).await.unwrap_or(0);
        if count == 0 {
            return Ok(None);
        }
        if line.last() != Some(&b'\n') {
            if count as u64 == MAX_MESSAGE {
                return Err(TaskError::failed(format!("a value is larger than {MAX_MESSAGE} bytes")));
            }
            return Ok(None);
        }
        serde_json::from_slice(&line)
            .map(Some)
            .map_err(|error| TaskError::failed(format!("a value is no JSON that can be kept: {error}")))
    }
}
