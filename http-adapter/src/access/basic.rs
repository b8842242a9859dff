//! HTTP Basic over stored users.

use std::collections::BTreeSet;
use std::fmt::{self, Debug};
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::request::Parts;
use updraft_core::clock::Clock;
use updraft_core::id::IdSource;
use updraft_core::storage::{Storage, StorageError};

use super::credential::VerifiedCredentials;
use super::password::PasswordVerifiers;
use super::{AccessError, Authenticator, PasswordError, Principal, hash_password};

/// What is known of a user who may log in.
#[derive(Clone)]
pub struct StoredUser {
    /// The user's name.
    pub name: String,
    /// The password's hash, as a PHC string.
    pub password_hash: String,
    /// The names of the user's roles.
    pub roles: BTreeSet<String>,
    /// Whether the user may log in.
    pub active: bool,
}

impl Debug for StoredUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredUser").field("name", &self.name).field("roles", &self.roles).finish_non_exhaustive()
    }
}

/// Where users are stored.
#[async_trait]
pub trait UserStore: Debug + Send + Sync + 'static {
    /// The user of this name.
    async fn user(&self, name: &str) -> Result<Option<StoredUser>, AccessError>;
}

#[async_trait]
impl UserStore for Arc<dyn Storage> {
    async fn user(&self, name: &str) -> Result<Option<StoredUser>, AccessError> {
        match self.as_ref().user(name).await {
            Ok(user) => Ok(Some(StoredUser {
                name: user.username,
                password_hash: user.password_hash,
                roles: user.roles,
                active: user.active,
            })),
            Err(StorageError::NotFound(_)) => Ok(None),
            Err(error) => Err(AccessError::Unavailable(Box::new(error))),
        }
    }
}

/// Takes HTTP Basic credentials of stored users.
pub struct BasicAuthenticator {
    users: Box<dyn UserStore>,
    clock: Arc<dyn Clock>,
    verifiers: PasswordVerifiers,
    verified: VerifiedCredentials,
    /// Verified in place of an unknown user's hash, so that the time an answer takes does not tell which users exist.
    nobody: String,
}

impl Debug for BasicAuthenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicAuthenticator").field("users", &self.users).finish_non_exhaustive()
    }
}

impl BasicAuthenticator {
    /// Over the users of a store, for instance those of an `Arc<dyn Storage>`.
    pub fn new(users: impl UserStore, clock: Arc<dyn Clock>, ids: &IdSource) -> Result<Self, PasswordError> {
        let mut unknown = [0; 32];
        ids.fill(&mut unknown);
        Ok(Self {
            users: Box::new(users),
            clock,
            verifiers: PasswordVerifiers::new(),
            verified: VerifiedCredentials::new(ids),
            nobody: hash_password(&STANDARD.encode(unknown), ids)?,
        })
    }
}

#[async_trait]
impl Authenticator for BasicAuthenticator {
    async fn authenticate(&self, head: &Parts) -> Result<Option<Principal>, AccessError> {
        let Some((name, password)) = credentials(head) else {
            return Ok(None);
        };
        let Some(user) = self.users.user(&name).await? else {
            self.verifiers.verify(password, self.nobody.clone()).await?;
            return Ok(None);
        };
        let digest = self.verified.digest(&name, &password, &user.password_hash);
        if !self.verified.contains(&digest, self.clock.monotonic()) {
            if !self.verifiers.verify(password, user.password_hash.clone()).await? {
                return Ok(None);
            }
            self.verified.insert(digest, self.clock.monotonic());
        }
        Ok(user.active.then_some(Principal { name: Some(user.name), roles: user.roles }))
    }

    fn challenge(&self) -> Option<&str> {
        Some("Basic")
    }
}

fn credentials(head: &Parts) -> Option<(String, String)> {
    let header = head.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use updraft_core::clock::SystemClock;

    use super::*;

    #[derive(Debug, Clone)]
    struct Users(Arc<Mutex<Vec<StoredUser>>>);

    #[async_trait]
    impl UserStore for Users {
        async fn user(&self, name: &str) -> Result<Option<StoredUser>, AccessError> {
            Ok(self.0.lock().unwrap().iter().find(|user| user.name == name).cloned())
        }
    }

    fn ann(password: &str, active: bool) -> StoredUser {
        StoredUser {
            name: "ann".to_owned(),
            password_hash: hash_password(password, &IdSource::from_seed(7)).unwrap(),
            roles: BTreeSet::from(["Op".to_owned()]),
            active,
        }
    }

    fn head(authorization: &str) -> Parts {
        http::Request::get("/").header(AUTHORIZATION, authorization).body(()).unwrap().into_parts().0
    }

    fn basic(name: &str, password: &str) -> Parts {
        head(&format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))))
    }

    fn authenticator(users: Vec<StoredUser>) -> (Users, BasicAuthenticator) {
        let users = Users(Arc::new(Mutex::new(users)));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let made = BasicAuthenticator::new(users.clone(), clock, &IdSource::from_seed(1)).unwrap();
        (users, made)
    }

    #[tokio::test]
    async fn right_credentials_make_a_principal_and_nothing_else_does() {
        let (users, basic_auth) = authenticator(vec![ann("se:cret", true)]);
        for _ in 0..2 {
            let found = basic_auth.authenticate(&basic("ann", "se:cret")).await.unwrap();
            assert_eq!(found, Some(Principal::named("ann", ["Op".to_owned()])));
        }
        for wrong in [
            basic("ann", "wrong"),
            basic("bob", "se:cret"),
            basic("ann", ""),
            head("Basic !!!"),
            head("Bearer abc"),
            head("Basic"),
        ] {
            assert_eq!(basic_auth.authenticate(&wrong).await.unwrap(), None);
        }
        *users.0.lock().unwrap() = vec![ann("other", true)];
        assert_eq!(
            basic_auth.authenticate(&basic("ann", "se:cret")).await.unwrap(),
            None,
            "a changed password counts at once"
        );
        *users.0.lock().unwrap() = vec![ann("other", false)];
        assert_eq!(basic_auth.authenticate(&basic("ann", "other")).await.unwrap(), None, "an inactive user is refused");
    }

    #[tokio::test]
    async fn too_many_verifications_at_once_are_refused() {
        let (_, basic_auth) = authenticator(vec![ann("secret", true)]);
        let attempts: Vec<_> = (0..40).map(|n| basic("ann", &format!("wrong{n}"))).collect();
        let answers = futures_util::future::join_all(attempts.iter().map(|head| basic_auth.authenticate(head))).await;
        let busy = answers.iter().filter(|answer| matches!(answer, Err(AccessError::Busy { .. }))).count();
        assert_eq!(busy, 40 - 18);
        assert!(basic_auth.authenticate(&basic("ann", "secret")).await.unwrap().is_some(), "the queue empties");
    }

    #[tokio::test]
    async fn a_stored_hash_that_is_none_lets_nobody_in() {
        let user = StoredUser { password_hash: "plain".to_owned(), ..ann("x", true) };
        let (_, basic_auth) = authenticator(vec![user]);
        assert_eq!(basic_auth.authenticate(&basic("ann", "plain")).await.unwrap(), None);
    }
}
