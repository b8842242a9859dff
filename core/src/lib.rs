//! Updraft's models, engine, traits and service.

pub mod python;
