//! Time. No other place of the workspace reads a clock or sleeps.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// A future that ends when a moment is reached.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where time comes from: the machine, or a simulation.
pub trait Clock: Send + Sync + Debug + 'static {
    /// The wall clock.
    fn now(&self) -> DateTime<Utc>;

    /// Time since a fixed moment in the past; it never goes back.
    fn monotonic(&self) -> Duration;

    /// Ends once [`Clock::monotonic`] has reached `deadline`.
    fn sleep_until(&self, deadline: Duration) -> Sleep;

    /// Ends after `duration`.
    fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(self.monotonic().saturating_add(duration))
    }
}

/// The machine's clock. Sleeping needs a tokio runtime with its timer on.
#[derive(Debug)]
pub struct SystemClock {
    origin: std::time::Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn new() -> Self {
        Self { origin: std::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        // PostgreSQL and Airflow keep microseconds; finer digits would not survive a round trip.
        let now = Utc::now();
        DateTime::from_timestamp_micros(now.timestamp_micros()).unwrap_or(now)
    }

    fn monotonic(&self) -> Duration {
        self.origin.elapsed()
    }

    fn sleep_until(&self, deadline: Duration) -> Sleep {
        match self.origin.checked_add(deadline) {
            Some(at) => Box::pin(tokio::time::sleep_until(tokio::time::Instant::from_std(at))),
            // Beyond all that the machine can count.
            None => Box::pin(std::future::pending()),
        }
    }
}

/// A clock that moves only when told to, for tests and simulations.
#[derive(Debug, Clone)]
pub struct SimulatedClock {
    state: Arc<Mutex<Simulated>>,
}

#[derive(Debug)]
struct Simulated {
    start: DateTime<Utc>,
    elapsed: Duration,
    next_sleeper: u64,
    sleepers: BTreeMap<(Duration, u64), Waker>,
}

impl SimulatedClock {
    /// A clock that stands at `start`.
    pub fn new(start: DateTime<Utc>) -> Self {
        let state = Simulated { start, elapsed: Duration::ZERO, next_sleeper: 0, sleepers: BTreeMap::new() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Moves time forward and wakes every sleeper whose moment has come, in the order of their deadlines.
    pub fn advance(&self, by: Duration) {
        let due = {
            let mut state = self.lock();
            state.elapsed += by;
            let elapsed = state.elapsed;
            let later = state.sleepers.split_off(&(elapsed + Duration::from_nanos(1), 0));
            std::mem::replace(&mut state.sleepers, later)
        };
        due.into_values().for_each(Waker::wake);
    }

    /// Time until the nearest sleeper is due, if anybody sleeps.
    pub fn until_next_sleeper(&self) -> Option<Duration> {
        let state = self.lock();
        state.sleepers.keys().next().map(|(due, _)| due.saturating_sub(state.elapsed))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Simulated> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> DateTime<Utc> {
        let state = self.lock();
        state.start + TimeDelta::from_std(state.elapsed).unwrap_or(TimeDelta::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.lock().elapsed
    }

    fn sleep_until(&self, deadline: Duration) -> Sleep {
        Box::pin(SimulatedSleep { clock: self.clone(), deadline, registered: None })
    }
}

#[derive(Debug)]
struct SimulatedSleep {
    clock: SimulatedClock,
    deadline: Duration,
    registered: Option<u64>,
}

impl Future for SimulatedSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.clone();
        let mut state = clock.lock();
        if state.elapsed >= self.deadline {
            return Poll::Ready(());
        }
        let id = self.registered.unwrap_or_else(|| {
            state.next_sleeper += 1;
            state.next_sleeper
        });
        state.sleepers.insert((self.deadline, id), context.waker().clone());
        drop(state);
        self.registered = Some(id);
        Poll::Pending
    }
}

impl Drop for SimulatedSleep {
    fn drop(&mut self) {
        if let Some(id) = self.registered {
            self.clock.lock().sleepers.remove(&(self.deadline, id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeper_wakes_exactly_at_its_deadline() {
        let clock = SimulatedClock::new(DateTime::UNIX_EPOCH);
        let mut sleep = clock.sleep(Duration::from_secs(2));
        let mut context = Context::from_waker(Waker::noop());
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        clock.advance(Duration::from_millis(1999));
        assert_eq!(clock.until_next_sleeper(), Some(Duration::from_millis(1)));
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        clock.advance(Duration::from_millis(1));
        assert!(sleep.as_mut().poll(&mut context).is_ready());
        assert_eq!(clock.now(), DateTime::from_timestamp(2, 0).unwrap());
    }
}
