//! HTTP Basic over stored users.

use std::fmt::{self, Debug};
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::request::Parts;
use updraft_core::clock::Clock;
use updraft_core::id::IdSource;

use super::credential::VerifiedCredentials;
use super::password::PasswordVerifiers;
use super::throttle::Throttle;
use super::{AccessError, Authenticator, PasswordError, Peer, Principal, StoredUser, UserStore, hash_password};

/// Takes HTTP Basic credentials of stored users.
pub struct BasicAuthenticator {
    users: Box<dyn UserStore>,
    clock: Arc<dyn Clock>,
    verifiers: PasswordVerifiers,
    verified: VerifiedCredentials,
    throttle: Throttle,
    /// Verified in place of an unknown user's hash, so that the time an answer takes does not tell which users exist.
    nobody: String,
}

impl Debug for BasicAuthenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicAuthenticator").field("users", &self.users).finish_non_exhaustive()
    }
}

impl BasicAuthenticator {
    /// Over the users of a store, for instance [`StoredUsers`](super::StoredUsers).
    pub fn new(users: impl UserStore, clock: Arc<dyn Clock>, ids: &IdSource) -> Result<Self, PasswordError> {
        let mut unknown = [0; 32];
        ids.fill(&mut unknown);
        Ok(Self {
            users: Box::new(users),
            clock,
            verifiers: PasswordVerifiers::new(),
            verified: VerifiedCredentials::new(ids),
            throttle: Throttle::default(),
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
        let user = self.users.user(&name).await?;
        let stored_hash = user.as_ref().map(|user| &user.password_hash).filter(|hash| !hash.is_empty());
        let stored_hash = stored_hash.unwrap_or(&self.nobody);
        let digest = self.verified.digest(&name, &password, stored_hash);
        if !self.verified.contains(&digest, self.clock.monotonic()) {
            // Who is let in already does not wait for others' failures.
            let network = head.extensions.get::<Peer>().map(|peer| peer.network()).unwrap_or_default();
            let caller = self.verified.digest(&name.to_ascii_lowercase(), &network, "");
            if let Some(retry_after) = self.throttle.wait(&caller, self.clock.monotonic()) {
                return Err(AccessError::Throttled { retry_after });
            }
            let is_right = self.verifiers.verify(password, stored_hash.clone()).await?;
            match user.as_ref().filter(|user| is_right && user.active) {
                Some(_) => {
                    self.throttle.succeeded(&caller);
                    self.verified.insert(digest, self.clock.monotonic());
                }
                None => {
                    self.throttle.failed(caller, self.clock.monotonic());
                    if let Some(user) = user.filter(|user| user.active) {
                        self.users.record_login(&user.name, false).await;
                    }
                    return Ok(None);
                }
            }
        }
        let Some(StoredUser { name, roles, .. }) = user.filter(|user| user.active) else { return Ok(None) };
        self.users.record_login(&name, true).await;
        Ok(Some(Principal::named(name, roles)))
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
    // As in Airflow, half of them is as good as none.
    (!name.is_empty() && !password.is_empty()).then(|| (name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
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
        let attempts: Vec<_> = (0..40).map(|n| basic(&format!("nobody{n}"), "wrong")).collect();
        let answers = futures_util::future::join_all(attempts.iter().map(|head| basic_auth.authenticate(head))).await;
        let busy = answers.iter().filter(|answer| matches!(answer, Err(AccessError::Busy { .. }))).count();
        assert_eq!(busy, 40 - 18);
        assert!(basic_auth.authenticate(&basic("ann", "secret")).await.unwrap().is_some(), "the queue empties");
    }

    /// Both kinds of names end in one verification of a hash of the same cost: what they take is told apart by nothing else.
    #[tokio::test]
    async fn unknown_users_are_verified_like_known_ones() {
        let (_, basic_auth) = authenticator(vec![ann("secret", true)]);
        let cost = |hash: &str| hash.split('$').take(4).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(cost(&basic_auth.nobody), cost(&ann("secret", true).password_hash));
        for name in ["ann", "bob"] {
            for n in 0..102 {
                let answer = basic_auth.authenticate(&basic(name, &format!("wrong{n}"))).await;
                assert_eq!(n < 100, matches!(answer, Ok(None)), "{name} {n}: {answer:?}");
                assert_eq!(n >= 100, matches!(answer, Err(AccessError::Throttled { .. })), "{name} {n}");
            }
        }
        let mut elsewhere = basic("ann", "secret");
        elsewhere.extensions.insert(Peer([10, 0, 0, 1].into()));
        assert!(basic_auth.authenticate(&elsewhere).await.unwrap().is_some(), "others can still log in");
    }

    #[tokio::test]
    async fn a_stored_hash_that_is_none_lets_nobody_in() {
        let user = StoredUser { password_hash: "plain".to_owned(), ..ann("x", true) };
        let (_, basic_auth) = authenticator(vec![user]);
        assert_eq!(basic_auth.authenticate(&basic("ann", "plain")).await.unwrap(), None);
    }
}
