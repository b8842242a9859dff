//! What is asked, what answers must hold, and the bare SQL beside it.

use serde_json::{Value, json};

use super::client::Ask;
use super::{DAGS, LIVE, RUNS, TASKS};

/// What a kind of request must keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Must {
    /// p99 under 10 ms.
    Quick,
    /// p50 and p99 at most 3 ms over those of the bare SQL.
    Floor,
}

/// One kind of request.
pub(super) struct Kind {
    pub name: &'static str,
    pub must: Must,
    /// The nth request.
    pub ask: fn(u64) -> Ask,
    /// What answers it, in SQL: the count, then the page. `$dag` and `$run` (of 1 to RUNS) are put in.
    pub floor: &'static [&'static str],
    /// What the answer must be.
    pub answer: Answer,
}

/// What an answer holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    /// One thing, that has this member.
    One(&'static str),
    /// A list under this name, of so many entries and so many in all.
    List(&'static str, usize, u64),
}

/// A DAG and one of its runs, scattered.
pub(super) fn dag_and_run(n: u64) -> (u64, u64) {
    let scattered = (n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    (scattered % DAGS, scattered / DAGS % (RUNS - 1) + 1)
}

pub(super) fn dag_id(dag: u64) -> String {
    format!("dag_{dag:04}")
}

/// The text id of a DAG's run, as the fill makes it.
pub(super) fn run_id(run: u64) -> String {
    format!("scheduled__2026-01-{:02}T{:02}:00:00+00:00", 1 + run / 24, run % 24)
}

fn of_dag(n: u64, rest: &str) -> Ask {
    let (dag, run) = dag_and_run(n);
    Ask::get(format!("/dags/{}{}", dag_id(dag), rest.replace("$run", &run_id(run).replace('+', "%2B"))))
}

impl Answer {
    /// # Panics
    /// The answer is another.
    pub(super) fn check(self, name: &str, body: &[u8]) {
        let value: Value = serde_json::from_slice(body).unwrap_or_else(|_| panic!("{name}: the answer is JSON"));
        match self {
            Self::One(member) => assert!(value.get(member).is_some_and(|value| !value.is_null()), "{name}: {value}"),
            Self::List(member, entries, total) => {
                let shown = value[member].as_array().map_or(0, Vec::len);
                assert_eq!((shown, &value["total_entries"]), (entries, &json!(total)), "{name}");
            }
        }
    }
}

const INSTANCES: u64 = DAGS * RUNS * TASKS;
const FAILED: u64 = DAGS * RUNS / 50;
const COUNT_INSTANCES: &str = "SELECT count(*) FROM updraft.task_instance";
const COUNT_RUNS: &str = "SELECT count(*) FROM updraft.dag_run";
const COUNT_EVENTS: &str = "SELECT count(*) FROM updraft.event_log";
/// Every instance of a run that ended has one; of those that run, the first task has.
const EVENTS: u64 = INSTANCES - LIVE * (TASKS - 1);

macro_rules! kind {
    ($name:literal, $must:ident, $ask:expr, [$($floor:expr),*], $answer:expr) => {
        Kind { name: $name, must: Must::$must, ask: $ask, floor: &[$($floor),*], answer: $answer }
    };
}

pub(super) fn kinds() -> Vec<Kind> {
    use Answer::{List, One};
    vec![
        kind!(
            "get dag",
            Quick,
            |n| of_dag(n, ""),
            ["SELECT * FROM updraft.dag WHERE namespace = '' AND dag_id = $dag"],
            One("dag_id")
        ),
        kind!(
            "get run",
            Quick,
            |n| of_dag(n, "/dagRuns/$run"),
            [
                "SELECT r.* FROM updraft.dag_run r JOIN updraft.dag d ON d.id = r.dag WHERE d.dag_id = $dag AND d.namespace = '' AND r.run_id = $run"
            ],
            One("dag_run_id")
        ),
        kind!(
            "get task instance",
            Quick,
            |n| of_dag(n, "/dagRuns/$run/taskInstances/t3"),
            [
                "SELECT i.* FROM updraft.dag d JOIN updraft.dag_run r ON r.dag = d.id JOIN updraft.task t ON t.version = r.dag_version JOIN updraft.task_instance i ON i.run = r.id AND i.task = t.ix WHERE d.dag_id = $dag AND d.namespace = '' AND r.run_id = $run AND t.task_id = 't3'"
            ],
            One("task_id")
        ),
        kind!(
            "get pool",
            Quick,
            |_| Ask::get("/pools/default_pool"),
            [
                "SELECT p.*, (SELECT sum(pool_slots) FROM updraft.attempt a WHERE a.pool = p.name) FROM updraft.pool p WHERE name = 'default_pool'"
            ],
            One("slots")
        ),
        kind!(
            "get xcom",
            Quick,
            |n| of_dag(n, "/dagRuns/$run/taskInstances/t0/xcomEntries/return_value"),
            [
                "SELECT x.* FROM updraft.dag d JOIN updraft.dag_run r ON r.dag = d.id JOIN updraft.xcom x ON x.run = r.id WHERE d.dag_id = $dag AND d.namespace = '' AND r.run_id = $run AND x.task = 0 AND x.key = 'return_value'"
            ],
            One("value")
        ),
        kind!(
            "get log",
            Quick,
            |n| of_dag(n, "/dagRuns/$run/taskInstances/t0/logs/1?full_content=true"),
            [
                "SELECT l.* FROM updraft.dag d JOIN updraft.dag_run r ON r.dag = d.id JOIN updraft.log_chunk l ON l.run = r.id WHERE d.dag_id = $dag AND d.namespace = '' AND r.run_id = $run AND l.task = 0"
            ],
            One("content")
        ),
        kind!(
            "get event",
            Quick,
            |n| {
                let (dag, run) = dag_and_run(n);
                Ask::get(format!("/eventLogs/{}", dag * run + 1))
            },
            ["SELECT * FROM updraft.event_log WHERE id = 4711"],
            One("event")
        ),
        kind!(
            "dags",
            Floor,
            |_| Ask::get("/dags"),
            ["SELECT count(*) FROM updraft.dag", "SELECT * FROM updraft.dag ORDER BY dag_id LIMIT 100"],
            List("dags", 100, DAGS)
        ),
        kind!(
            "dag stats, 25 dags",
            Floor,
            |_| Ask::get(format!("/dagStats?dag_ids={}", (0..25).map(dag_id).collect::<Vec<_>>().join(","))),
            [
                "SELECT d.dag_id, r.state, count(*) FROM updraft.dag d JOIN updraft.dag_run r ON r.dag = d.id WHERE d.dag_id = ANY (ARRAY(SELECT 'dag_00' || to_char(n, 'FM00') FROM generate_series(0, 24) n)) GROUP BY d.dag_id, r.state"
            ],
            List("dags", 25, 25)
        ),
        kind!("runs of a dag", Quick, |n| of_dag(n, "/dagRuns"), [], List("dag_runs", RUNS as usize, RUNS)),
        kind!(
            "runs of a dag, newest 25",
            Quick,
            |n| of_dag(n, "/dagRuns?limit=25&order_by=-execution_date"),
            [],
            List("dag_runs", 25, RUNS)
        ),
        kind!(
            "task instances of a run",
            Quick,
            |n| of_dag(n, "/dagRuns/$run/taskInstances"),
            [],
            List("task_instances", TASKS as usize, TASKS)
        ),
        kind!(
            "task instances of a run, by state",
            Quick,
            |n| of_dag(n, "/dagRuns/$run/taskInstances?state=running"),
            [],
            List("task_instances", 0, 0)
        ),
        kind!(
            "task instances of a dag",
            Quick,
            |n| of_dag(n, "/dagRuns/~/taskInstances?limit=50"),
            [],
            List("task_instances", 50, RUNS * TASKS)
        ),
        kind!(
            "event log of a dag",
            Quick,
            |n| {
                let (dag, _) = dag_and_run(n);
                Ask::get(format!("/eventLogs?limit=25&dag_id={}", dag_id(dag / 10 * 10)))
            },
            [],
            List("event_logs", 25, RUNS * TASKS)
        ),
        kind!(
            "~ runs",
            Floor,
            |_| Ask::get("/dags/~/dagRuns"),
            [COUNT_RUNS, "SELECT * FROM updraft.dag_run ORDER BY id LIMIT 100"],
            List("dag_runs", 100, DAGS * RUNS)
        ),
        kind!(
            "~ runs, last page",
            Floor,
            |_| Ask::get(format!("/dags/~/dagRuns?offset={}", DAGS * RUNS - 100)),
            [COUNT_RUNS, "SELECT * FROM updraft.dag_run ORDER BY id LIMIT 100 OFFSET 99900"],
            List("dag_runs", 100, DAGS * RUNS)
        ),
        kind!(
            "~ runs, newest first",
            Floor,
            |_| Ask::get("/dags/~/dagRuns?order_by=-execution_date"),
            [COUNT_RUNS, "SELECT * FROM updraft.dag_run ORDER BY logical_date DESC LIMIT 100"],
            List("dag_runs", 100, DAGS * RUNS)
        ),
        kind!(
            "~ runs, by state",
            Floor,
            |_| Ask::get("/dags/~/dagRuns?state=failed"),
            [
                "SELECT count(*) FROM updraft.dag_run WHERE state = 3",
                "SELECT * FROM updraft.dag_run WHERE state = 3 ORDER BY id LIMIT 100"
            ],
            List("dag_runs", 100, FAILED)
        ),
        kind!(
            "~ runs, by date",
            Floor,
            |_| Ask::get(
                "/dags/~/dagRuns?execution_date_gte=2026-01-02T00:00:00Z&execution_date_lte=2026-01-02T23:00:00Z"
            ),
            [
                "SELECT count(*) FROM updraft.dag_run WHERE logical_date BETWEEN '2026-01-02 00:00+00' AND '2026-01-02 23:00+00'",
                "SELECT * FROM updraft.dag_run WHERE logical_date BETWEEN '2026-01-02 00:00+00' AND '2026-01-02 23:00+00' ORDER BY id LIMIT 100"
            ],
            List("dag_runs", 100, DAGS * 24)
        ),
        kind!(
            "runs, batch of 10 dags",
            Floor,
            |_| Ask::post(
                "/dags/~/dagRuns/list",
                json!({"dag_ids": (0..10).map(dag_id).collect::<Vec<_>>()}).to_string()
            ),
            [
                "SELECT count(*) FROM updraft.dag_run r JOIN updraft.dag d ON d.id = r.dag WHERE d.dag_id = ANY (ARRAY(SELECT 'dag_000' || n FROM generate_series(0, 9) n))",
                "SELECT r.* FROM updraft.dag_run r JOIN updraft.dag d ON d.id = r.dag WHERE d.dag_id = ANY (ARRAY(SELECT 'dag_000' || n FROM generate_series(0, 9) n)) ORDER BY r.id LIMIT 100"
            ],
            List("dag_runs", 100, 10 * RUNS)
        ),
        kind!(
            "~ task instances",
            Floor,
            |_| Ask::get("/dags/~/dagRuns/~/taskInstances"),
            [COUNT_INSTANCES, "SELECT * FROM updraft.task_instance ORDER BY run, task, map_index LIMIT 100"],
            List("task_instances", 100, INSTANCES)
        ),
        kind!(
            "~ task instances, middle page",
            Floor,
            |_| Ask::get(format!("/dags/~/dagRuns/~/taskInstances?offset={}", INSTANCES / 2)),
            [
                COUNT_INSTANCES,
                "SELECT * FROM updraft.task_instance ORDER BY run, task, map_index LIMIT 100 OFFSET 500000"
            ],
            List("task_instances", 100, INSTANCES)
        ),
        kind!(
            "~ task instances, last page",
            Floor,
            |_| Ask::get(format!("/dags/~/dagRuns/~/taskInstances?offset={}", INSTANCES - 100)),
            [
                COUNT_INSTANCES,
                "SELECT * FROM updraft.task_instance ORDER BY run, task, map_index LIMIT 100 OFFSET 999900"
            ],
            List("task_instances", 100, INSTANCES)
        ),
        kind!(
            "~ task instances, failed",
            Floor,
            |_| Ask::get("/dags/~/dagRuns/~/taskInstances?state=failed"),
            [
                "SELECT count(*) FROM updraft.task_instance WHERE state = 6",
                "SELECT * FROM updraft.task_instance WHERE state = 6 ORDER BY run, task, map_index LIMIT 100"
            ],
            List("task_instances", 100, FAILED)
        ),
        kind!(
            "~ task instances, running",
            Floor,
            |_| Ask::get("/dags/~/dagRuns/~/taskInstances?state=running"),
            [
                "SELECT count(*) FROM updraft.attempt WHERE phase = 1",
                "SELECT i.* FROM updraft.attempt a JOIN updraft.task_instance i ON i.run = a.run AND i.task = a.task AND i.map_index = a.map_index WHERE phase = 1 ORDER BY i.run, i.task LIMIT 100"
            ],
            List("task_instances", LIVE as usize, LIVE)
        ),
        kind!(
            "~ task instances, by task ids (batch)",
            Floor,
            |_| Ask::post("/dags/~/dagRuns/~/taskInstances/list", json!({"task_ids": ["t3", "t4"]}).to_string()),
            [
                "SELECT count(*) FROM updraft.dag_run r JOIN updraft.task t ON t.version = r.dag_version JOIN updraft.task_instance i ON i.run = r.id AND i.task = t.ix WHERE t.task_id IN ('t3', 't4')",
                "SELECT i.* FROM updraft.dag_run r JOIN updraft.task t ON t.version = r.dag_version JOIN updraft.task_instance i ON i.run = r.id AND i.task = t.ix WHERE t.task_id IN ('t3', 't4') ORDER BY i.run, i.task, i.map_index LIMIT 100"
            ],
            List("task_instances", 100, DAGS * RUNS * 2)
        ),
        kind!(
            "~ task instances, by date",
            Floor,
            |_| Ask::get(
                "/dags/~/dagRuns/~/taskInstances?start_date_gte=2026-01-02T00:00:00Z&start_date_lte=2026-01-02T23:59:00Z"
            ),
            [
                "SELECT count(*) FROM updraft.task_instance WHERE start_date BETWEEN '2026-01-02 00:00+00' AND '2026-01-02 23:59+00'",
                "SELECT * FROM updraft.task_instance WHERE start_date BETWEEN '2026-01-02 00:00+00' AND '2026-01-02 23:59+00' ORDER BY run, task, map_index LIMIT 100"
            ],
            List("task_instances", 100, DAGS * 24 * TASKS)
        ),
        kind!(
            "~ task instances, by pool",
            Floor,
            |_| Ask::get("/dags/~/dagRuns/~/taskInstances?pool=small"),
            [
                "SELECT count(*) FROM updraft.dag_run r JOIN updraft.task t ON t.version = r.dag_version JOIN updraft.task_instance i ON i.run = r.id AND i.task = t.ix WHERE t.pool = 'small'",
                "SELECT i.* FROM updraft.dag_run r JOIN updraft.task t ON t.version = r.dag_version JOIN updraft.task_instance i ON i.run = r.id AND i.task = t.ix WHERE t.pool = 'small' ORDER BY i.run, i.task, i.map_index LIMIT 100"
            ],
            List("task_instances", 100, DAGS / 10 * RUNS)
        ),
        kind!(
            "event log",
            Floor,
            |_| Ask::get("/eventLogs"),
            [COUNT_EVENTS, "SELECT * FROM updraft.event_log ORDER BY id LIMIT 100"],
            List("event_logs", 100, EVENTS)
        ),
        kind!(
            "event log, newest first",
            Floor,
            |_| Ask::get("/eventLogs?order_by=-when"),
            [COUNT_EVENTS, "SELECT * FROM updraft.event_log ORDER BY \"when\" DESC LIMIT 100"],
            List("event_logs", 100, EVENTS)
        ),
        kind!(
            "event log, last page",
            Floor,
            |_| Ask::get(format!("/eventLogs?offset={}", EVENTS - 100)),
            [COUNT_EVENTS, "SELECT * FROM updraft.event_log ORDER BY id LIMIT 100 OFFSET 999000"],
            List("event_logs", 100, EVENTS)
        ),
    ]
}
