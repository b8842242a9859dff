//! How a task's effective priority follows from the weights in its DAG.

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that names no weight rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a weight rule (absolute, downstream or upstream)")]
pub struct UnknownWeightRule(pub String);

/// Airflow's weight rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WeightRule {
    /// The task's own weight.
    Absolute,
    /// Its own weight and those of all tasks after it.
    #[default]
    Downstream,
    /// Its own weight and those of all tasks before it.
    Upstream,
}

impl WeightRule {
    /// Airflow's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absolute => "absolute",
            Self::Downstream => "downstream",
            Self::Upstream => "upstream",
        }
    }
}

impl Display for WeightRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for WeightRule {
    type Err = UnknownWeightRule;

    fn from_str(text: &str) -> Result<Self, UnknownWeightRule> {
        [Self::Absolute, Self::Downstream, Self::Upstream]
            .into_iter()
            .find(|rule| rule.as_str() == text)
            .ok_or_else(|| UnknownWeightRule(text.into()))
    }
}
