//! `updraft-bench memory`: the engine and raw tokio on the same graphs in the same process, one after the other.

use std::fmt::{self, Debug};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use updraft_core::clock::Clock;

use crate::engine::{Cost, Engine, LIMIT, Workload};
use crate::graph::Graph;
use crate::raw;
use crate::report::{cpu_time, line, median, nanos_a_task, quantile_micros, ratio};

/// What a peer took for one graph.
#[derive(Debug, Clone, Copy)]
pub struct PeerCost {
    /// To build it.
    pub build: Duration,
    /// To run it.
    pub run: Duration,
}

/// A peer's run of a graph.
pub type PeerRun = Pin<Box<dyn Future<Output = PeerCost> + Send>>;

/// Somebody else's engine on the same graphs.
#[derive(Clone, Copy)]
pub struct Peer<'a> {
    /// How it is called.
    pub name: &'a str,
    /// Builds and runs a graph whose tasks do nothing.
    pub run: &'a dyn Fn(Arc<Graph>, Arc<dyn Clock>) -> PeerRun,
}

impl Debug for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

struct Case {
    workload: Arc<Workload>,
    raw: Arc<Graph>,
    /// How often it is repeated within a rep, so that small graphs take long enough to be measured.
    repeats: u32,
    engine: Vec<Cost>,
    /// Raw tokio, walked by the main thread, as a program without an engine would.
    raw_main: Vec<Duration>,
    raw_main_cpu: Duration,
    /// Raw tokio, walked by a task of the runtime, as the scheduler is one.
    raw_task: Vec<Duration>,
    hops: Vec<Duration>,
    raw_main_hops: Vec<Duration>,
    raw_task_hops: Vec<Duration>,
    peer: Vec<PeerCost>,
}

