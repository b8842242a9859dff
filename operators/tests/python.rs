//! The Python operators, through a real executor.

mod common;

use std::time::Duration;

use common::{Bed, lives, until};
use serde_json::{Map, Value, json};
use updraft_core::executor::Executor;
use updraft_core::model::{Dataset, DatasetEvent, DatasetEventSource, Param, TaskGroup};
use updraft_core::operator::{CancelReason, Outcome, Registry, SkipDownstream, TaskError};

fn python_with(name: &str, more: Value) -> Bed {
    let mut arguments = common::args(more);
    arguments.insert("python_callable".into(), format!("callables.{name}").into());
    Bed::new("python", Value::Object(arguments))
}

fn python(name: &str) -> Bed {
    python_with(name, json!({}))
}

#[tokio::test]
async fn arguments_and_result_pass_and_what_is_printed_is_logged() {
    let bed = python_with("adds", json!({"op_args": [1], "op_kwargs": {"c": 10}}));
    assert_eq!(bed.value().await, 13);
    let said = bed.said().await;
    let begin = said.iter().position(|line| line == "INFO - imported").unwrap();
    assert_eq!(
        said[begin + 1..begin + 6],
        [
            "INFO - adding",
            "INFO - to stderr",
            "WARNING - careful",
            "second line",
            "INFO - Done. Returned value was: 13",
        ]
    );
    assert!(bed.log().await.contains("] {callables.py:"));
    assert_eq!(bed.store.pids.lock().unwrap().len(), 1);

    let hidden = python_with("adds", json!({"op_args": [1], "show_return_value_in_logs": false}));
    assert_eq!(hidden.value().await, 3);
    assert!(hidden.log().await.contains("Done. Returned value not shown"));
    assert_eq!(python("nothing").value().await, "nothing");
    assert_eq!(python("yields").value().await, "end");
    assert_eq!(python("reads_stdin").value().await, "");
    assert_eq!(python("is_big").value().await.as_str().unwrap().len(), 5 << 20);
}

#[tokio::test]
async fn a_function_gets_of_the_context_what_it_takes() {
    let mut bed = python_with("names", json!({"op_kwargs": {"conf_key": "mine", "ds": "given"}}));
    bed.conf = json!({"a": 1});
    bed.dag.params.push(Param {
        name: "p".into(),
        value: Some(json!([1])),
        description: None,
        schema: Default::default(),
    });
    assert_eq!(
        bed.value().await,
        json!([
            "given", "2024-01-01T00:00:00.261096+00:00", "r", {"p": [1], "a": 1}, {"a": 1}, "t", 1, "lab", "d",
            "2024-01-01 00:00:00.261096+00:00", "<TaskInstance: d.t r [running]>", "mine"
        ])
    );
    let all = python_with("takes_all", json!({"op_kwargs": {"mine": 1}, "templates_dict": {"x": 1}})).value().await;
    let all: Vec<&str> = all.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for name in ["mine", "ds_nodash", "ti", "templates_dict", "ts_nodash_with_tz", "var", "prev_start_date_success"] {
        assert!(all.contains(&name), "{name}");
    }
    assert_eq!(python("previous").value().await, json!(["2023-12-31T00:00:00.261096+00:00", null]));
    let clash = python_with("names", json!({"op_args": ["x"]})).failure().await;
    assert!(clash.contains("ValueError: The key 'ds' in args is a part of kwargs and therefore reserved."), "{clash}");
}

#[tokio::test]
async fn a_function_reads_and_tells_of_updates_of_datasets() {
    let mut bed = python("updates");
    bed.task().outlets = vec!["s3://lab/a".into(), Dataset::new("s3://lab/b").with_extra("rows", 7).into_value()];
    let event = |id, uri: &str| DatasetEvent {
        id,
        dataset_id: 3,
        dataset_uri: uri.into(),
        extra: Map::from_iter([("id".to_owned(), json!(id))]),
        source: Some(DatasetEventSource { dag_id: "p".into(), task_id: "t".into(), run_id: "r".into(), map_index: -1 }),
        timestamp: common::logical_date(),
        created_dag_runs: Vec::new(),
    };
    bed.store.updates.lock().unwrap().extend([event(5, "s3://lab/x"), event(6, "s3://lab/y"), event(7, "s3://lab/x")]);
    let Outcome::Success { value, outlet_events, .. } = bed.run().await.unwrap() else { panic!("no success") };
    let expected = json!([
        ["s3://lab/x", "s3://lab/y"], [{"id": 5}, {"id": 7}], ["p", "s3://lab/y", "2024-01-01", "r"],
        "[Dataset(uri='s3://lab/a', extra=None), Dataset(uri='s3://lab/b', extra={'rows': 7})]"
    ]);
    assert_eq!(value.unwrap(), expected);
    let told: Vec<_> = outlet_events.iter().map(|event| json!([event.uri, event.extra])).collect();
    assert_eq!(told, [json!(["s3://lab/a", {"rows": 1}]), json!(["s3://lab/b", {"more": [null]}])]);
    // Who says nothing asks for nothing.
    bed.task().arguments.insert("python_callable".into(), "callables.nothing".into());
    let Outcome::Success { outlet_events, .. } = bed.run().await.unwrap() else { panic!("no success") };
    assert!(outlet_events.is_empty());
}

