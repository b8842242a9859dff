//! What a template sees: the facts of one try of a task, and look-ups that the host answers.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use chrono::{DateTime, TimeDelta, Utc};
use indexmap::IndexMap;
use minijinja::value::{Object, ObjectRepr};
use minijinja::{Error, State, Value};
use serde_json::Value as Json;
use updraft_core::model::Dataset;

use super::args::{Args, flag, needed, text};
use super::dataset::{self, DatasetEvents};
use super::error::{TemplateError, invalid, lookup as lookup_error, not_found};
use super::interval::Span;
use super::lookup::{Lookup, Pulled, TemplateConnection, XComPull};
use super::moment::Moment;
use super::object::{Dict, Entries, Key, View, ViewPrint, from_json, tuple};
use super::{json, macros, python};

/// One attribute of a DAG, a run, a task or a task instance.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Attribute {
    /// Plain data.
    Json(Json),
    /// Texts that Python holds as a tuple, such as `template_fields`.
    Tuple(Vec<String>),
    /// A point in time, or None.
    Date(Option<DateTime<Utc>>),
    /// A length of time, or None.
    Duration(Option<TimeDelta>),
}

/// Further attributes by name.
pub type Attributes = Vec<(String, Attribute)>;

/// The last successful run before this one.
#[derive(Clone, Debug)]
pub struct PreviousSuccess {
    /// Its logical date.
    pub logical_date: DateTime<Utc>,
    /// The start of its data interval.
    pub data_interval_start: DateTime<Utc>,
    /// The end of its data interval.
    pub data_interval_end: DateTime<Utc>,
    /// When it started.
    pub start_date: Option<DateTime<Utc>>,
    /// When it ended.
    pub end_date: Option<DateTime<Utc>>,
}

/// The facts of one try of a task, as plain data.
///
/// The attribute lists add to what is named here, for instance `owner` to `dag`, `retries` to `task`, `state` to
/// `dag_run`, `try_number` to `task_instance`.
#[derive(Clone, Debug)]
pub struct TemplateFacts {
    /// The DAG's id.
    pub dag_id: String,
    /// The task's id.
    pub task_id: String,
    /// The operator's class, as `BashOperator`.
    pub task_type: String,
    /// The run's id.
    pub run_id: String,
    /// The run's type: `manual`, `scheduled`, `backfill` or `dataset_triggered`.
    pub run_type: String,
    /// Whether something other than the schedule made the run.
    pub external_trigger: bool,
    /// The run's configuration.
    pub conf: Json,
    /// The parameters, `conf` already merged into them where that is allowed.
    pub params: Json,
    /// The run's logical date.
    pub logical_date: DateTime<Utc>,
    /// The start of the run's data interval.
    pub data_interval_start: DateTime<Utc>,
    /// The end of the run's data interval.
    pub data_interval_end: DateTime<Utc>,
    /// The logical date that the schedule has next; the run's own for one with an external trigger.
    pub next_execution_date: Option<DateTime<Utc>>,
    /// The logical date that the schedule has before; the run's own for one with an external trigger.
    pub prev_execution_date: Option<DateTime<Utc>>,
    /// The last successful run before this one.
    pub previous_success: Option<PreviousSuccess>,
    /// The datasets among the task's inlets.
    pub inlets: Vec<Dataset>,
    /// The datasets among the task's outlets.
    pub outlets: Vec<Dataset>,
    /// The updates of datasets that caused the run, oldest first.
    pub triggering_dataset_events: DatasetEvents,
    /// The updates of the inlets, oldest first.
    pub inlet_events: DatasetEvents,
    /// The task instance's map index; -1 if it is not mapped.
    pub map_index: i64,
    /// The try that runs, from 1.
    pub try_number: i64,
    /// How many instances the task was expanded to, if it is mapped.
    pub expanded_ti_count: Option<i64>,
    /// The template of the instance's name in a mapped task.
    pub map_index_template: Option<String>,
    /// More attributes of `dag`.
    pub dag: Attributes,
    /// More attributes of `dag_run`.
    pub dag_run: Attributes,
    /// More attributes of `task`.
    pub task: Attributes,
    /// More attributes of `ti`.
    pub task_instance: Attributes,
    /// More names at the top, for instance `templates_dict`.
    pub more: serde_json::Map<String, Json>,
    /// The present, for `macros.datetime.now()` and its like.
    pub now: DateTime<Utc>,
    /// What `macros.random()` and `macros.uuid.uuid4()` start from.
    pub seed: u64,
}

