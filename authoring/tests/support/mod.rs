//! What the tests of this crate share.
#![allow(dead_code, reason = "not every test needs all of it")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use updraft_authoring::{FileLoad, Loader};
use updraft_core::clock::SimulatedClock;
use updraft_core::operator::{Operator, OperatorInfo, Outcome, Registry, TaskContext, TaskError};

#[derive(Debug)]
struct Nothing;

#[async_trait]
impl Operator for Nothing {
    async fn execute(&self, _: &TaskContext) -> Result<Outcome, TaskError> {
        Ok(Outcome::success())
    }
}

/// Operators by the names that the DAG files of the tests use.
pub(crate) fn registry() -> Arc<Registry> {
    let mut registry = Registry::default();
    let mut bash = OperatorInfo::new("airflow.operators.bash.BashOperator")
        .alias("airflow.operators.bash_operator.BashOperator")
        .alias("airflow.providers.standard.operators.bash.BashOperator")
        .alias("bash")
        .template_fields(&["bash_command", "env", "cwd"]);
    bash.ui_color = "#f0ede4".into();
    bash.check = Some(|arguments| {
        let known = ["bash_command", "env", "cwd", "append_env", "skip_on_exit_code"];
        match arguments.keys().find(|name| !known.contains(&name.as_str())) {
            _ if !arguments.contains_key("bash_command") => Err("missing keyword argument 'bash_command'".into()),
            Some(name) => Err(format!("unexpected argument '{name}'")),
            None => Ok(()),
        }
    });
    registry.register(bash, Nothing);
    for class in ["PythonOperator", "BranchPythonOperator", "ShortCircuitOperator"] {
        let mut info = OperatorInfo::new(&format!("airflow.operators.python.{class}"))
            .alias(&format!("airflow.operators.python_operator.{class}"))
            .alias(&format!("airflow.providers.standard.operators.python.{class}"))
            .template_fields(&["templates_dict", "op_args", "op_kwargs"]);
        info.ui_color = "#ffefeb".into();
        registry.register(info, Nothing);
    }
    registry.register(OperatorInfo::new("my.app.Thing"), Nothing);
    Arc::new(registry)
}

/// The moment at which the tests' clock starts.
pub(crate) fn start() -> DateTime<Utc> {
    "2030-06-15T12:00:00Z".parse().unwrap()
}

/// A loader of a folder, on a clock that stands.
pub(crate) fn loader(folder: &Path) -> Loader {
    Loader::new(registry(), Arc::new(SimulatedClock::new(start()))).folder(folder)
}

/// The folder of this crate's data.
pub(crate) fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// Loads a text as the only file of a folder.
pub(crate) fn load(text: &str) -> FileLoad {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dags.yaml");
    std::fs::write(&path, text).unwrap();
    loader(folder.path()).load_file(&path)
}

/// The problems of a text, without the file's name.
pub(crate) fn problems(text: &str) -> Vec<String> {
    let load = load(text);
    let prefix = load.path.display().to_string();
    load.problems.iter().map(|problem| problem.to_string().replacen(&prefix, "", 1)).collect()
}
