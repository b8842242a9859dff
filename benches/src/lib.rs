//! Updraft's benchmarks: graphs, the engine on both storages, and raw tokio on the same graphs.

pub mod engine;
pub mod footprint;
pub mod graph;
pub mod postgres;
pub mod postmaster;
pub mod raw;
pub mod report;
pub mod rest;
pub mod schedules;
pub mod throughput;
pub mod watched;
