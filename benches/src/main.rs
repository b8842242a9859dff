//! Runs the benchmarks; see `benches/RESULTS.md`.

use std::process::ExitCode;
use std::sync::Arc;

use updraft_benches::{footprint, throughput};
use updraft_core::clock::SystemClock;

const USAGE: &str = "usage: updraft-bench memory [REPS [SHAPE [SIZE…]]] | updraft-bench footprint";

#[tokio::main]
async fn main() -> ExitCode {
    let clock = Arc::new(SystemClock::new());
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers = |texts: &[String]| texts.iter().map(|text| text.parse().ok()).collect::<Option<Vec<u32>>>();
    match arguments.first().map(String::as_str) {
        Some("memory") => {
            let reps = arguments.get(1).map_or(Some(5), |reps| reps.parse().ok());
            let only = arguments.get(2).map(String::as_str);
            let (Some(reps), Some(mut sizes)) = (reps, numbers(arguments.get(3..).unwrap_or_default())) else {
                eprintln!("{USAGE}");
                return ExitCode::FAILURE;
            };
            if sizes.is_empty() {
                sizes = vec![10, 1_000, 10_000, 100_000];
            }
            throughput::run(clock, reps, only.filter(|only| *only != "all"), &sizes, None).await;
        }
        Some("footprint") => footprint::run(clock).await,
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
