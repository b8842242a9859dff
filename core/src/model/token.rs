use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

/// What a program shows in place of a user's password. The text itself is known to the program alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The storage's key, in the order of creation.
    pub id: i64,
    /// Whose it is.
    pub username: String,
    /// What it is for.
    pub name: String,
    /// The roles that it gives, as far as the user has them; `None` for all of the user's.
    pub roles: Option<BTreeSet<String>>,
    /// Whether it lets nothing be changed.
    pub read_only: bool,
    /// When it was made.
    pub created_on: DateTime<Utc>,
    /// From when on it is good for nothing.
    pub expires: Option<DateTime<Utc>>,
    /// When it was last used, give or take a minute.
    pub last_used: Option<DateTime<Utc>>,
}
