//! Updraft's benchmarks.
