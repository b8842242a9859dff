//! How to reach another system.

use std::fmt::{self, Debug};

/// How to reach another system.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Connection {
    /// The storage's key, in the order of creation.
    pub id: i64,
    /// Unique among connections.
    pub conn_id: String,
    /// Kind of system, for example `postgres`.
    pub conn_type: String,
    /// For people.
    pub description: Option<String>,
    /// Host name or address.
    pub host: Option<String>,
    /// User name.
    pub login: Option<String>,
    /// Database or path.
    pub schema: Option<String>,
    /// Port.
    pub port: Option<i32>,
    /// Secret; encrypted if `is_encrypted`.
    pub password: Option<String>,
    /// Further settings, usually JSON; encrypted if `is_extra_encrypted`.
    pub extra: Option<String>,
    /// Whether the password is encrypted.
    pub is_encrypted: bool,
    /// Whether the extra is encrypted.
    pub is_extra_encrypted: bool,
}

impl Debug for Connection {
    /// Leaves the secrets out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("conn_id", &self.conn_id)
            .field("conn_type", &self.conn_type)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}
