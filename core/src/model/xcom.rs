//! A value that one task leaves for others.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::id::{InstanceKey, RunId};

/// The key under which a task's result is stored.
pub const RETURN_VALUE: &str = "return_value";

/// The key under which a branch's decision is stored (Airflow 2.11, `models/skipmixin.py`).
pub const SKIPMIXIN_KEY: &str = "skipmixin_key";

/// A value that a task left.
#[derive(Debug, Clone, PartialEq)]
pub struct XCom {
    /// The run.
    pub run: RunId,
    /// The instance that left it.
    pub instance: InstanceKey,
    /// Its name.
    pub key: String,
    /// The value.
    pub value: Value,
    /// When it was left.
    pub timestamp: DateTime<Utc>,
}
