//! One DAG, from its declaration to its end.

use std::sync::Arc;

use updraft_core::storage::DagStorage;
use updraft_storage_postgres::{PostgresSettings, PostgresStorage};

use super::throughput::check_rows;
use super::{Bench, Figures};
use crate::engine::{Limits, Workload};
use crate::graph::Graph;
use crate::report::{peak_resident_bytes, reset_peak};

impl Bench {
    pub(super) async fn size(&mut self, tasks: u32) -> Figures {
        let clock = Arc::clone(&self.clock);
        let database = self.server.database().await;
        let graph = Graph::layers(tasks);
        let start = clock.monotonic();
        let workload = Workload::new("layers", &graph, 1, false, Arc::clone(&clock));
        let built = clock.monotonic();
        let settings = PostgresSettings::from_options(database.options());
        let storage = PostgresStorage::new(settings, Arc::clone(&clock));
        storage.register_dags(clock.now(), Vec::new()).await.expect("the storage is there");
        let connected = clock.monotonic();
        storage.register_dags(clock.now(), vec![workload.registration()]).await.expect("DAGs can be registered");
        let stored = clock.monotonic();
        storage.close().await;
        let mut running = self.engine(&database, &[&workload], Limits::default()).await;
        reset_peak();
        let cost = running.engine.carry_out_unchecked(0, &workload).await;
        let peak = peak_resident_bytes();
        workload.check();
        let mut connection = database.connect().await;
        check_rows(&mut connection).await;
        let statement = "SELECT sum(pg_total_relation_size(format('updraft.%I', name)::regclass))::bigint
            FROM unnest(ARRAY['dag_run', 'task_instance', 'attempt', 'event_log']) AS t (name)";
        let bytes: i64 = sqlx::query_scalar(statement).fetch_one(&mut connection).await.expect("the server answers");
        drop(connection);
        running.stop().await;
        let a_task = |time: std::time::Duration| time.as_secs_f64() * 1e6 / f64::from(tasks);
        vec![
            ("build us/task", a_task(built - start)),
            ("store", a_task(stored - connected)),
            ("create run", a_task(cost.create)),
            ("execute", a_task(cost.total - cost.create)),
            ("stored B/task", bytes as f64 / f64::from(tasks)),
            ("peak RSS MB", peak as f64 / 1e6),
        ]
    }
}