type Shape = (&'static str, fn(u32) -> Graph);
const SHAPES: [Shape; 4] =
    [("chain", Graph::chain), ("fan", Graph::fan), ("layers", Graph::layers), ("flat", Graph::flat)];

impl Case {
    fn new(name: &'static str, graph: &Graph, raw: Graph, runs: usize, clock: &Arc<dyn Clock>) -> Self {
        let workload = Workload::new(name, graph, runs, name == "chain", Arc::clone(clock));
        Self {
            repeats: u32::try_from((1000 / workload.tasks()).clamp(1, 100)).unwrap_or(1),
            workload: Arc::new(workload),
            raw: Arc::new(raw),
            engine: Vec::new(),
            raw_main: Vec::new(),
            raw_main_cpu: Duration::ZERO,
            raw_task: Vec::new(),
            hops: Vec::new(),
            raw_main_hops: Vec::new(),
            raw_task_hops: Vec::new(),
            peer: Vec::new(),
        }
    }

    async fn measure(&mut self, warm_up: &Arc<Workload>, clock: &Arc<dyn Clock>, peer: Option<Peer<'_>>) {
        let stamp = self.workload.name == "chain";
        let walk = || raw::walk(Arc::clone(&self.raw), Arc::clone(clock), stamp);
        let (mut by_main, mut by_task) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..self.repeats {
            let cpu = cpu_time();
            let (took, stamps) = walk().await;
            self.raw_main_cpu += cpu_time().saturating_sub(cpu);
            by_main += took;
            self.raw_main_hops.extend(hops(&stamps));
            let (took, stamps) = tokio::spawn(walk()).await.expect("the walk does not panic");
            by_task += took;
            self.raw_task_hops.extend(hops(&stamps));
        }
        self.raw_main.push(by_main / self.repeats);
        self.raw_task.push(by_task / self.repeats);

        if let Some(peer) = peer {
            let mut sum = PeerCost { build: Duration::ZERO, run: Duration::ZERO };
            for _ in 0..self.repeats {
                let cost = (peer.run)(Arc::clone(&self.raw), Arc::clone(clock)).await;
                sum = PeerCost { build: sum.build + cost.build, run: sum.run + cost.run };
            }
            self.peer.push(PeerCost { build: sum.build / self.repeats, run: sum.run / self.repeats });
        }

        let (clock, workload, warm_up) = (Arc::clone(clock), Arc::clone(&self.workload), Arc::clone(warm_up));
        let repeats = self.repeats;
        let measured = tokio::spawn(async move {
            let mut engine = Engine::start(clock, &[&workload, &warm_up], LIMIT).await;
            engine.carry_out(1, &warm_up).await;
            let mut sum = Cost::default();
            let mut stamps = Vec::new();
            for _ in 0..repeats {
                let cost = engine.carry_out(0, &workload).await;
                sum = Cost { create: sum.create + cost.create, total: sum.total + cost.total, cpu: sum.cpu + cost.cpu };
                stamps.push(workload.witness().stamps());
            }
            engine.stop().await;
            (Cost { create: sum.create / repeats, total: sum.total / repeats, cpu: sum.cpu / repeats }, stamps)
        });
        let (cost, stamps) = measured.await.expect("what is measured works");
        self.engine.push(cost);
        self.hops.extend(stamps.iter().flat_map(|stamps| hops(stamps)));
    }

    fn report(&mut self) -> String {
        let tasks = self.workload.tasks();
        let of = |part: fn(&Cost) -> Duration| self.engine.iter().map(part).collect::<Vec<_>>();
        let total = of(|cost| cost.total);
        let figures = [
            ("ns_a_task", nanos_a_task(median(&total), tasks)),
            ("create_ns_a_task", nanos_a_task(median(&of(|cost| cost.create)), tasks)),
            ("cpu_ns_a_task", nanos_a_task(of(|cost| cost.cpu).iter().sum(), tasks * self.engine.len())),
            ("raw_main_ns_a_task", nanos_a_task(median(&self.raw_main), tasks)),
            (
                "raw_main_cpu_ns_a_task",
                nanos_a_task(self.raw_main_cpu, tasks * self.engine.len() * self.repeats as usize),
            ),
            ("raw_task_ns_a_task", nanos_a_task(median(&self.raw_task), tasks)),
        ];
        let ratios = [ratio(&total, &self.raw_main), ratio(&total, &self.raw_task)];
        let name = self.workload.name;
        let mut json: Vec<_> = figures.iter().map(|&(name, value)| (name, json!(value))).collect();
        json.push(("ratio_to_raw_main", json!(ratios[0])));
        json.push(("ratio_to_raw_task", json!(ratios[1])));
        let mut row = format!("| {name} | {tasks} |");
        for (_, value) in figures {
            row.push_str(&format!(" {value} |"));
        }
        row.push_str(&format!(" {:.2} | {:.2} |", ratios[0], ratios[1]));
        if name == "chain" {
            let times = [&mut self.hops, &mut self.raw_main_hops, &mut self.raw_task_hops];
            let names = ["hop_micros_p50_p99", "raw_main_hop_micros_p50_p99", "raw_task_hop_micros_p50_p99"];
            for (name, times) in names.into_iter().zip(times) {
                let hop = [quantile_micros(times, 500), quantile_micros(times, 990)];
                json.push((name, json!(hop)));
                row.push_str(&format!(" {:.1} ({:.1}) |", hop[0], hop[1]));
            }
        } else {
            row.push_str(" | | |");
        }
        if !self.peer.is_empty() {
            let of = |part: fn(&PeerCost) -> Duration| self.peer.iter().map(part).collect::<Vec<_>>();
            let (build, run) = (of(|cost| cost.build), of(|cost| cost.run));
            let figures = [nanos_a_task(median(&build), tasks), nanos_a_task(median(&run), tasks)];
            let share = ratio(&total, &run);
            json.extend([
                ("peer_build_ns_a_task", json!(figures[0])),
                ("peer_run_ns_a_task", json!(figures[1])),
                ("ratio_to_peer_run", json!(share)),
            ]);
            row.push_str(&format!(" {} | {} | {share:.2} |", figures[0], figures[1]));
        }
        line("memory", name, tasks, &json);
        row
    }
}

fn hops(stamps: &[Duration]) -> impl Iterator<Item = Duration> {
    stamps.windows(2).map(|pair| pair[1].saturating_sub(pair[0]))
}

/// Measures every shape and size; reps are outermost, medians are printed.
pub async fn run(clock: Arc<dyn Clock>, reps: usize, only: Option<&str>, sizes: &[u32], peer: Option<Peer<'_>>) {
    let warm_up = Arc::new(Workload::new("warm-up", &Graph::fan(100), 1, false, Arc::clone(&clock)));
    let mut cases = Vec::new();
    for (name, shape) in SHAPES {
        for &size in sizes.iter().filter(|_| only.is_none_or(|only| only == name)) {
            let graph = shape(size);
            cases.push(Case::new(name, &graph, graph.clone(), 1, &clock));
        }
    }
    if only.is_none_or(|only| only == "runs") {
        cases.push(Case::new("1,000 runs of 3", &Graph::chain(3), Graph::chains(1000), 1000, &clock));
    }
    for _ in 0..reps {
        for case in &mut cases {
            case.measure(&warm_up, &clock, peer).await;
        }
    }
    let rows: Vec<_> = cases.iter_mut().map(Case::report).collect();
    let peer_columns =
        peer.map_or(String::new(), |Peer { name, .. }| format!(" {name} build | {name} run | ratio to {name} run |"));
    println!(
        "\n| shape | tasks | ns/task | of which creation | CPU ns/task | raw tokio ns/task | raw CPU | raw, as a task | \
         ratio | ratio to raw as a task | hop us p50 (p99) | raw hop | raw hop as a task |{peer_columns}"
    );
    println!("|{}", " --- |".repeat(13 + if peer.is_some() { 3 } else { 0 }));
    rows.iter().for_each(|row| println!("{row}"));
}
