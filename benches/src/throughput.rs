//! `updraft-bench memory`: the engine and raw tokio on the same graphs in the same process, one after the other.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use updraft_core::clock::Clock;

use crate::engine::{Engine, LIMIT, Workload};
use crate::graph::Graph;
use crate::raw;
use crate::report::{line, median, nanos_a_task, quantile_micros, ratio};

struct Case {
    workload: Workload,
    raw: Arc<Graph>,
    /// How often it is repeated within a rep, so that small graphs take long enough to be measured.
    repeats: u32,
    engine: Vec<Duration>,
    create: Vec<Duration>,
    floor: Vec<Duration>,
    hops: Vec<Duration>,
    raw_hops: Vec<Duration>,
}

type Shape = (&'static str, fn(u32) -> Graph);
const SHAPES: [Shape; 4] =
    [("chain", Graph::chain), ("fan", Graph::fan), ("layers", Graph::layers), ("flat", Graph::flat)];

impl Case {
    fn new(name: &'static str, graph: &Graph, raw: Graph, runs: usize, clock: &Arc<dyn Clock>) -> Self {
        let is_chain = name == "chain";
        let workload = Workload::new(name, graph, runs, is_chain, Arc::clone(clock));
        Self {
            repeats: u32::try_from((1000 / workload.tasks()).clamp(1, 100)).unwrap_or(1),
            workload,
            raw: Arc::new(raw),
            engine: Vec::new(),
            create: Vec::new(),
            floor: Vec::new(),
            hops: Vec::new(),
            raw_hops: Vec::new(),
        }
    }

    async fn measure(&mut self, warm_up: &Workload, clock: &Arc<dyn Clock>) {
        let stamp = self.workload.name == "chain";
        let mut time = Duration::ZERO;
        for _ in 0..self.repeats {
            // The walk is a task of the runtime, as the scheduler is.
            let walk = tokio::spawn(raw::walk(Arc::clone(&self.raw), Arc::clone(clock), stamp));
            let (took, stamps) = walk.await.expect("the walk does not panic");
            time += took;
            self.raw_hops.extend(hops(&stamps));
        }
        self.floor.push(time / self.repeats);

        let mut engine = Engine::start(Arc::clone(clock), &[&self.workload, warm_up], LIMIT).await;
        engine.carry_out(1, warm_up).await;
        let (mut create, mut total) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..self.repeats {
            let cost = engine.carry_out(0, &self.workload).await;
            create += cost.create;
            total += cost.total;
            self.hops.extend(hops(&self.workload.witness().stamps()));
        }
        self.create.push(create / self.repeats);
        self.engine.push(total / self.repeats);
        engine.stop().await;
    }

    fn report(&mut self) -> String {
        let tasks = self.workload.tasks();
        let (engine, create) = (nanos_a_task(median(&self.engine), tasks), nanos_a_task(median(&self.create), tasks));
        let floor = nanos_a_task(median(&self.floor), tasks);
        let ratio = ratio(&self.engine, &self.floor);
        let hop = (quantile_micros(&mut self.hops, 500), quantile_micros(&mut self.hops, 990));
        let raw_hop = (quantile_micros(&mut self.raw_hops, 500), quantile_micros(&mut self.raw_hops, 990));
        let name = self.workload.name;
        let mut figures = vec![
            ("ns_a_task", json!(engine)),
            ("of_which_create", json!(create)),
            ("raw_tokio_ns_a_task", json!(floor)),
            ("ratio", json!(ratio)),
        ];
        let mut hop_text = String::new();
        if name == "chain" {
            figures.push(("hop_micros_p50_p99", json!([hop.0, hop.1])));
            figures.push(("raw_tokio_hop_micros_p50_p99", json!([raw_hop.0, raw_hop.1])));
            hop_text = format!("{:.1} ({:.1}) | {:.1} ({:.1})", hop.0, hop.1, raw_hop.0, raw_hop.1);
        } else {
            hop_text.push('|');
        }
        line("memory", name, tasks, &figures);
        format!("| {name} | {tasks} | {engine} | {create} | {floor} | {ratio:.2} | {hop_text} |")
    }
}

fn hops(stamps: &[Duration]) -> impl Iterator<Item = Duration> {
    stamps.windows(2).map(|pair| pair[1].saturating_sub(pair[0]))
}

/// Measures every shape and size; reps are outermost, medians are printed.
pub async fn run(clock: Arc<dyn Clock>, reps: usize, only: Option<&str>, sizes: &[u32]) {
    let warm_up = Workload::new("warm-up", &Graph::fan(100), 1, false, Arc::clone(&clock));
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
            case.measure(&warm_up, &clock).await;
        }
    }
    let rows: Vec<_> = cases.iter_mut().map(Case::report).collect();
    println!(
        "\n| shape | tasks | ns/task | of which creation | raw tokio ns/task | ratio | hop p50 (p99) us | raw tokio's |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    rows.iter().for_each(|row| println!("{row}"));
}
