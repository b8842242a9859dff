//! Runs of DAGs.

use std::collections::BTreeSet;

use chrono::{DateTime, FixedOffset, SubsecRound, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use updraft_core::id::DagId;
use updraft_core::model::{DagRun, RunState};
use updraft_core::python;
use updraft_core::service::{ServiceError, TriggerRequest};
use updraft_core::storage::{Page, PageRequest, Range, RunOrder, RunQuery, Subject};

use super::dataset;
use super::task_instance::references;
use crate::access::{Action, Resource};
use crate::airflow::call::Call;
use crate::airflow::date::{self, Shown};
use crate::airflow::field::{FieldErrors, Fields, Wanted};
use crate::airflow::json;
use crate::airflow::operation::{Access, Answer, Operation, logged, operation};
use crate::airflow::problem::Problem;
use crate::airflow::query;
use crate::airflow::reply::Reply;
use crate::airflow::{State, param};

/// What they are part of.
const PARTS: &[Resource] = &[Resource::DagRuns];

/// What events of datasets that caused them are part of.
const EVENT_PARTS: &[Resource] = &[Resource::DagRuns, Resource::Datasets];

/// What one may sort by.
const ORDERS: &[(&str, RunOrder)] = &[
    ("id", RunOrder::Id),
    ("state", RunOrder::State),
    ("dag_id", RunOrder::DagId),
    ("execution_date", RunOrder::LogicalDate),
    ("dag_run_id", RunOrder::RunId),
    ("start_date", RunOrder::StartDate),
    ("end_date", RunOrder::EndDate),
    ("updated_at", RunOrder::UpdatedAt),
    ("external_trigger", RunOrder::ExternalTrigger),
    ("conf", RunOrder::Conf),
];

/// The members of a run.
const MEMBERS: &[&str] = &[
    "conf",
    "dag_id",
    "dag_run_id",
    "data_interval_end",
    "data_interval_start",
    "end_date",
    "execution_date",
    "external_trigger",
    "last_scheduling_decision",
    "logical_date",
    "note",
    "run_type",
    "start_date",
    "state",
];

/// Longest text id of a run.
const MAX_RUN_ID: usize = 250;

/// Longest remark.
const MAX_NOTE: usize = 1000;

pub(super) fn operations() -> Vec<Operation<State>> {
    vec![
        operation!(get_dag_runs, Access::DagPart(Action::Read, PARTS), get_dag_runs),
        operation!(get_dag_runs_batch, Access::DagPart(Action::Read, PARTS), get_dag_runs_batch),
        operation!(
            get_upstream_dataset_events,
            Access::DagPart(Action::Read, EVENT_PARTS),
            get_upstream_dataset_events
        ),
        operation!(get_dag_run, Access::DagPart(Action::Read, PARTS), get_dag_run),
        logged!(post_dag_run, "post_dag_run", Access::DagPart(Action::Create, PARTS), post_dag_run),
        logged!(
            update_dag_run_state,
            "update_dag_run_state",
            Access::DagPart(Action::Edit, PARTS),
            update_dag_run_state
        ),
        logged!(clear_dag_run, "clear_dag_run", Access::DagPart(Action::Edit, PARTS), clear_dag_run),
        logged!(set_dag_run_note, "set_dag_run_note", Access::DagPart(Action::Edit, PARTS), set_dag_run_note),
        logged!(delete_dag_run, "delete_dag_run", Access::DagPart(Action::Delete, PARTS), delete_dag_run),
    ]
}

async fn get_dag_runs(call: Call) -> Answer {
    let (dag_ids, readable) = match call.path_text("dag_id") {
        "~" => (None, call.readable().await?),
        dag_id => (Some(BTreeSet::from([DagId::from(dag_id)])), None),
    };
    let query = RunQuery {
        dag_ids,
        readable,
        states: call.query.list("state").filter(|states| !states.is_empty()).map(|states| known_states(&states)),
        logical_date: call.query.date_range("execution_date"),
        start_date: call.query.date_range("start_date"),
        end_date: call.query.date_range("end_date"),
        updated_at: call.query.date_range("updated_at"),
        order_by: call.query.order_by(ORDERS)?,
        page: call.query.page()?,
        ..RunQuery::default()
    };
    let runs = call.service().dag_runs(&query).await?;
    list(&runs, &call.query.fields())
}

async fn get_dag_runs_batch(mut call: Call) -> Answer {
    let body = call.body_members();
    let ranges = ["execution_date", "start_date", "end_date", "updated_at"];
    let bounds: Vec<_> = ranges.iter().flat_map(|name| [format!("{name}_gte"), format!("{name}_lte")]).collect();
    let mut known = vec!["order_by", "page_offset", "page_limit", "dag_ids", "states"];
    known.extend(bounds.iter().map(String::as_str));
    let mut errors = FieldErrors::default();
    errors.add_unknown(&body, &known);
    errors.check()?;
    let order_by = body.get("order_by").and_then(Value::as_str);
    let query = RunQuery {
        dag_ids: texts(&body, "dag_ids").map(|ids| ids.into_iter().map(DagId::from).collect()),
        readable: call.readable().await?,
        states: texts(&body, "states").map(|states| known_states(&states)),
        logical_date: date_range(&body, "execution_date")?,
        start_date: date_range(&body, "start_date")?,
        end_date: date_range(&body, "end_date")?,
        updated_at: date_range(&body, "updated_at")?,
        order_by: order_by.map(|text| query::order_by(text, ORDERS)).transpose()?,
        page: page(&body),
        ..RunQuery::default()
    };
    let runs = call.service().dag_runs(&query).await?;
    list(&runs, &Fields::new(None))
}

async fn get_dag_run(call: Call) -> Answer {
    let (dag_id, run_id) = (call.path_text("dag_id"), call.path_text("dag_run_id"));
    let run = find_run(&call, dag_id, run_id).await?;
    let fields = call.query.fields();
    check_fields(&fields, "DAGRunSchema error")?;
    Ok(Reply::ordered(&fields.of(ShownRun::new(&run))))
}

async fn find_run(call: &Call, dag_id: &str, run_id: &str) -> Result<DagRun, Problem> {
    call.service().dag_run(dag_id, run_id).await.map_err(|error| no_such_run(error, dag_id, run_id))
}

fn no_such_run(error: ServiceError, dag_id: &str, run_id: &str) -> Problem {
    match error {
        ServiceError::NotFound(_) => Problem::not_found("DAGRun not found", Some(no_run(dag_id, run_id))),
        error => error.into(),
    }
}

async fn get_upstream_dataset_events(call: Call) -> Answer {
    let (dag_id, run_id) = (call.path_text("dag_id"), call.path_text("dag_run_id"));
    let events = call.service().upstream_dataset_events(dag_id, run_id).await;
    let events = events.map_err(|error| no_such_run(error, dag_id, run_id))?;
    Ok(Reply::json(&dataset::show_events(&events, events.len() as u64)))
}

async fn post_dag_run(mut call: Call) -> Answer {
    let dag_id = call.path_text("dag_id").to_owned();
    let dag = call.service().dag_to_trigger(&dag_id).await.map_err(|error| match error {
        ServiceError::NotFound(_) => {
            Problem::not_found("DAG not found", Some(format!("DAG with dag_id: '{dag_id}' not found")))
        }
        ServiceError::Conflict(..) => Problem::bad_request_titled(
            "DAG cannot be triggered",
            Some(format!("DAG with dag_id: '{dag_id}' has import errors")),
        ),
        error => error.into(),
    })?;
    let actor = call.actor();
    let mut body = call.body_members();
    let logical_date = take_logical_date(&mut body)?;
    check_trigger_members(&body)?;
    let interval = (date_member(&body, "data_interval_start"), date_member(&body, "data_interval_end"));
    let interval = match interval {
        (Some(start), Some(end)) => Some((start, end)),
        (None, None) => None,
        _ => {
            let text = "Both 'data_interval_start' and 'data_interval_end' must be specified together";
            return Err(FieldErrors::whole(text).into_problem());
        }
    };
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    let request = TriggerRequest {
        run_id: text("dag_run_id"),
        logical_date,
        data_interval: interval.map(|(start, end)| (start.to_utc(), end.to_utc())),
        conf: body.get("conf").and_then(Value::as_object).cloned().unwrap_or_default(),
        // As in Airflow, an empty note is none.
        note: text("note").filter(|note| !note.is_empty()),
    };
    let run = call.service().trigger(&dag, request, &actor).await.map_err(|error| match error {
        ServiceError::AlreadyExists(Subject::LogicalDate(dag, date)) => {
            // As it was sent, with its offset.
            let date = date::isoformat(logical_date.unwrap_or_else(|| date.fixed_offset())).replacen('T', " ", 1);
            Problem::conflict(format!("DAGRun with DAG ID: '{dag}' and DAGRun logical date: '{date}' already exists"))
        }
        ServiceError::AlreadyExists(Subject::DagRun(dag, run)) => {
            Problem::conflict(format!("DAGRun with DAG ID: '{dag}' and DAGRun ID: '{run}' already exists"))
        }
        ServiceError::InvalidParam { name, value, schema, message } => {
            let text = param::explain(value.as_ref(), &schema).unwrap_or(message);
            Problem::bad_request(format!("Invalid input for param {name}: {text}"))
        }
        error => error.into(),
    })?;
    let mut shown = show_run(&run);
    if let Some(date) = logical_date {
        echo_offsets(&mut shown, &run, date, interval);
    }
    Ok(Reply::json(&Value::Object(shown)))
}

/// What Airflow makes of the date's two names before it looks at anything else.
fn take_logical_date(body: &mut Map<String, Value>) -> Result<Option<DateTime<FixedOffset>>, Problem> {
    let execution_date = body.remove("execution_date");
    let given = match (body.get("logical_date"), execution_date) {
        (Some(logical), Some(execution)) if *logical != execution => {
            let detail = format!("{} != {}", python::repr(logical), python::repr(&execution));
            return Err(Problem::bad_request_titled("logical_date conflicts with execution_date", Some(detail)));
        }
        (Some(date), _) => date.clone(),
        (None, Some(date)) => date,
        (None, None) => return Ok(None),
    };
    if given.is_null() && !body.contains_key("dag_run_id") {
        let detail = "argument 'input': 'NoneType' object cannot be cast as 'str'".to_owned();
        return Err(Problem::bad_request_titled("Incorrect datetime argument", Some(detail)));
    }
    let date = given.as_str().and_then(date::parse).map(|date| date.trunc_subsecs(6));
    body.insert("logical_date".to_owned(), given);
    Ok(date)
}

fn check_trigger_members(body: &Map<String, Value>) -> Result<(), Problem> {
    const KNOWN: &[&str] = &["dag_run_id", "logical_date", "conf", "data_interval_start", "data_interval_end", "note"];
    let mut errors = FieldErrors::default();
    match body.get("dag_run_id") {
        Some(Value::Null) => errors.add("dag_run_id", "Field may not be null."),
        Some(Value::String(id)) if id.chars().count() > MAX_RUN_ID => {
            errors.add("dag_run_id", &format!("Longer than maximum length {MAX_RUN_ID}."));
        }
        _ => {}
    }
    if body.get("logical_date").is_some_and(Value::is_null) {
        errors.add("logical_date", "Field may not be null.");
    }
    check_note_length(body, &mut errors);
    errors.add_unknown(body, KNOWN);
    errors.check()
}

pub(super) fn check_note_length(body: &Map<String, Value>, errors: &mut FieldErrors) {
    if body.get("note").and_then(Value::as_str).is_some_and(|note| note.chars().count() > MAX_NOTE) {
        errors.add("note", &format!("Longer than maximum length {MAX_NOTE}."));
    }
}

fn date_member(body: &Map<String, Value>, name: &str) -> Option<DateTime<FixedOffset>> {
    body.get(name).and_then(Value::as_str).and_then(date::parse).map(|date| date.trunc_subsecs(6))
}

/// The first answer shows dates with the offset that they were sent with; later ones are in UTC.
fn echo_offsets(
    shown: &mut Map<String, Value>,
    run: &DagRun,
    logical_date: DateTime<FixedOffset>,
    interval: Option<(DateTime<FixedOffset>, DateTime<FixedOffset>)>,
) {
    let mut set = |name: &str, date| {
        shown.insert(name.to_owned(), date::isoformat(date).into());
    };
    set("logical_date", logical_date);
    set("execution_date", logical_date);
    let inferred = |date: DateTime<Utc>| if date == logical_date { logical_date } else { date.fixed_offset() };
    let (start, end) = interval.unwrap_or_else(|| (inferred(run.data_interval_start), inferred(run.data_interval_end)));
    set("data_interval_start", start);
    set("data_interval_end", end);
}

async fn update_dag_run_state(mut call: Call) -> Answer {
    let (dag_id, run_id) = (call.path_text("dag_id").to_owned(), call.path_text("dag_run_id").to_owned());
    let missing = || format!("Dag Run id {run_id} not found in dag {dag_id}");
    call.service().dag_run(&dag_id, &run_id).await.map_err(not_found_titled(missing))?;
    let actor = call.actor();
    let body = call.body_members();
    let mut errors = FieldErrors::default();
    errors.add_unknown(&body, &["state"]);
    errors.check()?;
    let state = body.get("state").and_then(Value::as_str).and_then(|text| text.parse::<RunState>().ok());
    let state = state.ok_or_else(|| FieldErrors::one("state", "Missing data for required field.").into_problem())?;
    let run = call.service().set_run_state(&dag_id, &run_id, state, &actor).await.map_err(not_found_titled(missing))?;
    Ok(Reply::json(&Value::Object(show_run(&run))))
}

async fn clear_dag_run(mut call: Call) -> Answer {
    let (dag_id, run_id) = (call.path_text("dag_id").to_owned(), call.path_text("dag_run_id").to_owned());
    let missing = || format!("Dag Run id {run_id} not found in dag   {dag_id}");
    call.service().dag_run(&dag_id, &run_id).await.map_err(not_found_titled(missing))?;
    let actor = call.actor();
    let body = call.body_members();
    let mut errors = FieldErrors::default();
    errors.add_unknown(&body, &["dry_run"]);
    errors.check()?;
    if body.get("dry_run").and_then(Value::as_bool).unwrap_or(true) {
        let instances = call.service().run_to_clear(&dag_id, &run_id).await.map_err(not_found_titled(missing))?;
        return Ok(Reply::json(&references(&instances)));
    }
    let run = call.service().clear_run(&dag_id, &run_id, &actor).await.map_err(not_found_titled(missing))?;
    Ok(Reply::json(&Value::Object(show_run(&run))))
}

async fn set_dag_run_note(mut call: Call) -> Answer {
    let (dag_id, run_id) = (call.path_text("dag_id").to_owned(), call.path_text("dag_run_id").to_owned());
    let missing = || format!("Dag Run id {run_id} not found in dag {dag_id}");
    call.service().dag_run(&dag_id, &run_id).await.map_err(not_found_titled(missing))?;
    let actor = call.actor();
    let body = call.body_members();
    let mut errors = FieldErrors::default();
    check_note_length(&body, &mut errors);
    errors.add_unknown(&body, &["note"]);
    errors.check()?;
    let missing_note = || FieldErrors::one("note", "Missing data for required field.").into_problem();
    let note = body.get("note").ok_or_else(missing_note)?.as_str().map(str::to_owned);
    let run = call.service().set_run_note(&dag_id, &run_id, note, &actor).await.map_err(not_found_titled(missing))?;
    Ok(Reply::json(&Value::Object(show_run(&run))))
}

async fn delete_dag_run(call: Call) -> Answer {
    let (dag_id, run_id) = (call.path_text("dag_id"), call.path_text("dag_run_id"));
    let actor = call.actor();
    call.service().delete_run(dag_id, run_id, &actor).await.map_err(|error| match error {
        ServiceError::NotFound(_) => Problem::not_found_detail(no_run(dag_id, run_id)),
        error => error.into(),
    })?;
    Ok(Reply::no_content())
}

fn no_run(dag_id: &str, run_id: &str) -> String {
    format!("DAGRun with DAG ID: '{dag_id}' and DagRun ID: '{run_id}' not found")
}

/// 404 with its whole text in the title.
pub(super) fn not_found_titled(text: impl Fn() -> String) -> impl Fn(ServiceError) -> Problem {
    move |error| match error {
        ServiceError::NotFound(_) => Problem::not_found(text(), None),
        error => error.into(),
    }
}

fn list(runs: &Page<DagRun>, fields: &Fields) -> Answer {
    if !runs.items.is_empty() {
        check_fields(fields, "DAGRunCollectionSchema error")?;
    }
    let dag_runs = runs.items.iter().map(|run| fields.of(ShownRun::new(run))).collect();
    Ok(Reply::ordered(&ShownRuns { dag_runs, total_entries: runs.total }))
}

fn check_fields(fields: &Fields, title: &str) -> Result<(), Problem> {
    match fields.unknown(MEMBERS).first() {
        Some(name) => Err(Problem::bad_request_titled(title, Some(format!("{name} not in DAGRunSchema")))),
        None => Ok(()),
    }
}

/// A page of runs; the members are in order.
#[derive(Serialize)]
struct ShownRuns<'a> {
    dag_runs: Vec<Wanted<ShownRun<'a>>>,
    total_entries: u64,
}

