//! Who may do what: every operation, by every kind of caller, on DAGs of their own, of others, on all and on none.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{World, dag};
use serde_json::{Value, json};
use updraft_core::model::{RunState, TaskState};

/// The default roles, from the one that may nothing to the one that may all.
const RANKS: [&str; 5] = ["Public", "Viewer", "User", "Op", "Admin"];

/// What each operation demands: the least of the default roles; whether somebody may who may read one DAG and read parts of
/// all; whether somebody may who may also edit and delete this DAG and change its parts. Where the path names a DAG, both
/// may on their own only.
const TABLE: &[(&str, &str, bool, bool)] = &[
    ("get_dags", "Viewer", true, true),
    ("patch_dags", "User", false, true),
    ("get_dag", "Viewer", true, true),
    ("patch_dag", "User", false, true),
    ("delete_dag", "User", false, true),
    ("post_clear_task_instances", "User", false, true),
    ("set_task_instance_note", "User", false, true),
    ("set_mapped_task_instance_note", "User", false, true),
    ("get_task_instance_dependencies", "Viewer", true, true),
    ("get_mapped_task_instance_dependencies", "Viewer", true, true),
    ("post_set_task_instances_state", "User", false, true),
    ("get_dag_runs", "Viewer", true, true),
    ("post_dag_run", "User", false, true),
    ("get_dag_runs_batch", "Viewer", true, true),
    ("get_dag_run", "Viewer", true, true),
    ("delete_dag_run", "User", false, true),
    ("update_dag_run_state", "User", false, true),
    ("clear_dag_run", "User", false, true),
    ("get_upstream_dataset_events", "Viewer", true, true),
    ("set_dag_run_note", "User", false, true),
    ("get_event_logs", "Admin", true, true),
    ("get_event_log", "Admin", true, true),
    ("get_import_errors", "Viewer", true, true),
    ("get_import_error", "Viewer", true, true),
    ("get_pools", "Viewer", false, false),
    ("post_pool", "Op", false, false),
    ("get_pool", "Viewer", false, false),
    ("patch_pool", "Op", false, false),
    ("delete_pool", "Op", false, false),
    ("get_task_instances", "Viewer", true, true),
    ("get_task_instance", "Viewer", true, true),
    ("patch_task_instance", "User", false, true),
    ("get_mapped_task_instance", "Viewer", true, true),
    ("patch_mapped_task_instance", "User", false, true),
    ("get_mapped_task_instances", "Viewer", true, true),
    ("get_task_instances_batch", "Viewer", true, true),
    ("get_task_instance_try_details", "Viewer", true, true),
    ("get_task_instance_tries", "Viewer", true, true),
    ("get_mapped_task_instance_tries", "Viewer", true, true),
    ("get_mapped_task_instance_try_details", "Viewer", true, true),
    ("get_xcom_entries", "Viewer", true, true),
    ("get_xcom_entry", "Viewer", true, true),
    ("get_extra_links", "Viewer", true, true),
    ("get_log", "Viewer", true, true),
    ("get_dag_details", "Viewer", true, true),
    ("get_tasks", "Viewer", true, true),
    ("get_task", "Viewer", true, true),
    ("get_dag_source", "Viewer", true, true),
    ("get_health", "nobody", true, true),
    ("get_version", "nobody", true, true),
    ("get_connections", "Op", false, false),
    ("post_connection", "Op", false, false),
    ("get_connection", "Op", false, false),
    ("patch_connection", "Op", false, false),
    ("delete_connection", "Op", false, false),
    ("test_connection", "Op", false, false),
    ("get_dag_dataset_queued_event", "Viewer", true, true),
    ("delete_dag_dataset_queued_event", "Op", false, true),
    ("get_dag_dataset_queued_events", "Viewer", true, true),
    ("delete_dag_dataset_queued_events", "Op", false, true),
    ("reparse_dag_file", "User", false, true),
    ("get_dataset_queued_events", "Viewer", true, true),
    ("delete_dataset_queued_events", "Op", false, true),
    ("get_providers", "Op", false, false),
    ("get_variables", "Op", false, false),
    ("post_variables", "Op", false, false),
    ("get_variable", "Op", false, false),
    ("patch_variable", "Op", false, false),
    ("delete_variable", "Op", false, false),
    ("get_dag_stats", "Viewer", true, true),
    ("get_dag_warnings", "Viewer", true, true),
    ("get_datasets", "Viewer", true, true),
    ("get_dataset", "Viewer", true, true),
    ("get_dataset_events", "Viewer", true, true),
    ("create_dataset_event", "User", false, true),
    ("get_config", "Op", false, false),
    ("get_value", "Op", false, false),
    ("get_plugins", "Op", false, false),
    ("get_roles", "Admin", false, false),
    ("post_role", "Admin", false, false),
    ("get_role", "Admin", false, false),
    ("patch_role", "Admin", false, false),
    ("delete_role", "Admin", false, false),
    ("get_permissions", "Admin", false, false),
    ("get_users", "Admin", false, false),
    ("post_user", "Admin", false, false),
    ("get_user", "Admin", false, false),
    ("patch_user", "Admin", false, false),
    ("delete_user", "Admin", false, false),
];

