//! `updraft-bench postgres`: the engine on a PostgreSQL server of its own with default durability. Before each line, the
//! yardstick: what the same server takes for the same rows without an engine.

mod chain;
mod counters;
mod server;
mod size;
mod throughput;
mod workers;
mod yardstick;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use updraft_core::clock::Clock;
use updraft_core::engine::SchedulerSettings;
use updraft_storage_postgres::{PostgresSettings, PostgresStorage};
use updraft_test_postgres::Database;

use self::server::{Rows, Server};
use self::yardstick::{Yardstick, p50_p99};
use crate::engine::{Engine, Limits, Workload};
use crate::graph::Graph;

pub use self::counters::check as check_counters;
pub use self::workers::work;

/// What can be asked for.
pub const WORKLOADS: [&str; 9] = ["yardstick", "flat", "runs", "fan", "chain", "size", "history", "pools", "workers"];

/// Figures of one rep, by name.
type Figures = Vec<(&'static str, f64)>;

/// A line of the benchmark.
#[derive(Debug)]
enum Job {
    Yardstick { batch: usize, durable: bool },
    Throughput(throughput::Case),
    Chain { under_load: bool },
    Size { tasks: u32 },
    Workers { case: throughput::Case, processes: usize, kills: bool },
}

impl Job {
    fn of(workload: &str) -> Vec<Self> {
        let flat = throughput::Case::flat;
        let runs = throughput::Case::runs;
        let cases = match workload {
            "yardstick" => {
                let batches = [1, 10, 100, 1_000, 10_000];
                let lines = [true, false].into_iter().flat_map(|durable| batches.map(|batch| (batch, durable)));
                return lines.map(|(batch, durable)| Self::Yardstick { batch, durable }).collect();
            }
            "flat" => vec![flat(1_000), flat(10_000), flat(100_000), flat(10_000).with_defaults()],
            "runs" => vec![runs(100), runs(1_000), runs(10_000), runs(1_000).with_defaults()],
            "fan" => {
                let mut cases: Vec<_> = [100, 1_000, 10_000, 100_000].map(throughput::Case::fan).into();
                cases.push(throughput::Case::layers(10_000));
                cases
            }
            "history" => [0, 100_000, 1_000_000].map(|history| runs(1_000).among(history)).into(),
            "pools" => vec![throughput::Case::pool(10_000)],
            "chain" => return vec![Self::Chain { under_load: false }, Self::Chain { under_load: true }],
            "size" => return [10, 1_000, 10_000, 100_000].map(|tasks| Self::Size { tasks }).into(),
            "workers" => {
                let lines = [flat(10_000), runs(3_334)].into_iter().flat_map(|case| {
                    [(1, false), (2, false), (4, false), (2, true)]
                        .map(|(processes, kills)| (case.clone(), processes, kills))
                });
                return lines.map(|(case, processes, kills)| Self::Workers { case, processes, kills }).collect();
            }
            _ => Vec::new(),
        };
        cases.into_iter().map(Self::Throughput).collect()
    }

    fn name(&self) -> String {
        match self {
            Self::Yardstick { batch, durable } => {
                format!("{batch} a commit{}", if *durable { "" } else { ", synchronous_commit off" })
            }
            Self::Throughput(case) => case.name.clone(),
            Self::Chain { under_load: false } => "chain of 100".into(),
            Self::Chain { under_load: true } => "chain of 100 at 50 % load".into(),
            Self::Size { tasks } => format!("layers, {tasks}"),
            Self::Workers { case, processes: 1, .. } => format!("{}, 1 process", case.name),
            Self::Workers { case, processes, kills: false } => format!("{}, {processes} processes", case.name),
            Self::Workers { case, processes, kills: true } => {
                format!("{}, {processes} processes, one killed", case.name)
            }
        }
    }

    async fn measure(&self, bench: &mut Bench) -> Figures {
        match self {
            Self::Yardstick { batch, durable } => bench.yardstick_line(*batch, *durable).await,
            Self::Throughput(case) => bench.throughput(case).await,
            Self::Chain { under_load } => bench.chain(*under_load).await,
            Self::Size { tasks } => bench.size(*tasks).await,
            Self::Workers { case, processes, kills } => bench.workers(case, *processes, *kills).await,
        }
    }
}

/// A server, and what is known of it.
#[derive(Debug)]
struct Bench {
    clock: Arc<dyn Clock>,
    server: Server,
    warm_up: Workload,
    /// What an engine that carries out nothing but the warm-up writes.
    of_warm_up: Rows,
    /// Databases with finished runs in them.
    histories: BTreeMap<i64, Database>,
}

impl Bench {
    async fn new(clock: Arc<dyn Clock>) -> Self {
        let server = Server::start(Arc::clone(&clock)).await;
        let warm_up = Workload::new("warm-up", &Graph::fan(100), 1, false, Arc::clone(&clock));
        let mut bench = Self { clock, server, warm_up, of_warm_up: Rows::default(), histories: BTreeMap::new() };
        let database = bench.server.database().await;
        bench.engine(&database, &[], Limits::default()).await.stop().await;
        bench.of_warm_up = bench.server.rows(&database).await;
        bench
    }

    /// An engine that knows these DAGs and has warmed up.
    async fn engine(&self, database: &Database, workloads: &[&Workload], limits: Limits) -> Running {
        self.engine_with(database, workloads, limits, SchedulerSettings::default()).await
    }

    async fn engine_with(
        &self,
        database: &Database,
        workloads: &[&Workload],
        limits: Limits,
        scheduler: SchedulerSettings,
    ) -> Running {
        let clock = Arc::clone(&self.clock);
        let settings = PostgresSettings::from_options(database.options());
        let storage = PostgresStorage::new(settings, Arc::clone(&clock));
        let mut known = workloads.to_vec();
        known.push(&self.warm_up);
        self.warm_up.reset();
        let mut engine = Engine::start_on(Arc::new(storage.clone()), clock, &known, limits, scheduler).await;
        engine.carry_out_unchecked(workloads.len(), &self.warm_up).await;
        self.warm_up.check();
        Running { engine, storage }
    }

    async fn yardstick(&self, database: &Database) -> Yardstick {
        Yardstick::new(&database.options(), Arc::clone(&self.clock)).await
    }

    async fn yardstick_line(&self, batch: usize, durable: bool) -> Figures {
        let database = self.server.database().await;
        let mut yardstick = self.yardstick(&database).await;
        yardstick.set_durable(durable).await;
        yardstick.cycle(1, 1_000, 1_000).await;
        let [p50, p99] = p50_p99(&mut yardstick.commits().await);
        let tasks = i32::try_from(batch.saturating_mul(1_000).min(10_000)).unwrap_or(i32::MAX);
        let time = yardstick.cycle(1, tasks, batch).await.as_secs_f64();
        let speed = f64::from(tasks) / time;
        vec![
            ("tasks/s", speed),
            ("rows/s", speed * yardstick::ROWS_OF_A_TASK as f64),
            ("commit us p50", p50),
            ("commit us p99", p99),
        ]
    }
}

/// An engine and the storage under it.
struct Running {
    engine: Engine,
    storage: PostgresStorage,
}

impl Running {
    /// Stops it and closes its connections.
    async fn stop(self) {
        self.engine.stop().await;
        self.storage.close().await;
    }
}

/// Measures; reps are outermost, medians are printed.
///
/// # Panics
/// The server or the engine fails, or a workload did not do what it should have.
pub async fn run(clock: Arc<dyn Clock>, reps: usize, workloads: Vec<String>) {
    let mut bench = Bench::new(clock).await;
    let jobs: Vec<(&str, Job)> = workloads
        .iter()
        .flat_map(|workload| Job::of(workload).into_iter().map(move |job| (workload.as_str(), job)))
        .collect();
    let mut samples: Vec<Vec<Figures>> = jobs.iter().map(|_| Vec::new()).collect();
    for _ in 0..reps {
        for ((workload, job), samples) in jobs.iter().zip(&mut samples) {
            let figures = job.measure(&mut bench).await;
            print(workload, &job.name(), &figures);
            samples.push(figures);
        }
    }
    println!();
    let mut header = Vec::new();
    for ((_, job), samples) in jobs.iter().zip(&samples) {
        let figures = medians(samples);
        let columns: Vec<&str> = figures.iter().map(|(name, _)| *name).collect();
        if columns != header {
            println!("\n| | {} |\n|{}", columns.join(" | "), " --- |".repeat(columns.len() + 1));
            header = columns;
        }
        let cells: Vec<String> = figures.iter().map(|(_, figure)| number(*figure)).collect();
        println!("| {} | {} |", job.name(), cells.join(" | "));
    }
}

fn print(workload: &str, name: &str, figures: &Figures) {
    let mut line = json!({ "bench": "postgres", "workload": workload, "line": name });
    if let Value::Object(line) = &mut line {
        line.extend(figures.iter().map(|(name, figure)| ((*name).to_owned(), json!((figure * 1e3).round() / 1e3))));
    }
    println!("{line}");
}

fn medians(samples: &[Figures]) -> Figures {
    let Some(first) = samples.first() else { return Figures::new() };
    let median = |place: usize| {
        let mut values: Vec<f64> = samples.iter().filter_map(|figures| figures.get(place)).map(|(_, v)| *v).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    first.iter().enumerate().map(|(place, (name, _))| (*name, median(place))).collect()
}

/// Three digits, or whole.
fn number(figure: f64) -> String {
    match figure.abs() {
        small if small < 10.0 => format!("{figure:.2}"),
        medium if medium < 100.0 => format!("{figure:.1}"),
        _ => format!("{figure:.0}"),
    }
}
