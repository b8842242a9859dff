//! Updraft's benchmarks: graphs, the engine on the memory storage, and raw tokio on the same graphs.

pub mod graph;
pub mod raw;
pub mod report;