#[tokio::test]
async fn a_function_asks_for_xcoms_variables_and_connections() {
    let bed = python("talks");
    assert_eq!(
        bed.value().await,
        json!([
            [null, "one", "return_value"], "d", [["other", "one", "k"], ["other", "two", "k"]], {"a": 1}, 5,
            "{\"a\": 1}", 1, "db", "known"
        ])
    );
    assert_eq!(*bed.store.left.lock().unwrap(), [("key".to_owned(), json!({"a": [1, 2]}))]);
    assert!(matches!(python("is_fenced").run().await, Err(TaskError::Cancelled(CancelReason::Obsolete))));
}

#[tokio::test]
async fn exceptions_fail_skip_or_fail_for_good() {
    let bed = python("fails");
    let error = bed.run().await.unwrap_err();
    assert!(error.may_retry());
    let text = error.to_string();
    assert!(text.starts_with("Traceback (most recent call last):\n  File \"/"), "{text}");
    assert!(text.ends_with("raise ValueError(\"boom\")\nValueError: boom"), "{text}");
    assert!(!text.contains("<updraft>"), "{text}");
    assert!(bed.log().await.contains("ERROR - Task failed with exception\nTraceback (most recent call last):\n"));

    let bed = python("skips");
    assert_eq!(bed.run().await.unwrap(), Outcome::Skipped);
    assert!(bed.log().await.contains("INFO - nothing new"));
    let error = python("fails_for_good").run().await.unwrap_err();
    assert!(!error.may_retry() && error.to_string().ends_with("AirflowFailException: hopeless"), "{error}");

    assert_eq!(python_with("exits", json!({"op_args": [0]})).value().await, "nothing");
    assert_eq!(python_with("exits", json!({"op_args": [3]})).failure().await, "Task failed due to SystemExit(3)");
    assert_eq!(python("dies").failure().await, "the Python process ended without a result, with return code 7");
}

#[tokio::test]
async fn results_are_json_or_an_error() {
    let kinds = json!({"1": [1, [2]], "date": "2024-01-02", "deep": [[null, true, 1.5, "ü"]]});
    assert_eq!(python("kinds").value().await, kinds);
    let bed = python("is_no_json");
    assert!(bed.failure().await.ends_with("TypeError: cannot serialize object of type <class 'object'>"));
    assert!(bed.log().await.contains("ERROR - Could not serialize the XCom value into JSON."));
    assert!(python("is_not_a_number").failure().await.contains("not JSON compliant"));
    assert!(python("holds_itself").failure().await.contains("ValueError: the result is nested too deeply"));
    let text = python("is_deep").failure().await;
    assert!(text.contains("recursion limit exceeded"), "{text}");
    let mut bed = python("is_no_json");
    bed.task().do_xcom_push = false;
    assert_eq!(bed.value().await, "nothing");
}

#[tokio::test]
async fn functions_that_cannot_be_found_say_so() {
    let failure = async |callable: &str| Bed::new("python", json!({ "python_callable": callable })).failure().await;
    assert!(failure("no_such_module.f").await.ends_with("ModuleNotFoundError: No module named 'no_such_module'"));
    let text = failure("callables.no_such").await;
    assert!(text.ends_with("Module \"callables\" does not define a \"no_such\" attribute/class"), "{text}");
    assert!(failure("callables.not_callable").await.contains("`python_callable` param must be callable"));

    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/callables.py");
    let bed = Bed::new(
        "python",
        json!({"python_callable_name": "echo", "python_callable_file": file, "op_kwargs": {"value": [1]}}),
    );
    assert_eq!(bed.value().await, json!([1]));
}

#[tokio::test]
async fn the_operators_channel_is_not_the_functions_stdout() {
    let bed = python("shell");
    assert_eq!(bed.value().await, "mine");
    let log = bed.log().await;
    assert!(log.contains("INFO - from a child") && log.contains("INFO - {\"end\": \"returned\""), "{log}");
}

#[tokio::test]
async fn a_timeout_unwinds_the_function_and_children_are_ended() {
    let mut bed = python("cleans_up");
    bed.task().execution_timeout = Some(Duration::from_secs(1));
    assert!(matches!(bed.run().await, Err(TaskError::TimedOut(_))));
    let log = bed.log().await;
    assert!(log.contains("INFO - started") && log.contains("INFO - cleaned up"), "{log}");

    let child = python("leaves_a_child").value().await.as_u64().unwrap();
    let child = u32::try_from(child).unwrap();
    until(async || !lives(child)).await;

    let bed = python("sleeps");
    let token = bed.start();
    bed.log_has("INFO - pids ").await;
    bed.executor.cancel(token, CancelReason::Obsolete);
    assert!(matches!(bed.end().await, Err(TaskError::Cancelled(CancelReason::Obsolete))));
    let pid = bed.store.pids.lock().unwrap()[0];
    until(async || !lives(pid)).await;
}

