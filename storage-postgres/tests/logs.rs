//! Logs in the database.

#[path = "support/runs.rs"]
#[allow(dead_code, reason = "other tests need the rest")]
mod runs;

use std::sync::Arc;
use std::time::Duration;

use runs::{Runs, key, until};
use updraft_core::clock::{Clock, SystemClock};
use updraft_core::log::{LogKey, LogStore, MemoryLogs};
use updraft_core::storage::RunStorage;
use updraft_storage_postgres::PostgresLogs;
use updraft_test_postgres::{Cluster, Durability};

async fn text(logs: &PostgresLogs, key: &LogKey) -> Option<String> {
    let chunk = logs.read(key, 0, 64 << 20).await.expect("the database answers");
    chunk.map(|chunk| String::from_utf8_lossy(&chunk.bytes).into_owned())
}

#[tokio::test]
async fn logs_are_read_as_from_memory() {
    let runs = Runs::open().await;
    runs.create([1, 2]).await;
    let (logs, memory) = (runs.storage.logs(), MemoryLogs::default());
    let long = [b"x".repeat(70_000), b"\n".to_vec(), b"y".repeat(140_000)].concat();
    let wide = "ü€😀".repeat(50);
    let lines: Vec<String> = (0..5_000).map(|line| format!("line {line}\n")).collect();
    let joined = lines.concat();
    let texts: [(i64, u32, &[&[u8]]); 6] = [
        (1, 1, &[b"short\n", wide.as_bytes(), b"\n", b"last"]),
        (1, 2, &[b"\xff\xfe\0\n\x80\x80\x80\x80\x80", b"\0\0\n", b"\xc3"]),
        (1, 3, &[b"", b""]),
        (1, 4, &[b"", b"not empty\n"]),
        (2, 1, &[&long, b"\n", &long]),
        (2, 2, &[joined.as_bytes()]),
    ];
    for (place, (run, number, pieces)) in texts.into_iter().enumerate() {
        let key = key(run, number);
        for piece in pieces {
            logs.append(&key, piece);
            memory.append(&key, piece);
            if place % 2 == 0 {
                logs.flush(&key).await.expect("a flush");
            }
        }
        logs.flush(&key).await.expect("a flush");
        let whole = memory.read(&key, 0, usize::MAX).await.expect("memory").expect("a log").bytes.len() as u64;
        let near = |at: u64| at.saturating_sub(2)..at + 3;
        let offsets = (0..whole.min(12)).chain(near(65_536)).chain(near(131_072)).chain(near(whole));
        for offset in offsets.chain([u64::MAX]) {
            for max in [0, 1, 2, 3, 5, 40, 65_535, 65_536, 65_537, 1 << 20] {
                let expected = memory.read(&key, offset, max).await.expect("memory");
                let found = logs.read(&key, offset, max).await.expect("the database");
                assert!(found == expected, "{key:?} from {offset}, at most {max}");
            }
        }
    }
    for absent in [key(1, 9), key(9, 1), LogKey { task_id: "nul\0".into(), ..key(1, 1) }] {
        logs.append(&LogKey { run_id: "gone".into(), ..absent.clone() }, b"lost");
        logs.flush(&LogKey { run_id: "gone".into(), ..absent.clone() }).await.expect("a flush");
        assert_eq!(logs.read(&absent, 0, 100).await.expect("the database"), None);
    }
}

