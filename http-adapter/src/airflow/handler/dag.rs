//! DAGs.

use serde::Serialize;
use serde_json::{Map, Value, json};
use updraft_core::model::{DagRecord, Param, Task};
use updraft_core::service::ServiceError;
use updraft_core::storage::{DagOrder, DagQuery};

use crate::access::Action;
use crate::airflow::State;
use crate::airflow::call::Call;
use crate::airflow::date::{self, Shown};
use crate::airflow::field::{FieldErrors, Fields};
use crate::airflow::file_token::file_token;
use crate::airflow::json;
use crate::airflow::operation::{Access, Answer, Operation, logged, operation};
use crate::airflow::problem::Problem;
use crate::airflow::reply::Reply;
use crate::airflow::timetable;
use crate::schema::quote;

/// Members of a body that Airflow knows; only the first has an effect.
const WRITABLE: [&str; 2] = ["is_paused", "schedule_interval"];

/// The names of a DAG's members.
const MEMBERS: &[&str] = &[
    "dag_display_name",
    "dag_id",
    "default_view",
    "description",
    "file_token",
    "fileloc",
    "has_import_errors",
    "has_task_concurrency_limits",
    "is_active",
    "is_paused",
    "is_subdag",
    "last_expired",
    "last_parsed_time",
    "last_pickled",
    "max_active_runs",
    "max_active_tasks",
    "max_consecutive_failed_dag_runs",
    "next_dagrun",
    "next_dagrun_create_after",
    "next_dagrun_data_interval_end",
    "next_dagrun_data_interval_start",
    "owners",
    "pickle_id",
    "root_dag_id",
    "schedule_interval",
    "scheduler_lock",
    "tags",
    "timetable_description",
];

pub(super) fn operations() -> Vec<Operation<State>> {
    vec![
        operation!(get_dags, Access::Dag(Action::Read), get_dags),
        operation!(get_dag, Access::Dag(Action::Read), get_dag),
        operation!(get_dag_details, Access::Dag(Action::Read), get_dag_details),
        logged!(patch_dag, "patch_dag", Access::Dag(Action::Edit), patch_dag),
        logged!(patch_dags, "patch_dags", Access::Dag(Action::Edit), patch_dags),
        logged!(delete_dag, "delete_dag", Access::Dag(Action::Delete), delete_dag),
    ]
}

async fn get_dags(call: Call) -> Answer {
    let order_by = call.query.order_by(&[("dag_id", DagOrder::DagId)])?;
    let pattern = call.query.text("dag_id_pattern").filter(|pattern| !pattern.is_empty()).map(str::to_owned);
    let query =
        DagQuery { dag_id_pattern: pattern, is_paused: call.query.flag("paused"), order_by, ..listed(&call).await? };
    let dags = call.service().dags(&query).await?;
    let fields = call.query.fields();
    check_fields(&fields, "DAG", "DAGCollectionSchema error", MEMBERS)?;
    let shown = dags.items.iter().map(|record| fields.of(ShownDag::new(record))).collect();
    Ok(Reply::ordered(&ShownDags { dags: shown, total_entries: dags.total }))
}

async fn get_dag(call: Call) -> Answer {
    let record = find(&call).await?;
    let fields = call.query.fields();
    check_fields(&fields, "DAG", "DAGSchema init error", MEMBERS)?;
    Ok(Reply::ordered(&fields.of(ShownDag::new(&record))))
}

async fn get_dag_details(call: Call) -> Answer {
    let record = find(&call).await?;
    let shown = show_details(&record);
    let fields = call.query.fields();
    let known: Vec<_> = shown.keys().map(String::as_str).collect();
    check_fields(&fields, "DAGDetail", "DAGDetailSchema init error", &known)?;
    Ok(Reply::json(&Value::Object(fields.project(shown))))
}

async fn patch_dag(mut call: Call) -> Answer {
    let actor = call.actor();
    let is_paused = read_is_paused(&mut call)?;
    let dag_id = call.path_text("dag_id");
    let changed = call.service().set_paused(dag_id, is_paused, &actor).await;
    let record = changed.map_err(|error| worded(error, dag_id))?;
    Ok(Reply::ordered(&ShownDag::new(&record)))
}

