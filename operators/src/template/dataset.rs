//! Datasets and their updates, as templates see them.

use minijinja::{Error, Value};
use serde_json::Value as Json;
use updraft_core::model::{DagRun, Dataset, DatasetEvent};
use updraft_core::python::{repr, str_repr};

use super::context::{Record, shown_run};
use super::moment::Moment;
use super::object::{Dict, Entries, Key, List, from_json};

/// Updates of datasets, each with the run that made it if that is known.
pub type DatasetEvents = Vec<(DatasetEvent, Option<DagRun>)>;

fn text(text: Option<&str>) -> Value {
    text.map_or_else(|| Value::from(()), Value::from)
}

/// A task's inlets or outlets.
pub(super) fn list(datasets: &[Dataset]) -> Result<Value, Error> {
    let one = |dataset: &Dataset| {
        let extra = if dataset.extra.is_empty() { Json::Null } else { Json::Object(dataset.extra.clone()) };
        let shown = format!("Dataset(uri={}, extra={})", str_repr(&dataset.uri), repr(&extra));
        let fields = vec![("uri", Value::from(dataset.uri.as_str())), ("extra", from_json(&extra)?)];
        Ok(Record::module("Dataset", &shown, fields))
    };
    List::value(datasets.iter().map(one).collect::<Result<_, Error>>()?)
}

/// Updates by the URIs of their datasets, in the order in which these first appear; `known` datasets are there in any case.
pub(super) fn by_uri(known: &[Dataset], events: &DatasetEvents) -> Result<Value, Error> {
    let mut uris: Vec<&str> = Vec::new();
    for uri in known.iter().map(|dataset| &dataset.uri).chain(events.iter().map(|(event, _)| &event.dataset_uri)) {
        if !uris.contains(&uri.as_str()) {
            uris.push(uri);
        }
    }
    let mut entries = Entries::new();
    for uri in uris {
        let of_uri = events.iter().filter(|(event, _)| event.dataset_uri == uri);
        let list = List::value(of_uri.map(|(event, run)| update(event, run.as_ref())).collect::<Result<_, _>>()?)?;
        entries.insert(Key(Value::from(uri)), list);
    }
    Dict::value(entries)
}

fn update(event: &DatasetEvent, run: Option<&DagRun>) -> Result<Value, Error> {
    let source = event.source.as_ref();
    let extra = Json::Object(event.extra.clone());
    let of_source = [
        ("source_task_id", source.map(|source| source.task_id.as_str())),
        ("source_dag_id", source.map(|source| source.dag_id.as_str())),
        ("source_run_id", source.map(|source| source.run_id.as_str())),
    ];
    let map_index = source.map_or(-1, |source| source.map_index);
    let mut shown = format!("DatasetEvent(id={}, dataset_id={}, extra={}", event.id, event.dataset_id, repr(&extra));
    for (name, value) in of_source {
        shown += &format!(", {name}={}", value.map_or_else(|| "None".to_owned(), str_repr));
    }
    shown += &format!(", source_map_index={map_index}, source_aliases=[])");
    let uri = Value::from(event.dataset_uri.as_str());
    let dataset = Record::module(
        "DatasetModel",
        &format!("DatasetModel(uri={})", str_repr(&event.dataset_uri)),
        vec![("id", Value::from(event.dataset_id)), ("uri", uri.clone())],
    );
    let mut fields = vec![
        ("id", Value::from(event.id)),
        ("dataset_id", Value::from(event.dataset_id)),
        ("dataset", dataset),
        ("uri", uri),
        ("extra", from_json(&extra)?),
        ("source_map_index", Value::from(map_index)),
        ("source_aliases", List::flat(Vec::new())),
        ("source_dag_run", run.map(source_run).transpose()?.unwrap_or_else(|| Value::from(()))),
        ("timestamp", Moment::value(event.timestamp)),
    ];
    fields.extend(of_source.map(|(name, value)| (name, text(value))));
    Ok(Record::module("DatasetEvent", &shown, fields))
}

/// The run that made an update.
fn source_run(run: &DagRun) -> Result<Value, Error> {
    let (state, queued_at) = (run.state.as_str(), Moment::value(run.queued_at));
    let triggered = Value::from(run.external_trigger);
    let shown = shown_run(
        run.dag_id.as_str(),
        run.logical_date,
        &run.run_id,
        [state.to_owned(), queued_at.to_string(), triggered.to_string()],
    );
    let fields = vec![
        ("id", Value::from(run.id.0)),
        ("dag_id", Value::from(run.dag_id.as_str())),
        ("run_id", Value::from(run.run_id.as_str())),
        ("run_type", Value::from(run.run_type.as_str())),
        ("external_trigger", triggered),
        ("conf", from_json(&run.conf)?),
        ("state", Value::from(state)),
        ("logical_date", Moment::value(run.logical_date)),
        ("execution_date", Moment::value(run.logical_date)),
        ("data_interval_start", Moment::value(run.data_interval_start)),
        ("data_interval_end", Moment::value(run.data_interval_end)),
        ("queued_at", queued_at),
        ("start_date", Moment::optional(run.start_date)),
        ("end_date", Moment::optional(run.end_date)),
    ];
    Ok(Record::module("DagRun", &shown, fields))
}
