//! The plans of schedulers' statements, and of what is planned once of clients' reads, on tables that nobody has analysed, or
//! that were vacuumed while they were empty: a planner that knows nothing of a fresh table joins a batch by hashing the whole
//! run, and one that believes that a table is empty reads all of it for each row of the batch. A batch then costs as much as
//! the run is large.

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};
use updraft_test_postgres::Cluster;

use crate::sql::{DEFAULT_SCHEMA, RUNS_OF_DAG, Schema, sql};
use crate::storage::pinned;

/// Tables that grow with runs.
const LARGE: [&str; 11] = [
    "dag_run",
    "dag_run_dataset_event",
    "dataset_event",
    "task_instance",
    "task_instance_try",
    "attempt",
    "xcom",
    "rendered_fields",
    "skip_decision",
    "event_log",
    "task",
];

const STATEMENTS: &[(&str, &str)] = &[
    ("attempt/retire", sql!("attempt/retire")),
    ("attempt/start", sql!("attempt/start")),
    ("claim/attempts", sql!("claim/attempts")),
    ("claim/candidates", sql!("claim/candidates")),
    ("claim/instances", sql!("claim/instances")),
    ("claim/lock", sql!("claim/lock")),
    ("claim/skips", sql!("claim/skips")),
    ("claim/strays", sql!("claim/strays")),
    ("claim/take", sql!("claim/take")),
    ("commit/bump", sql!("commit/bump")),
    ("commit/count_limits", sql!("commit/count_limits")),
    ("commit/fence", sql!("commit/fence")),
    ("commit/retire_runs", sql!("commit/retire_runs")),
    ("commit/update_datasets", sql!("commit/update_datasets")),
    ("commit/write", sql!("commit/write")),
    ("commit/write_runs", sql!("commit/write_runs")),
    ("dataset/causes", sql!("dataset/causes")),
    ("dataset/take_queued", sql!("dataset/take_queued")),
    ("dataset/waiting_consumers", sql!("dataset/waiting_consumers")),
    ("dag_run/recount", sql!("dag_run/recount")),
    ("dag_run/amend", sql!("dag_run/amend")),
    ("dag_run/create", sql!("dag_run/create")),
    ("dag_run/create_instances", sql!("dag_run/create_instances")),
    ("dag_run/delete", sql!("dag_run/delete")),
    ("dag_run/keep_names", sql!("dag_run/keep_names")),
    ("dag_run/tell_followers", sql!("dag_run/tell_followers")),
    ("dag_run/to_amend", sql!("dag_run/to_amend")),
    ("scheduler/disown", sql!("scheduler/disown")),
    ("scheduler/own_of", sql!("scheduler/own_of")),
    ("scheduler/owned_runs", sql!("scheduler/owned_runs")),
    ("task_instance/forget", sql!("task_instance/forget")),
    ("task_instance/images", sql!("task_instance/images")),
    ("task_instance/put_tries", sql!("task_instance/put_tries")),
];

/// What clients read by key, and lists of one run or DAG.
const READS: &[(&str, &str)] = &[
    ("dag/by_id", sql!("dag/by_id")),
    ("dag_run/by_id", sql!("dag_run/by_id")),
    ("dag_run/of_dag", sql!("dag_run/of_dag")),
    ("event_log/by_id", sql!("event_log/by_id")),
    ("event_log/of_dag", sql!("event_log/of_dag")),
    ("log/read", sql!("log/read")),
    ("pool/by_name", sql!("pool/by_name")),
    ("task_instance/by_id", sql!("task_instance/by_id")),
    ("task_instance/chosen_of_run", sql!("task_instance/chosen_of_run")),
    ("task_instance/of_dag", sql!("task_instance/of_dag")),
    ("task_instance/of_run", sql!("task_instance/of_run")),
    ("task_instance/of_runs", sql!("task_instance/of_runs")),
    ("task_instance/runs_by_states", sql!("task_instance/runs_by_states")),
    ("task_instance/runs_by_tasks", sql!("task_instance/runs_by_tasks")),
    ("task_instance/total_by_states", sql!("task_instance/total_by_states")),
    ("task_instance/total_by_tasks", sql!("task_instance/total_by_tasks")),
    ("xcom/by_key", sql!("xcom/by_key")),
];

/// A run of 20,000 tasks that was just created.
const FRESH_RUN: &str = "
    ALTER TABLE updraft.task_instance SET (autovacuum_enabled = off);
    ALTER TABLE updraft.dag_run SET (autovacuum_enabled = off);
    ALTER TABLE updraft.attempt SET (autovacuum_enabled = off);
    INSERT INTO updraft.task_instance (run, task, map_index, state, max_tries, updated_at)
    SELECT 1, ix, -1, 0, 0, now() FROM generate_series(0, 19999) ix;
    INSERT INTO updraft.attempt (token, run, task, map_index, try_number, phase, scheduler, epoch, dag, pool_slots,
        queued_when, task_id, pool)
    SELECT gen_random_uuid(), 1, ix, -1, 1, 1, 1, 1, 1, 1, now(), 't', 'default_pool' FROM generate_series(0, 999) ix;";

