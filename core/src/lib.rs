//! Updraft's models, engine, traits and service.
//!
//! Nothing here knows HTTP, SQL, a file format or a process: storages, executors, operators and wire APIs stand beside
//! this crate and know it alone. The arrows among its modules point downwards only:
//! [`service`] → [`engine`] → {[`dag`], [`operator`], [`executor`], [`storage`]} → [`schedule`] → [`model`], with [`clock`],
//! [`log`] and [`id`] as the ground under all of them.

pub mod clock;
pub mod dag;
pub mod engine;
pub mod executor;
pub mod id;
pub mod log;
pub mod mask;
pub mod model;
pub mod operator;
pub mod python;
pub mod schedule;
pub mod secret;
pub mod service;
pub mod storage;
