//! Updraft, raw tokio and dagrs on the same graphs, one after the other in the same process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use dagrs::{Action, Content, DefaultNode, EnvVar, InChannels, Node, NodeTable, OutChannels, Output};
use updraft_benches::graph::Graph;
use updraft_benches::throughput::{self, PeerCost};
use updraft_core::clock::{Clock, SystemClock};

/// Waits for all upstreams, does nothing, tells all downstreams.
struct Nothing {
    ran: Arc<AtomicUsize>,
}

#[async_trait]
impl Action for Nothing {
    async fn run(&self, upstream: &mut InChannels, downstream: &mut OutChannels, _: Arc<EnvVar>) -> Output {
        upstream.map(|content| content.is_ok()).await;
        self.ran.fetch_add(1, Ordering::Relaxed);
        downstream.broadcast(Content::new(())).await;
        Output::empty()
    }
}

async fn dagrs(graph: Arc<Graph>, clock: Arc<dyn Clock>) -> PeerCost {
    let ran = Arc::new(AtomicUsize::new(0));
    let start = clock.monotonic();
    let mut table = NodeTable::new();
    let nodes: Vec<_> = (0..graph.len())
        .map(|task| DefaultNode::with_action(format!("t{task}"), Nothing { ran: Arc::clone(&ran) }, &mut table))
        .collect();
    let ids: Vec<_> = nodes.iter().map(Node::id).collect();
    let mut dagrs = dagrs::Graph::new();
    for node in nodes {
        dagrs.add_node(node).expect("nodes are unique");
    }
    for (task, downstream) in graph.downstream().into_iter().enumerate() {
        if !downstream.is_empty() {
            let downstream: Vec<_> = downstream.into_iter().map(|down| ids[down as usize]).collect();
            dagrs.add_edge(ids[task], downstream).expect("edges join nodes");
        }
    }
    dagrs.set_env(EnvVar::new(table));
    let built = clock.monotonic();
    dagrs.async_start().await.expect("the graph runs");
    let ended = clock.monotonic();
    assert_eq!(ran.load(Ordering::Relaxed), graph.len(), "every task runs once");
    PeerCost { build: built - start, run: ended - built }
}

#[tokio::main]
async fn main() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let reps = arguments.first().and_then(|reps| reps.parse().ok()).unwrap_or(5);
    let only = arguments.get(1).map(String::as_str).filter(|only| *only != "all");
    let sizes: Vec<u32> = arguments.iter().skip(2).filter_map(|size| size.parse().ok()).collect();
    let sizes = if sizes.is_empty() { vec![10, 1_000, 10_000, 100_000] } else { sizes };
    let run = |graph, clock| -> throughput::PeerRun { Box::pin(dagrs(graph, clock)) };
    throughput::run(clock, reps, only, &sizes, Some(throughput::Peer { name: "dagrs 0.9", run: &run })).await;
}