/// A context, ready to render with; one serves all fields of a task.
#[derive(Clone)]
pub struct TemplateContext {
    pub(super) root: Value,
}

impl fmt::Debug for TemplateContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TemplateContext").finish_non_exhaustive()
    }
}

impl TemplateContext {
    /// Builds the names that templates see. Data that is nested too deeply is an error.
    pub fn new(facts: &TemplateFacts, lookup: Arc<dyn Lookup>) -> Result<Self, TemplateError> {
        Ok(TemplateContext { root: root(facts, lookup)? })
    }
}

fn root(facts: &TemplateFacts, lookup: Arc<dyn Lookup>) -> Result<Value, Error> {
    let date = |at: DateTime<Utc>, format: &str| Value::from(at.format(format).to_string());
    let none = || Value::from(());
    let logical = Moment::utc(facts.logical_date);
    let iso = logical.iso("T");
    let mut names: IndexMap<&str, Value> = IndexMap::new();
    for (name, at) in [
        ("", Some(facts.logical_date)),
        ("yesterday_", facts.logical_date.checked_sub_signed(TimeDelta::days(1))),
        ("tomorrow_", facts.logical_date.checked_add_signed(TimeDelta::days(1))),
        ("next_", facts.next_execution_date),
        ("prev_", facts.prev_execution_date),
    ] {
        let (dashed, plain) = match name {
            "" => ("ds", "ds_nodash"),
            "yesterday_" => ("yesterday_ds", "yesterday_ds_nodash"),
            "tomorrow_" => ("tomorrow_ds", "tomorrow_ds_nodash"),
            "next_" => ("next_ds", "next_ds_nodash"),
            _ => ("prev_ds", "prev_ds_nodash"),
        };
        names.insert(dashed, at.map_or_else(none, |at| date(at, "%Y-%m-%d")));
        names.insert(plain, at.map_or_else(none, |at| date(at, "%Y%m%d")));
    }
    let previous = facts.previous_success.as_ref();
    for (name, value) in [
        ("ts", Value::from(iso.as_str())),
        ("ts_nodash", date(facts.logical_date, "%Y%m%dT%H%M%S")),
        ("ts_nodash_with_tz", Value::from(iso.replace(['-', ':'], ""))),
        ("logical_date", Moment::value(facts.logical_date)),
        ("execution_date", Moment::value(facts.logical_date)),
        ("data_interval_start", Moment::value(facts.data_interval_start)),
        ("data_interval_end", Moment::value(facts.data_interval_end)),
        ("next_execution_date", Moment::optional(facts.next_execution_date)),
        ("prev_execution_date", Moment::optional(facts.prev_execution_date)),
        ("prev_execution_date_success", Moment::optional(previous.map(|run| run.logical_date))),
        ("prev_data_interval_start_success", Moment::optional(previous.map(|run| run.data_interval_start))),
        ("prev_data_interval_end_success", Moment::optional(previous.map(|run| run.data_interval_end))),
        ("prev_start_date_success", Moment::optional(previous.and_then(|run| run.start_date))),
        ("prev_end_date_success", Moment::optional(previous.and_then(|run| run.end_date))),
        ("run_id", Value::from(facts.run_id.as_str())),
        ("params", from_json(&facts.params)?),
        ("test_mode", Value::from(false)),
        ("map_index_template", facts.map_index_template.as_deref().map_or_else(none, Value::from)),
        ("expanded_ti_count", facts.expanded_ti_count.map_or_else(none, Value::from)),
        ("inlets", dataset::list(&facts.inlets)?),
        ("outlets", dataset::list(&facts.outlets)?),
        ("triggering_dataset_events", dataset::by_uri(&[], &facts.triggering_dataset_events)?),
        ("inlet_events", dataset::by_uri(&facts.inlets, &facts.inlet_events)?),
        ("outlet_events", Dict::of([])),
        ("macros", macros::module()),
        (
            "task_instance_key_str",
            Value::from(format!("{}__{}__{}", facts.dag_id, facts.task_id, facts.logical_date.format("%Y%m%d"))),
        ),
        (
            "var",
            Dict::of([
                ("json", Accessor::value(AccessorKind::VariableJson, &lookup)),
                ("value", Accessor::value(AccessorKind::Variable, &lookup)),
            ]),
        ),
        ("conn", Accessor::value(AccessorKind::Connection, &lookup)),
    ] {
        names.insert(name, value);
    }
    let dag = dag_record(facts)?;
    let dag_run = run_record(facts, &dag)?;
    let task = task_record(facts, &dag, &names)?;
    let instance = instance_record(facts, &dag_run, &task, lookup)?;
    names.extend([
        ("dag", dag),
        ("dag_run", dag_run),
        ("task", task),
        ("ti", instance.clone()),
        ("task_instance", instance),
    ]);
    names.insert("__facts__", Value::from_object(Facts { now: facts.now, random: AtomicU64::new(facts.seed) }));
    let mut entries: Entries = names.into_iter().map(|(name, value)| (Key(Value::from(name)), value)).collect();
    for (name, value) in &facts.more {
        entries.insert(Key(Value::from(name.as_str())), from_json(value)?);
    }
    Dict::value(entries)
}