async fn patch_dags(mut call: Call) -> Answer {
    let actor = call.actor();
    let listed = listed(&call).await?;
    let is_paused = read_is_paused(&mut call)?;
    let pattern = match call.query.text("dag_id_pattern") {
        Some("~") => "%",
        pattern => pattern.unwrap_or_default(),
    };
    let query =
        DagQuery { dag_id_pattern: Some(pattern.to_owned()), readable: call.permitted(Action::Edit).await?, ..listed };
    let dags = call.service().set_paused_many(&query, is_paused, &actor).await?;
    let shown = dags.items.iter().map(ShownDag::new).collect();
    Ok(Reply::ordered(&ShownDags { dags: shown, total_entries: dags.total }))
}

async fn delete_dag(call: Call) -> Answer {
    let actor = call.actor();
    let dag_id = call.path_text("dag_id");
    call.service().delete_dag(dag_id, &actor).await.map_err(|error| worded(error, dag_id))?;
    Ok(Reply::no_content())
}

/// What the lists of DAGs have in common.
async fn listed(call: &Call) -> Result<DagQuery, Problem> {
    Ok(DagQuery {
        is_active: call.query.flag("only_active").unwrap_or(true).then_some(true),
        tags: call.query.list("tags").unwrap_or_default(),
        readable: call.readable().await?,
        page: call.query.page()?,
        ..DagQuery::default()
    })
}

async fn find(call: &Call) -> Result<DagRecord, Problem> {
    let dag_id = call.path_text("dag_id");
    call.service().dag(dag_id).await.map_err(|error| match error {
        ServiceError::NotFound(_) => {
            Problem::not_found("DAG not found", Some(format!("The DAG with dag_id: {dag_id} was not found")))
        }
        error => error.into(),
    })
}

/// Whether the body pauses; `null` does not.
fn read_is_paused(call: &mut Call) -> Result<bool, Problem> {
    let body = call.body_members();
    let mut errors = FieldErrors::default();
    errors.add_unknown(&body, &WRITABLE);
    errors.check()?;
    if call.query.list("update_mask").is_some_and(|mask| mask != ["is_paused"]) {
        return Err(Problem::bad_request("Only `is_paused` field can be updated through the REST API"));
    }
    let mut errors = FieldErrors::default();
    errors.add_missing(&body, &["is_paused"]);
    errors.check()?;
    Ok(body.get("is_paused").and_then(Value::as_bool).unwrap_or(false))
}

fn worded(error: ServiceError, dag_id: &str) -> Problem {
    match error {
        ServiceError::NotFound(_) => Problem::not_found(format!("Dag with id: '{dag_id}' not found"), None),
        ServiceError::Conflict(..) => {
            Problem::conflict(format!("Task instances of dag with id: '{dag_id}' are still running"))
        }
        error => error.into(),
    }
}

/// Refuses names of members that the schema does not have.
fn check_fields(fields: &Fields, schema: &str, title: &str, known: &[&str]) -> Result<(), Problem> {
    let mut unknown: Vec<String> = Vec::new();
    for name in fields.unknown(known) {
        let name = quote(name);
        if !unknown.contains(&name) {
            unknown.push(name);
        }
    }
    if unknown.is_empty() {
        return Ok(());
    }
    let detail = format!("Invalid fields for <{schema}Schema(many=False)>: OrderedSet([{}]).", unknown.join(", "));
    Err(Problem::bad_request_titled(title, Some(detail)))
}

/// A page of DAGs; the members are in order.
#[derive(Serialize)]
struct ShownDags<T> {
    dags: Vec<T>,
    total_entries: u64,
}

#[derive(Serialize)]
struct ShownTag<'a> {
    name: &'a str,
}

