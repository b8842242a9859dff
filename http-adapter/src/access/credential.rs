//! Credentials that were verified a moment ago.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use updraft_core::id::IdSource;

const REMEMBERED_FOR: Duration = Duration::from_secs(60);
const MAX_REMEMBERED: usize = 1024;

type Digest = [u8; 32];

/// Remembers which credentials were verified, never what they are: only a keyed digest of user, password and stored
/// hash, so that a change of the stored hash is a miss at once. Failures are not remembered.
pub(super) struct VerifiedCredentials {
    key: Digest,
    until: Mutex<BTreeMap<Digest, Duration>>,
}

impl VerifiedCredentials {
    pub(super) fn new(ids: &IdSource) -> Self {
        let mut key = [0; 32];
        ids.fill(&mut key);
        Self { key, until: Mutex::default() }
    }

    pub(super) fn digest(&self, user: &str, password: &str, stored_hash: &str) -> Digest {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        for part in [user, password, stored_hash] {
            mac.update(&part.len().to_le_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }

    pub(super) fn contains(&self, digest: &Digest, now: Duration) -> bool {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        match until.get_mut(digest) {
            Some(end) if now < *end => {
                // Whoever goes on calling is not verified anew each minute, by all requests at once.
                *end = now + REMEMBERED_FOR;
                true
            }
            Some(_) => {
                until.remove(digest);
                false
            }
            None => false,
        }
    }

    pub(super) fn insert(&self, digest: Digest, now: Duration) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.len() >= MAX_REMEMBERED {
            until.retain(|_, end| now < *end);
        }
        if until.len() >= MAX_REMEMBERED
            && let Some(oldest) = until.iter().min_by_key(|(_, end)| **end).map(|(digest, _)| *digest)
        {
            until.remove(&oldest);
        }
        until.insert(digest, now + REMEMBERED_FOR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_forgotten_after_a_minute_and_the_map_is_bounded() {
        let cache = VerifiedCredentials::new(&IdSource::from_seed(1));
        let digest = cache.digest("ann", "secret", "hash");
        cache.insert(digest, Duration::ZERO);
        assert!(cache.contains(&digest, Duration::from_secs(59)));
        assert!(cache.contains(&digest, Duration::from_secs(118)), "a minute after it was last used");
        assert!(!cache.contains(&digest, Duration::from_secs(178)));
        for n in 0..2 * MAX_REMEMBERED {
            cache.insert(cache.digest("ann", &n.to_string(), "hash"), Duration::from_secs(179));
        }
        assert_eq!(cache.until.lock().unwrap().len(), MAX_REMEMBERED);
    }

    #[test]
    fn digests_tell_the_parts_apart() {
        let cache = VerifiedCredentials::new(&IdSource::from_seed(1));
        assert_ne!(cache.digest("a", "bc", "h"), cache.digest("ab", "c", "h"));
        assert_ne!(cache.digest("a", "b", "h"), cache.digest("a", "b", "h2"));
        let other = VerifiedCredentials::new(&IdSource::from_seed(2));
        assert_ne!(cache.digest("a", "b", "h"), other.digest("a", "b", "h"));
    }
}