type Fields = IndexMap<String, Value>;

fn fields(known: Vec<(&str, Value)>, more: &Attributes) -> Result<Fields, Error> {
    let mut fields: Fields = known.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    for (name, attribute) in more {
        let value = match attribute {
            Attribute::Json(json) => from_json(json)?,
            Attribute::Tuple(items) => tuple(items.iter().map(|item| Value::from(item.as_str())).collect()),
            Attribute::Date(at) => Moment::optional(*at),
            Attribute::Duration(None) => Value::from(()),
            Attribute::Duration(Some(length)) => Span::timedelta(length.num_microseconds().unwrap_or(i64::MAX).into())?,
        };
        fields.insert(name.clone(), value);
    }
    Ok(fields)
}

fn dag_record(facts: &TemplateFacts) -> Result<Value, Error> {
    let safe: String = facts.dag_id.replace('.', "__dot__");
    let known = vec![("dag_id", Value::from(facts.dag_id.as_str())), ("safe_dag_id", Value::from(safe))];
    let fields = fields(known, &facts.dag)?;
    Ok(Record { name: "DAG", shown: format!("<DAG: {}>", facts.dag_id), fields, kind: RecordKind::Plain }.into_value())
}

fn run_record(facts: &TemplateFacts, dag: &Value) -> Result<Value, Error> {
    let known = vec![
        ("dag_id", Value::from(facts.dag_id.as_str())),
        ("run_id", Value::from(facts.run_id.as_str())),
        ("run_type", Value::from(facts.run_type.as_str())),
        ("external_trigger", Value::from(facts.external_trigger)),
        ("conf", from_json(&facts.conf)?),
        ("logical_date", Moment::value(facts.logical_date)),
        ("execution_date", Moment::value(facts.logical_date)),
        ("data_interval_start", Moment::value(facts.data_interval_start)),
        ("data_interval_end", Moment::value(facts.data_interval_end)),
        ("is_backfill", Value::from(facts.run_type == "backfill")),
        ("state", Value::from("running")),
        ("queued_at", Value::from(())),
        ("start_date", Value::from(())),
        ("end_date", Value::from(())),
        ("creating_job_id", Value::from(())),
        ("clear_number", Value::from(0)),
        ("note", Value::from(())),
        ("dag", dag.clone()),
    ];
    let fields = fields(known, &facts.dag_run)?;
    let field = |name: &str| fields.get(name).map(ToString::to_string).unwrap_or_default();
    let shown = shown_run(
        &facts.dag_id,
        facts.logical_date,
        &facts.run_id,
        ["state", "queued_at", "external_trigger"].map(field),
    );
    Ok(Record { name: "DagRun", shown, fields, kind: RecordKind::Plain }.into_value())
}

/// A run as Airflow prints it, with its state, when it was queued, and whether it was triggered from outside.
pub(super) fn shown_run(
    dag_id: &str,
    logical_date: DateTime<Utc>,
    run_id: &str,
    [state, queued_at, external_trigger]: [String; 3],
) -> String {
    let date = Moment::utc(logical_date);
    format!(
        "<DagRun {dag_id} @ {date}: {run_id}, state:{state}, queued_at: {queued_at}. externally triggered: {external_trigger}>"
    )
}