/// Operations that refuse even those who may, unless the host allows them.
const SWITCHED_OFF: [&str; 3] = ["test_connection", "get_config", "get_value"];

const OWN: &str = "own_dag";
const FOREIGN: &str = "secret_of_others";

/// A server with a DAG of the reader and the editor, one of others, and one file that declares both.
async fn world() -> World {
    let world = World::new().await;
    let read = ["DAG Runs", "Task Instances", "Task Logs", "XComs", "DAG Code", "DAG Warnings", "ImportError"];
    let read = read.into_iter().chain(["Audit Logs", "Datasets"]).map(|on| ("can_read".to_owned(), on.to_owned()));
    let mut permissions: Vec<_> = read.collect();
    for (dag_id, line) in [(OWN, "own"), (FOREIGN, "foreign")] {
        let mut dag = dag(dag_id, &[("task", &[])]);
        dag.fileloc = format!("/dags/{line}.yaml");
        world.register_with(dag, false).await;
        let trigger = json!({"dag_run_id": "run", "logical_date": "2026-01-01T00:00:00Z"});
        assert_eq!(world.call("POST", &format!("/dags/{dag_id}/dagRuns"), trigger).await.status, 200);
        let steps = [("task", Some(TaskState::Success), json!("value"))];
        world.play(dag_id, "run", &steps, Some(RunState::Success)).await;
        world.service.set_import_error(&format!("/dags/{line}.yaml"), Some(dag_id)).await.unwrap();
    }
    permissions.push(("can_read".to_owned(), format!("DAG:{OWN}")));
    world.service.create_role("reader".to_owned(), permissions.clone()).await.unwrap();
    for action in ["can_edit", "can_delete"] {
        permissions.push((action.to_owned(), format!("DAG:{OWN}")));
    }
    for action in ["can_create", "can_edit", "can_delete"] {
        for resource in ["DAG Runs", "Task Instances", "Datasets"] {
            permissions.push((action.to_owned(), resource.to_owned()));
        }
    }
    world.service.create_role("editor".to_owned(), permissions).await.unwrap();
    world
}

/// An operation of the document, with a request that passes all checks before that of the caller.
struct Request {
    id: String,
    method: String,
    /// With `{dag}` in place of the DAG, if there is one.
    path: String,
    body: String,
}

