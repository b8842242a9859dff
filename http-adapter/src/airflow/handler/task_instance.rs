//! Task instances.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Map, Value, json};
use updraft_core::id::{DagId, UNMAPPED};
use updraft_core::model::{DagRecord, TaskInstance, TaskInstanceTry, TaskState};
use updraft_core::python;
use updraft_core::service::{ClearRequest, MarkRequest, RunAnchor, ServiceError};
use updraft_core::storage::{Page, PageRequest, Range, TaskInstanceQuery};

use super::dag_run::{check_note_length, date_range, not_found_titled, page, texts};
use crate::access::{Action, Resource};
use crate::airflow::State;
use crate::airflow::call::Call;
use crate::airflow::date::{self, Shown};
use crate::airflow::field::FieldErrors;
use crate::airflow::json::Sorted;
use crate::airflow::operation::{Access, Answer, Operation, logged, operation};
use crate::airflow::problem::Problem;
use crate::airflow::query::Parameters;
use crate::airflow::reply::Reply;

/// What they are part of.
const PARTS: &[Resource] = &[Resource::DagRuns, Resource::TaskInstances];

const READ: Access = Access::DagPart(Action::Read, PARTS);
const EDIT: Access = Access::DagPart(Action::Edit, PARTS);

pub(super) fn operations() -> Vec<Operation<State>> {
    vec![
        operation!(get_task_instances, READ, get_task_instances),
        operation!(get_task_instances_batch, READ, get_task_instances_batch),
        operation!(get_task_instance, READ, get_task_instance),
        operation!(get_mapped_task_instance, READ, get_mapped_task_instance),
        operation!(get_mapped_task_instances, READ, get_mapped_task_instances),
        operation!(get_task_instance_dependencies, READ, get_dependencies),
        operation!(get_mapped_task_instance_dependencies, READ, get_dependencies),
        operation!(get_task_instance_tries, READ, get_tries),
        operation!(get_task_instance_try_details, READ, get_try),
        operation!(get_mapped_task_instance_tries, READ, get_tries),
        operation!(get_mapped_task_instance_try_details, READ, get_try),
        operation!(get_extra_links, READ, get_extra_links),
        logged!(patch_task_instance, "patch_task_instance", EDIT, patch_task_instance),
        logged!(patch_mapped_task_instance, "patch_mapped_task_instance", EDIT, patch_task_instance),
        logged!(set_task_instance_note, "set_task_instance_note", EDIT, set_note),
        logged!(set_mapped_task_instance_note, "set_task_instance_note", EDIT, set_note),
        logged!(post_clear_task_instances, "post_clear_task_instances", EDIT, post_clear_task_instances),
        logged!(post_set_task_instances_state, "post_set_task_instances_state", EDIT, post_set_task_instances_state),
    ]
}

async fn get_task_instances(call: Call) -> Answer {
    let (dag_ids, readable) = match call.path_text("dag_id") {
        "~" => (None, call.readable().await?),
        dag_id => (Some(BTreeSet::from([DagId::from(dag_id)])), None),
    };
    let run_id = Some(call.path_text("dag_run_id")).filter(|run_id| *run_id != "~");
    let query = TaskInstanceQuery {
        dag_ids,
        readable,
        run_ids: run_id.map(|run_id| BTreeSet::from([run_id.to_owned()])),
        page: call.query.uncapped_page()?,
        ..filters(&call.query)?
    };
    Ok(list(&call.service().task_instances(&query).await?))
}

