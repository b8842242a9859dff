//! Keeps background work alive.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use updraft_core::clock::Clock;

/// How many loops are down at the moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Down(Arc<AtomicU32>);

impl Down {
    pub(crate) fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs `work` until it ends well, and again after a pause if it fails or panics. While it pauses, it counts as down.
pub(crate) async fn supervise<F, E>(name: &'static str, clock: Arc<dyn Clock>, down: Down, mut work: impl FnMut() -> F)
where
    F: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(30);
    let mut pause = FIRST;
    loop {
        let began = clock.monotonic();
        match AssertUnwindSafe(work()).catch_unwind().await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => tracing::error!(name, %error, "a background loop has failed; it starts again"),
            Err(_) => tracing::error!(name, "a background loop has panicked; it starts again"),
        }
        if clock.monotonic() - began > LONGEST {
            pause = FIRST;
        }
        down.0.fetch_add(1, Ordering::Relaxed);
        clock.sleep(pause).await;
        down.0.fetch_sub(1, Ordering::Relaxed);
        pause = (pause * 2).min(LONGEST);
    }
}