async fn requests(world: &World) -> Vec<Request> {
    let document = world.get("/openapi.json").await.json();
    let resolve = |value: &Value| match value["$ref"].as_str() {
        Some(name) => document.pointer(&name.replacen('#', "", 1)).unwrap().clone(),
        None => value.clone(),
    };
    let mut requests = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Some(id) = operation["operationId"].as_str() else { continue };
            let mut path = path.replace("{dag_id}", "{dag}");
            let mut query = Vec::new();
            let shared = item["parameters"].as_array().into_iter().flatten();
            for parameter in operation["parameters"].as_array().into_iter().flatten().chain(shared) {
                let parameter = resolve(parameter);
                let name = parameter["name"].as_str().unwrap();
                match parameter["in"].as_str() {
                    Some("path") if name != "dag_id" => {
                        let number = resolve(&parameter["schema"])["type"] == "integer";
                        path = path.replace(&format!("{{{name}}}"), if number { "1" } else { "run" });
                    }
                    Some("query") if parameter["required"] == true => query.push(format!("{name}={OWN}")),
                    _ => {}
                }
            }
            if !query.is_empty() {
                path = format!("{path}?{}", query.join("&"));
            }
            let body = match (operation["requestBody"].is_null(), id) {
                (true, _) => "",
                (false, id) if id.contains("note") => r#"{"note": "x"}"#,
                (false, "create_dataset_event") => r#"{"dataset_uri": "s3://x"}"#,
                (false, "post_connection" | "test_connection") => r#"{"connection_id": "x", "conn_type": "http"}"#,
                (false, _) => "{}",
            };
            let (id, method, body) = (id.to_owned(), method.to_uppercase(), body.to_owned());
            requests.push(Request { id, method, path, body });
        }
    }
    // What reads comes first, what deletes last.
    let rank = |method: &str| ["GET", "POST", "PUT", "PATCH", "DELETE"].iter().position(|known| *known == method);
    requests.sort_by_key(|request| rank(&request.method));
    requests
}