async fn get_task_instances_batch(mut call: Call) -> Answer {
    let body = call.body_members();
    let mut errors = FieldErrors::default();
    errors.add_unknown(
        &body,
        &[
            "page_offset",
            "page_limit",
            "dag_ids",
            "dag_run_ids",
            "task_ids",
            "execution_date_gte",
            "execution_date_lte",
            "start_date_gte",
            "start_date_lte",
            "end_date_gte",
            "end_date_lte",
            "duration_gte",
            "duration_lte",
            "state",
            "pool",
            "queue",
            "executor",
        ],
    );
    errors.check()?;
    let dag_ids = texts(&body, "dag_ids");
    let readable = match &dag_ids {
        Some(dag_ids) => {
            check_readable(&call, dag_ids).await?;
            None
        }
        None => call.readable().await?,
    };
    let set = |name: &str| texts(&body, name).map(|texts| texts.into_iter().collect::<BTreeSet<_>>());
    let number = |name: &str| body.get(name).and_then(Value::as_f64);
    // Null is a name of the state that is none.
    let states = body.get("state").and_then(Value::as_array).filter(|states| !states.is_empty());
    let states = states.map(|states| states.iter().map(|state| state.as_str().unwrap_or("none").to_owned()).collect());
    let query = TaskInstanceQuery {
        dag_ids: dag_ids.map(|ids| ids.into_iter().map(DagId::from).collect()),
        readable,
        run_ids: set("dag_run_ids"),
        task_ids: set("task_ids"),
        states: known_states(states)?,
        pools: set("pool"),
        queues: set("queue"),
        executors: set("executor"),
        logical_date: date_range(&body, "execution_date")?,
        start_date: date_range(&body, "start_date")?,
        end_date: date_range(&body, "end_date")?,
        duration: Range { at_least: number("duration_gte"), at_most: number("duration_lte") },
        page: page(&body),
        ..TaskInstanceQuery::default()
    };
    Ok(list(&call.service().task_instances(&query).await?))
}

async fn check_readable(call: &Call, dag_ids: &[String]) -> Result<(), Problem> {
    for dag_id in dag_ids {
        if !call.may_read(dag_id).await? {
            let shown = python::repr(&json!(dag_ids));
            return Err(Problem::forbidden(Some(format!("User not allowed to access some of these DAGs: {shown}"))));
        }
    }
    Ok(())
}

async fn get_task_instance(call: Call) -> Answer {
    match find(&call, UNMAPPED).await? {
        Some(instance) => Ok(Reply::ordered(&ShownInstance::new(&instance))),
        None => {
            let (dag_id, run_id) = (call.path_text("dag_id"), call.path_text("dag_run_id"));
            let mapped = call.service().instances_of_task(dag_id, run_id, call.path_text("task_id")).await?;
            let detail = "Task instance is mapped, add the map_index value to the URL".to_owned();
            Err(Problem::not_found("Task instance not found", (!mapped.is_empty()).then_some(detail)))
        }
    }
}

async fn get_mapped_task_instance(call: Call) -> Answer {
    match find(&call, path_index(&call)).await? {
        Some(instance) => Ok(Reply::ordered(&ShownInstance::new(&instance))),
        None => Err(Problem::not_found("Task instance not found", None)),
    }
}

async fn get_mapped_task_instances(call: Call) -> Answer {
    let (dag_id, task_id) = (call.path_text("dag_id"), call.path_text("task_id"));
    let order = call.query.text("order_by").map(MappedOrder::parse).transpose();
    let filters = filters(&call.query)?;
    let mapped = call.service().instances_of_task(dag_id, call.path_text("dag_run_id"), task_id).await?;
    if !mapped.iter().any(|instance| instance.key.map_index >= 0) {
        check_is_mapped(&call, dag_id, task_id).await?;
    }
    let order = order?;
    let query = TaskInstanceQuery {
        dag_ids: Some(BTreeSet::from([DagId::from(dag_id)])),
        run_ids: Some(BTreeSet::from([call.path_text("dag_run_id").to_owned()])),
        task_ids: Some(BTreeSet::from([task_id.to_owned()])),
        page: PageRequest::ALL,
        ..filters
    };
    let mut found = call.service().task_instances(&query).await?.items;
    found.retain(|instance| instance.key.map_index >= 0);
    if let Some(order) = order {
        order.sort(&mut found);
    }
    let total = found.len() as u64;
    let page = call.query.uncapped_page()?;
    let items = found.into_iter().skip(page.offset).take(page.limit).collect();
    Ok(list(&Page { items, total }))
}

/// That a mapped task has no instances is an empty list; that there is no mapped task is an error.
async fn check_is_mapped(call: &Call, dag_id: &str, task_id: &str) -> Result<(), Problem> {
    let record = call.service().storage().dag(dag_id).await.map_err(ServiceError::from);
    let record = record.map_err(not_found_titled(|| format!("DAG {dag_id} not found")))?;
    let dag = record.dag();
    match dag.find_task(task_id).and_then(|ix| dag.task(ix)) {
        None => Err(Problem::not_found(format!("Task id {task_id} not found"), None)),
        Some(task) if !task.is_mapped() => Err(Problem::not_found(format!("Task id {task_id} is not mapped"), None)),
        Some(_) => Ok(()),
    }
}

