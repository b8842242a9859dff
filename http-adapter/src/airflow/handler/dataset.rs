//! Datasets, their events, and the events that wait for DAGs.

use serde_json::{Value, json};
use updraft_core::model::{DagRun, DatasetEvent, DatasetRecord, QueuedDatasetEvent};
use updraft_core::service::ServiceError;
use updraft_core::storage::{
    DatasetEventOrder, DatasetEventQuery, DatasetOrder, DatasetQuery, PageRequest, QueuedDatasetEventQuery,
};

use crate::access::{Action, Resource};
use crate::airflow::State;
use crate::airflow::call::Call;
use crate::airflow::date;
use crate::airflow::field::FieldErrors;
use crate::airflow::operation::{Access, Answer, Operation, logged, operation};
use crate::airflow::problem::Problem;
use crate::airflow::reply::Reply;

/// What one may sort datasets by.
const ORDERS: [(&str, DatasetOrder); 4] = [
    ("id", DatasetOrder::Id),
    ("uri", DatasetOrder::Uri),
    ("created_at", DatasetOrder::CreatedAt),
    ("updated_at", DatasetOrder::UpdatedAt),
];

/// What one may sort events by.
const EVENT_ORDERS: [(&str, DatasetEventOrder); 5] = [
    ("source_dag_id", DatasetEventOrder::SourceDagId),
    ("source_task_id", DatasetEventOrder::SourceTaskId),
    ("source_run_id", DatasetEventOrder::SourceRunId),
    ("source_map_index", DatasetEventOrder::SourceMapIndex),
    ("timestamp", DatasetEventOrder::Timestamp),
];

pub(super) fn operations() -> Vec<Operation<State>> {
    let read = Access::Plain(Action::Read, Resource::Datasets);
    let create = Access::Plain(Action::Create, Resource::Datasets);
    let delete = Access::Plain(Action::Delete, Resource::Datasets);
    let read_of_dag = Access::WithDag(Action::Read, Resource::Datasets);
    let delete_of_dag = Access::WithDag(Action::Delete, Resource::Datasets);
    vec![
        operation!(get_datasets, read, get_datasets),
        operation!(get_dataset, read, get_dataset),
        operation!(get_dataset_events, read, get_dataset_events),
        logged!(create_dataset_event, "create_dataset_event", create, create_dataset_event),
        operation!(get_dag_dataset_queued_event, read_of_dag, get_dag_dataset_queued_event),
        operation!(get_dag_dataset_queued_events, read_of_dag, get_dag_dataset_queued_events),
        operation!(get_dataset_queued_events, read, get_dataset_queued_events),
        logged!(
            delete_dag_dataset_queued_event,
            "delete_dag_dataset_queued_event",
            delete_of_dag,
            delete_dag_dataset_queued_event
        ),
        logged!(
            delete_dag_dataset_queued_events,
            "delete_dag_dataset_queued_events",
            delete_of_dag,
            delete_dag_dataset_queued_events
        ),
        logged!(delete_dataset_queued_events, "delete_dataset_queued_events", delete, delete_dataset_queued_events),
    ]
}

async fn get_datasets(call: Call) -> Answer {
    // An empty text filters nothing, as in Airflow.
    let text = |name| call.query.text(name).filter(|text| !text.is_empty());
    let query = DatasetQuery {
        page: call.query.page()?,
        order_by: call.query.order_by(&ORDERS)?,
        uri_pattern: text("uri_pattern").map(str::to_owned),
        dag_ids: text("dag_ids").map(|ids| ids.split(',').map(Into::into).collect()),
    };
    let found = call.service().datasets(&query).await?;
    // Airflow counts all datasets, whatever the filters.
    let total = match (&query.uri_pattern, &query.dag_ids) {
        (None, None) => found.total,
        _ => {
            let none = DatasetQuery { page: PageRequest { limit: 0, offset: 0 }, ..DatasetQuery::default() };
            call.service().datasets(&none).await?.total
        }
    };
    let shown: Vec<_> = found.items.iter().map(show).collect();
    Ok(Reply::json(&json!({"datasets": shown, "total_entries": total})))
}

