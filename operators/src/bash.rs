//! Runs a command in Bash.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};
use tempfile::{NamedTempFile, TempDir};
use tokio::process::Command;
use updraft_core::operator::{Operator, Outcome, TaskContext, TaskError};

use crate::config::OperatorsConfig;
use crate::output::{Decoder, Output};
use crate::process::{ProcessGroup, inherited_env, which};
use crate::python_repr::repr_all;
use crate::{airflow_env, exit_code, note_process};

/// When the log says what the task still waits for, after the shell has exited.
const SAY_WHY: Duration = Duration::from_secs(5);

/// Airflow's `BashOperator`: `bash -c`, in a temporary folder unless `cwd` is given. Its result is the last line of what
/// the command wrote.
///
/// As in Airflow, a try ends when nobody holds the command's output any more: a process in the background that goes on
/// writing to it keeps the try running after the shell has exited. Whatever else is left of the group then is killed.
#[derive(Debug)]
pub(crate) struct BashOperator {
    pub(crate) config: Arc<OperatorsConfig>,
}

/// The arguments, checked.
struct Arguments {
    command: String,
    /// Whether the command was a template file, which is run as a file.
    is_script: bool,
    env: Option<Vec<(String, String)>>,
    append_env: bool,
    decoder: Decoder,
    skip_codes: Vec<i64>,
    cwd: Option<PathBuf>,
}

fn wrong(name: &str, wanted: &str) -> TaskError {
    TaskError::failed(format!("the argument '{name}' must be {wanted}"))
}

impl Arguments {
    fn read(context: &TaskContext) -> Result<Self, TaskError> {
        let arguments = context.arguments();
        let given = |name: &str| arguments.get(name).filter(|value| !value.is_null());
        let command = given("bash_command").and_then(Value::as_str).ok_or_else(|| wrong("bash_command", "a string"))?;
        let declared = context.task().arguments.get("bash_command").and_then(Value::as_str).unwrap_or_default();
        let env = match given("env") {
            None => None,
            Some(Value::Object(env)) => Some(env.iter().map(read_variable).collect::<Result<_, _>>()?),
            Some(_) => return Err(wrong("env", "a mapping of strings")),
        };
        let encoding = match given("output_encoding") {
            None => "utf-8",
            Some(value) => value.as_str().ok_or_else(|| wrong("output_encoding", "a string"))?,
        };
        let decoder =
            Decoder::find(encoding).ok_or_else(|| TaskError::failed(format!("unknown encoding: {encoding}")))?;
        let cwd = match given("cwd") {
            None => None,
            Some(value) => Some(PathBuf::from(value.as_str().ok_or_else(|| wrong("cwd", "a string"))?)),
        };
        Ok(Self {
            command: command.into(),
            is_script: declared.ends_with(".sh") || declared.ends_with(".bash"),
            env,
            append_env: given("append_env").and_then(Value::as_bool).unwrap_or_default(),
            decoder,
            skip_codes: skip_codes(arguments)?,
            cwd,
        })
    }
}

fn read_variable((name, value): (&String, &Value)) -> Result<(String, String), TaskError> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(TaskError::failed(format!("illegal environment variable name '{name}'")));
    }
    match value {
        Value::String(value) if !value.contains('\0') => Ok((name.clone(), value.clone())),
        _ => Err(wrong("env", &format!("a mapping of strings, which '{name}' is not"))),
    }
}

/// Exit codes that skip: `skip_on_exit_code` (99 by default; a number, a list, or null for none), or its old name.
fn skip_codes(arguments: &Map<String, Value>) -> Result<Vec<i64>, TaskError> {
    let number = |value: &Value| value.as_i64().ok_or_else(|| wrong("skip_on_exit_code", "numbers"));
    let old = arguments.get("skip_exit_code").filter(|code| !code.is_null());
    match old.or_else(|| arguments.get("skip_on_exit_code")) {
        None => Ok(vec![99]),
        Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(codes)) => codes.iter().map(number).collect(),
        Some(code) => Ok(vec![number(code)?]),
    }
}

fn check_folder(cwd: &Path) -> Result<(), TaskError> {
    match cwd.metadata() {
        Err(_) => Err(TaskError::failed(format!("Can not find the cwd: {}", cwd.display()))),
        Ok(file) if !file.is_dir() => Err(TaskError::failed(format!("The cwd {} must be a directory", cwd.display()))),
        Ok(_) => Ok(()),
    }
}