/// How mapped instances are sorted.
#[derive(Debug, Clone, Copy)]
struct MappedOrder {
    by: MappedKey,
    descending: bool,
}

#[derive(Debug, Clone, Copy)]
enum MappedKey {
    State,
    Duration,
    StartDate,
    EndDate,
    MapIndex,
}

impl MappedOrder {
    fn parse(text: &str) -> Result<Self, Problem> {
        let (name, descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
        let by = match name {
            "state" => MappedKey::State,
            "duration" => MappedKey::Duration,
            "start_date" => MappedKey::StartDate,
            "end_date" => MappedKey::EndDate,
            "map_index" if descending => MappedKey::MapIndex,
            _ => return Err(Problem::bad_request(format!("Ordering with '{text}' is not supported"))),
        };
        Ok(Self { by, descending })
    }

    fn sort(self, instances: &mut [TaskInstance]) {
        let state =
            |instance: &TaskInstance| Some(instance.state.as_str()).filter(|_| instance.state != TaskState::None);
        instances.sort_by(|a, b| {
            let order = match self.by {
                MappedKey::State => last_if_absent(state(a), state(b)),
                MappedKey::Duration => last_if_absent(a.duration(), b.duration()),
                MappedKey::StartDate => last_if_absent(a.start_date, b.start_date),
                MappedKey::EndDate => last_if_absent(a.end_date, b.end_date),
                MappedKey::MapIndex => a.key.map_index.cmp(&b.key.map_index),
            };
            let order = if self.descending { order.reverse() } else { order };
            order.then(a.key.map_index.cmp(&b.key.map_index))
        });
    }
}

/// Absent values are the largest, as in PostgreSQL.
fn last_if_absent<T: PartialOrd>(a: Option<T>, b: Option<T>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
        (a, b) => a.is_none().cmp(&b.is_none()),
    }
}

async fn get_dependencies(call: Call) -> Answer {
    let instance = find(&call, path_index(&call)).await?.ok_or_else(|| no_instance(&call))?;
    let unmet = call.service().unmet_dependencies(&instance).await?;
    let shown: Vec<_> = unmet.iter().map(|unmet| json!({"name": unmet.name, "reason": unmet.reason})).collect();
    Ok(Reply::json(&json!({"dependencies": shown})))
}

async fn get_tries(call: Call) -> Answer {
    let Some(instance) = find(&call, path_index(&call)).await? else {
        return Ok(Reply::ordered(&ShownInstances { task_instances: Vec::new(), total_entries: 0 }));
    };
    let tries = call.service().tries(&instance).await?;
    let task_instances = tries.iter().map(|attempt| ShownInstance::of_try(&instance, attempt)).collect();
    Ok(Reply::ordered(&ShownInstances { task_instances, total_entries: tries.len() as u64 }))
}

async fn get_try(call: Call) -> Answer {
    let index = path_index(&call);
    let number = call.path.integer("task_try_number").unwrap_or(0);
    let mut found = None;
    if let Some(instance) = find(&call, index).await? {
        // The instance itself is the last; it goes before what the history has under the same number.
        let tries = call.service().tries(&instance).await?;
        let attempt = tries.iter().rev().find(|attempt| i64::from(attempt.try_number) == number);
        found = attempt.map(|attempt| Reply::ordered(&ShownInstance::of_try(&instance, attempt)));
    }
    match found {
        Some(reply) => Ok(reply),
        None => {
            let (dag_id, run_id, task_id) =
                (call.path_text("dag_id"), call.path_text("dag_run_id"), call.path_text("task_id"));
            let detail = format!(
                "Task Instance not found for dag_id={dag_id}, run_id={run_id}, task_id={task_id}, map_index={index}, \
                 try_number={number}."
            );
            Err(Problem::not_found("Task instance not found", Some(detail)))
        }
    }
}