async fn get_dataset(call: Call) -> Answer {
    let uri = call.path_text("uri");
    let dataset = call.service().dataset(uri).await.map_err(|error| match error {
        ServiceError::NotFound(_) => {
            Problem::not_found("Dataset not found", Some(format!("The Dataset with uri: `{uri}` was not found")))
        }
        error => error.into(),
    })?;
    Ok(Reply::json(&show(&dataset)))
}

async fn get_dataset_events(call: Call) -> Answer {
    // Neither an empty text nor zero filters anything, as in Airflow.
    let text = |name| call.query.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
    let number = |name| call.query.integer(name).filter(|number| *number != 0);
    let query = DatasetEventQuery {
        page: call.query.page()?,
        order_by: call.query.order_by(&EVENT_ORDERS)?,
        dataset_id: number("dataset_id"),
        source_dag_id: text("source_dag_id"),
        source_task_id: text("source_task_id"),
        source_run_id: text("source_run_id"),
        // No instance has an index at the ends of the range.
        source_map_index: number("source_map_index").map(|index| i32::try_from(index).unwrap_or(i32::MIN)),
        caused: None,
    };
    let events = call.service().dataset_events(&query).await?;
    Ok(Reply::json(&show_events(&events.items, events.total)))
}

async fn create_dataset_event(mut call: Call) -> Answer {
    let actor = call.actor();
    let mut body = call.body_members();
    let mut errors = FieldErrors::default();
    if body.get("extra").is_some_and(Value::is_null) {
        errors.add("extra", "Field may not be null.");
    }
    errors.add_unknown(&body, &["dataset_uri", "extra"]);
    errors.check()?;
    let mut extra = match body.remove("extra") {
        Some(Value::Object(extra)) => extra,
        _ => Default::default(),
    };
    extra.insert("from_rest_api".to_owned(), Value::Bool(true));
    let uri = body.get("dataset_uri").and_then(Value::as_str).unwrap_or_default();
    let created = call.service().create_dataset_event(uri, extra, &actor).await.map_err(|error| match error {
        ServiceError::NotFound(_) => {
            Problem::not_found("Dataset not found", Some(format!("Dataset with uri: '{uri}' not found")))
        }
        error => error.into(),
    })?;
    Ok(Reply::json(&show_event(&created)))
}

async fn get_dag_dataset_queued_event(call: Call) -> Answer {
    let found = call.service().queued_dataset_events(&queued(&call).await?).await?;
    let event = found.first().ok_or_else(|| no_queued_event(&call))?;
    Ok(Reply::json(&show_queued(event)))
}

async fn get_dag_dataset_queued_events(call: Call) -> Answer {
    list_queued(&call).await
}

async fn get_dataset_queued_events(call: Call) -> Answer {
    list_queued(&call).await
}

async fn delete_dag_dataset_queued_event(call: Call) -> Answer {
    delete_queued(&call, "delete_dag_dataset_queued_event").await
}

async fn delete_dag_dataset_queued_events(call: Call) -> Answer {
    delete_queued(&call, "delete_dag_dataset_queued_events").await
}

async fn delete_dataset_queued_events(call: Call) -> Answer {
    delete_queued(&call, "delete_dataset_queued_events").await
}

/// What the path and the query name: of a DAG, of a dataset, or of both.
async fn queued(call: &Call) -> Result<QueuedDatasetEventQuery, Problem> {
    let dag_id = call.path.text("dag_id").map(str::to_owned);
    Ok(QueuedDatasetEventQuery {
        readable: if dag_id.is_none() { call.readable().await? } else { None },
        dag_id,
        uri: call.path.text("uri").map(str::to_owned),
        before: call.query.date("before"),
    })
}