/// The plan of a statement, as generic as a prepared one's.
async fn plan(connection: &mut PgConnection, text: &str) -> String {
    connection.execute(AssertSqlSafe(format!("PREPARE tried AS {text}"))).await.expect("it fits the schema");
    let types = "SELECT coalesce(string_agg('NULL::' || type::text, ', '), '')
        FROM pg_prepared_statements, unnest(parameter_types) AS type WHERE name = 'tried'";
    let nulls: String = connection.fetch_one(types).await.expect("it is prepared").get(0);
    let arguments = if nulls.is_empty() { String::new() } else { format!("({nulls})") };
    let explain = format!("EXPLAIN (COSTS OFF) EXECUTE tried{arguments}");
    let rows = connection.fetch_all(AssertSqlSafe(explain)).await.expect("it can be explained");
    connection.execute("DEALLOCATE tried").await.expect("it is prepared");
    rows.iter().map(|row| row.get::<String, _>(0) + "\n").collect()
}

fn is_trap(line: &str) -> bool {
    let scans_all = LARGE.iter().any(|table| {
        let scan = line.split("Seq Scan on ").nth(1).and_then(|rest| rest.split_whitespace().next());
        scan == Some(table)
    });
    let joins_all =
        ["Hash Join", "Hash Right Join", "Hash Left Join", "Merge Join", "Merge Right Join", "Merge Left Join"]
            .iter()
            .any(|join| line.contains(join));
    scans_all || joins_all || line.contains("Bitmap Heap Scan")
}

/// Large tables of which an index is read from one end to the other. Partial indexes that hold what waits for a scheduler
/// are meant to be.
fn read_wholly(plan: &str) -> Vec<String> {
    const SHORT: [&str; 4] = ["dag_run_waiting", "dag_run_owned", "dag_run_left_scheduled", "attempt_obsolete"];
    let lines: Vec<&str> = plan.lines().collect();
    let is_whole = |at: usize, line: &str| {
        let Some((_, rest)) = line.split_once("Scan using ").filter(|_| line.contains("Index")) else { return false };
        let mut words = rest.split_whitespace();
        let (index, table) = (words.next().unwrap_or_default(), words.nth(1).unwrap_or_default());
        let next = lines.get(at + 1).copied().unwrap_or_default();
        LARGE.contains(&table) && !SHORT.contains(&index) && !next.contains("Index Cond")
    };
    lines.iter().enumerate().filter(|(at, line)| is_whole(*at, line)).map(|(_, line)| (*line).to_owned()).collect()
}

/// Statements whose plans are traps.
async fn traps(connection: &mut PgConnection) -> String {
    let mut traps = String::new();
    let schema = Schema::new(DEFAULT_SCHEMA).expect("an identifier");
    for (name, text) in STATEMENTS.iter().chain(READS) {
        let text = schema.with(text, &[("order", "r.id"), ("down", ""), RUNS_OF_DAG]);
        let plan = plan(connection, text.as_str()).await;
        if plan.lines().any(is_trap) || !read_wholly(&plan).is_empty() {
            traps += &format!("{name}:\n{plan}\n");
        }
    }
    traps
}

#[tokio::test]
async fn schedulers_go_by_indexes_before_anything_is_analysed() {
    let database = Cluster::shared().await.database().await;
    let mut connection =
        PgConnection::connect_with(&pinned(database.options())).await.expect("the database can be reached");
    connection.execute(FRESH_RUN).await.expect("the run is created");
    let traps = traps(&mut connection).await;
    assert!(traps.is_empty(), "{traps}");
    // The trap is there for a connection that is not pinned: otherwise this test would show nothing.
    let mut unpinned = database.connect().await;
    unpinned.execute("SET plan_cache_mode = force_generic_plan").await.expect("a setting");
    let plan = plan(&mut unpinned, sql!("commit/write")).await;
    assert!(plan.lines().any(is_trap), "PostgreSQL avoids the trap by itself:\n{plan}");
}

#[tokio::test]
async fn schedulers_go_by_indexes_after_a_vacuum_of_nothing() {
    let database = Cluster::shared().await.database().await;
    let mut connection =
        PgConnection::connect_with(&pinned(database.options())).await.expect("the database can be reached");
    for table in LARGE {
        connection.execute(AssertSqlSafe(format!("VACUUM ANALYZE updraft.{table}"))).await.expect("it is vacuumed");
    }
    let traps = traps(&mut connection).await;
    assert!(traps.is_empty(), "{traps}");
}