async fn get_extra_links(call: Call) -> Answer {
    let (dag_id, task_id) = (call.path_text("dag_id"), call.path_text("task_id"));
    let no_dag = || Problem::not_found("DAG not found", Some(format!("DAG with ID = \"{dag_id}\" not found")));
    let record = find_dag(&call, dag_id).await?.ok_or_else(no_dag)?;
    if record.dag().find_task(task_id).is_none() {
        return Err(Problem::not_found("Task not found", Some(format!("Task with ID = \"{task_id}\" not found"))));
    }
    let index = call.query.integer("map_index").map_or(UNMAPPED, map_index);
    if find(&call, index).await?.is_none() {
        let run_id = call.path_text("dag_run_id");
        return Err(Problem::not_found("DAG Run not found", Some(format!("DAG Run with ID = \"{run_id}\" not found"))));
    }
    // None of the operators has links.
    Ok(Reply::json(&json!({})))
}

async fn patch_task_instance(mut call: Call) -> Answer {
    let (dag_id, task_id) = (call.path_text("dag_id").to_owned(), call.path_text("task_id").to_owned());
    let index = path_index(&call);
    let actor = call.actor();
    let body = call.body_members();
    let mut errors = FieldErrors::default();
    errors.add_missing(&body, &["new_state"]);
    errors.add_unknown(&body, &["dry_run", "new_state"]);
    errors.check()?;
    let state = new_state(&body)?;
    let no_dag = || Problem::not_found("DAG not found", Some(format!("DAG '{dag_id}' not found")));
    let record = find_dag(&call, &dag_id).await?.ok_or_else(no_dag)?;
    if record.dag().find_task(&task_id).is_none() {
        let detail = format!("Task '{task_id}' not found in DAG '{dag_id}'");
        return Err(Problem::not_found("Task not found", Some(detail)));
    }
    let run_id = call.path_text("dag_run_id").to_owned();
    let missing = || no_instance_in_run(&task_id, &run_id);
    let instance = find(&call, index).await?.ok_or_else(missing)?;
    if flag(&body, "dry_run", true) {
        return Ok(Reply::json(&reference(&instance)));
    }
    let request = MarkRequest {
        task_id: task_id.clone(),
        run: RunAnchor::RunId(run_id.clone()),
        map_index: Some(index),
        state,
        include_upstream: false,
        include_downstream: false,
        include_future: false,
        include_past: false,
        dry_run: false,
    };
    call.service().mark_task_instances(&dag_id, &request, &actor).await.map_err(|error| match error {
        ServiceError::NotFound(_) => missing(),
        error => error.into(),
    })?;
    // Airflow has nothing to show then.
    Ok(Reply::json(&json!({})))
}

async fn set_note(mut call: Call) -> Answer {
    let actor = call.actor();
    let body = call.body_members();
    let mut errors = FieldErrors::default();
    check_note_length(&body, &mut errors);
    errors.add_missing(&body, &["note"]);
    errors.add_unknown(&body, &["map_index", "note"]);
    errors.check()?;
    let instance = find(&call, path_index(&call)).await?.ok_or_else(|| no_instance(&call))?;
    let note = body.get("note").and_then(Value::as_str).map(str::to_owned);
    let instance =
        call.service().set_task_instance_note(&instance, note, &actor).await.map_err(|error| match error {
            ServiceError::NotFound(_) => no_instance(&call),
            error => error.into(),
        })?;
    Ok(Reply::ordered(&ShownInstance::new(&instance)))
}

