//! Tokens of programs.

use async_trait::async_trait;
use http::header::AUTHORIZATION;
use http::request::Parts;
use updraft_core::service::{Service, ServiceError};

use super::{AccessError, Authenticator, Principal};

/// Takes tokens that [`Service::create_token`] has made, as `Authorization: Bearer udt_…`.
#[derive(Debug)]
pub struct TokenAuthenticator {
    service: Service,
}

impl TokenAuthenticator {
    /// With the tokens of a service.
    pub fn new(service: Service) -> Self {
        Self { service }
    }
}

#[async_trait]
impl Authenticator for TokenAuthenticator {
    async fn authenticate(&self, head: &Parts) -> Result<Option<Principal>, AccessError> {
        let header = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let Some((scheme, text)) = header.split_once(' ') else { return Ok(None) };
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Ok(None);
        }
        let unavailable = |error: ServiceError| AccessError::Unavailable(Box::new(error));
        let now = self.service.now().await.map_err(unavailable)?;
        let holder = self.service.token_holder(now, text.trim()).await.map_err(unavailable)?;
        Ok(holder.map(|holder| Principal {
            read_only: holder.token.read_only,
            ..Principal::named(holder.token.username, holder.roles)
        }))
    }

    fn challenge(&self) -> Option<&str> {
        Some("Bearer")
    }
}
