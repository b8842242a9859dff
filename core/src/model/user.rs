//! Who may do what.

use std::collections::BTreeSet;
use std::fmt::{self, Debug};

use chrono::{DateTime, Utc};

/// A person or program that may call.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The storage's key, in the order of creation.
    pub id: i64,
    /// Unique among users.
    pub username: String,
    /// Unique among users.
    pub email: String,
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
    /// Whether the user may log in.
    pub active: bool,
    /// Names of roles.
    pub roles: BTreeSet<String>,
    /// The password's hash, as a PHC string; empty for nobody's.
    pub password_hash: String,
    /// When it was made.
    pub created_on: DateTime<Utc>,
    /// When it was last changed, otherwise than through the API.
    pub changed_on: DateTime<Utc>,
    /// How often the user has logged in.
    pub login_count: Option<i64>,
    /// How often in a row somebody has failed to log in as the user.
    pub fail_login_count: Option<i64>,
    /// When the user last logged in.
    pub last_login: Option<DateTime<Utc>>,
}

impl Debug for User {
    /// Leaves the hash out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("username", &self.username).field("roles", &self.roles).finish_non_exhaustive()
    }
}

/// A named set of permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// The storage's key, in the order of creation.
    pub id: i64,
    /// Unique among roles.
    pub name: String,
    /// Pairs of action and resource, for example `can_read` and `DAGs`, each once, in the order in which they were given.
    pub permissions: Vec<(String, String)>,
}