async fn post_clear_task_instances(mut call: Call) -> Answer {
    let dag_id = call.path_text("dag_id").to_owned();
    let actor = call.actor();
    let body = call.body_members();
    let (start_date, end_date) = (loose_date(&body, "start_date")?, loose_date(&body, "end_date")?);
    let mut errors = FieldErrors::default();
    errors.add_unknown(
        &body,
        &[
            "dry_run",
            "start_date",
            "end_date",
            "only_failed",
            "only_running",
            "include_subdags",
            "include_parentdag",
            "reset_dag_runs",
            "task_ids",
            "dag_run_id",
            "include_upstream",
            "include_downstream",
            "include_future",
            "include_past",
        ],
    );
    errors.check()?;
    let run_id = body.get("dag_run_id").and_then(Value::as_str).map(str::to_owned);
    let request = ClearRequest {
        run_id,
        start_date,
        end_date,
        task_ids: texts(&body, "task_ids").map(|ids| ids.into_iter().collect()),
        only_failed: flag(&body, "only_failed", true),
        only_running: flag(&body, "only_running", false),
        include_upstream: flag(&body, "include_upstream", false),
        include_downstream: flag(&body, "include_downstream", false),
        include_future: flag(&body, "include_future", false),
        include_past: flag(&body, "include_past", false),
        reset_dag_runs: flag(&body, "reset_dag_runs", false),
    };
    if let Some(complaint) = clear_complaint(&request) {
        return Err(FieldErrors::whole(complaint).into_problem());
    }
    if find_dag(&call, &dag_id).await?.is_none() {
        return Err(Problem::not_found(format!("Dag id {dag_id} not found"), None));
    }
    let run_id = request.run_id.clone().unwrap_or_default();
    let no_run = not_found_titled(|| format!("Dag Run id {run_id} not found in dag {dag_id}"));
    let instances = if flag(&body, "dry_run", true) {
        call.service().task_instances_to_clear(&dag_id, &request).await
    } else {
        call.service().clear_task_instances(&dag_id, &request, &actor).await
    };
    Ok(Reply::json(&references(&instances.map_err(no_run)?)))
}

/// What makes no sense together.
fn clear_complaint(request: &ClearRequest) -> Option<&'static str> {
    let (start, end) = (request.start_date, request.end_date);
    // An empty text is as good as none.
    let by_run = request.run_id.as_deref().is_some_and(|run_id| !run_id.is_empty());
    if request.only_failed && request.only_running {
        Some("only_failed and only_running both are set to True")
    } else if start.zip(end).is_some_and(|(start, end)| start > end) {
        Some("end_date is sooner than start_date")
    } else if by_run && start.is_some() && end.is_some() {
        Some("Exactly one of dag_run_id or (start_date and end_date) must be provided")
    } else if by_run && start.is_some() {
        Some("Exactly one of dag_run_id or start_date must be provided")
    } else if by_run && end.is_some() {
        Some("Exactly one of dag_run_id or end_date must be provided")
    } else {
        None
    }
}

