use serde_json::{Map, Value, json};
use tokio::process::{ChildStdin, ChildStdout};
use updraft_core::model::{Connection, DagRun, DatasetEvent};
use updraft_core::operator::{CancelReason, TaskContext, TaskError};
use updraft_core::storage::StorageError;

use crate::airflow_env::isoformat;
use crate::talk::Talk;
use crate::template::{Pulled, XComPull};
use crate::xcom;

/// How a function ended.
#[derive(Debug)]
pub(super) enum Reply {
    /// It returned.
    Returned {
        /// The result.
        value: Value,
        /// The result as Python prints it.
        shown: String,
        /// Whether Python takes the result for true; false where nobody asked.
        holds: bool,
    },
    /// It said that there was nothing to do.
    Skipped,
    /// It raised; the text is the traceback.
    Failed(String),
    /// It raised what no retry mends.
    FailedForGood(String),
}

/// Talks with the driver in a process: the driver asks.
#[derive(Debug)]
pub(super) struct Channel(Talk);

impl Channel {
    pub(super) fn new(to: Option<ChildStdin>, from: Option<ChildStdout>) -> Self {
        Self(Talk::new(to, from))
    }

    /// Sends what the driver starts with, and answers until it says how the function ended; `None` if it never does.
    pub(super) async fn serve(
        &mut self,
        context: &TaskContext,
        start: [&Value; 2],
    ) -> Result<Option<Reply>, TaskError> {
        for value in start {
            self.0.send(value).await;
        }
        loop {
            let Some(message) = self.0.receive().await? else { return Ok(None) };
            if let Some(reply) = ended(&message) {
                return Ok(Some(reply));
            }
            let answer = match answer(context, &message).await {
                Ok(value) => json!({ "value": value }),
                Err(StorageError::Fenced) => return Err(TaskError::Cancelled(CancelReason::Obsolete)),
                Err(error) => json!({ "error": error.to_string() }),
            };
            self.0.send(&answer).await;
        }
    }
}

fn text(message: &Map<String, Value>, name: &str) -> String {
    message.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn ended(message: &Map<String, Value>) -> Option<Reply> {
    Some(match message.get("end")?.as_str()? {
        "returned" => Reply::Returned {
            value: message.get("value").cloned().unwrap_or_default(),
            shown: text(message, "shown"),
            holds: message.get("holds").and_then(Value::as_bool).unwrap_or_default(),
        },
        "skipped" => Reply::Skipped,
        "failed_for_good" => Reply::FailedForGood(text(message, "text")),
        _ => Reply::Failed(text(message, "text")),
    })
}

/// What the driver asks for.
async fn answer(context: &TaskContext, message: &Map<String, Value>) -> Result<Value, StorageError> {
    let (store, attempt) = (context.store(), context.attempt());
    let optional = |name: &str| message.get(name).and_then(Value::as_str);
    match optional("ask").unwrap_or_default() {
        "xcoms" => {
            let list = |name: &str| message.get(name).and_then(Value::as_array);
            let pull = XComPull {
                task_ids: list("task_ids").map(|ids| ids.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
                dag_id: optional("dag_id").map(str::to_owned),
                run_id: optional("run_id").map(str::to_owned),
                key: optional("key").map(str::to_owned),
                map_indexes: list("map_indexes").map(|indexes| indexes.iter().filter_map(Value::as_i64).collect()),
                include_prior_dates: message.get("include_prior_dates").and_then(Value::as_bool).unwrap_or_default(),
                many: message.get("many").and_then(Value::as_bool).unwrap_or_default(),
            };
            Ok(match xcom::pull(context, &pull).await? {
                Pulled::Nothing => Value::Null,
                Pulled::One(value) => json!({ "one": value }),
                Pulled::Many(values) => json!({ "many": values }),
            })
        }
        "push" => {
            let value = message.get("value").cloned().unwrap_or_default();
            store.set_xcom(attempt, &text(message, "key"), value).await?;
            Ok(Value::Null)
        }
        "variable" => Ok(store.variable(&text(message, "key")).await?.map_or(Value::Null, Value::String)),
        "connection" => Ok(store.connection(&text(message, "key")).await?.map_or(Value::Null, |found| shown(&found))),
        "previous_success" => {
            let dates = store.previous_success(attempt).await?;
            Ok(dates.map_or(Value::Null, |dates| dates.map(|date| date.map(isoformat)).to_vec().into()))
        }
        "triggering_dataset_events" => {
            let events = store.triggering_dataset_events(attempt).await?;
            Ok(events.iter().map(|(event, run)| update(event, run.as_ref())).collect())
        }
        "outlet_event" => {
            let extra = message.get("extra").and_then(Value::as_object).cloned().unwrap_or_default();
            context.outlet_event(&text(message, "uri"), extra);
            Ok(Value::Null)
        }
        other => Err(StorageError::Invalid(format!("nobody knows '{other}'"))),
    }
}

/// An update of a dataset, with the run that made it.
fn update(event: &DatasetEvent, run: Option<&DagRun>) -> Value {
    let source = event.source.as_ref();
    let run = run.map(|run| {
        json!({
            "dag_id": run.dag_id,
            "run_id": run.run_id,
            "run_type": run.run_type,
            "state": run.state.as_str(),
            "logical_date": isoformat(run.logical_date),
            "data_interval_start": isoformat(run.data_interval_start),
            "data_interval_end": isoformat(run.data_interval_end),
            "external_trigger": run.external_trigger,
            "conf": run.conf,
        })
    });
    json!({
        "id": event.id,
        "dataset_id": event.dataset_id,
        "uri": event.dataset_uri,
        "extra": event.extra,
        "source_dag_id": source.map(|source| &source.dag_id),
        "source_task_id": source.map(|source| &source.task_id),
        "source_run_id": source.map(|source| &source.run_id),
        "source_map_index": source.map_or(-1, |source| source.map_index),
        "timestamp": isoformat(event.timestamp),
        "source_dag_run": run,
    })
}

fn shown(connection: &Connection) -> Value {
    json!({
        "conn_id": connection.conn_id,
        "conn_type": connection.conn_type,
        "description": connection.description,
        "host": connection.host,
        "login": connection.login,
        "password": connection.password,
        "schema": connection.schema,
        "port": connection.port,
        "extra": connection.extra,
    })
}