fn task_record(facts: &TemplateFacts, dag: &Value, names: &IndexMap<&str, Value>) -> Result<Value, Error> {
    let label = facts.task_id.rsplit('.').next().unwrap_or_default();
    let known = vec![
        ("task_id", Value::from(facts.task_id.as_str())),
        ("dag_id", Value::from(facts.dag_id.as_str())),
        ("task_type", Value::from(facts.task_type.as_str())),
        ("operator_name", Value::from(facts.task_type.as_str())),
        ("label", Value::from(label)),
        ("params", names.get("params").cloned().unwrap_or_default()),
        ("dag", dag.clone()),
    ];
    let fields = fields(known, &facts.task)?;
    let shown = format!("<Task({}): {}>", facts.task_type, facts.task_id);
    Ok(Record { name: "Task", shown, fields, kind: RecordKind::Plain }.into_value())
}

fn instance_record(
    facts: &TemplateFacts,
    dag_run: &Value,
    task: &Value,
    lookup: Arc<dyn Lookup>,
) -> Result<Value, Error> {
    let ids = || {
        vec![
            ("dag_id", Value::from(facts.dag_id.as_str())),
            ("task_id", Value::from(facts.task_id.as_str())),
            ("run_id", Value::from(facts.run_id.as_str())),
            ("try_number", Value::from(facts.try_number)),
            ("map_index", Value::from(facts.map_index)),
        ]
    };
    let mut known = ids();
    known.extend([
        ("execution_date", Moment::value(facts.logical_date)),
        ("operator", Value::from(facts.task_type.as_str())),
        ("state", Value::from("running")),
        ("prev_attempted_tries", Value::from(facts.try_number)),
        ("hostname", Value::from("")),
        ("test_mode", Value::from(false)),
        ("is_premature", Value::from(false)),
        ("task", task.clone()),
        ("dag_run", dag_run.clone()),
        ("key", Record::module("TaskInstanceKey", "TaskInstanceKey(…)", ids())),
    ]);
    let fields = fields(known, &facts.task_instance)?;
    let state = fields.get("state").map(ToString::to_string).unwrap_or_default();
    let mapped = if facts.map_index >= 0 { format!("map_index={} ", facts.map_index) } else { String::new() };
    let shown = format!("<TaskInstance: {}.{} {} {mapped}[{state}]>", facts.dag_id, facts.task_id, facts.run_id);
    Ok(Record { name: "TaskInstance", shown, fields, kind: RecordKind::TaskInstance(lookup) }.into_value())
}

/// An object with named attributes that templates read.
pub(super) struct Record {
    name: &'static str,
    shown: String,
    fields: Fields,
    kind: RecordKind,
}

enum RecordKind {
    Plain,
    TaskInstance(Arc<dyn Lookup>),
    Connection(Box<TemplateConnection>),
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Record {
    fn into_value(self) -> Value {
        Value::from_object(self)
    }

    /// A module of Python's, or another thing with nothing but attributes.
    pub(super) fn module(name: &'static str, shown: &str, fields: Vec<(&str, Value)>) -> Value {
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Record { name, shown: shown.to_owned(), fields, kind: RecordKind::Plain }.into_value()
    }

    fn connection(connection: TemplateConnection) -> Result<Value, Error> {
        let text = |value: &Option<String>| value.as_deref().map_or_else(|| Value::from(()), Value::from);
        let extra = match connection.extra.as_deref().filter(|extra| !extra.is_empty()) {
            Some(extra) => serde_json::from_str(extra).unwrap_or_default(),
            None => Json::Object(serde_json::Map::new()),
        };
        let known = vec![
            ("conn_id", Value::from(connection.conn_id.as_str())),
            ("conn_type", Value::from(connection.conn_type.as_str())),
            ("description", text(&connection.description)),
            ("host", text(&connection.host)),
            ("login", text(&connection.login)),
            ("password", text(&connection.password)),
            ("schema", text(&connection.schema)),
            ("port", connection.port.map_or_else(|| Value::from(()), Value::from)),
            ("extra", text(&connection.extra)),
            ("extra_dejson", from_json(&extra)?),
            ("is_encrypted", Value::from(false)),
            ("is_extra_encrypted", Value::from(false)),
        ];
        let fields = fields(known, &vec![])?;
        let shown = connection.conn_id.clone();
        Ok(Record { name: "Connection", shown, fields, kind: RecordKind::Connection(Box::new(connection)) }
            .into_value())
    }

    pub(super) fn type_name(&self) -> &'static str {
        self.name
    }

