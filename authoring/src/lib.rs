//! Loaders of DAG files for Updraft.