/// A run as clients see it; the members are in order.
#[derive(Serialize)]
struct ShownRun<'a> {
    #[serde(serialize_with = "json::sorted")]
    conf: &'a Value,
    dag_id: &'a str,
    dag_run_id: &'a str,
    data_interval_end: Shown,
    data_interval_start: Shown,
    end_date: Option<Shown>,
    execution_date: Shown,
    external_trigger: bool,
    last_scheduling_decision: Option<Shown>,
    logical_date: Shown,
    note: Option<&'a str>,
    run_type: &'static str,
    start_date: Option<Shown>,
    state: &'static str,
}

impl<'a> ShownRun<'a> {
    fn new(run: &'a DagRun) -> Self {
        Self {
            conf: &run.conf,
            dag_id: run.dag_id.as_str(),
            dag_run_id: &run.run_id,
            data_interval_end: Shown(run.data_interval_end),
            data_interval_start: Shown(run.data_interval_start),
            end_date: run.end_date.map(Shown),
            execution_date: Shown(run.logical_date),
            external_trigger: run.external_trigger,
            last_scheduling_decision: run.last_scheduling_decision.map(Shown),
            logical_date: Shown(run.logical_date),
            note: run.note.as_ref().map(|note| note.content.as_str()),
            run_type: run.run_type.as_str(),
            start_date: run.start_date.map(Shown),
            state: run.state.as_str(),
        }
    }
}

