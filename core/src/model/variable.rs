//! A setting that DAGs read.

use std::fmt::{self, Debug};

/// A setting that DAGs read.
#[derive(Clone, PartialEq, Eq)]
pub struct Variable {
    /// The storage's key, in the order of creation.
    pub id: i64,
    /// Unique among variables.
    pub key: String,
    /// The text, encrypted if `is_encrypted`.
    pub value: String,
    /// For people.
    pub description: Option<String>,
    /// Whether the value is encrypted.
    pub is_encrypted: bool,
}

impl Debug for Variable {
    /// Leaves the value out, which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variable")
            .field("id", &self.id)
            .field("key", &self.key)
            .field("description", &self.description)
            .field("is_encrypted", &self.is_encrypted)
            .finish_non_exhaustive()
    }
}
