//! What is wrong with a file.

use std::fmt;
use std::path::PathBuf;

use crate::node::{Node, Place};

/// Something that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The line, counted from 1, if there is one to point at.
    pub line: Option<u32>,
    /// The DAG that it is about, if it is about one.
    pub dag_id: Option<String>,
    /// The task or task group that it is about, if it is about one.
    pub task_id: Option<String>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        match (&self.dag_id, &self.task_id) {
            (Some(dag), Some(task)) => write!(f, ": DAG '{dag}', task '{task}'")?,
            (Some(dag), None) => write!(f, ": DAG '{dag}'")?,
            (None, _) => {}
        }
        write!(f, ": {}", self.message)
    }
}

/// Gathers what is wrong with a DAG.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    pub(crate) list: Vec<Found>,
    task: Option<String>,
}

/// A problem whose file and DAG are known to whoever gathers them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) place: Option<Place>,
    pub(crate) task_id: Option<String>,
    pub(crate) message: String,
}

impl Problems {
    /// Whatever is added until [`Problems::leave_task`] is about this task or group.
    pub(crate) fn enter_task(&mut self, task: &str) {
        self.task = Some(task.into());
    }

    pub(crate) fn leave_task(&mut self) {
        self.task = None;
    }

    pub(crate) fn add(&mut self, place: Place, message: impl Into<String>) {
        self.list.push(Found { place: Some(place), task_id: self.task.clone(), message: message.into() });
    }

    /// Adds a result's error, and returns its value.
    pub(crate) fn take<T>(&mut self, place: Place, result: Result<T, impl Into<String>>) -> Option<T> {
        result.map_err(|message| self.add(place, message)).ok()
    }

    /// Says that a value has the wrong type, as Airflow words it.
    pub(crate) fn wrong_type(&mut self, key: &str, value: &Node, expected: &str) {
        self.add(
            value.place,
            format!("'{key}' has an invalid type '{}', expected type is '{expected}'", value.type_name()),
        );
    }
}
