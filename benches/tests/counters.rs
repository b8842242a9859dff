//! What the engine writes to PostgreSQL, counted; `updraft-bench counters` prints the same.

use std::sync::Arc;

use updraft_benches::postgres::check_counters;
use updraft_core::clock::SystemClock;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a step of its own: counts need a server without other tests"]
async fn counters() {
    let clock = Arc::new(SystemClock::new());
    let measured = tokio::spawn(check_counters(clock));
    assert_eq!(measured.await.expect("what is measured works"), Vec::<String>::new());
}
