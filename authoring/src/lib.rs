//! Loaders of DAG files for Updraft.
//!
//! DAG files are YAML in the format of dag-factory 1.x. A [`Loader`] reads files or folders: DAGs that are right are there
//! even if others in the same file are wrong, and whatever is wrong says in which file, line, DAG and task. A
//! [`FolderWatch`] does so again whenever something has changed. Celery Director's projects are read by [`director`].

mod cast;
mod dag;
mod date;
pub mod director;
mod dump;
mod env;
mod fields;
mod group;
mod ignored;
mod loader;
mod merge;
mod node;
mod parse;
mod problem;
mod scalar;
mod schedule;
mod task;
mod watch;

pub use env::{AllowedEnv, Environment};
pub use ignored::IgnoreSyntax;
pub use loader::{FileLoad, Loader};
pub use problem::Problem;
pub use watch::{DagFiles, FolderChange, FolderWatch};
