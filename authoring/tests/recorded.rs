//! What is loaded agrees with what Airflow 2.11.2 with dag-factory said of the same files.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};
use updraft_core::model::{Dag, DatasetNode, Schedule, Task};

fn time_delta(duration: Duration) -> Value {
    let seconds = duration.as_secs();
    json!({"__type": "TimeDelta", "days": seconds / 86_400, "seconds": seconds % 86_400, "microseconds": duration.subsec_micros()})
}

fn schedule(schedule: &Schedule) -> Value {
    match schedule {
        Schedule::None => Value::Null,
        Schedule::Cron { expression } => json!({"__type": "CronExpression", "value": expression}),
        Schedule::Once => json!({"__type": "CronExpression", "value": "@once"}),
        Schedule::Continuous => json!({"__type": "CronExpression", "value": "@continuous"}),
        Schedule::TimeDelta { microseconds } => {
            time_delta(Duration::from_micros(u64::try_from(*microseconds).unwrap()))
        }
        Schedule::RelativeDelta { fields } => {
            let mut all = json!({
                "__type": "RelativeDelta", "years": 0, "months": 0, "days": 0, "leapdays": 0, "hours": 0, "minutes": 0,
                "seconds": 0, "microseconds": 0, "year": null, "month": null, "day": null, "hour": null, "minute": null,
                "second": null, "microsecond": null,
            });
            fields.iter().for_each(|(name, value)| all[name] = value.clone());
            all
        }
        Schedule::Datasets { .. } => json!({"__type": "CronExpression", "value": "Dataset"}),
        _ => json!("another"),
    }
}

fn expression(schedule: &Schedule) -> Value {
    let Schedule::Datasets { condition } = schedule else { return Value::Null };
    let mut stack = Vec::new();
    for node in &condition.postfix {
        let (name, count) = match node {
            DatasetNode::Uri(uri) => {
                stack.push(json!(uri));
                continue;
            }
            DatasetNode::All(count) => ("all", *count),
            DatasetNode::Any(count) => ("any", *count),
            _ => continue,
        };
        let operands = stack.split_off(stack.len() - count as usize);
        stack.push(json!({ name: operands }));
    }
    stack.pop().unwrap()
}

fn params(dag: &Dag) -> Value {
    let param = |param: &updraft_core::model::Param| {
        let fields = json!({
            "__class": "airflow.models.param.Param",
            "value": param.value,
            "description": param.description,
            "schema": param.schema,
        });
        (param.name.clone(), fields)
    };
    dag.params.iter().map(param).collect::<Map<_, _>>().into()
}

fn dag_facts(dag: &Dag) -> Value {
    json!({
        "dag_display_name": dag.display_name(),
        "description": dag.description,
        "doc_md": dag.doc_md,
        "catchup": dag.catchup,
        "dag_run_timeout": dag.dagrun_timeout.map(time_delta),
        "dataset_expression": expression(&dag.schedule),
        "default_view": dag.default_view,
        "orientation": dag.orientation,
        "start_date": dag.start_date.map(|at| at.to_rfc3339()),
        "end_date": dag.end_date.map(|at| at.to_rfc3339()),
        "max_active_runs": dag.max_active_runs,
        "max_active_tasks": dag.max_active_tasks,
        "max_consecutive_failed_dag_runs": dag.max_consecutive_failed_dag_runs,
        "is_paused_upon_creation": dag.is_paused_upon_creation,
        "render_template_as_native_obj": dag.render_template_as_native_obj,
        "schedule_interval": schedule(&dag.schedule),
        "template_searchpath": null,
        "timezone": dag.timezone,
        "params": params(dag),
        "tags": dag.tags,
        "owners": dag.owners(),
    })
}