    pub(super) fn shown(&self) -> &str {
        &self.shown
    }
}

impl Object for Record {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        true
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.fields.get(key.as_str()?).cloned()
    }

    fn call_method(self: &Arc<Self>, state: &mut State, method: &str, values: &[Value]) -> Result<Value, Error> {
        let field = |name: &str| self.fields.get(name).cloned().unwrap_or_else(|| Value::from(()));
        match (&self.kind, method) {
            (RecordKind::TaskInstance(lookup), "xcom_pull") => return xcom_pull(lookup, state, Args::new(values)),
            (RecordKind::TaskInstance(lookup), "xcom_push") => return xcom_push(lookup, state, Args::new(values)),
            (RecordKind::TaskInstance(_), "get_dagrun") => return Ok(field("dag_run")),
            (RecordKind::TaskInstance(_), "current_state") => return Ok(field("state")),
            (RecordKind::Connection(connection), "get_uri") => return Ok(Value::from(connection.uri())),
            (RecordKind::Connection(_), "get_password") => return Ok(field("password")),
            (RecordKind::Connection(_), "get_extra") => return Ok(field("extra")),
            (RecordKind::Connection(_), "get_extra_dejson") => return Ok(field("extra_dejson")),
            (RecordKind::Plain, "get_state") if self.name == "DagRun" => return Ok(field("state")),
            (RecordKind::Plain, "get_dag") => return Ok(field("dag")),
            (RecordKind::Plain, "has_task") if self.name == "DAG" => {
                let task = Args::new(values).one("has_task")?;
                return super::operators::contains(state, &field("task_ids"), &task).map(Value::from);
            }
            _ => {}
        }
        match self.fields.get(method) {
            Some(function) if super::operators::is_callable(function) => function.call(state, values),
            Some(other) => Err(invalid(format!("'{}' object is not callable", python::type_name(other)))),
            None => Err(python::no_attribute(&Value::from_dyn_object(self.clone()), method)),
        }
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// One text or several: what `task_ids` may be.
fn texts(state: &mut State, value: Option<Value>, name: &str) -> Result<(Option<Vec<String>>, bool), Error> {
    match value.filter(|value| !value.is_none()) {
        None => Ok((None, false)),
        Some(value) => match value.as_str() {
            Some(one) => Ok((Some(vec![one.to_owned()]), false)),
            None => {
                let items = python::iterate(state, &value)?;
                let items = items.iter().map(|item| text(item, name)).collect::<Result<Vec<_>, _>>()?;
                Ok((Some(items), true))
            }
        },
    }
}

fn xcom_pull(lookup: &Arc<dyn Lookup>, state: &mut State, args: Args) -> Result<Value, Error> {
    let names = ["task_ids", "dag_id", "key", "include_prior_dates", "session", "map_indexes", "default", "run_id"];
    let [task_ids, dag_id, key, prior, _session, map_indexes, default, run_id] = args.bind("xcom_pull", names)?;
    let (task_ids, many_tasks) = texts(state, task_ids, "task_ids")?;
    let optional_text = |value: Option<Value>, name: &str| match value.filter(|value| !value.is_none()) {
        Some(value) => text(&value, name).map(Some),
        None => Ok(None),
    };
    let key = match key {
        None => Some("return_value".to_owned()),
        Some(key) => optional_text(Some(key), "key")?,
    };
    let (map_indexes, many_indexes) = match map_indexes.filter(|indexes| !indexes.is_none()) {
        None => (None, false),
        Some(one) if one.is_integer() => (Some(vec![super::args::integer(Some(one), -1)?]), false),
        Some(several) => {
            let items = python::iterate(state, &several)?;
            let indexes = items.into_iter().map(|item| super::args::integer(Some(item), -1));
            (Some(indexes.collect::<Result<Vec<_>, _>>()?), true)
        }
    };
    let pull = XComPull {
        task_ids,
        dag_id: optional_text(dag_id, "dag_id")?,
        run_id: optional_text(run_id, "run_id")?,
        key,
        map_indexes,
        include_prior_dates: flag(prior),
        many: many_tasks || many_indexes,
    };
    match lookup.xcom_pull(&pull).map_err(|error| lookup_error(error.0))? {
        Pulled::Nothing => Ok(default.unwrap_or_else(|| Value::from(()))),
        Pulled::One(value) => from_json(&value),
        Pulled::Many(values) => {
            let print = match values.len() {
                1 => "LazySelectSequence([1 item])".to_owned(),
                count => format!("LazySelectSequence([{count} items])"),
            };
            let values = values.iter().map(from_json).collect::<Result<Vec<_>, _>>()?;
            Ok(View::value(values, ViewPrint::Text(print)))
        }
    }
}

fn xcom_push(lookup: &Arc<dyn Lookup>, state: &mut State, args: Args) -> Result<Value, Error> {
    let [key, value, _date] = args.bind("xcom_push", ["key", "value", "execution_date"])?;
    let key = text(&needed(key, "xcom_push", "key")?, "xcom_push")?;
    let value = needed(value, "xcom_push", "value")?;
    let written = json::dumps(state, &value, &json::Style::default())?;
    let value = serde_json::from_str(&written).map_err(|error| invalid(format!("not valid JSON: {error}")))?;
    lookup.xcom_push(&key, value).map_err(|error| lookup_error(error.0))?;
    Ok(Value::from(()))
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum AccessorKind {
    Variable,
    VariableJson,
    Connection,
}

/// `var.value`, `var.json` and `conn`: attributes that the host looks up.
pub(super) struct Accessor {
    kind: AccessorKind,
    lookup: Arc<dyn Lookup>,
}

impl fmt::Debug for Accessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind)
    }
}