/// A DAG as clients see it; the members are in order.
#[derive(Serialize)]
struct ShownDag<'a> {
    dag_display_name: &'a str,
    dag_id: &'a str,
    default_view: &'a str,
    description: Option<&'a str>,
    file_token: String,
    fileloc: &'a str,
    has_import_errors: bool,
    has_task_concurrency_limits: bool,
    is_active: bool,
    is_paused: bool,
    is_subdag: bool,
    last_expired: Option<Shown>,
    last_parsed_time: Shown,
    last_pickled: (),
    max_active_runs: u32,
    max_active_tasks: u32,
    max_consecutive_failed_dag_runs: u32,
    next_dagrun: Option<Shown>,
    next_dagrun_create_after: Option<Shown>,
    next_dagrun_data_interval_end: Option<Shown>,
    next_dagrun_data_interval_start: Option<Shown>,
    owners: Vec<String>,
    pickle_id: (),
    root_dag_id: (),
    #[serde(serialize_with = "json::sorted")]
    schedule_interval: Value,
    scheduler_lock: (),
    tags: Vec<ShownTag<'a>>,
    timetable_description: String,
}

impl<'a> ShownDag<'a> {
    fn new(record: &'a DagRecord) -> Self {
        let (dag, next) = (record.dag(), record.next_run);
        let is_limited =
            |task: &Task| task.max_active_tis_per_dag.is_some() || task.max_active_tis_per_dagrun.is_some();
        Self {
            dag_display_name: dag.display_name(),
            dag_id: dag.dag_id.as_str(),
            default_view: &dag.default_view,
            description: dag.description.as_deref(),
            file_token: file_token(&dag.fileloc),
            fileloc: &dag.fileloc,
            has_import_errors: record.has_import_errors,
            has_task_concurrency_limits: dag.tasks.iter().any(is_limited),
            is_active: record.is_active,
            is_paused: record.is_paused,
            is_subdag: false,
            last_expired: record.last_expired.map(Shown),
            last_parsed_time: Shown(record.last_parsed_time),
            last_pickled: (),
            max_active_runs: dag.max_active_runs,
            max_active_tasks: dag.max_active_tasks,
            max_consecutive_failed_dag_runs: dag.max_consecutive_failed_dag_runs,
            next_dagrun: next.map(|next| Shown(next.logical_date)),
            next_dagrun_create_after: next.filter(|_| !record.is_held).map(|next| Shown(next.create_after)),
            next_dagrun_data_interval_end: next.map(|next| Shown(next.data_interval.end)),
            next_dagrun_data_interval_start: next.map(|next| Shown(next.data_interval.start)),
            owners: owners(&dag.owners()),
            pickle_id: (),
            root_dag_id: (),
            schedule_interval: timetable::schedule_interval(&dag.schedule),
            scheduler_lock: (),
            tags: dag.tags.iter().map(|name| ShownTag { name }).collect(),
            timetable_description: timetable::description(&dag.schedule),
        }
    }
}

/// Airflow joins the owners, and splits them where they or it put a comma.
fn owners(owners: &[&str]) -> Vec<String> {
    let joined = owners.join(", ");
    if joined.is_empty() { Vec::new() } else { joined.split(',').map(str::to_owned).collect() }
}

/// A DAG with what only its details have.
fn show_details(record: &DagRecord) -> Map<String, Value> {
    let dag = record.dag();
    let mut shown = json::members(&ShownDag::new(record));
    shown.extend(object(json!({
        "catchup": dag.catchup,
        "concurrency": dag.max_active_tasks,
        // In Airflow always null, as are the owners always empty.
        "dag_run_timeout": null,
        "dataset_expression": timetable::dataset_expression(&dag.schedule),
        "doc_md": dag.doc_md,
        "end_date": date::show_option(dag.end_date),
        "is_paused_upon_creation": dag.is_paused_upon_creation,
        "last_parsed": date::show(record.last_parsed_time),
        "orientation": dag.orientation,
        "owners": [],
        "params": show_params(&dag.params),
        "render_template_as_native_obj": dag.render_template_as_native_obj,
        "start_date": date::show_option(dag.start_date),
        "template_searchpath": null,
        "timezone": dag.timezone,
    })));
    shown
}

/// Parameters as clients see them. Of two with the same name the later counts.
pub(super) fn show_params<'a>(params: impl IntoIterator<Item = &'a Param>) -> Value {
    let shown = params.into_iter().map(|param| {
        let shown = json!({
            "__class": "airflow.models.param.Param",
            "value": param.value,
            "description": param.description,
            "schema": param.schema,
        });
        (param.name.clone(), shown)
    });
    Value::Object(shown.collect())
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
