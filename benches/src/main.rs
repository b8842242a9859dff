//! Runs the benchmarks; see `benches/RESULTS.md`.

use std::process::ExitCode;
use std::sync::Arc;

use updraft_benches::{footprint, postgres, rest, schedules, throughput};
use updraft_core::clock::SystemClock;

const USAGE: &str = "usage: updraft-bench memory [REPS [SHAPE [SIZE…]]] | footprint | postgres [REPS [WORKLOAD…]] | rest [REPS [KIND…]] | schedules [SECONDS] | counters";

#[tokio::main]
async fn main() -> ExitCode {
    let clock = Arc::new(SystemClock::new());
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers = |texts: &[String]| texts.iter().map(|text| text.parse().ok()).collect::<Option<Vec<u32>>>();
    let reps = arguments.get(1).map_or(Some(5), |reps| reps.parse::<usize>().ok());
    match (arguments.first().map(String::as_str), reps) {
        (Some("memory"), Some(reps)) => {
            let only = arguments.get(2).map(String::as_str);
            let Some(mut sizes) = numbers(arguments.get(3..).unwrap_or_default()) else {
                return usage();
            };
            if sizes.is_empty() {
                sizes = vec![10, 1_000, 10_000, 100_000];
            }
            throughput::run(clock, reps, only.filter(|only| *only != "all"), &sizes, None).await;
        }
        (Some("footprint"), _) => footprint::run(clock).await,
        (Some("postgres"), Some(reps)) => {
            let mut workloads = arguments.get(2..).unwrap_or_default().to_vec();
            if workloads.iter().any(|workload| !postgres::WORKLOADS.contains(&workload.as_str())) {
                eprintln!("workloads: {}", postgres::WORKLOADS.join(", "));
                return usage();
            }
            if workloads.is_empty() {
                workloads = postgres::WORKLOADS.map(String::from).into();
            }
            // A task of the runtime, as the engine's host is.
            let measured = tokio::spawn(postgres::run(clock, reps, workloads)).await;
            measured.expect("what is measured works");
        }
        (Some("rest"), Some(reps)) => {
            let only = arguments.get(2..).unwrap_or_default().to_vec();
            tokio::spawn(async move { rest::run(clock, reps, &only).await }).await.expect("what is measured works");
        }
        (Some("schedules"), Some(seconds)) => {
            let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
            tokio::spawn(schedules::run(clock, seconds)).await.expect("what is measured works");
        }
        (Some("counters"), _) => {
            let wrong = tokio::spawn(postgres::check_counters(clock)).await.expect("what is measured works");
            wrong.iter().for_each(|wrong| eprintln!("{wrong}"));
            return if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
        (Some("worker"), _) => {
            let [_, url, name] = arguments.as_slice() else { return usage() };
            postgres::work(clock, url, name).await;
        }
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::FAILURE
}
