//! What is old is forgotten when a host says so, and nothing else.

#[path = "support/runs.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod runs;

use std::time::Duration;

use chrono::TimeDelta;
use runs::{Runs, key, start};
use updraft_core::log::LogStore;
use updraft_core::model::Host;
use updraft_core::storage::{EventLogQuery, EventLogStorage, RunQuery, RunStorage, SchedulerStorage};
use updraft_storage_postgres::{PurgeRequest, Purged};

/// Ends all runs but the last: `run-N` ended N days after the start. The last is still queued.
const END: &str = "
    UPDATE updraft.task_instance SET state = 4, end_date = now();
    INSERT INTO updraft.xcom (run, task, map_index, key, value, \"timestamp\")
        SELECT id, 0, -1, 'return_value', '1', now() FROM updraft.dag_run;
    INSERT INTO updraft.task_instance_note (run, task, map_index, content) SELECT id, 1, -1, 'x' FROM updraft.dag_run;
    INSERT INTO updraft.event_log (\"when\", run, task, map_index, try_number, event)
        SELECT now(), id, 1, -1, 1, 'success' FROM updraft.dag_run;
    UPDATE updraft.dag_run SET state = 2, counts = '{0,0,0,0,2,0,0,0,0,0,0,0,0}',
        end_date = '2026-01-01T00:00:00Z'::timestamptz + (id - 1) * interval '1 day'
    WHERE id < (SELECT max(id) FROM updraft.dag_run)";

/// Rows of the first five runs wherever runs have rows.
const LEFT: &str = "SELECT (SELECT count(*) FROM updraft.dag_run WHERE id <= 5)
    + (SELECT count(*) FROM updraft.task_instance WHERE run <= 5)
    + (SELECT count(*) FROM updraft.task_instance_note WHERE run <= 5)
    + (SELECT count(*) FROM updraft.xcom WHERE run <= 5)
    + (SELECT count(*) FROM updraft.log_chunk WHERE run <= 5)";

fn runs_before(days: i64) -> PurgeRequest {
    PurgeRequest { runs_ended_before: Some(start() + TimeDelta::days(days)), ..PurgeRequest::default() }
}

#[tokio::test]
async fn old_runs_go_with_all_that_is_theirs() {
    let runs = Runs::open().await;
    runs.create(0..20).await;
    let logs = runs.storage.logs();
    for number in 0..20 {
        logs.append(&key(number, 1), b"line\n");
        logs.flush(&key(number, 1)).await.expect("a flush");
    }
    runs.execute(END).await;
    let before = runs.storage.events(&EventLogQuery::default()).await.expect("events");
    // In several transactions.
    let purged = runs.storage.purge(PurgeRequest { batch: 2, ..runs_before(5) }).await.expect("a purge");
    assert_eq!((purged.runs, purged.task_instances, purged.events), (5, 10, 0));
    assert_eq!(runs.count(LEFT).await, 0);
    let kept = runs.storage.dag_runs(&RunQuery::default()).await.expect("runs");
    assert_eq!((kept.total, kept.items[0].run_id.as_str()), (15, "run-5"));
    assert_eq!(runs.count("SELECT count(*) FROM updraft.task_instance").await, 30);
    assert_eq!(runs.count("SELECT count(*) FROM updraft.log_chunk").await, 15);
    assert!(logs.read(&key(5, 1), 0, 10).await.expect("the database").is_some());
    // The event log tells what it told.
    assert_eq!(runs.storage.events(&EventLogQuery::default()).await.expect("events"), before);
    assert_eq!(runs.storage.purge(runs_before(5)).await.expect("a purge"), Purged::default());
    // The one that has not ended stays whatever its age.
    assert_eq!(runs.storage.purge(runs_before(1_000)).await.expect("a purge").runs, 14);
    assert_eq!(runs.count("SELECT count(*) FROM updraft.dag_run").await, 1);
}

#[tokio::test]
async fn runs_whose_tries_hold_slots_stay() {
    let runs = Runs::open().await;
    runs.create(0..4).await;
    runs.execute(END).await;
    runs.execute(
        "INSERT INTO updraft.attempt (token, run, task, map_index, try_number, phase, is_obsolete, scheduler, epoch, dag,
            pool_slots, queued_when, task_id, pool)
        SELECT gen_random_uuid(), 2, 0, -1, 1, 1, true, 1, 1, dag, 1, now(), 'load', 'default_pool' FROM updraft.dag_run
        WHERE id = 2",
    )
    .await;
    assert_eq!(runs.storage.purge(runs_before(1_000)).await.expect("a purge").runs, 2);
    assert_eq!(runs.count("SELECT count(*) FROM updraft.dag_run WHERE id = 2").await, 1);
    runs.execute("DELETE FROM updraft.attempt").await;
    assert_eq!(runs.storage.purge(runs_before(1_000)).await.expect("a purge").runs, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_purge_at_once() {
    let runs = Runs::open().await;
    runs.create(0..3_001).await;
    runs.execute(END).await;
    let other = runs.other();
    let request = PurgeRequest { batch: 50, ..runs_before(100_000) };
    let (one, two) = tokio::join!(runs.storage.purge(request.clone()), other.purge(request));
    let (one, two) = (one.expect("a purge"), two.expect("a purge"));
    assert_eq!((one.runs + two.runs, one.task_instances + two.task_instances), (3_000, 6_000));
    assert_eq!(runs.count("SELECT count(*) FROM updraft.task_instance").await, 2);
}

#[tokio::test]
async fn logs_of_runs_that_are_gone_go() {
    let runs = Runs::open().await;
    runs.create(0..3).await;
    runs.execute(
        "INSERT INTO updraft.log_chunk SELECT run, 0, -1, 1, piece, 'x' FROM generate_series(0, 6) run,
            generate_series(0, 3) piece",
    )
    .await;
    runs.execute("DELETE FROM updraft.dag_run WHERE id = 2").await;
    runs.storage.purge(runs_before(5)).await.expect("a purge");
    // Beyond the last run there may be younger ones.
    assert_eq!(runs.count("SELECT count(DISTINCT run) FROM updraft.log_chunk").await, 5);
    assert_eq!(runs.count("SELECT count(*) FROM updraft.log_chunk WHERE run IN (0, 2)").await, 0);
}

#[tokio::test]
async fn old_events_go() {
    let runs = Runs::open().await;
    let events = "INSERT INTO updraft.event_log (\"when\", event)
        SELECT '2026-01-01T00:00:00Z'::timestamptz + n * interval '1 hour', 'e' FROM generate_series(0, 99) n";
    runs.execute("DELETE FROM updraft.event_log").await;
    runs.execute(events).await;
    let request =
        PurgeRequest { events_before: Some(start() + TimeDelta::hours(45)), batch: 2, ..PurgeRequest::default() };
    assert_eq!(runs.storage.purge(request.clone()).await.expect("a purge").events, 45);
    assert_eq!(runs.storage.purge(request).await.expect("a purge").events, 0);
    assert_eq!(runs.count("SELECT count(*) FROM updraft.event_log").await, 55);
}

#[tokio::test]
async fn schedulers_and_hosts_that_left_go() {
    let runs = Runs::open().await;
    let mut sessions = Vec::new();
    for name in ["left", "silent", "busy", "newest", "alive"] {
        let host = Host { hostname: format!("host-of-{name}"), unixname: "me".into(), pid: None };
        let lease = Duration::from_secs(60);
        sessions.push(runs.storage.register_scheduler(name, lease, &host).await.expect("a scheduler"));
    }
    runs.create([0, 1]).await;
    // One of the silent ones has a run, which somebody must take over; an instance that is kept ran on the host of another.
    runs.execute(
        "UPDATE updraft.dag_run SET owner = (SELECT id FROM updraft.scheduler WHERE name = 'busy') WHERE id = 1;
        UPDATE updraft.task_instance SET host = (SELECT id FROM updraft.host WHERE hostname = 'host-of-silent')
            WHERE run = 1 AND task = 0;
        UPDATE updraft.heartbeat SET alive_until = now() - interval '40 days' WHERE scheduler IN
            (SELECT id FROM updraft.scheduler WHERE name IN ('silent', 'busy'))",
    )
    .await;
    for (left, again) in [(0, "left"), (3, "newest")] {
        runs.storage.unregister_scheduler(&sessions[left]).await.expect(again);
    }
    let now = runs.storage.now().await.expect("a time");
    let request = PurgeRequest { schedulers_silent_since: Some(now - TimeDelta::days(30)), ..PurgeRequest::default() };
    let purged = runs.storage.purge(request).await.expect("a purge");
    // Gone are `left`, `silent` and `newest`, with their hosts but for that of `silent`.
    assert_eq!((purged.schedulers, purged.hosts), (3, 2));
    assert_eq!(runs.count("SELECT count(*) FROM updraft.scheduler").await, 2);
    assert_eq!(runs.count("SELECT count(*) FROM updraft.heartbeat").await, 2);
    assert_eq!(runs.count("SELECT count(*) FROM updraft.lane").await, 2);
    runs.storage.heartbeat(&sessions[4]).await.expect("who lives goes on");
    runs.storage.heartbeat(&sessions[1]).await.expect_err("who is forgotten is fenced");
}

#[tokio::test]
async fn old_updates_of_datasets_go() {
    let runs = Runs::open().await;
    runs.create(0..2).await;
    runs.execute(
        "INSERT INTO updraft.dataset (uri, extra, created_at, updated_at) VALUES ('s3://a', '{}', now(), now());
        INSERT INTO updraft.dataset_event (dataset, \"timestamp\", source_map_index, extra)
            SELECT 1, '2026-01-01T00:00:00Z'::timestamptz + n * interval '1 hour', -1, '{}' FROM generate_series(0, 99) n;
        INSERT INTO updraft.dag_run_dataset_event SELECT 1, id FROM updraft.dataset_event;
        INSERT INTO updraft.dataset_queue (dag, dataset, created_at)
            SELECT id, 1, '2026-01-01T00:00:00Z' FROM updraft.dag",
    )
    .await;
    let before = Some(start() + TimeDelta::hours(45));
    let request = PurgeRequest { dataset_events_before: before, batch: 2, ..PurgeRequest::default() };
    assert_eq!(runs.storage.purge(request.clone()).await.expect("a purge").dataset_events, 45);
    assert_eq!(runs.storage.purge(request).await.expect("a purge"), Purged::default());
    assert_eq!(runs.count("SELECT count(*) FROM updraft.dataset_event").await, 55);
    assert_eq!(runs.count("SELECT count(*) FROM updraft.dag_run_dataset_event").await, 55);
    assert_eq!(runs.count("SELECT count(*) FROM updraft.dataset").await, 1);
    assert_eq!(runs.count("SELECT count(*) FROM updraft.dataset_queue").await, 1);
}
