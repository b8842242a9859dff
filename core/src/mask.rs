//! Keeping secrets from being seen: by the names of fields, and by what a try has fetched.

mod names;
mod secrets;

pub use names::SensitiveNames;
pub use secrets::Secrets;

/// What is shown in place of a secret.
pub const MASK: &str = "***";
