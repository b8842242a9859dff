//! When a task may start, given the states of its direct upstreams.

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that names no trigger rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a trigger rule")]
pub struct UnknownTriggerRule(pub String);

/// Airflow's trigger rules (2.11, `utils/trigger_rule.py`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TriggerRule {
    /// All upstreams succeeded.
    #[default]
    AllSuccess,
    /// All upstreams failed or are upstream_failed.
    AllFailed,
    /// All upstreams finished.
    AllDone,
    /// All upstreams finished, and a setup among them succeeded if there is one; implied for teardowns.
    AllDoneSetupSuccess,
    /// All upstreams were skipped.
    AllSkipped,
    /// One upstream succeeded; the others are not waited for.
    OneSuccess,
    /// One upstream failed; the others are not waited for.
    OneFailed,
    /// One upstream succeeded or failed; the others are not waited for.
    OneDone,
    /// No upstream failed; all succeeded or were skipped.
    NoneFailed,
    /// No upstream failed, and at least one succeeded.
    NoneFailedMinOneSuccess,
    /// No upstream was skipped; all finished.
    NoneSkipped,
    /// At once.
    Always,
}

impl TriggerRule {
    /// All rules.
    pub const ALL: [Self; 12] = [
        Self::AllSuccess,
        Self::AllFailed,
        Self::AllDone,
        Self::AllDoneSetupSuccess,
        Self::AllSkipped,
        Self::OneSuccess,
        Self::OneFailed,
        Self::OneDone,
        Self::NoneFailed,
        Self::NoneFailedMinOneSuccess,
        Self::NoneSkipped,
        Self::Always,
    ];

    /// Airflow's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllSuccess => "all_success",
            Self::AllFailed => "all_failed",
            Self::AllDone => "all_done",
            Self::AllDoneSetupSuccess => "all_done_setup_success",
            Self::AllSkipped => "all_skipped",
            Self::OneSuccess => "one_success",
            Self::OneFailed => "one_failed",
            Self::OneDone => "one_done",
            Self::NoneFailed => "none_failed",
            Self::NoneFailedMinOneSuccess => "none_failed_min_one_success",
            Self::NoneSkipped => "none_skipped",
            Self::Always => "always",
        }
    }
}

impl Display for TriggerRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TriggerRule {
    type Err = UnknownTriggerRule;

    /// Reads Airflow's names, its two deprecated aliases included.
    fn from_str(text: &str) -> Result<Self, UnknownTriggerRule> {
        match text {
            "dummy" => return Ok(Self::Always),
            "none_failed_or_skipped" => return Ok(Self::NoneFailedMinOneSuccess),
            _ => {}
        }
        Self::ALL.into_iter().find(|rule| rule.as_str() == text).ok_or_else(|| UnknownTriggerRule(text.into()))
    }
}
