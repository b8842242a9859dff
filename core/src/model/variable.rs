//! A setting that DAGs read.

/// A setting that DAGs read.
#[derive(Debug, Clone, PartialEq, Eq)]
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