async fn list_queued(call: &Call) -> Answer {
    let found = call.service().queued_dataset_events(&queued(call).await?).await?;
    if found.is_empty() {
        return Err(no_queued_event(call));
    }
    let shown: Vec<_> = found.iter().map(show_queued).collect();
    Ok(Reply::json(&json!({"queued_events": shown, "total_entries": found.len()})))
}

async fn delete_queued(call: &Call, operation: &str) -> Answer {
    let query = queued(call).await?;
    let deleted = call.service().delete_queued_dataset_events(&query, operation, &call.actor()).await;
    deleted.map_err(|error| match error {
        ServiceError::NotFound(_) => no_queued_event(call),
        error => error.into(),
    })?;
    Ok(Reply::no_content())
}

fn no_queued_event(call: &Call) -> Problem {
    let named = [("dag_id", call.path.text("dag_id")), ("dataset uri", call.path.text("uri"))];
    let named: Vec<_> = named.iter().filter_map(|(name, text)| Some(format!("{name}: `{}`", (*text)?))).collect();
    Problem::not_found("Queue event not found", Some(format!("Queue event with {} was not found", named.join(" and "))))
}

/// A dataset as clients see it. Tasks have no aliases of datasets yet.
fn show(dataset: &DatasetRecord) -> Value {
    let consuming = dataset.consuming_dags.iter().map(|consumer| {
        json!({
            "dag_id": consumer.dag_id.as_str(),
            "created_at": date::show(consumer.created_at),
            "updated_at": date::show(consumer.created_at),
        })
    });
    let producing = dataset.producing_tasks.iter().map(|producer| {
        json!({
            "dag_id": producer.dag_id.as_str(),
            "task_id": producer.task_id.as_str(),
            "created_at": date::show(producer.created_at),
            "updated_at": date::show(producer.created_at),
        })
    });
    json!({
        "id": dataset.id,
        "uri": dataset.uri,
        "extra": dataset.extra,
        "created_at": date::show(dataset.created_at),
        "updated_at": date::show(dataset.updated_at),
        "consuming_dags": consuming.collect::<Vec<_>>(),
        "producing_tasks": producing.collect::<Vec<_>>(),
        "aliases": [],
    })
}

/// A list of events as clients see it.
pub(super) fn show_events(events: &[DatasetEvent], total: u64) -> Value {
    let shown: Vec<_> = events.iter().map(show_event).collect();
    json!({"dataset_events": shown, "total_entries": total})
}

fn show_event(event: &DatasetEvent) -> Value {
    let source = event.source.as_ref();
    json!({
        "id": event.id,
        "dataset_id": event.dataset_id,
        "dataset_uri": event.dataset_uri,
        "extra": event.extra,
        "source_dag_id": source.map(|source| source.dag_id.as_str()),
        "source_task_id": source.map(|source| source.task_id.as_str()),
        "source_run_id": source.map(|source| source.run_id.as_str()),
        "source_map_index": source.map_or(-1, |source| source.map_index),
        "created_dagruns": event.created_dag_runs.iter().map(show_run).collect::<Vec<_>>(),
        "timestamp": date::show(event.timestamp),
    })
}

/// A run as events show it.
fn show_run(run: &DagRun) -> Value {
    json!({
        "dag_id": run.dag_id.as_str(),
        "dag_run_id": run.run_id,
        "logical_date": date::show(run.logical_date),
        "data_interval_start": date::show(run.data_interval_start),
        "data_interval_end": date::show(run.data_interval_end),
        "start_date": date::show_option(run.start_date),
        "end_date": date::show_option(run.end_date),
        "state": run.state.as_str(),
    })
}

fn show_queued(event: &QueuedDatasetEvent) -> Value {
    json!({
        "uri": event.uri,
        "dag_id": event.dag_id.as_str(),
        "created_at": date::show(event.created_at),
    })
}
