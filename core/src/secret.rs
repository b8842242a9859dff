//! Secrets at rest: passwords, extras and values of variables, encrypted as Airflow encrypts them.

mod fernet;

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};

use crate::id::IdSource;
use crate::model::{Connection, Variable};
use fernet::FernetKey;

/// Why a stored secret cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// It is encrypted, and there are no keys.
    #[error("it is encrypted, and no secret key is configured")]
    NoKey,
    /// No key fits, or it was damaged.
    #[error("none of the configured secret keys fits")]
    WrongKey,
}

/// A text that is no key. Where there are several, the position tells which; the text is not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("secret key {0} is not made of 32 bytes in URL-safe base64")]
pub struct InvalidKey(pub usize);

/// A secret as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredSecret {
    /// The secret, or its cipher text.
    pub text: String,
    /// Which of the two.
    pub is_encrypted: bool,
}

impl StoredSecret {
    /// A secret in the clear.
    pub fn clear(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_encrypted: false }
    }
}

impl Debug for StoredSecret {
    /// Leaves the secret out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredSecret").field("is_encrypted", &self.is_encrypted).finish_non_exhaustive()
    }
}

/// The keys that secrets are encrypted with: the first encrypts, all decrypt. Without keys, secrets are kept in the
/// clear. Tokens and keys are those of Airflow (Fernet), so either reads what the other wrote.
#[derive(Clone, Default)]
pub struct Keyring {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    keys: Vec<FernetKey>,
    has_warned: AtomicBool,
}

impl Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("keys", &self.inner.keys.len()).finish()
    }
}

impl PartialEq for Keyring {
    fn eq(&self, other: &Self) -> bool {
        self.inner.keys == other.inner.keys
    }
}

impl Eq for Keyring {}

impl Keyring {
    /// A ring of keys, each 32 bytes in URL-safe base64.
    ///
    /// # Errors
    /// A text is no key.
    pub fn new<K: AsRef<str>>(keys: impl IntoIterator<Item = K>) -> Result<Self, InvalidKey> {
        let keys = keys.into_iter().enumerate();
        let keys = keys.map(|(index, key)| FernetKey::read(key.as_ref()).ok_or(InvalidKey(index + 1)));
        let keys = keys.collect::<Result<_, _>>()?;
        Ok(Self { inner: Arc::new(Inner { keys, has_warned: AtomicBool::new(false) }) })
    }

    /// A new key.
    pub fn make_key(ids: &IdSource) -> String {
        let mut bytes = [0; 32];
        ids.fill(&mut bytes);
        FernetKey::write(&bytes)
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.inner.keys.is_empty()
    }

    /// A secret as it is to be kept: encrypted with the first key.
    pub fn seal(&self, text: &str, now: DateTime<Utc>, ids: &IdSource) -> StoredSecret {
        let Some(key) = self.inner.keys.first() else {
            if !self.inner.has_warned.swap(true, Ordering::Relaxed) {
                tracing::warn!("no secret key is configured: variables and passwords are kept in the clear");
            }
            return StoredSecret::clear(text);
        };
        let mut iv = [0; 16];
        ids.fill(&mut iv);
        StoredSecret { text: key.encrypt(text.as_bytes(), now, iv), is_encrypted: true }
    }

    /// The secret that is kept.
    ///
    /// # Errors
    /// No key fits.
    pub fn open(&self, text: &str, is_encrypted: bool) -> Result<String, SecretError> {
        if !is_encrypted {
            return Ok(text.to_owned());
        }
        if self.is_empty() {
            return Err(SecretError::NoKey);
        }
        let found = self.inner.keys.iter().find_map(|key| key.decrypt(text));
        found.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(SecretError::WrongKey)
    }

    /// A variable with its value in the clear.
    ///
    /// # Errors
    /// No key fits.
    pub fn open_variable(&self, mut variable: Variable) -> Result<Variable, SecretError> {
        variable.value = self.open(&variable.value, variable.is_encrypted)?;
        Ok(variable)
    }

    /// A connection with its secrets in the clear.
    ///
    /// # Errors
    /// No key fits.
    pub fn open_connection(&self, mut connection: Connection) -> Result<Connection, SecretError> {
        let secrets = [
            (&mut connection.password, connection.is_encrypted),
            (&mut connection.extra, connection.is_extra_encrypted),
        ];
        for (secret, is_encrypted) in secrets {
            if let Some(text) = secret {
                *text = self.open(text, is_encrypted)?;
            }
        }
        Ok(connection)
    }

    /// Whether a stored secret is encrypted with the first key already.
    pub(crate) fn is_newest(&self, text: &str, is_encrypted: bool) -> bool {
        is_encrypted && self.inner.keys.first().is_some_and(|key| key.decrypt(text).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";
    const NEW: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn ring(keys: &[&str]) -> Keyring {
        Keyring::new(keys).unwrap()
    }

    fn seal(ring: &Keyring, text: &str) -> StoredSecret {
        ring.seal(text, DateTime::UNIX_EPOCH, &IdSource::from_seed(7))
    }

    #[test]
    fn the_first_key_encrypts_and_all_decrypt() {
        let old = seal(&ring(&[OLD]), "canary ✓");
        assert!(old.is_encrypted && !old.text.contains("canary"));
        let both = ring(&[NEW, OLD]);
        assert_eq!(both.open(&old.text, true).as_deref(), Ok("canary ✓"));
        assert!(!both.is_newest(&old.text, true));
        let new = seal(&both, "canary ✓");
        assert!(both.is_newest(&new.text, true));
        assert_eq!(ring(&[NEW]).open(&new.text, true).as_deref(), Ok("canary ✓"));
        assert_eq!(ring(&[OLD]).open(&new.text, true), Err(SecretError::WrongKey));
        assert_eq!(Keyring::default().open(&new.text, true), Err(SecretError::NoKey));
        assert_eq!(both.open("no token", true), Err(SecretError::WrongKey));
        assert_eq!(both.open("in the clear", false).as_deref(), Ok("in the clear"));
    }

    #[test]
    fn without_keys_secrets_are_in_the_clear() {
        let stored = seal(&Keyring::default(), "x");
        assert_eq!(stored, StoredSecret::clear("x"));
    }

    #[test]
    fn keys_are_checked_and_made() {
        assert_eq!(Keyring::new([OLD, "nope"]), Err(InvalidKey(2)));
        let ids = IdSource::from_seed(1);
        let (a, b) = (Keyring::make_key(&ids), Keyring::make_key(&ids));
        assert_ne!(a, b);
        assert!(Keyring::new([a, b]).is_ok());
    }

    #[test]
    fn nothing_shows_itself() {
        let shown = format!("{:?} {:?} {}", ring(&[OLD]), seal(&Keyring::default(), "canary"), InvalidKey(1));
        assert!(!shown.contains("canary") && !shown.contains("cw_0"), "{shown}");
    }
}