fn task_facts(task: &Task, downstream: Vec<String>) -> Value {
    json!({
        "class_ref": {"class_name": task.operator.class_name, "module_path": task.operator.module_path},
        "depends_on_past": task.depends_on_past,
        "doc_md": task.doc_md,
        "downstream_task_ids": downstream,
        "end_date": task.end_date.map(|at| at.to_rfc3339()),
        "execution_timeout": task.execution_timeout.map(time_delta),
        "is_mapped": task.is_mapped(),
        "owner": task.owner,
        "pool": task.pool,
        "pool_slots": f64::from(task.pool_slots),
        "priority_weight": f64::from(task.priority_weight),
        "queue": task.queue,
        "retries": f64::from(task.retries),
        "retry_delay": time_delta(task.retry_delay),
        "retry_exponential_backoff": task.retry_exponential_backoff,
        "start_date": task.start_date.map(|at| at.to_rfc3339()),
        "task_display_name": task.display_name(),
        "template_fields": task.template_fields,
        "trigger_rule": task.trigger_rule.as_str(),
        "ui_color": task.ui_color,
        "ui_fgcolor": task.ui_fgcolor,
        "wait_for_downstream": task.wait_for_downstream,
        "weight_rule": task.weight_rule.as_str(),
    })
}

#[test]
fn dags_and_tasks_are_those_that_airflow_shows() {
    let recorded: Value =
        serde_json::from_str(&std::fs::read_to_string(support::data("airflow-dags.json")).unwrap()).unwrap();
    let loads = support::loader(&support::data("airflow-dags")).load_folder();
    let problems: Vec<_> = loads.iter().flat_map(|load| &load.problems).map(ToString::to_string).collect();
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(problems[0].contains("DAG 'trigger_other', task 'fire': no operator is registered as 'airflow.operators.trigger_dagrun.TriggerDagRunOperator'"));

    let dags: BTreeMap<&str, &Dag> =
        loads.iter().flat_map(|load| &load.dags).map(|dag| (dag.dag_id.as_str(), &**dag)).collect();
    let recorded_dags = recorded["dags"].as_object().unwrap();
    let missing: Vec<_> = recorded_dags.keys().filter(|id| !dags.contains_key(id.as_str())).collect();
    assert_eq!(missing, ["trigger_other"]);

    for (dag_id, dag) in dags {
        let expected = &recorded_dags[dag_id];
        let facts = dag_facts(dag);
        for (name, value) in facts.as_object().unwrap() {
            let mut expected = expected[name].clone();
            if name == "owners" {
                // Airflow joins owners with a comma and a space, and splits them at commas.
                let mut owners: Vec<_> =
                    expected.as_array().unwrap().iter().map(|o| o.as_str().unwrap().trim()).collect();
                owners.sort_unstable();
                expected = json!(owners);
            }
            assert_eq!(*value, expected, "{name} of {dag_id}");
        }
        let tasks = expected["tasks"].as_object().unwrap();
        assert_eq!(dag.tasks.len(), tasks.len(), "{dag_id}");
        let downstream = dag.downstream();
        for (ix, task) in dag.tasks() {
            let mut below: Vec<_> =
                downstream[ix.index()].iter().map(|&down| dag.task(down).unwrap().task_id.to_string()).collect();
            below.sort();
            let expected = &tasks[task.task_id.as_str()];
            for (name, value) in task_facts(task, below).as_object().unwrap() {
                let default = match name.as_str() {
                    "task_display_name" => &json!(task.task_id.as_str()),
                    _ => &recorded["task_defaults"][name],
                };
                assert_eq!(value, expected.get(name).unwrap_or(default), "{name} of {dag_id}.{}", task.task_id);
            }
        }
    }
}

#[test]
fn the_dags_of_the_semantics_load() {
    let loads = support::loader(&support::data("semantics")).load_folder();
    let recorded: Map<String, Value> =
        serde_json::from_str(&std::fs::read_to_string(support::data("semantics/expected.json")).unwrap()).unwrap();
    assert_eq!(loads.len(), recorded.len());
    for load in loads {
        assert_eq!(load.error(), None);
        let [dag] = load.dags.as_slice() else { panic!("{} has one DAG", load.path.display()) };
        let tasks: Vec<_> = recorded[dag.dag_id.as_str()]["tasks"].as_object().unwrap().keys().collect();
        let mut loaded: Vec<_> = dag.task_ids().map(ToString::to_string).collect();
        loaded.sort();
        assert_eq!(loaded.iter().collect::<Vec<_>>(), tasks);
    }
}
