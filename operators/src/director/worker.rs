//! One process that runs tasks.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Map, Value, json};
use tokio::process::{Child, Command};
use updraft_core::operator::TaskError;

use crate::config::OperatorsConfig;
use crate::output::{Decoder, Output};
use crate::process::{ProcessGroup, inherited_env};
use crate::python::BOOT;
use crate::talk::Talk;

/// What runs in the interpreter.
const DRIVER: &str = concat!(include_str!("../python/ground.py"), include_str!("worker.py"));

/// A process that has imported a project's tasks. Dropping it kills it, with all that it started.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) talk: Talk,
    pub(super) output: Output,
    pub(super) process: Child,
    pub(super) group: ProcessGroup,
}

impl Worker {
    /// Starts a process, which begins to import. What it says first is [`Worker::ready`]'s.
    pub(super) async fn start(config: &OperatorsConfig, project: &Path) -> Result<Self, TaskError> {
        let failed = |what: &str, error: std::io::Error| TaskError::failed(format!("{what}: {error}"));
        let python = &config.python;
        let mut command = Command::new(python);
        command.args(["-u", "-c", BOOT]).env_clear().envs(inherited_env()).current_dir(project);
        let (output, stderr, spare) =
            Output::new(Decoder::Utf8).map_err(|error| failed("a pipe cannot be made", error))?;
        // The driver moves its stdout to the log's pipe and keeps this one to talk to us.
        drop(spare);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr);
        let group = ProcessGroup::new().map_err(|error| failed("a process cannot be started", error))?;
        let started = group.spawn(&mut command);
        let mut process = started
            .map_err(|error| failed(&format!("the interpreter '{}' cannot be started", python.display()), error))?;
        // It holds the writing end of the log's pipe.
        drop(command);
        let mut talk = Talk::new(process.stdin.take(), process.stdout.take());
        talk.send(&Value::from(DRIVER)).await;
        talk.send(&json!({ "project": project })).await;
        Ok(Self { talk, output, process, group })
    }

    /// The names of the tasks that were found, and what is wrong with which files.
    pub(super) async fn ready(&mut self) -> Result<(Vec<String>, Vec<(PathBuf, String)>), TaskError> {
        let ended = || TaskError::failed("the Python process ended before it had read the project's tasks");
        // What modules write while they are imported belongs to no task.
        let message = tokio::select! {
            biased;
            message = self.talk.receive() => message?,
            () = self.output.discard() => None,
        };
        let message = message.ok_or_else(ended)?;
        let list = |name: &str| message.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        let names = list("tasks").iter().filter_map(Value::as_str).map(str::to_owned).collect();
        let problem = |problem: &Value| {
            let text = |at: usize| problem.get(at).and_then(Value::as_str);
            Some((PathBuf::from(text(0)?), text(1)?.to_owned()))
        };
        Ok((names, list("problems").iter().filter_map(problem).collect()))
    }

    /// Kills it and all that it started, and waits until they are gone.
    pub(super) async fn kill(self) {
        self.group.kill().await;
    }

    pub(super) fn text(message: &Map<String, Value>, name: &str) -> String {
        message.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}
