//! Makes the operators known by their names.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use updraft_core::operator::{OperatorInfo, Registry};

use crate::bash::BashOperator;
use crate::config::OperatorsConfig;
use crate::python::{Kind, PythonOperator};

/// Makes Bash, Python, branch and short circuit known, under every import path that Airflow 2 has for them and their
/// short names.
pub fn register_all(registry: &mut Registry, config: OperatorsConfig) {
    let config = Arc::new(config);
    let mut bash = OperatorInfo::new("airflow.operators.bash.BashOperator")
        .alias("airflow.operators.bash_operator.BashOperator")
        .alias("airflow.providers.standard.operators.bash.BashOperator")
        .alias("BashOperator")
        .alias("bash")
        .template_fields(&["bash_command", "env", "cwd"]);
    bash.ui_color = "#f0ede4".into();
    bash.check = Some(check_bash);
    registry.register(bash, BashOperator { config: Arc::clone(&config) });

    let python = [
        ("PythonOperator", "python", Kind::Plain),
        ("BranchPythonOperator", "branch_python", Kind::Branch),
        ("ShortCircuitOperator", "short_circuit", Kind::ShortCircuit),
    ];
    for (class, short, kind) in python {
        let mut info = OperatorInfo::new(&format!("airflow.operators.python.{class}"))
            .alias(&format!("airflow.operators.python_operator.{class}"))
            .alias(&format!("airflow.providers.standard.operators.python.{class}"))
            .alias(class)
            .alias(short)
            .template_fields(&["templates_dict", "op_args", "op_kwargs"]);
        info.field_defaults = Map::from_iter([("op_args".into(), json!([])), ("op_kwargs".into(), json!({}))]);
        info.ui_color = "#ffefeb".into();
        info.check = Some(if kind == Kind::ShortCircuit { check_short_circuit } else { check_python });
        registry.register(info, PythonOperator { config: Arc::clone(&config), kind });
    }
}

const BASH: &[&str] =
    &["bash_command", "env", "append_env", "output_encoding", "skip_exit_code", "skip_on_exit_code", "cwd"];

const PYTHON: &[&str] = &[
    "python_callable",
    "python_callable_name",
    "python_callable_file",
    "op_args",
    "op_kwargs",
    "templates_dict",
    "templates_exts",
    "show_return_value_in_logs",
    "provide_context",
];

fn check_names(arguments: &Map<String, Value>, known: &[&str], more: &[&str]) -> Result<(), String> {
    let is_known = |name: &str| known.contains(&name) || more.contains(&name);
    match arguments.keys().find(|name| !is_known(name)) {
        Some(unknown) => Err(format!("unexpected argument '{unknown}'")),
        None => Ok(()),
    }
}

fn check_bash(arguments: &Map<String, Value>) -> Result<(), String> {
    if !arguments.contains_key("bash_command") {
        return Err("missing keyword argument 'bash_command'".into());
    }
    check_names(arguments, BASH, &[])
}

fn check_python(arguments: &Map<String, Value>) -> Result<(), String> {
    check_callable(arguments)?;
    check_names(arguments, PYTHON, &[])
}

fn check_short_circuit(arguments: &Map<String, Value>) -> Result<(), String> {
    check_callable(arguments)?;
    check_names(arguments, PYTHON, &["ignore_downstream_trigger_rules"])
}

fn check_callable(arguments: &Map<String, Value>) -> Result<(), String> {
    crate::python::callable(arguments).map(|_| ())
}
