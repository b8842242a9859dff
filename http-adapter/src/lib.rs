//! Updraft's wire APIs as tower services.

pub mod access;
mod schema;
