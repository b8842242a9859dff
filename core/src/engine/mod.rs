//! The state machine of a run (pure), and the scheduler loop that feeds it.
//!
//! - [`trigger_rule`]: may a task start, given how many of its upstreams ended how?
//! - [`retry`]: when does the next try start?
//! - [`Past`]: what do tasks ask of the run before?
//! - [`Plan`]: a version of a DAG, laid out for the machine.
//! - [`RunMachine`]: the state of one run; what ends, moves it on, at the cost of the tasks directly after it.
//! - [`Scheduler`]: one future that claims runs, asks their machines, chooses by priority and limits, writes batches, and
//!   hands what is durable to an executor.

mod error;
mod past;
mod plan;
mod ready;
pub mod retry;
mod run;
mod scheduler;
mod status;
pub mod trigger_rule;

pub use error::EngineError;
pub use past::{Hold, Past};
pub use plan::Plan;
pub use run::{Decision, RunMachine};
pub use scheduler::{Runnable, Scheduler, SchedulerParts, SchedulerSettings};
pub use status::{SchedulerState, SchedulerStatus};
