//! The Bash operator, through a real executor.

mod common;

use std::time::Duration;

use common::{Bed, lives, until};
use serde_json::{Value, json};
use updraft_core::executor::Executor;
use updraft_core::operator::{CancelReason, Outcome, TaskError};

fn bash(command: &str) -> Bed {
    Bed::new("bash", json!({"bash_command": command}))
}

fn bash_with(command: &str, more: Value) -> Bed {
    let mut arguments = common::args(more);
    arguments.insert("bash_command".into(), command.into());
    Bed::new("airflow.operators.bash.BashOperator", Value::Object(arguments))
}

#[tokio::test]
async fn the_log_is_airflows_and_the_last_line_is_the_result() {
    let bed = bash("echo loaded; echo to stderr >&2; printf 'last  \\t'");
    assert_eq!(bed.value().await, "last");
    let said = bed.said().await;
    let expected = [
        "INFO - Exporting env vars: AIRFLOW_CTX_DAG_OWNER='lab' AIRFLOW_CTX_DAG_ID='d' AIRFLOW_CTX_TASK_ID='t' \
         AIRFLOW_CTX_EXECUTION_DATE='2024-01-01T00:00:00.261096+00:00' AIRFLOW_CTX_TRY_NUMBER='1' \
         AIRFLOW_CTX_DAG_RUN_ID='r'",
        "INFO - Tmp dir root location: /tmp",
        "INFO - Running command: ['/usr/bin/bash', '-c', \"echo loaded; echo to stderr >&2; printf 'last  \\\\t'\"]",
        "INFO - Output:",
        "INFO - loaded",
        "INFO - to stderr",
        "INFO - last",
        "INFO - Command exited with return code 0",
    ];
    let begin = said.iter().position(|line| line.starts_with("INFO - Exporting")).unwrap();
    assert_eq!(said[begin..begin + expected.len()], expected);
    assert_eq!(bed.store.pids.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn no_output_is_an_empty_result_and_empty_lines_count() {
    assert_eq!(bash("true").value().await, "");
    assert_eq!(bash("echo a; echo").value().await, "");
    assert_eq!(bash("printf 'a\\r\\nb\\r\\n'").value().await, "b");
}

#[tokio::test]
async fn exit_codes_fail_or_skip() {
    let bed = bash("exit 1");
    assert_eq!(bed.failure().await, "Bash command failed. The command returned a non-zero exit code 1.");
    assert!(bed.log().await.contains("Command exited with return code 1"));
    assert_eq!(
        bash("kill -9 $$").failure().await,
        "Bash command failed. The command returned a non-zero exit code -9."
    );
    assert_eq!(bash("exit 99").run().await.unwrap(), Outcome::Skipped);
    let code = |code: Value| json!({ "skip_on_exit_code": code });
    assert_eq!(bash_with("exit 3", code(json!(3))).run().await.unwrap(), Outcome::Skipped);
    assert_eq!(bash_with("exit 4", code(json!([3, 4]))).run().await.unwrap(), Outcome::Skipped);
    assert!(bash_with("exit 99", code(json!(3))).failure().await.ends_with("exit code 99."));
    assert!(bash_with("exit 99", code(Value::Null)).failure().await.ends_with("exit code 99."));
    assert_eq!(bash_with("exit 5", json!({"skip_exit_code": 5})).run().await.unwrap(), Outcome::Skipped);
}

#[tokio::test]
async fn the_environment_is_inherited_replaced_or_added_to() {
    let show = "echo ${HOME:-none} ${A:-none} $AIRFLOW_CTX_TASK_ID";
    let home = std::env::var("HOME").unwrap();
    assert_eq!(bash(show).value().await, format!("{home} none t"));
    assert_eq!(bash_with(show, json!({"env": {"A": "1"}})).value().await, "none 1 t");
    assert_eq!(bash_with(show, json!({"env": {}})).value().await, "none none t");
    assert_eq!(bash_with(show, json!({"env": {"A": "1"}, "append_env": true})).value().await, format!("{home} 1 t"));
    assert_eq!(
        bash_with(show, json!({"env": {"A": 1}})).failure().await,
        "the argument 'env' must be a mapping of strings, which 'A' is not"
    );
    assert_eq!(
        bash_with(show, json!({"env": {"A=B": "1"}})).failure().await,
        "illegal environment variable name 'A=B'"
    );
    assert_eq!(bash("cat; echo end of stdin").value().await, "end of stdin");
}

#[tokio::test]
async fn it_runs_in_a_folder_of_its_own_or_the_given_one() {
    let own = bash("echo x > file; pwd").value().await;
    let own = own.as_str().unwrap();
    assert!(own.contains("/airflowtmp"), "{own}");
    assert!(!std::path::Path::new(own).exists());
    assert_eq!(bash_with("pwd", json!({"cwd": "/usr"})).value().await, "/usr");
    assert_eq!(bash_with("pwd", json!({"cwd": "/no/such"})).failure().await, "Can not find the cwd: /no/such");
    assert_eq!(
        bash_with("pwd", json!({"cwd": "/etc/passwd"})).failure().await,
        "The cwd /etc/passwd must be a directory"
    );
}

#[tokio::test]
async fn bytes_that_are_no_text_show_as_python_shows_them() {
    assert_eq!(bash("printf 'a\\xffb\\xc3\\xbc'").value().await, "a\\xffbü");
    assert_eq!(bash_with("printf '\\xfc'", json!({"output_encoding": "latin-1"})).value().await, "ü");
    assert_eq!(bash_with("printf '\\x80'", json!({"output_encoding": "cp1252"})).value().await, "€");
    assert_eq!(bash_with("printf 'a\\x80'", json!({"output_encoding": "ascii"})).value().await, "a\\x80");
    assert_eq!(bash_with("true", json!({"output_encoding": "nope"})).failure().await, "unknown encoding: nope");
}

#[tokio::test]
async fn an_endless_line_is_cut_where_it_is_kept_and_whole_in_the_log() {
    let bed = bash("head -c 3000000 /dev/zero | tr '\\0' x; echo; head -c 3000000 /dev/zero | tr '\\0' y");
    let value = bed.value().await;
    assert_eq!(value.as_str().unwrap().len(), 1 << 20);
    assert!(value.as_str().unwrap().bytes().all(|byte| byte == b'y'));
    let log = bed.log().await;
    assert_eq!(log.bytes().filter(|&byte| byte == b'y').count() - log.matches("ystem").count(), {
        let others = log.lines().filter(|line| !line.ends_with("yy")).map(|line| line.matches('y').count());
        3_000_000 + others.sum::<usize>()
    });
}

#[tokio::test]
async fn a_timeout_asks_first_and_kills_the_group_then() {
    let mut bed = bash("trap 'echo asked; exit 0' TERM; echo $$; sleep 100 & wait");
    bed.task().execution_timeout = Some(Duration::from_millis(300));
    assert!(matches!(bed.run().await, Err(TaskError::TimedOut(_))));
    let log = bed.log().await;
    assert!(log.contains("Sending SIGTERM signal to process group") && log.contains("INFO - asked"), "{log}");

    let mut bed = bash("trap '' TERM; (trap '' TERM; echo child $BASHPID; while :; do sleep 1; done) & wait");
    bed.task().execution_timeout = Some(Duration::from_millis(300));
    assert!(matches!(bed.run().await, Err(TaskError::TimedOut(_))));
    let said = bed.said().await;
    let child = said.iter().find_map(|line| line.strip_prefix("INFO - child ")).unwrap().parse().unwrap();
    let shell = bed.store.pids.lock().unwrap()[0];
    until(async || !lives(child) && !lives(shell)).await;
}

#[tokio::test]
async fn cancelling_dropping_and_shutting_down_end_the_group() {
    let command = "sleep 1000 & echo child $!; wait";
    let started = async |bed: &Bed| {
        let token = bed.start();
        bed.log_has("INFO - child ").await;
        let child = bed.said().await.iter().find_map(|line| line.strip_prefix("INFO - child ")?.parse().ok()).unwrap();
        (token, child)
    };
    let bed = bash(command);
    let (token, child) = started(&bed).await;
    bed.executor.cancel(token, CancelReason::Obsolete);
    assert!(matches!(bed.end().await, Err(TaskError::Cancelled(CancelReason::Obsolete))));
    until(async || !lives(child)).await;

    let bed = bash(command);
    let (_, child) = started(&bed).await;
    bed.executor.shutdown(Duration::from_secs(20)).await;
    assert!(matches!(bed.end().await, Err(TaskError::Cancelled(CancelReason::Shutdown))));
    until(async || !lives(child)).await;

    let bed = bash(command);
    let (_, child) = started(&bed).await;
    drop(bed);
    until(async || !lives(child)).await;
}

#[tokio::test]
async fn what_holds_the_output_is_waited_for_and_what_does_not_is_ended() {
    let bed = bash("(sleep 0.5; echo late) & echo early");
    assert_eq!(bed.value().await, "late");
    let bed = bash("sleep 1000 >/dev/null 2>&1 & echo $!");
    let child: u32 = bed.value().await.as_str().unwrap().parse().unwrap();
    until(async || !lives(child)).await;
}

#[tokio::test]
async fn a_template_file_runs_as_a_script() {
    // What a renderer makes of a file's name is its text; here nobody renders.
    let bed = bash("run.sh");
    assert!(bed.failure().await.ends_with("exit code 127."));
    assert!(bed.log().await.contains("Running command: ['/usr/bin/bash', '.tmp"), "{}", bed.log().await);
}

#[tokio::test]
async fn the_servers_own_settings_stay_its_own() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_environment_holds_no_settings", "--ignored"])
        .env("UPDRAFT_ADMIN", "admin:secret")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[tokio::test]
#[ignore = "run by the_servers_own_settings_stay_its_own"]
async fn the_environment_holds_no_settings() {
    assert_eq!(std::env::var("UPDRAFT_ADMIN").unwrap(), "admin:secret");
    assert_eq!(bash("env | grep -c UPDRAFT || true").value().await, "0");
}

/// A whole process with an executor, for the next test to kill.
#[tokio::test]
#[ignore = "run by nothing_outlives_a_killed_scheduler"]
async fn host() {
    let bed = bash("trap '' TERM HUP; (trap '' TERM HUP; sleep 1000) & echo pids $$ $!; wait");
    bed.start();
    bed.log_has("INFO - pids ").await;
    println!("{}", bed.said().await.join("\n"));
    let python = Bed::new("python", json!({"python_callable": "callables.sleeps"}));
    python.start();
    python.log_has("INFO - pids ").await;
    println!("{}\nready", python.said().await.join("\n"));
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn nothing_outlives_a_killed_scheduler() {
    use std::io::{BufRead, BufReader};
    let mut host = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "host", "--ignored", "--nocapture"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut pids: Vec<u32> = Vec::new();
    for line in BufReader::new(host.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some(list) = line.strip_prefix("INFO - pids ") {
            pids.extend(list.split(' ').map(|pid| pid.parse::<u32>().unwrap()));
        }
        if line == "ready" {
            break;
        }
    }
    assert_eq!(pids.len(), 4);
    assert!(pids.iter().all(|&pid| lives(pid)));
    // SIGKILL: nothing of the host gets to run any more.
    host.kill().unwrap();
    host.wait().unwrap();
    until(async || !pids.iter().any(|&pid| lives(pid))).await;
}
