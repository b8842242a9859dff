//! Calls Python functions in an interpreter of its own.

mod channel;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use tokio::process::Command;
use updraft_core::model::Dataset;
use updraft_core::operator::{Operator, Outcome, SkipDownstream, TaskContext, TaskError};

use crate::airflow_env::{self, isoformat};
use crate::config::OperatorsConfig;
use crate::output::{Decoder, Output};
use crate::process::{ProcessGroup, inherited_env};
use crate::{branch, exit_code, note_process};
use channel::{Channel, Reply};

/// What runs in the interpreter.
const DRIVER: &str = concat!(include_str!("python/ground.py"), include_str!("python/driver.py"));

/// Takes the driver from stdin, so that nothing but this shows in lists of processes.
pub(crate) const BOOT: &str =
    r#"import os,json;channel=open(os.dup(0),"rb");exec(compile(json.loads(channel.readline()),"<updraft>","exec"))"#;

/// How long what was written last may take to arrive after all processes have ended.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(1);

/// What is made of a function's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    Branch,
    ShortCircuit,
}

/// Airflow's `PythonOperator`, `BranchPythonOperator` and `ShortCircuitOperator`: a function is called in a Python
/// process of its own, with those of the context's values that it takes. Its result is the function's, as JSON.
///
/// Values of the context are plain data. XComs, variables and connections are asked for while the function runs. All
/// that the process started is killed when the function has returned.
#[derive(Debug)]
pub(crate) struct PythonOperator {
    pub(crate) config: Arc<OperatorsConfig>,
    pub(crate) kind: Kind,
}

/// Which function: `python_callable` as an import path, or `python_callable_name` in `python_callable_file`.
pub(crate) fn callable(arguments: &Map<String, Value>) -> Result<Value, String> {
    let text = |name: &str| match arguments.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(format!("the argument '{name}' must be a string")),
    };
    match (text("python_callable")?, text("python_callable_name")?, text("python_callable_file")?) {
        (Some(path), _, _) => match path.rsplit_once('.') {
            Some((module, name)) if !module.is_empty() && !name.is_empty() => {
                Ok(json!({"module": module, "name": name}))
            }
            _ => Err(format!("{path} doesn't look like a module path")),
        },
        (None, Some(name), Some(file)) if Path::new(file).is_absolute() => Ok(json!({"file": file, "name": name})),
        (None, Some(_), Some(_)) => Err("`python_callable_file` must be absolute path".into()),
        (None, ..) => Err("missing 'python_callable', or 'python_callable_name' and 'python_callable_file'".into()),
    }
}

impl PythonOperator {
    /// All that the driver needs to know.
    fn input(&self, context: &TaskContext) -> Result<Value, TaskError> {
        let arguments = context.arguments();
        let or = |name: &str, default: Value| {
            arguments.get(name).filter(|value| !value.is_null()).cloned().unwrap_or(default)
        };
        let (args, kwargs) = (or("op_args", json!([])), or("op_kwargs", json!({})));
        if !args.is_array() {
            return Err(TaskError::failed("the argument 'op_args' must be a list"));
        }
        if !kwargs.is_object() {
            return Err(TaskError::failed("the argument 'op_kwargs' must be a mapping"));
        }
        Ok(json!({
            "callable": callable(arguments).map_err(TaskError::failed)?,
            "args": args,
            "kwargs": kwargs,
            "templates_dict": arguments.get("templates_dict"),
            "shows_result": or("show_return_value_in_logs", json!(true)),
            "wants_truth": self.kind == Kind::ShortCircuit,
            "wants_result": context.task().do_xcom_push || self.kind == Kind::Branch,
            "path": self.path(context),
            "context": facts(context),
        }))
    }

    /// Where modules are looked for, beside where the interpreter looks.
    fn path(&self, context: &TaskContext) -> Vec<String> {
        let file = std::path::absolute(&context.attempt().dag.fileloc).ok();
        let folder = file.as_deref().and_then(Path::parent).map(Path::to_path_buf);
        let roots = self.config.python_path.iter().filter_map(|root| std::path::absolute(root).ok());
        let mut path: Vec<PathBuf> = Vec::new();
        for folder in folder.into_iter().chain(roots) {
            if !path.contains(&folder) {
                path.push(folder);
            }
        }
        path.iter().map(|folder| folder.to_string_lossy().into_owned()).collect()
    }

