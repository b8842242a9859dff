//! Who asks.

use crate::model::AuditEntry;

/// The owner of what nobody in particular did, as Airflow writes it.
const NOBODY: &str = "anonymous";

/// Who asks for a change, and what the event log keeps of the request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Actor {
    user: Option<String>,
    channel: Option<String>,
    request: Option<String>,
}

impl Actor {
    /// A user by name; the program that holds the service if none is given.
    pub fn new(user: Option<String>) -> Self {
        Self { user, ..Self::default() }
    }

    /// Says how the request came: events are named `<channel>.<operation>`, as `api.patch_dag`.
    #[must_use]
    pub fn through(mut self, channel: impl Into<String>) -> Self {
        self.channel = Some(channel.into());
        self
    }

    /// Keeps the request, as text, in the entry's `extra`.
    #[must_use]
    pub fn with_request(mut self, request: impl Into<String>) -> Self {
        self.request = Some(request.into());
        self
    }

    /// The user's name.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The entry of an operation by this actor; what it concerns is for the caller to add.
    pub fn audit(&self, operation: &str) -> AuditEntry {
        AuditEntry {
            event: match &self.channel {
                Some(channel) => format!("{channel}.{operation}"),
                None => operation.to_owned(),
            },
            owner: Some(self.user.clone().unwrap_or_else(|| NOBODY.to_owned())),
            extra: self.request.clone(),
            ..AuditEntry::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_says_who_and_through_what() {
        let entry = Actor::new(Some("ann".into())).through("api").with_request("{}").audit("patch_dag");
        assert_eq!(
            (entry.event.as_str(), entry.owner.as_deref(), entry.extra.as_deref()),
            ("api.patch_dag", Some("ann"), Some("{}"))
        );
        assert_eq!(Actor::default().audit("register_dag").event, "register_dag");
    }
}