fn show_run(run: &DagRun) -> Map<String, Value> {
    json::members(&ShownRun::new(run))
}

/// Names of states that no run has match nothing.
fn known_states(names: &[String]) -> Vec<RunState> {
    names.iter().filter_map(|name| name.parse().ok()).collect()
}

/// A body's list of texts; none where it is absent or empty, which both stand for everything.
pub(super) fn texts(body: &Map<String, Value>, name: &str) -> Option<Vec<String>> {
    let items = body.get(name)?.as_array()?;
    let texts: Vec<_> = items.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    (!items.is_empty()).then_some(texts)
}

/// A body's bounds `<name>_gte` and `<name>_lte`.
pub(super) fn date_range(body: &Map<String, Value>, name: &str) -> Result<Range<DateTime<Utc>>, Problem> {
    let bound = |end: &str| {
        let name = format!("{name}_{end}");
        let text = body.get(&name).and_then(Value::as_str);
        text.map(|text| date::parse_unchecked(&name, text)).transpose()
    };
    Ok(Range { at_least: bound("gte")?, at_most: bound("lte")? })
}

/// A body's `page_limit` and `page_offset`; Airflow does not cap them.
pub(super) fn page(body: &Map<String, Value>) -> PageRequest {
    let number = |name: &str, otherwise| {
        let number = body.get(name).and_then(Value::as_u64);
        number.map_or(otherwise, |number| usize::try_from(number).unwrap_or(usize::MAX))
    };
    PageRequest { limit: number("page_limit", 100), offset: number("page_offset", 0) }
}
