//! What one hop, and one trigger, take.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::PgConnection;
use updraft_core::clock::Clock;
use updraft_core::id::{DagVersionId, IdSource};
use updraft_core::log::MemoryLogs;
use updraft_core::service::{Actor, Service, Settings, TriggerRequest};
use updraft_core::storage::{RunStorage, Storage};
use updraft_storage_postgres::PostgresStorage;

use super::yardstick::p50_p99;
use super::{Bench, Figures};
use crate::engine::{Limits, Workload, new_run};
use crate::graph::Graph;
use crate::report::quantile_micros;

const HOPS: u32 = 100;
const CHAINS: usize = 5;
const TRIGGERS: usize = 50;

/// How often runs are created as a background load.
const PULSE: Duration = Duration::from_millis(20);
/// A burst of runs, to see how many a second there can be.
const BURST: usize = 1_000;

impl Bench {
    pub(super) async fn chain(&mut self, under_load: bool) -> Figures {
        let clock = Arc::clone(&self.clock);
        let chain = Workload::new("chain", &Graph::chain(HOPS), 1, true, Arc::clone(&clock));
        let single = Workload::new("single", &Graph::flat(1), 1, true, Arc::clone(&clock));
        let load = Workload::new("load", &Graph::chain(3), BURST, false, Arc::clone(&clock));
        let other = self.server.database().await;
        let mut yardstick = self.yardstick(&other).await;
        yardstick.commits().await;
        let [commit, _] = p50_p99(&mut yardstick.commits().await);
        drop((yardstick, other));
        let database = self.server.database().await;
        let mut running = self.engine(&database, &[&chain, &single, &load], Limits::default()).await;
        let mut watcher = database.connect().await;
        running.engine.carry_out_unchecked(0, &chain).await;

        let is_over = Arc::new(AtomicBool::new(false));
        let mut background = None;
        if under_load {
            let burst = running.engine.carry_out_unchecked(2, &load).await.total;
            let a_pulse = BURST as f64 * PULSE.as_secs_f64() / burst.as_secs_f64() / 2.0;
            let version = running.engine.version(2);
            let pulses = pulses(running.storage.clone(), Arc::clone(&clock), version, a_pulse, Arc::clone(&is_over));
            background = Some(tokio::spawn(pulses));
        }

        let (mut hops, mut batches, mut transactions) = (Vec::new(), 0, 0);
        for _ in 0..CHAINS {
            chain.reset();
            let before = self.server.counts(&mut watcher).await;
            let written = running.engine.watched().written().0;
            if under_load {
                running.engine.create(0, 1).await;
                await_task(clock.as_ref(), &chain, HOPS as usize - 1).await;
            } else {
                running.engine.carry_out_unchecked(0, &chain).await;
                chain.check();
            }
            batches += running.engine.watched().written().0 - written;
            transactions += self.server.counts(&mut watcher).await.since(before).transactions;
            let stamps = chain.witness().stamps();
            hops.extend(stamps.windows(2).map(|pair| pair[1].saturating_sub(pair[0])));
        }

        let storage: Arc<dyn Storage> = Arc::new(running.storage.clone());
        let ids = IdSource::from_system();
        let service = Service::new(storage, Arc::new(MemoryLogs::default()), ids, Settings::default());
        let mut triggers = Vec::new();
        for _ in 0..TRIGGERS {
            single.reset();
            let start = clock.monotonic();
            let dag = service.dag_to_trigger("single-1").await.expect("the DAG is registered");
            service.trigger(&dag, TriggerRequest::default(), &Actor::default()).await.expect("it can be triggered");
            await_task(clock.as_ref(), &single, 0).await;
            triggers.push(single.witness().stamps()[0].saturating_sub(start));
        }
        is_over.store(true, Ordering::Release);
        if let Some(background) = background {
            background.await.expect("the load does not panic");
        }
        await_all_ended(clock.as_ref(), &mut watcher).await;
        drop(watcher);
        running.stop().await;

        let hop = [500, 950, 990].map(|share| quantile_micros(&mut hops, share));
        let trigger = [500, 950, 990].map(|share| quantile_micros(&mut triggers, share));
        let all = (HOPS as usize * CHAINS) as f64;
        vec![
            ("hop us p50", hop[0]),
            ("hop p95", hop[1]),
            ("hop p99", hop[2]),
            ("hop in commits", hop[0] / commit),
            ("trigger us p50", trigger[0]),
            ("trigger p95", trigger[1]),
            ("trigger p99", trigger[2]),
            ("trigger in commits", trigger[0] / commit),
            ("batches/task", batches as f64 / all),
            ("transactions/task", transactions as f64 / all),
            ("commit us p50", commit),
        ]
    }
}

async fn await_task(clock: &dyn Clock, workload: &Workload, task: usize) {
    while !workload.witness().has_run(task) {
        clock.sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until no run is left.
pub(super) async fn await_all_ended(clock: &dyn Clock, connection: &mut PgConnection) {
    let statement = "SELECT EXISTS (SELECT FROM updraft.dag_run WHERE state < 2)";
    while sqlx::query_scalar(statement).fetch_one(&mut *connection).await.expect("the server answers") {
        clock.sleep(Duration::from_millis(2)).await;
    }
}

/// Creates so many runs again and again.
async fn pulses(
    storage: PostgresStorage,
    clock: Arc<dyn Clock>,
    version: DagVersionId,
    a_pulse: f64,
    is_over: Arc<AtomicBool>,
) {
    let start = clock.monotonic();
    let mut created = 0_u32;
    while !is_over.load(Ordering::Acquire) {
        let due = (clock.monotonic() - start).as_secs_f64() / PULSE.as_secs_f64() * a_pulse;
        let now = clock.now();
        let mut new = Vec::new();
        while f64::from(created) < due {
            created += 1;
            new.push(new_run(version, now + chrono::TimeDelta::microseconds(i64::from(created))));
        }
        storage.create_runs(now, new).await.expect("the storage is there");
        clock.sleep(PULSE).await;
    }
}
