//! Several authenticators in a row.

use async_trait::async_trait;
use http::request::Parts;

use super::{AccessError, Authenticator, Principal};

/// Asks authenticators one after the other, until one knows the caller. A refused caller is told to bring what the first
/// of them takes.
#[derive(Debug, Default)]
pub struct AnyOf {
    authenticators: Vec<Box<dyn Authenticator>>,
}

impl AnyOf {
    /// Asks this one first.
    pub fn new(first: impl Authenticator) -> Self {
        Self::default().or(first)
    }

    /// Asks this one, too, if those before it do not know the caller.
    #[must_use]
    pub fn or(mut self, next: impl Authenticator) -> Self {
        self.authenticators.push(Box::new(next));
        self
    }
}

#[async_trait]
impl Authenticator for AnyOf {
    async fn authenticate(&self, head: &Parts) -> Result<Option<Principal>, AccessError> {
        for authenticator in &self.authenticators {
            if let Some(principal) = authenticator.authenticate(head).await? {
                return Ok(Some(principal));
            }
        }
        Ok(None)
    }

    fn challenge(&self) -> Option<&str> {
        self.authenticators.iter().find_map(|authenticator| authenticator.challenge())
    }
}