async fn post_set_task_instances_state(mut call: Call) -> Answer {
    const REQUIRED: &[&str] =
        &["task_id", "include_upstream", "include_downstream", "include_future", "include_past", "new_state"];
    let dag_id = call.path_text("dag_id").to_owned();
    let actor = call.actor();
    let body = call.body_members();
    let date = loose_date(&body, "execution_date")?;
    let mut errors = FieldErrors::default();
    errors.add_missing(&body, REQUIRED);
    let mut known = REQUIRED.to_vec();
    known.extend(["dry_run", "execution_date", "dag_run_id"]);
    errors.add_unknown(&body, &known);
    errors.check()?;
    let run_id = body.get("dag_run_id").and_then(Value::as_str).filter(|run_id| !run_id.is_empty());
    let run = match (date, run_id) {
        (Some(date), None) => RunAnchor::LogicalDate(date),
        (None, Some(run_id)) => RunAnchor::RunId(run_id.to_owned()),
        _ => {
            let text = "Exactly one of execution_date or dag_run_id must be provided";
            return Err(FieldErrors::whole(text).into_problem());
        }
    };
    let task_id = body.get("task_id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let no_dag = || Problem::not_found(format!("Dag ID {dag_id} not found"), None);
    let record = find_dag(&call, &dag_id).await?.ok_or_else(no_dag)?;
    if record.dag().find_task(&task_id).is_none() {
        return Err(Problem::not_found(format!("Task ID {task_id} not found"), None));
    }
    let request = MarkRequest {
        task_id: task_id.clone(),
        run,
        map_index: None,
        state: new_state(&body)?,
        include_upstream: flag(&body, "include_upstream", false),
        include_downstream: flag(&body, "include_downstream", false),
        include_future: flag(&body, "include_future", false),
        include_past: flag(&body, "include_past", false),
        dry_run: flag(&body, "dry_run", true),
    };
    let marked = call.service().mark_task_instances(&dag_id, &request, &actor).await;
    let marked = marked.map_err(|error| match (error, &request.run) {
        (ServiceError::NotFound(_), RunAnchor::RunId(run_id)) => no_instance_in_run(&task_id, run_id),
        (ServiceError::NotFound(_), RunAnchor::LogicalDate(date)) => {
            let date = date::isoformat(date.fixed_offset()).replacen('T', " ", 1);
            Problem::not_found_detail(format!("Task instance not found for task '{task_id}' on execution_date {date}"))
        }
        (error, _) => error.into(),
    })?;
    Ok(Reply::json(&references(&marked)))
}

fn no_instance(call: &Call) -> Problem {
    let (dag_id, run_id, task_id) = (call.path_text("dag_id"), call.path_text("dag_run_id"), call.path_text("task_id"));
    let title = format!("Task Instance not found for dag_id={dag_id}, run_id={run_id}, task_id={task_id}");
    Problem::not_found(title, None)
}

fn no_instance_in_run(task_id: &str, run_id: &str) -> Problem {
    Problem::not_found_detail(format!("Task instance not found for task '{task_id}' on DAG run with ID '{run_id}'"))
}

async fn find(call: &Call, index: i32) -> Result<Option<TaskInstance>, Problem> {
    let (dag_id, run_id, task_id) = (call.path_text("dag_id"), call.path_text("dag_run_id"), call.path_text("task_id"));
    match call.service().task_instance(dag_id, run_id, task_id, index).await {
        Ok(instance) => Ok(Some(instance)),
        Err(ServiceError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn find_dag(call: &Call, dag_id: &str) -> Result<Option<DagRecord>, Problem> {
    match call.service().storage().dag(dag_id).await.map_err(ServiceError::from) {
        Ok(record) => Ok(Some(record)),
        Err(ServiceError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The path's map index; that of instances which are not mapped where the path has none.
fn path_index(call: &Call) -> i32 {
    call.path.integer("map_index").map_or(UNMAPPED, map_index)
}

/// A number outside of what map indexes can be names none.
pub(super) fn map_index(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MIN)
}

fn flag(body: &Map<String, Value>, name: &str, otherwise: bool) -> bool {
    body.get(name).and_then(Value::as_bool).unwrap_or(otherwise)
}

fn new_state(body: &Map<String, Value>) -> Result<TaskState, Problem> {
    let state = body.get("new_state").and_then(Value::as_str).and_then(|text| text.parse().ok());
    state.ok_or_else(|| FieldErrors::one("new_state", "Missing data for required field.").into_problem())
}

fn loose_date(body: &Map<String, Value>, name: &str) -> Result<Option<chrono::DateTime<chrono::Utc>>, Problem> {
    body.get(name).and_then(Value::as_str).map(|text| date::parse_unchecked(name, text)).transpose()
}

/// The filters that all lists have in their query.
fn filters(query: &Parameters) -> Result<TaskInstanceQuery, Problem> {
    let set = |name: &str| query.list(name).map(|texts| texts.into_iter().collect::<BTreeSet<_>>());
    Ok(TaskInstanceQuery {
        states: known_states(query.list("state").filter(|states| !states.is_empty()))?,
        pools: set("pool"),
        queues: set("queue"),
        executors: set("executor"),
        logical_date: query.date_range("execution_date"),
        start_date: query.date_range("start_date"),
        end_date: query.date_range("end_date"),
        updated_at: query.date_range("updated_at"),
        duration: query.number_range("duration"),
        ..TaskInstanceQuery::default()
    })
}

fn known_states(names: Option<Vec<String>>) -> Result<Option<BTreeSet<TaskState>>, Problem> {
    let parse = |name: String| {
        name.parse::<TaskState>().map_err(|_| {
            let shown = python::str_repr(&name);
            Problem::bad_request(format!("{shown} is not a valid TaskInstanceState"))
        })
    };
    names.map(|names| names.into_iter().map(parse).collect()).transpose()
}

fn list(page: &Page<TaskInstance>) -> Reply {
    let task_instances = page.items.iter().map(ShownInstance::new).collect();
    Reply::ordered(&ShownInstances { task_instances, total_entries: page.total })
}

/// What names task instances.
pub(super) fn references(instances: &[TaskInstance]) -> Value {
    json!({"task_instances": instances.iter().map(reference).collect::<Vec<_>>()})
}

fn reference(instance: &TaskInstance) -> Value {
    json!({
        "dag_id": instance.run.dag_id.as_str(),
        "dag_run_id": instance.run.run_id,
        "execution_date": date::show(instance.run.logical_date),
        "task_id": instance.task().map(|task| task.task_id.as_str()),
    })
}

/// A page of instances or of tries; the members are in order.
#[derive(Serialize)]
struct ShownInstances<'a> {
    task_instances: Vec<ShownInstance<'a>>,
    total_entries: u64,
}

/// An instance or one of its tries as clients see it; the members are in order.
struct ShownInstance<'a> {
    instance: &'a TaskInstance,
    attempt: Cow<'a, TaskInstanceTry>,
    /// Whether it is shown with what its tries do not have.
    is_whole: bool,
}

impl<'a> ShownInstance<'a> {
    fn new(instance: &'a TaskInstance) -> Self {
        Self { instance, attempt: Cow::Owned(instance.as_try()), is_whole: true }
    }

    fn of_try(instance: &'a TaskInstance, attempt: &'a TaskInstanceTry) -> Self {
        Self { instance, attempt: Cow::Borrowed(attempt), is_whole: false }
    }
}

impl Serialize for ShownInstance<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { instance, attempt, is_whole } = self;
        let task = instance.task();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("dag_id", instance.run.dag_id.as_str())?;
        map.serialize_entry("dag_run_id", &instance.run.run_id)?;
        map.serialize_entry("duration", &duration(attempt))?;
        map.serialize_entry("end_date", &attempt.end_date.map(Shown))?;
        if *is_whole {
            map.serialize_entry("execution_date", &Shown(instance.run.logical_date))?;
        }
        map.serialize_entry("executor", &task.and_then(|task| task.executor.as_deref()))?;
        map.serialize_entry("executor_config", "{}")?;
        map.serialize_entry("hostname", &attempt.hostname)?;
        map.serialize_entry("map_index", &instance.key.map_index)?;
        map.serialize_entry("max_tries", &attempt.max_tries)?;
        if *is_whole {
            map.serialize_entry("note", &instance.note.as_ref().map(|note| note.content.as_str()))?;
        }
        map.serialize_entry("operator", &task.map(|task| task.operator.class_name.as_str()))?;
        map.serialize_entry("pid", &attempt.pid)?;
        map.serialize_entry("pool", &task.map(|task| task.pool.as_str()))?;
        map.serialize_entry("pool_slots", &task.map(|task| task.pool_slots))?;
        map.serialize_entry("priority_weight", &task.map(|task| task.effective_priority))?;
        map.serialize_entry("queue", &task.map(|task| task.queue.as_str()))?;
        map.serialize_entry("queued_when", &attempt.queued_when.map(Shown))?;
        if *is_whole {
            match &instance.rendered_fields {
                Value::Null => map.serialize_entry("rendered_fields", &Map::new())?,
                fields => map.serialize_entry("rendered_fields", &Sorted(fields))?,
            }
            map.serialize_entry("rendered_map_index", &instance.rendered_map_index)?;
            map.serialize_entry("sla_miss", &())?;
        }
        map.serialize_entry("start_date", &attempt.start_date.map(Shown))?;
        let state = Some(attempt.state).filter(|state| *state != TaskState::None);
        map.serialize_entry("state", &state.map(TaskState::as_str))?;
        map.serialize_entry("task_display_name", &task.map(|task| task.display_name()))?;
        map.serialize_entry("task_id", &task.map(|task| task.task_id.as_str()))?;
        if *is_whole {
            map.serialize_entry("trigger", &())?;
            map.serialize_entry("triggerer_job", &())?;
        }
        map.serialize_entry("try_number", &attempt.try_number)?;
        map.serialize_entry("unixname", &attempt.unixname)?;
        map.end()
    }
}

fn duration(attempt: &TaskInstanceTry) -> Option<f64> {
    if attempt.is_branched_off {
        return None;
    }
    let micros = (attempt.end_date? - attempt.start_date?).num_microseconds()?;
    // A duration of up to 285 years in microseconds is exact in 53 bits.
    #[allow(clippy::cast_precision_loss)]
    Some(micros as f64 / 1e6)
}