impl Accessor {
    fn value(kind: AccessorKind, lookup: &Arc<dyn Lookup>) -> Value {
        Value::from_object(Accessor { kind, lookup: lookup.clone() })
    }

    /// The variable or the connection; that there is none is an error, as it is in Airflow.
    pub(super) fn get(&self, key: &Value) -> Result<Value, Error> {
        let key = text(key, "get")?;
        self.find(&key)?.ok_or_else(|| match self.kind {
            AccessorKind::Connection => not_found(format!("The conn_id `{key}` isn't defined")),
            _ => not_found(format!("Variable {key} does not exist")),
        })
    }

    fn find(&self, key: &str) -> Result<Option<Value>, Error> {
        if self.kind == AccessorKind::Connection {
            let found = self.lookup.connection(key).map_err(|error| lookup_error(error.0))?;
            return found.map(Record::connection).transpose();
        }
        let Some(found) = self.lookup.variable(key).map_err(|error| lookup_error(error.0))? else {
            return Ok(None);
        };
        if self.kind == AccessorKind::Variable {
            return Ok(Some(Value::from(found)));
        }
        match serde_json::from_str(&found) {
            Ok(json) => from_json(&json).map(Some),
            Err(error) => Err(invalid(format!("the variable {key} is not valid JSON: {error}"))),
        }
    }
}

impl Object for Accessor {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        true
    }

    fn call_method(self: &Arc<Self>, _state: &mut State, method: &str, values: &[Value]) -> Result<Value, Error> {
        if method != "get" {
            return Err(invalid(format!("'{method}' is not callable")));
        }
        let [key, default] = match self.kind {
            AccessorKind::Connection => Args::new(values).bind("get", ["key", "default_conn"])?,
            _ => Args::new(values).bind("get", ["key", "default"])?,
        };
        let key = needed(key, "get", "key")?;
        match (self.find(&text(&key, "get")?)?, default, self.kind) {
            (Some(found), _, _) => Ok(found),
            (None, Some(default), _) => Ok(default),
            (None, None, AccessorKind::Connection) => Ok(Value::from(())),
            (None, None, _) => self.get(&key),
        }
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("None")
    }
}

/// The present and the source of random numbers, out of reach of templates.
#[derive(Debug)]
pub(super) struct Facts {
    now: DateTime<Utc>,
    random: AtomicU64,
}

impl Object for Facts {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
}

impl Facts {
    pub(super) fn of(state: &State) -> Result<Arc<Facts>, Error> {
        let facts = state.lookup("__facts__").and_then(|facts| facts.downcast_object::<Facts>());
        facts.ok_or_else(|| lookup_error("the context has no clock"))
    }

    pub(super) fn now(&self) -> Moment {
        Moment::utc(self.now)
    }

    /// The next 64 bits, by SplitMix64: enough for what templates do with them.
    pub(super) fn random(&self) -> u64 {
        let mut z = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
