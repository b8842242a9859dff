//! Failed logins are slowed down: whoever goes on failing has to wait, longer each time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The address of a request's connection, which a server puts among the request's extensions. It tells callers apart where
/// many fail to log in as one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

impl Peer {
    /// What one caller may be expected to have: an address of version 4, or a network of 64 bits of version 6.
    pub(super) fn network(self) -> String {
        match self.0.to_canonical() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
            }
        }
    }
}

/// Failures in a row that cost nothing: a client with an old password may walk through a whole API before anybody looks.
const FREE: u32 = 100;
/// The longest that a caller has to wait after a failure, so that nobody is kept out for long.
const LONGEST: Duration = Duration::from_secs(60);
/// After this time without a failure all is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(15 * 60);
const MAX_CALLERS: usize = 10_000;

/// Who has failed: a keyed digest of user and network.
pub(super) type Caller = [u8; 32];

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Duration,
    /// Until when nothing more is tried.
    until: Duration,
}

/// Counts failures by caller.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<BTreeMap<Caller, Failures>>);

impl Throttle {
    fn failures(&self) -> MutexGuard<'_, BTreeMap<Caller, Failures>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long the caller has to wait, if at all.
    pub(super) fn wait(&self, caller: &Caller, now: Duration) -> Option<Duration> {
        let until = self.failures().get(caller)?.until;
        until.checked_sub(now).filter(|wait| !wait.is_zero())
    }

    pub(super) fn failed(&self, caller: Caller, now: Duration) {
        let mut failures = self.failures();
        if failures.len() >= MAX_CALLERS && !failures.contains_key(&caller) {
            failures.retain(|_, failures| now < failures.last + FORGOTTEN);
            if failures.len() >= MAX_CALLERS
                && let Some(oldest) = failures.iter().min_by_key(|(_, one)| one.last).map(|(caller, _)| *caller)
            {
                failures.remove(&oldest);
            }
        }
        let of_caller = failures.entry(caller).or_insert(Failures { count: 0, last: now, until: now });
        if now >= of_caller.last + FORGOTTEN {
            of_caller.count = 0;
        }
        of_caller.count = of_caller.count.saturating_add(1);
        of_caller.last = now;
        if let Some(doublings) = of_caller.count.checked_sub(FREE) {
            of_caller.until = now + Duration::from_secs(1 << doublings.min(6)).min(LONGEST);
        }
    }

    pub(super) fn succeeded(&self, caller: &Caller) {
        self.failures().remove(caller);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Caller = [1; 32];
    const B: Caller = [2; 32];

    #[test]
    fn waits_grow_to_a_minute_and_end() {
        let throttle = Throttle::default();
        let mut now = Duration::ZERO;
        let mut waits = Vec::new();
        for _ in 0..FREE + 9 {
            throttle.failed(A, now);
            let wait = throttle.wait(&A, now).unwrap_or_default();
            waits.push(wait.as_secs());
            assert_eq!(throttle.wait(&B, now), None);
            now += wait;
            assert_eq!(throttle.wait(&A, now), None, "nobody is kept out for ever");
        }
        assert_eq!(waits[FREE as usize - 1..], [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
        assert!(waits[..FREE as usize - 1].iter().all(|wait| *wait == 0));
        throttle.succeeded(&A);
        throttle.failed(A, now);
        assert_eq!(throttle.wait(&A, now), None);
    }

    #[test]
    fn failures_are_forgotten_and_bounded() {
        let throttle = Throttle::default();
        for _ in 0..FREE {
            throttle.failed(A, Duration::ZERO);
        }
        throttle.failed(A, FORGOTTEN);
        assert_eq!(throttle.wait(&A, FORGOTTEN), None);
        for number in 0..2 * MAX_CALLERS {
            let mut caller = [0; 32];
            caller[..8].copy_from_slice(&number.to_le_bytes());
            throttle.failed(caller, FORGOTTEN);
        }
        assert_eq!(throttle.failures().len(), MAX_CALLERS);
    }

    #[test]
    fn a_peer_is_known_by_its_network() {
        let network = |text: &str| Peer(text.parse().unwrap()).network();
        assert_eq!(network("10.1.2.3"), "10.1.2.3");
        assert_eq!(network("::ffff:10.1.2.3"), "10.1.2.3");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), network("2001:db8:1:2::1"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
    }
}
