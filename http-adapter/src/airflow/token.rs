//! Tokens with which a caller goes on where it stopped. They are signed, so that nobody makes up their own.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use updraft_core::id::IdSource;

/// The key that signs tokens. Servers that share it take each other's tokens.
#[derive(Clone)]
pub struct TokenKey(Hmac<Sha256>);

impl fmt::Debug for TokenKey {
    /// Leaves the key out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey")
    }
}

impl TokenKey {
    /// A key made from a secret of any length.
    pub fn from_secret(secret: &[u8]) -> Self {
        Self(Hmac::new_from_slice(secret).expect("HMAC takes keys of any length"))
    }

    /// A key that no other server has.
    pub fn random(ids: &IdSource) -> Self {
        let mut secret = [0; 32];
        ids.fill(&mut secret);
        Self::from_secret(&secret)
    }

    /// Writes what a token says.
    pub(crate) fn sign(&self, content: &Value) -> String {
        let payload = URL_SAFE_NO_PAD.encode(content.to_string());
        let signature = self.mac(&payload).finalize().into_bytes();
        format!("{payload}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// Reads a token that this key has signed.
    pub(crate) fn read(&self, token: &str) -> Option<Value> {
        let (payload, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        self.mac(payload).verify_slice(&signature).ok()?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
    }

    fn mac(&self, payload: &str) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(payload.as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_own_tokens_are_read() {
        let key = TokenKey::from_secret(b"secret");
        let content = json!({"end_of_log": true, "log_pos": 2578});
        let token = key.sign(&content);
        assert!(token.starts_with("eyJlbmRfb2ZfbG9nIjp0cnVlLCJsb2dfcG9zIjoyNTc4fQ."));
        assert_eq!(key.read(&token), Some(content));
        assert_eq!(TokenKey::from_secret(b"other").read(&token), None);
        for bad in ["", "bad", ".", "e30.", &token[1..], &format!("{token}x")] {
            assert_eq!(key.read(bad), None, "{bad}");
        }
    }
}
