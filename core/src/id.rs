//! Ids, and where unique ones come from.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt::{self, Debug, Display};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};
use uuid::Uuid;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Debug::fmt(&self.0, f)
            }
        }
    };
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($number:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $number);

        impl Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Display::fmt(&self.0, f)
            }
        }
    };
}

text_id!(
    /// Names a DAG. Letters, digits, `-`, `_` and `.`, at most 250 of them (Airflow's rule for keys).
    DagId
);
text_id!(
    /// Names a task within its DAG, task groups' prefixes included.
    TaskId
);
number_id!(
    /// The storage's key of a DAG run; the client's text id is [`DagRun::run_id`](crate::model::DagRun::run_id).
    RunId(i64)
);
number_id!(
    /// The storage's key of one version of a DAG.
    DagVersionId(i64)
);
number_id!(
    /// A task's position within one version of its DAG.
    TaskIx(u32)
);
number_id!(
    /// A live scheduler, as registered with the storage.
    SchedulerId(i64)
);

impl TaskIx {
    /// The position as an index of a vector of tasks.
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// The task at `index`. DAGs hold at most [`MAX_TASKS`](crate::dag::MAX_TASKS) tasks, so the number fits.
    pub fn from_index(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }
}

/// The map index of a task instance that is not mapped.
pub const UNMAPPED: i32 = -1;

/// Names one task instance within its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceKey {
    /// The task.
    pub task: TaskIx,
    /// Which of the task's mapped instances, or [`UNMAPPED`].
    pub map_index: i32,
}

impl InstanceKey {
    /// The one instance of a task that is not mapped.
    pub fn unmapped(task: TaskIx) -> Self {
        Self { task, map_index: UNMAPPED }
    }
}

/// The uid of a task within the run of this uid: always the same for the same task (a UUID of version 5).
pub fn task_uid(run: Uuid, task_id: &str) -> Uuid {
    let hash = Sha1::new().chain_update(run.as_bytes()).chain_update(task_id.as_bytes()).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_sha1_bytes(bytes).into_uuid()
}

/// Names one attempt: made anew for each try, it fences every later write of that try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptToken(pub Uuid);

impl Display for AttemptToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.0, f)
    }
}

/// A map by attempt. Like every hash map it must not be iterated where the order could be seen.
pub type TokenMap<V> = HashMap<AttemptToken, V, BuildHasherDefault<TokenHasher>>;

/// Hashes attempt tokens: their last bytes are random already, and nobody outside chooses them.
#[derive(Debug, Default, Clone)]
pub struct TokenHasher(u64);

impl Hasher for TokenHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.rchunks(8).take(1) {
            let mut last = [0; 8];
            last[..chunk.len()].copy_from_slice(chunk);
            // The multiplication spreads the bits that a UUID's variant fixes.
            self.0 = u64::from_be_bytes(last).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
    }

    fn write_usize(&mut self, _length: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Where unique ids and randomness come from: the machine, or a seed.
#[derive(Clone)]
pub struct IdSource {
    rng: Arc<Mutex<ChaCha12Rng>>,
}

impl Debug for IdSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdSource")
    }
}

impl IdSource {
    /// Seeded by the operating system.
    ///
    /// # Panics
    /// If the operating system has no randomness, on which nothing that is secret could be built.
    #[allow(clippy::disallowed_methods, reason = "the one place that takes randomness from the machine")]
    pub fn from_system() -> Self {
        let (a, b) = (Uuid::new_v4(), Uuid::new_v4());
        let mut seed = [0; 32];
        seed[..16].copy_from_slice(a.as_bytes());
        seed[16..].copy_from_slice(b.as_bytes());
        Self { rng: Arc::new(Mutex::new(ChaCha12Rng::from_seed(seed))) }
    }

    /// The same ids for the same seed.
    pub fn from_seed(seed: u64) -> Self {
        Self { rng: Arc::new(Mutex::new(ChaCha12Rng::seed_from_u64(seed))) }
    }

    /// A UUID of version 7: unique, and sorted by `now`.
    pub fn uuid(&self, now: DateTime<Utc>) -> Uuid {
        let mut random = [0; 10];
        self.fill(&mut random);
        let millis = u64::try_from(now.timestamp_millis()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    /// A token for a new attempt.
    pub fn attempt_token(&self, now: DateTime<Utc>) -> AttemptToken {
        AttemptToken(self.uuid(now))
    }

    /// Fills `bytes` with randomness.
    pub fn fill(&self, bytes: &mut [u8]) {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes);
    }
}