#[tokio::test]
async fn every_operation_lets_in_who_may_and_shows_nothing_of_others() {
    let world = world().await;
    let table: BTreeMap<&str, _> = TABLE.iter().map(|line| (line.0, line)).collect();
    assert_eq!(table.len(), 89);
    let mut named = BTreeSet::new();
    let mut wrong = Vec::new();
    let mut tried = 0;
    for request in requests(&world).await {
        let id = request.id.as_str();
        let Some((_, least, reader, editor)) = table.get(id) else { panic!("{id} has no line") };
        named.insert(id.to_owned());
        let has_dag = request.path.contains("{dag}");
        let at = |dag: &str| request.path.replace("{dag}", dag);
        let probe = world.call_as("Admin", &request.method, &at(OWN), &request.body).await;
        let is_missing = [404, 405].contains(&probe.status) && probe.json()["type"] == "about:blank";
        assert!(!is_missing, "{id} is not answered: {}", probe.text);
        let targets: &[&str] = if has_dag { &[OWN, FOREIGN, "~", "missing_dag"] } else { &[""] };
        let callers = [("", false), ("reader", *reader), ("editor", *editor)];
        let callers = callers.into_iter().chain(RANKS.map(|role| {
            let rank = |role: &str| RANKS.iter().position(|known| *known == role);
            (role, rank(role) >= rank(least))
        }));
        for (caller, may) in callers {
            for target in targets {
                let is_limited = ["reader", "editor"].contains(&caller);
                let may = *least == "nobody" || (may && !(is_limited && [FOREIGN, "missing_dag"].contains(target)));
                let answer = world.call_as(caller, &request.method, &at(target), &request.body).await;
                let is_off = may && SWITCHED_OFF.contains(&id) && answer.status == 403;
                let expected = match (may, caller) {
                    (true, _) => !matches!(answer.status, 401 | 403) || is_off,
                    (false, "") => answer.status == 401,
                    (false, _) => answer.status == 403,
                };
                if !expected {
                    wrong.push(format!("{id} {target} as {caller:?}: {} {}", answer.status, answer.text));
                }
                if is_limited && *target != FOREIGN && answer.text.contains(FOREIGN) {
                    wrong.push(format!("{id} {target} as {caller:?} tells of others: {}", answer.text));
                }
                if answer.status >= 500 {
                    wrong.push(format!("{id} {target} as {caller:?}: {}", answer.text));
                }
                tried += 1;
            }
        }
    }
    let unnamed: Vec<_> = table.keys().filter(|id| !named.contains(**id)).collect();
    assert!(unnamed.is_empty(), "no operations: {unnamed:?}");
    assert!(wrong.is_empty(), "{} of {tried}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(tried > 1000, "{tried}");
}

/// What Airflow 2.11.2 answered the default roles, recorded by this project.
#[tokio::test]
async fn default_roles_are_answered_as_in_airflow() {
    let recordings: Vec<Value> = serde_json::from_str(include_str!("data/access.json")).unwrap();
    let world = World::new().await;
    for dag_id in ["etl_chain", "never_unpaused"] {
        world.register(dag_id, true, &[("a", &[])]).await;
    }
    let run = json!({"dag_run_id": "rec_named"});
    assert_eq!(world.call("POST", "/dags/never_unpaused/dagRuns", run).await.status, 200);
    let mut wrong = Vec::new();
    for recording in &recordings {
        let name = recording["name"].as_str().unwrap();
        let role = match name.split('.').nth(1).unwrap() {
            "viewer" => "Viewer",
            "user" => "User",
            "op" => "Op",
            _ => "Public",
        };
        if name == "access.op.config" {
            // Its answer is the host's choice.
            continue;
        }
        let path = recording["path"].as_str().unwrap().strip_prefix("/api/v1").unwrap();
        let query = recording["query"].as_str().filter(|query| !query.is_empty());
        let path = query.map_or(path.to_owned(), |query| format!("{path}?{query}"));
        let body = match &recording["json"] {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let answer = world.call_as(role, recording["method"].as_str().unwrap(), &path, &body).await;
        if recording["status"] != answer.status {
            wrong.push(format!("{name}: {} instead of {}", answer.status, recording["status"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn lists_show_and_count_what_one_may_read() {
    let world = world().await;
    for (path, list) in [
        ("/dags", "dags"),
        ("/dags/~/dagRuns", "dag_runs"),
        ("/dags/~/dagRuns/~/taskInstances", "task_instances"),
        ("/dags/~/dagRuns/~/taskInstances/~/xcomEntries", "xcom_entries"),
        ("/importErrors", "import_errors"),
    ] {
        for (caller, expected) in [("reader", 1), ("Admin", 2)] {
            let answer = world.call_as(caller, "GET", path, "").await.json();
            assert_eq!(answer["total_entries"], expected, "{caller} {path}: {answer}");
            assert_eq!(answer[list].as_array().unwrap().len(), expected, "{caller} {path}");
        }
    }
    let events = world.call_as("reader", "GET", "/eventLogs", "").await.text;
    assert!(events.contains(OWN) && !events.contains(FOREIGN), "{events}");
    let batch = |ids: &str| format!("{{\"dag_ids\": [{ids}]}}");
    let both = batch(&format!("\"{OWN}\", \"{FOREIGN}\""));
    let runs = world.call_as("reader", "POST", "/dags/~/dagRuns/list", &both).await;
    assert_eq!((runs.status, runs.json()["total_entries"].clone()), (200, json!(1)));
    let instances = world.call_as("reader", "POST", "/dags/~/dagRuns/~/taskInstances/list", &both).await;
    assert_eq!(instances.status, 403);
    let instances = world.call_as("reader", "POST", "/dags/~/dagRuns/~/taskInstances/list", "{}").await;
    assert_eq!((instances.status, instances.json()["total_entries"].clone()), (200, json!(1)));
    for (target, expected) in [(OWN, 200), (FOREIGN, 403), ("missing", 403)] {
        let answer = world.call_as("reader", "GET", &format!("/eventLogs?dag_id={target}"), "").await;
        assert_eq!(answer.status, expected, "{target}");
    }
    let paused = world.call_as("editor", "PATCH", "/dags?dag_id_pattern=~", r#"{"is_paused": true}"#).await;
    assert_eq!(paused.json()["total_entries"], 1, "{}", paused.text);
    assert_eq!(world.get(&format!("/dags/{FOREIGN}")).await.json()["is_paused"], false);
}

#[tokio::test]
async fn a_file_is_shown_to_who_may_read_all_of_its_dags() {
    let world = world().await;
    for dag_id in ["mine", "theirs"] {
        let mut dag = dag(dag_id, &[("task", &[])]);
        dag.fileloc = "/dags/shared.yaml".to_owned();
        world.register_with(dag, false).await;
    }
    world.service.set_import_error("/dags/shared.yaml", Some("about theirs")).await.unwrap();
    world.service.set_import_error("/dags/empty.yaml", Some("no DAG at all")).await.unwrap();
    let permissions = [("can_read", "DAG:mine"), ("can_read", "DAG Code"), ("can_read", "ImportError")];
    let permissions = permissions.map(|(action, on)| (action.to_owned(), on.to_owned()));
    world.service.create_role("mine".to_owned(), permissions.to_vec()).await.unwrap();
    let errors = world.call_as("mine", "GET", "/importErrors", "").await.json();
    assert_eq!(errors["total_entries"], 1);
    let redacted = "REDACTED - you do not have read permission on all DAGs in the file";
    assert_eq!(errors["import_errors"][0]["stack_trace"], redacted);
    let all = world.get("/importErrors").await.json();
    assert_eq!(
        (all["total_entries"].clone(), all["import_errors"][2]["stack_trace"].clone()),
        (json!(4), json!("about theirs"))
    );
    let of = async |roles: &str, file: &str| {
        let errors = all["import_errors"].as_array().unwrap();
        let id = &errors.iter().find(|error| error["filename"] == file).unwrap()["import_error_id"];
        let answer = world.call_as(roles, "GET", &format!("/importErrors/{id}"), "").await;
        (answer.status, answer.json())
    };
    let (status, shared) = of("mine", "/dags/shared.yaml").await;
    assert_eq!((status, shared["stack_trace"].as_str()), (200, Some(redacted)));
    for file in ["/dags/own.yaml", "/dags/empty.yaml"] {
        let (status, refused) = of("mine", file).await;
        assert_eq!(status, 403);
        assert_eq!(refused["detail"], "You do not have read permission on any of the DAGs in the file");
        assert_eq!(of("Viewer", file).await.0, 200);
    }
    let token = world.get("/dags/mine").await.json()["file_token"].as_str().unwrap().to_owned();
    assert_eq!(world.call_as("mine", "GET", &format!("/dagSources/{token}"), "").await.status, 403);
    assert_eq!(
        world.call_as("Viewer", "GET", &format!("/dagSources/{token}"), "").await.status,
        404,
        "it has no source"
    );
}

#[tokio::test]
async fn what_a_dag_says_of_access_counts_at_once() {
    let world = World::new().await;
    let reader = [("can_read", "DAG Runs"), ("can_create", "DAG Runs")];
    let reader = reader.map(|(action, on)| (action.to_owned(), on.to_owned())).to_vec();
    world.service.create_role("team".to_owned(), reader).await.unwrap();
    let declare = async |access: Value| {
        let mut dag = dag("shared", &[("task", &[])]);
        dag.access_control = Some(access);
        world.register_with(dag, false).await;
    };
    let may = async |method: &str, path: &str| {
        let body = if method == "GET" { "" } else { "{}" };
        world.call_as("team", method, path, body).await.status
    };
    declare(json!({})).await;
    assert_eq!(may("GET", "/dags/shared").await, 403);
    assert_eq!(may("GET", "/dags").await, 403);
    declare(json!({"team": {"DAGs": ["can_read"]}})).await;
    assert_eq!(may("GET", "/dags/shared").await, 200);
    assert_eq!(may("GET", "/dags").await, 200);
    assert_eq!(may("POST", "/dags/shared/dagRuns").await, 403);
    declare(json!({"team": {"DAGs": ["can_read", "can_edit"]}})).await;
    assert_eq!(may("POST", "/dags/shared/dagRuns").await, 200);
    declare(json!({})).await;
    assert_eq!(may("GET", "/dags/shared").await, 403);

    world.service.create_role("runs".to_owned(), Vec::new()).await.unwrap();
    declare(json!({"runs": {"DAGs": ["can_read"], "DAG Runs": ["can_read"]}})).await;
    assert_eq!(world.call_as("runs", "GET", "/dags/shared/dagRuns", "").await.status, 200);
    assert_eq!(world.call_as("runs", "GET", "/dags/~/dagRuns", "").await.status, 403, "as in Airflow");
}
