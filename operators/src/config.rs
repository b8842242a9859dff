//! How operators work here.

use std::path::PathBuf;
use std::time::Duration;

/// How the built-in operators work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorsConfig {
    /// The Python interpreter.
    pub python: PathBuf,
    /// Folders beside the DAG's own from which Python modules are imported.
    pub python_path: Vec<PathBuf>,
    /// How long processes that were asked to end may take before they are killed.
    pub kill_grace: Duration,
}

impl Default for OperatorsConfig {
    fn default() -> Self {
        Self { python: "python3".into(), python_path: Vec::new(), kill_grace: Duration::from_secs(5) }
    }
}