    async fn call(&self, context: &TaskContext) -> Result<Reply, TaskError> {
        let failed = |what: &str, error: std::io::Error| TaskError::failed(format!("{what}: {error}"));
        let input = self.input(context)?;
        let python = &self.config.python;
        let mut command = Command::new(python);
        command.args(["-u", "-c", BOOT]).env_clear().envs(inherited_env()).envs(airflow_env::variables(context));
        let (mut output, stderr, spare) =
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
        note_process(context, &process).await?;
        let mut channel = Channel::new(process.stdin.take(), process.stdout.take());

        let talk = async {
            let reply = channel.serve(context, [&Value::from(DRIVER), &input]).await;
            drop(channel);
            reply
        };
        let mut talk = Box::pin(talk);
        let mut cancelled = None;
        let reply = {
            let mut log = Box::pin(output.log_all(context));
            let mut has_logged = false;
            loop {
                tokio::select! {
                    biased;
                    reply = &mut talk => break Some(reply),
                    () = &mut log, if !has_logged => has_logged = true,
                    reason = context.cancellation().cancelled() => {
                        context.info("Sending SIGTERM signal to process group");
                        group.terminate();
                        cancelled = Some(reason);
                        tokio::select! {
                            biased;
                            _ = &mut talk => {}
                            () = async { log.await; std::future::pending().await }, if !has_logged => {}
                            () = context.clock().sleep(self.config.kill_grace) => {}
                        }
                        break None;
                    }
                }
            }
        };
        drop(talk);
        // A process that has said how it ended ends at once, and one that has closed its channel has nothing left to say.
        let status = tokio::select! {
            biased;
            status = process.wait(), if cancelled.is_none() => status.ok(),
            () = context.clock().sleep(LAST_WORDS) => None,
        };
        group.kill().await;
        tokio::select! {
            biased;
            () = output.log_all(context) => {}
            () = context.clock().sleep(LAST_WORDS) => {}
        }
        match (cancelled, reply) {
            (Some(reason), _) => Err(TaskError::Cancelled(reason)),
            (None, Some(Ok(Some(reply)))) => Ok(reply),
            (None, Some(Err(error))) => Err(error),
            (None, _) => Err(TaskError::failed(match status.map(exit_code) {
                Some(code) => format!("the Python process ended without a result, with return code {code}"),
                None => "the Python process ended without a result".into(),
            })),
        }
    }
}

#[async_trait]
impl Operator for PythonOperator {
    async fn execute(&self, context: &TaskContext) -> Result<Outcome, TaskError> {
        let (value, shown, holds) = match self.call(context).await? {
            Reply::Returned { value, shown, holds } => (value, shown, holds),
            Reply::Skipped => return Ok(Outcome::Skipped),
            Reply::Failed(text) => return Err(TaskError::Failed(text)),
            Reply::FailedForGood(text) => return Err(TaskError::FailedForGood(text)),
        };
        let skip = match self.kind {
            Kind::Plain => SkipDownstream::None,
            Kind::Branch => branch::follow(context, &value, &shown)?,
            Kind::ShortCircuit => branch::short_circuit(context, holds, &shown),
        };
        // As in Airflow, a function that returns nothing leaves no XCom.
        Ok(Outcome::new(Some(value).filter(|value| !value.is_null()), skip))
    }
}

/// The facts of which the driver builds a context.
fn facts(context: &TaskContext) -> Value {
    let (attempt, task) = (context.attempt(), context.task());
    let (dag, run) = (&attempt.dag, &attempt.run);
    let ids = |tasks: Vec<_>| -> Vec<String> {
        tasks.into_iter().filter_map(|ix| Some(dag.task(ix)?.task_id.to_string())).collect()
    };
    let downstream = dag.tasks().filter(|(_, other)| other.upstream.contains(&attempt.key.task)).map(|(ix, _)| ix);
    json!({
        "dag": {
            "dag_id": dag.dag_id,
            "description": dag.description,
            "fileloc": dag.fileloc,
            "tags": dag.tags,
            "task_ids": dag.task_ids().collect::<Vec<_>>(),
            "default_args": dag.default_args,
        },
        "run": {
            "run_id": run.run_id,
            "run_type": run.run_type,
            "logical_date": isoformat(run.logical_date),
            "data_interval_start": isoformat(run.data_interval_start),
            "data_interval_end": isoformat(run.data_interval_end),
            "start_date": run.start_date.map(isoformat),
            "queued_at": isoformat(run.queued_at),
            "external_trigger": run.external_trigger,
            "conf": run.conf,
        },
        "task": {
            "task_id": task.task_id,
            "owner": task.owner,
            "task_type": task.operator.class_name,
            "retries": task.retries,
            "pool": task.pool,
            "queue": task.queue,
            "trigger_rule": task.trigger_rule.as_str(),
            "priority_weight": task.priority_weight,
            "upstream_task_ids": ids(task.upstream.clone()),
            "downstream_task_ids": ids(downstream.collect()),
        },
        "ti": {
            "map_index": attempt.key.map_index,
            "try_number": attempt.try_number,
            "max_tries": attempt.max_tries,
            "start_date": isoformat(attempt.queued_when),
            "token": attempt.token,
        },
        "inlets": datasets(&task.inlets),
        "outlets": datasets(&task.outlets),
        "params": context.params(),
    })
}

fn datasets(declared: &[Value]) -> Vec<Value> {
    let datasets = declared.iter().filter_map(Dataset::from_value);
    let shown = |Dataset { uri, extra }| json!({"uri": uri, "extra": (!extra.is_empty()).then_some(extra)});
    datasets.map(shown).collect()
}