#[tokio::test]
async fn another_process_reads_while_the_try_runs_and_no_task_is_left() {
    let runs = Runs::open().await;
    runs.create([1]).await;
    let (logs, other) = (runs.storage.logs(), runs.other().logs());
    assert_eq!(text(&other, &key(1, 1)).await, None);
    logs.append(&key(1, 2), b"a second try\n");
    logs.flush(&key(1, 2)).await.expect("a flush");
    let idle = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    logs.append(&key(1, 1), b"started\n");
    until(async || text(&other, &key(1, 1)).await.is_some()).await;
    for line in 0..10_000 {
        logs.append(&key(1, 1), format!("line {line}\n").as_bytes());
    }
    // Nobody flushes.
    until(async || text(&other, &key(1, 1)).await.is_some_and(|text| text.ends_with("line 9999\n"))).await;
    assert_eq!(text(&other, &key(1, 1)).await.expect("a log").lines().count(), 10_001);
    assert_eq!(text(&other, &key(1, 2)).await.as_deref(), Some("a second try\n"));
    let rows = runs.count("SELECT count(*) FROM updraft.log_chunk WHERE try_number = 1").await;
    assert!(rows <= 6, "{rows} rows");
    until(async || tokio::runtime::Handle::current().metrics().num_alive_tasks() <= idle).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_logs_share_statements() {
    let runs = Runs::open().await;
    runs.create(0..5_000).await;
    let logs = Arc::new(runs.storage.logs());
    let mut tries = tokio::task::JoinSet::new();
    for number in 0..5_000 {
        let logs = Arc::clone(&logs);
        tries.spawn(async move {
            for line in ["one\n", "two\n", "three\n"] {
                logs.append(&key(number, 1), line.as_bytes());
                tokio::task::yield_now().await;
            }
            logs.flush(&key(number, 1)).await.expect("a flush");
        });
    }
    tries.join_all().await;
    assert_eq!(runs.count("SELECT count(DISTINCT run) FROM updraft.log_chunk").await, 5_000);
    let transactions = runs.count("SELECT count(DISTINCT xmin::text) FROM updraft.log_chunk").await;
    assert!(transactions < 500, "{transactions} transactions");
    for number in [0, 17, 4_999] {
        assert_eq!(text(&logs, &key(number, 1)).await.as_deref(), Some("one\ntwo\nthree\n"));
    }
}

#[tokio::test]
async fn a_log_is_cut_at_its_limit_whoever_writes() {
    let runs = Runs::on(Cluster::shared().await, |settings| settings.max_log_size(1_000)).await;
    runs.create([1]).await;
    for _ in 0..3 {
        let logs = runs.storage.logs();
        for _ in 0..50 {
            logs.append(&key(1, 1), "ü".repeat(30).as_bytes());
            logs.append(&key(1, 1), b"\n");
        }
        logs.flush(&key(1, 1)).await.expect("a flush");
        logs.append(&key(1, 1), b"too late\n");
        logs.flush(&key(1, 1)).await.expect("a flush");
        let text = text(&logs, &key(1, 1)).await.expect("a log");
        assert!(text.ends_with("*** The log is cut here: it may have 1000 bytes. ***\n"), "{text}");
        assert!(text.len() < 1_100 && !text.contains('\u{fffd}') && !text.contains("too late"), "{text}");
        assert_eq!(text.matches("***").count(), 2);
    }
}

#[tokio::test]
async fn logs_go_with_their_run() {
    let runs = Runs::open().await;
    let created = runs.create([1, 2, 3]).await;
    let logs = runs.storage.logs();
    for number in 1..=3 {
        logs.append(&key(number, 1), b"line\n");
        logs.flush(&key(number, 1)).await.expect("a flush");
        logs.append(&key(number, 1), b"more\n");
    }
    logs.delete_run("etl", "run-1").await.expect("a deletion");
    logs.delete_run("etl", "never existed").await.expect("a deletion");
    assert_eq!(text(&logs, &key(1, 1)).await, None);
    runs.storage.delete_run(created[1].id, None).await.expect("a deletion");
    // What still waited belongs to nobody.
    for number in [2, 3] {
        logs.flush(&key(number, 1)).await.expect("a flush");
    }
    logs.append(&key(2, 1), b"still running\n");
    logs.flush(&key(2, 1)).await.expect("a flush");
    assert_eq!(text(&logs, &key(2, 1)).await, None);
    assert_eq!(text(&logs, &key(3, 1)).await.as_deref(), Some("line\nmore\n"));
    assert_eq!(runs.count("SELECT count(DISTINCT run) FROM updraft.log_chunk").await, 1);
}

#[tokio::test]
async fn two_processes_may_write_one_log() {
    let runs = Runs::open().await;
    runs.create([1]).await;
    let (one, two) = (runs.storage.logs(), runs.other().logs());
    for turn in 0..5 {
        one.append(&key(1, 1), format!("one {turn}\n").as_bytes());
        two.append(&key(1, 1), format!("two {turn}\n").as_bytes());
        let key = key(1, 1);
        let (one, two) = tokio::join!(one.flush(&key), two.flush(&key));
        one.and(two).expect("a flush");
    }
    let text = text(&one, &key(1, 1)).await.expect("a log");
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    let expected: Vec<_> =
        ["one", "two"].iter().flat_map(|who| (0..5).map(move |turn| format!("{who} {turn}"))).collect();
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn logs_wait_for_a_database_that_is_away() {
    let cluster = Cluster::start(Durability::None).await.expect("a server");
    let runs = Runs::on(&cluster, |settings| settings.acquire_timeout(Duration::from_millis(500))).await;
    runs.create([1, 2]).await;
    let logs = runs.storage.logs();
    logs.append(&key(1, 1), b"before\n");
    logs.flush(&key(1, 1)).await.expect("a flush");
    // As an outcome does, it makes durable what was before it.
    runs.execute("UPDATE updraft.pool SET slots = slots").await;
    logs.append(&key(1, 2), b"perhaps lost\n");
    logs.flush(&key(1, 2)).await.expect("a flush");
    logs.append(&key(1, 3), b"perhaps lost\n");
    until(async || logs.read(&key(1, 3), 0, 9).await.expect("the database").is_some()).await;
    cluster.stop().await;
    for (number, try_number) in [(1, 1), (1, 2), (1, 3), (2, 1)] {
        logs.append(&key(number, try_number), b"meanwhile\n");
    }
    let clock = SystemClock::new();
    let asked = clock.monotonic();
    logs.flush(&key(1, 1)).await.expect_err("the database is away");
    assert!(clock.monotonic() - asked < Duration::from_secs(8), "a flush does not wait for ever");
    logs.append(&key(1, 1), b"after\n");
    cluster.restart().await;
    let read = async |number, try_number| {
        let chunk = logs.read(&key(number, try_number), 0, 1_000).await.ok().flatten();
        String::from_utf8(chunk.unwrap_or_default().bytes).expect("text")
    };
    until(async || read(1, 1).await == "before\nmeanwhile\nafter\n").await;
    until(async || read(2, 1).await == "meanwhile\n").await;
    until(async || read(1, 2).await.ends_with("meanwhile\n")).await;
    let possible = ["perhaps lost\nmeanwhile\n", "\n*** Lines are missing here. ***\nmeanwhile\n"];
    until(async || possible.contains(&read(1, 3).await.as_str())).await;
}
