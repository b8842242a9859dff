//! What there is, with times that don't depend on when it was. `record.py` looks at Airflow in the same way.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value, json};

use crate::server::{Server, quoted};

/// What a scenario says about looking.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    /// The scenario's name.
    pub(crate) name: String,
    /// The DAGs of its file.
    pub(crate) dags: Vec<String>,
    /// Lengths of ticks in seconds, for DAGs whose times are counted from the last tick before they were unpaused.
    pub(crate) ticks: BTreeMap<String, i64>,
    /// Whether events of datasets belong to it.
    pub(crate) datasets: bool,
    /// DAGs with a task whose result belongs to it.
    pub(crate) results: BTreeMap<String, String>,
    /// When it began; what is farther away than a day is shown as it is.
    pub(crate) began: i64,
    /// When DAGs were last unpaused.
    pub(crate) unpaused: BTreeMap<String, i64>,
}

/// In microseconds.
const DAY: i64 = 86_400_000_000;

/// What several DAGs have.
struct All<'a> {
    runs: &'a [Value],
    instances: &'a [Value],
    events: &'a [Value],
}

fn micros(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).unwrap_or_else(|error| panic!("{text}: {error}")).timestamp_micros()
}

/// As Python's `isoformat` writes it.
fn isoformat(micros: i64) -> String {
    let at = DateTime::from_timestamp_micros(micros).unwrap();
    let format = if micros % 1_000_000 == 0 { SecondsFormat::Secs } else { SecondsFormat::Micros };
    at.to_rfc3339_opts(format, false)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is a text"))
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

impl Looks {
    fn time(&self, at: &Value, dag: &str, events: &[Value]) -> Value {
        let Some(at) = at.as_str().map(micros) else { return Value::Null };
        if let (Some(tick), Some(unpaused)) = (self.ticks.get(dag), self.unpaused.get(dag)) {
            let tick = tick * 1_000_000;
            let since = at - unpaused.div_euclid(tick) * tick;
            if since % tick == 0 {
                return format!("tick{:+}", since / tick).into();
            }
        }
        if (at - self.began).abs() > DAY {
            return isoformat(at).into();
        }
        match events.iter().filter(|event| micros(text(&event["timestamp"])) <= at).count() {
            0 => "now".into(),
            before => format!("event {}", before - 1).into(),
        }
    }

    fn run_id(&self, run: &Value, events: &[Value]) -> String {
        let run_id = text(&run["dag_run_id"]);
        match run_id.split_once("__") {
            Some((kind, date)) if run["logical_date"] == date => {
                format!("{kind}__{}", text(&self.time(&run["logical_date"], text(&run["dag_id"]), events)))
            }
            _ => run_id.into(),
        }
    }

    async fn run(&self, server: &Server, run: &Value, instances: &[Value], events: &[Value]) -> Value {
        let dag = text(&run["dag_id"]);
        let path = format!("/dags/{dag}/dagRuns/{}", quoted(text(&run["dag_run_id"])));
        let mut tasks = Map::new();
        for task in instances.iter().filter(|task| task["dag_id"] == dag && task["dag_run_id"] == run["dag_run_id"]) {
            let state = task["state"].as_str().unwrap_or("None");
            let shown = Value::from(format!("{state}/{}", task["try_number"]));
            let task_id = text(&task["task_id"]);
            if task["map_index"].as_i64() < Some(0) {
                tasks.insert(task_id.into(), shown);
            } else if let Some(instances) = tasks.entry(task_id).or_insert_with(|| json!([])).as_array_mut() {
                instances.push(shown);
            }
        }
        let time = |name: &str| self.time(&run[name], dag, events);
        let mut shown = json!({
            "id": self.run_id(run, events),
            "type": run["run_type"],
            "logical_date": time("logical_date"),
            "interval": [time("data_interval_start"), time("data_interval_end")],
            "state": run["state"],
            "external": run["external_trigger"],
            "conf": run["conf"],
            "tasks": tasks,
        });
        if run["run_type"] == "dataset_triggered" {
            let upstream = server.get(&format!("{path}/upstreamDatasetEvents")).await;
            let place = |event: &Value| events.iter().position(|known| known["id"] == event["id"]);
            let places: BTreeSet<_> = items(&upstream["dataset_events"]).iter().map(place).collect();
            shown["events"] = places.into_iter().collect();
        }
        if let Some(task) = self.results.get(dag)
            && run["state"] == "success"
        {
            let result = server.get(&format!("{path}/taskInstances/{task}/xcomEntries/return_value")).await;
            shown["result"] = result["value"].clone();
        }
        shown
    }

    async fn dag(&self, server: &Server, found: &Value, all: &All<'_>, with_starts: bool) -> Value {
        let (dag, events) = (text(&found["dag_id"]), all.events);
        let runs: Vec<_> = all.runs.iter().filter(|run| run["dag_id"] == dag).collect();
        let next = ["next_dagrun", "next_dagrun_data_interval_start", "next_dagrun_data_interval_end"];
        let next = next.into_iter().chain(["next_dagrun_create_after"]);
        let mut shown = json!({
            "paused": found["is_paused"],
            "next": next.map(|name| self.time(&found[name], dag, events)).collect::<Value>(),
            "runs": [],
        });
        for run in &runs {
            let run = self.run(server, run, all.instances, events).await;
            shown["runs"].as_array_mut().unwrap().push(run);
        }
        if with_starts {
            let mut started: Vec<_> = runs.into_iter().filter(|run| run["start_date"].is_string()).collect();
            started.sort_by_key(|run| micros(text(&run["start_date"])));
            shown["starts"] = started.into_iter().map(|run| self.run_id(run, events)).collect();
        }
        if self.datasets {
            let queued = server.get(&format!("/dags/{dag}/datasets/queuedEvent")).await;
            let queued: BTreeSet<_> = items(&queued["queued_events"]).iter().map(|event| text(&event["uri"])).collect();
            shown["queued"] = queued.into_iter().collect();
        }
        shown
    }

    /// Everything that the scenario looks at.
    pub(crate) async fn look(&self, server: &Server, starts: &[Value]) -> Value {
        let mut events = Vec::new();
        if self.datasets {
            let found = server.get("/datasets/events?order_by=timestamp&limit=100").await;
            let prefix = format!("s3://{}/", self.name);
            events.extend(items(&found["dataset_events"]).iter().cloned());
            events.retain(|event| text(&event["dataset_uri"]).starts_with(&prefix));
        }
        let found = server.get(&format!("/dags?tags={}&limit=100", self.name)).await;
        let body = json!({"dag_ids": self.dags, "page_limit": 100, "order_by": "id"});
        let (_, runs) = server.call("POST", "/dags/~/dagRuns/list", Some(&body)).await;
        let body = json!({"dag_ids": self.dags, "page_limit": 100});
        let (_, instances) = server.call("POST", "/dags/~/dagRuns/~/taskInstances/list", Some(&body)).await;
        let mut instances = items(&instances["task_instances"]).to_vec();
        instances.sort_by_key(|task| (text(&task["task_id"]).to_owned(), task["map_index"].as_i64()));
        let all = All { runs: items(&runs["dag_runs"]), instances: &instances, events: &events };
        let mut shown = json!({"dags": {}});
        for found in items(&found["dags"]) {
            let dag = text(&found["dag_id"]);
            let with_starts = starts.iter().any(|named| named == dag);
            shown["dags"][dag] = self.dag(server, found, &all, with_starts).await;
        }
        if self.datasets {
            let source = |event: &Value| match event["source_run_id"].as_str() {
                None => Value::Null,
                Some(_) => json!([event["source_dag_id"], event["source_task_id"], event["source_run_id"]]),
            };
            let event = |event: &Value| {
                json!({
                    "uri": event["dataset_uri"],
                    "extra": event["extra"],
                    "source": source(event),
                    "map_index": event["source_map_index"],
                })
            };
            shown["events"] = events.iter().map(event).collect();
        }
        shown
    }
}
