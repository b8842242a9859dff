//! Runs the benchmarks; see `benches/RESULTS.md`.
fn main() {}