/// The folder of a try. A temporary one goes away with it.
enum Folder {
    Given(PathBuf),
    Temporary(TempDir),
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }
}

impl BashOperator {
    async fn run(&self, context: &TaskContext, arguments: &Arguments) -> Result<(i64, String), TaskError> {
        let failed = |what: &str, error: std::io::Error| TaskError::failed(format!("{what}: {error}"));
        if let Some(cwd) = &arguments.cwd {
            check_folder(cwd)?;
        }
        let variables = airflow_env::variables(context);
        context.info(format_args!("Tmp dir root location: {}", std::env::temp_dir().display()));
        let folder = match &arguments.cwd {
            Some(cwd) => Folder::Given(cwd.clone()),
            None => {
                let folder = tempfile::Builder::new().prefix("airflowtmp").tempdir();
                Folder::Temporary(folder.map_err(|error| failed("a temporary folder cannot be made", error))?)
            }
        };
        let script = arguments.is_script.then(|| write_script(folder.path(), &arguments.command)).and_then(Result::ok);
        let bash = which("bash").unwrap_or_else(|| "bash".into());
        let mut command = Command::new(&bash);
        let bash = bash.to_string_lossy();
        if let Some(name) = script.as_ref().and_then(|script| script.path().file_name()) {
            command.arg(name);
            context.info(format_args!("Running command: {}", repr_all('[', [&*bash, &name.to_string_lossy()], ']')));
        } else {
            command.arg("-c").arg(&arguments.command);
            context.info(format_args!("Running command: {}", repr_all('[', [&*bash, "-c", &arguments.command], ']')));
        }
        command.env_clear();
        if arguments.env.is_none() || arguments.append_env {
            command.envs(inherited_env());
        }
        command.envs(arguments.env.iter().flatten().map(|(name, value)| (name, value)));
        command.envs(variables);

        let (mut output, stdout, stderr) =
            Output::new(arguments.decoder).map_err(|error| failed("a pipe cannot be made", error))?;
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        let group = ProcessGroup::new().map_err(|error| failed("a process cannot be started", error))?;
        let mut shell =
            group.spawn(&mut command).map_err(|error| failed(&format!("{bash} cannot be started"), error))?;
        // It holds the writing ends of the pipe.
        drop(command);
        note_process(context, &shell).await?;
        context.info("Output:");

        let mut has_exited = None;
        let work = async {
            tokio::select! {
                biased;
                () = output.log_all(context) => {}
                () = async {
                    has_exited = Some(shell.wait().await);
                    context.clock().sleep(SAY_WHY).await;
                } => {
                    context.info("The shell has exited; waiting for processes in the background that hold its output");
                    output.log_all(context).await;
                }
            }
            match has_exited {
                Some(status) => status,
                None => shell.wait().await,
            }
        };
        let mut work = Box::pin(work);
        let status = tokio::select! {
            biased;
            status = &mut work => status,
            reason = context.cancellation().cancelled() => {
                context.info("Sending SIGTERM signal to process group");
                group.terminate();
                tokio::select! {
                    biased;
                    _ = &mut work => {}
                    () = context.clock().sleep(self.config.kill_grace) => {}
                }
                drop(work);
                group.kill().await;
                return Err(TaskError::Cancelled(reason));
            }
        };
        drop(work);
        group.kill().await;
        let code = exit_code(status.map_err(|error| failed("the shell's end cannot be learned", error))?);
        context.info(format_args!("Command exited with return code {code}"));
        if let Folder::Temporary(folder) = folder {
            // What a command left may be large; a folder that stays behind harms nothing.
            let _ = tokio::task::spawn_blocking(move || folder.close()).await;
        }
        Ok((code, output.into_last_line()))
    }
}

fn write_script(folder: &Path, text: &str) -> std::io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new().suffix(".sh").tempfile_in(folder)?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    Ok(file)
}

#[async_trait]
impl Operator for BashOperator {
    async fn execute(&self, context: &TaskContext) -> Result<Outcome, TaskError> {
        let arguments = Arguments::read(context)?;
        let (code, last_line) = self.run(context, &arguments).await?;
        if arguments.skip_codes.contains(&code) {
            context.info(format_args!("Bash command returned exit code {code}. Skipping."));
            return Ok(Outcome::Skipped);
        }
        if code != 0 {
            let text = format!("Bash command failed. The command returned a non-zero exit code {code}.");
            return Err(TaskError::failed(text));
        }
        Ok(Outcome::value(last_line))
    }
}