/// `t` before `a`, `b`, `join` (after `a`, too) and the group `g` with `g.x` before `g.y`.
fn decides(kind: &str, value: Value) -> Bed {
    let mut bed = Bed::new(kind, json!({"python_callable": "callables.echo", "op_args": [value]}));
    bed.after("a", &[0]);
    bed.after("b", &[0]);
    bed.after("join", &[0, 1]);
    bed.after("g.x", &[0]);
    bed.after("g.y", &[4]);
    let group = TaskGroup { group_id: "g".into(), prefix_group_id: true, parent: None, tooltip: String::new() };
    bed.dag.groups.push(group);
    bed.dag.tasks[4].group = Some(0);
    bed.dag.tasks[5].group = Some(0);
    bed
}

#[tokio::test]
async fn a_branch_follows_what_the_function_names() {
    let follows = async |value: Value| match decides("branch_python", value.clone()).run().await.unwrap() {
        Outcome::Success { value: result, skip: SkipDownstream::Follow(ids), .. } => {
            assert_eq!(result.unwrap_or_default(), value);
            ids
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(follows(json!("a")).await, ["a", "join"]);
    assert_eq!(follows(json!(["b", "g"])).await, ["b", "g.x"]);
    assert_eq!(follows(json!("g.y")).await, [""; 0]);
    assert_eq!(follows(json!([])).await, [""; 0]);
    assert_eq!(follows(Value::Null).await, [""; 0]);

    let bed = decides("airflow.operators.python.BranchPythonOperator", json!("a"));
    bed.run().await.unwrap();
    let log = bed.log().await;
    for line in ["Branch into a", "Following branch {'a'}", "Skipping tasks [('b', -1), ('g.x', -1)]"] {
        assert!(log.contains(&format!("INFO - {line}\n")), "{log}");
    }
}

#[tokio::test]
async fn a_branch_that_names_nothing_known_fails() {
    let failure = async |value: Value| decides("branch_python", value).failure().await;
    assert_eq!(
        failure(json!(["a", "nope"])).await,
        "'branch_task_ids' must contain only valid task_ids. Invalid tasks found: {'nope'}."
    );
    assert_eq!(
        failure(json!(5)).await,
        "'branch_task_ids' expected all task IDs are strings. Invalid tasks found: {(5, 'int')}."
    );
    assert!(failure(json!("")).await.ends_with("Invalid tasks found: {''}."));
}

#[tokio::test]
async fn a_short_circuit_skips_what_comes_after() {
    let skips = async |value: Value, more: Option<bool>| {
        let mut bed = decides("short_circuit", value.clone());
        if let Some(ignore) = more {
            bed.task().arguments.insert("ignore_downstream_trigger_rules".into(), ignore.into());
        }
        match bed.run().await.unwrap() {
            Outcome::Success { value: result, skip, .. } => {
                assert_eq!(result.unwrap_or_default(), value);
                skip
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(skips(json!("yes"), None).await, SkipDownstream::None);
    assert_eq!(skips(json!(0), None).await, SkipDownstream::All);
    assert_eq!(skips(Value::Null, Some(true)).await, SkipDownstream::All);
    assert_eq!(skips(json!({}), Some(false)).await, SkipDownstream::Direct);
    let alone = Bed::new("short_circuit", json!({"python_callable": "callables.nothing"}));
    assert_eq!(alone.value().await, "nothing");
    assert!(alone.log().await.contains("No downstream tasks; nothing to do."));
}

#[test]
fn arguments_are_checked_when_a_dag_is_loaded() {
    let mut registry = Registry::default();
    updraft_operators::register_all(&mut registry, Default::default());
    let check = |operator: &str, arguments: Value| {
        let check = registry.info(operator).unwrap().check.unwrap();
        check(&common::args(arguments)).err().unwrap_or_default()
    };
    assert_eq!(check("bash", json!({})), "missing keyword argument 'bash_command'");
    assert_eq!(check("bash", json!({"bash_command": "x", "foo": 1})), "unexpected argument 'foo'");
    assert_eq!(check("python", json!({"python_callable": "f"})), "f doesn't look like a module path");
    assert_eq!(
        check("python", json!({})),
        "missing 'python_callable', or 'python_callable_name' and 'python_callable_file'"
    );
    let relative = json!({"python_callable_name": "f", "python_callable_file": "x.py"});
    assert_eq!(check("python", relative), "`python_callable_file` must be absolute path");
    let ignore = json!({"python_callable": "m.f", "ignore_downstream_trigger_rules": true});
    assert_eq!(check("short_circuit", ignore.clone()), "");
    assert_eq!(check("python", ignore), "unexpected argument 'ignore_downstream_trigger_rules'");
    for name in
        ["airflow.operators.bash_operator.BashOperator", "airflow.providers.standard.operators.bash.BashOperator"]
    {
        assert_eq!(registry.info(name).unwrap().path.path(), "airflow.operators.bash.BashOperator");
    }
}
