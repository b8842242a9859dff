//! Plays a scenario step by step, and compares each answer with Airflow's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::accepted::Accepted;
use crate::difference::differences;
use crate::look::Looks;
use crate::server::{Server, quoted};

/// How long what is expected may take to come about.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often in a row it must be seen, so that it is no moment on the way to something else.
const LOOKS: u32 = 4;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);
/// What stands for `SECONDS` in DAG files: what can start has started by then.
const SECONDS: &str = "2";
/// How long tasks sleep, in seconds, before they look at their gate again.
const NAP: &str = "0.02";

struct Player {
    folder: PathBuf,
    home: TempDir,
    server: Server,
    looks: Looks,
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Copies a DAG file, with what stands for the folder of gates and for a time.
fn write(from: &Path, home: &Path) {
    let gates = home.join("gates");
    let text = read(from).replace("GATES", gates.to_str().unwrap()).replace("SECONDS", SECONDS).replace("NAP", NAP);
    // In one step, so that nobody reads half a file.
    let whole = home.join("whole.yml");
    std::fs::write(&whole, text).unwrap();
    std::fs::rename(whole, home.join("dags/dags.yml")).unwrap();
}

fn dag_ids(text: &str) -> Vec<String> {
    let names = text.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_alphabetic()));
    let names = names.filter_map(|line| line.split(':').next()).filter(|name| *name != "default");
    let mut names: Vec<_> = names.map(ToOwned::to_owned).collect();
    names.sort();
    names
}

fn said((status, body): (u16, Value)) -> Value {
    if status < 400 { json!({"status": status}) } else { json!({"status": status, "detail": body["detail"]}) }
}

/// Plays a folder's scenario.
pub(crate) async fn play(folder: &Path) {
    let scenario: Value = serde_json::from_str(&read(&folder.join("scenario.json"))).unwrap();
    let recorded: Vec<Value> = serde_json::from_str(&read(&folder.join("recorded.json"))).unwrap();
    assert!(!recorded.is_empty());
    let mut accepted = Accepted::of(folder);
    let mut all_wrong = Vec::new();
    let mut player = Player::start(folder, &scenario).await;
    let mut recorded = recorded.iter().peekable();
    for (number, step) in scenario["steps"].as_array().unwrap().iter().enumerate() {
        let expected =
            recorded.next_if(|answer| answer["step"] == number).map_or(&Value::Null, |known| &known["answer"]);
        let wrong = match step.get("observe") {
            Some(_) => player.observe((number, step), expected, &mut accepted).await,
            None => differences(expected, &player.step(step.as_object().unwrap()).await),
        };
        let wrong = accepted.unknown(number, wrong);
        if !wrong.is_empty() {
            all_wrong.push(format!("step {number}, {step}:\n{}", wrong.join("\n")));
        }
    }
    assert!(all_wrong.is_empty(), "{}", all_wrong.join("\n"));
    assert!(recorded.next().is_none(), "all answers were asked for");
    accepted.all_occurred();
    player.open("never");
    player.server.stop().await;
}

impl Player {
    async fn start(folder: &Path, scenario: &Value) -> Self {
        let home = tempfile::tempdir().unwrap();
        for name in ["dags", "gates"] {
            std::fs::create_dir(home.path().join(name)).unwrap();
        }
        for file in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = file.file_name().unwrap().to_str().unwrap();
            if name.ends_with(".yml") && !name.starts_with("dags.") {
                std::fs::copy(&file, home.path().join("gates").join(name)).unwrap();
            }
        }
        write(&folder.join("dags.yml"), home.path());
        let server = Server::start(&home.path().join("dags")).await;
        let texts = |name: &str| match scenario.get(name).and_then(Value::as_object) {
            Some(texts) => texts.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
            None => Vec::new(),
        };
        let looks = Looks {
            name: folder.file_name().unwrap().to_str().unwrap().to_owned(),
            dags: dag_ids(&read(&folder.join("dags.yml"))),
            ticks: texts("ticks").into_iter().map(|(dag, tick)| (dag, tick.as_i64().unwrap())).collect(),
            datasets: scenario.get("datasets") == Some(&Value::Bool(true)),
            results: texts("results").into_iter().map(|(dag, task)| (dag, task.as_str().unwrap().to_owned())).collect(),
            began: server.now_micros(),
            ..Looks::default()
        };
        let errors = server.get("/importErrors").await;
        assert_eq!(errors["total_entries"], 0, "{errors}");
        Self { folder: folder.to_owned(), home, server, looks }
    }

    /// Looks until what is seen is what Airflow had in the end; what differs if that does not come about.
    async fn observe(&self, (number, step): (usize, &Value), expected: &Value, accepted: &mut Accepted) -> Vec<String> {
        let starts = step.get("starts").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let (mut waited, mut seen) = (Duration::ZERO, 0);
        loop {
            let wrong = differences(expected, &self.looks.look(&self.server, starts).await);
            let wrong = accepted.unknown(number, wrong);
            seen = if wrong.is_empty() { seen + 1 } else { 0 };
            if seen == LOOKS || waited > PATIENCE {
                return wrong;
            }
            self.server.sleep(BETWEEN_LOOKS).await;
            waited += BETWEEN_LOOKS;
        }
    }

    fn open(&self, gate: &str) {
        std::fs::write(self.home.path().join("gates").join(gate), "").unwrap();
    }

    async fn pause(&mut self, named: &Value, paused: bool) -> Value {
        let dags = match named.as_array() {
            None => self.looks.dags.clone(),
            Some(named) => named.iter().map(|dag| dag.as_str().unwrap().to_owned()).collect(),
        };
        for dag in dags {
            if !paused {
                self.looks.unpaused.insert(dag.clone(), self.server.now_micros());
            }
            let body = json!({"is_paused": paused});
            let (status, answer) = self.server.call("PATCH", &format!("/dags/{dag}"), Some(&body)).await;
            assert_eq!(status, 200, "{answer}");
        }
        Value::Null
    }

    /// Has the file read again, and waits for it.
    async fn parse_again(&self) {
        let path = format!("/dags/{}", self.looks.dags.last().unwrap());
        let before = self.server.get(&path).await;
        let token = before["file_token"].as_str().unwrap();
        let (status, answer) = self.server.call("PUT", &format!("/parseDagFile/{token}"), None).await;
        assert!([201, 409].contains(&status), "{answer}");
        let mut waited = Duration::ZERO;
        while self.server.get(&path).await["last_parsed_time"] == before["last_parsed_time"] {
            assert!(waited < PATIENCE, "the file is not read again");
            self.server.sleep(BETWEEN_LOOKS).await;
            waited += BETWEEN_LOOKS;
        }
    }

    /// Waits until a DAG has so many runs.
    async fn await_runs(&self, dag: &str, count: i64) {
        let path = format!("/dags/{dag}/dagRuns?limit=1");
        let mut waited = Duration::ZERO;
        while self.server.get(&path).await["total_entries"].as_i64() < Some(count) {
            assert!(waited < PATIENCE, "{dag} does not get {count} runs");
            self.server.sleep(BETWEEN_LOOKS).await;
            waited += BETWEEN_LOOKS;
        }
    }

    /// Lets a continuous DAG run for a while: the links between its runs.
    async fn chain(&mut self, dag: &str) -> Value {
        let path = format!("/dags/{dag}/dagRuns?order_by=id&limit=100");
        self.pause(&json!([dag]), false).await;
        self.await_runs(dag, 4).await;
        self.pause(&json!([dag]), true).await;
        let found = self.server.get(&path).await;
        let runs = found["dag_runs"].as_array().unwrap();
        let pairs = || runs.iter().zip(&runs[1..]);
        // Texts of one form compare as times do.
        let before = |earlier: &Value, later: &Value| earlier.as_str() <= later.as_str();
        let mut types: Vec<_> = runs.iter().map(|run| run["run_type"].clone()).collect();
        types.dedup();
        let id = |run: &Value| format!("scheduled__{}", run["logical_date"].as_str().unwrap());
        json!({
            "first": runs[0]["logical_date"],
            "ids": runs.iter().all(|run| run["dag_run_id"] == id(run)),
            "types": types,
            "starts": runs.iter().all(|run| run["logical_date"] == run["data_interval_start"]),
            "linked": pairs().all(|(a, b)| a["data_interval_end"] == b["data_interval_start"]),
            "one at a time": pairs().all(|(a, b)| b["start_date"].is_null() || before(&a["end_date"], &b["start_date"])),
            "ended before the next begins": pairs().all(|(a, b)| before(&a["end_date"], &b["data_interval_end"])),
        })
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        said(self.server.call("POST", path, Some(body)).await)
    }

    async fn step(&mut self, step: &Map<String, Value>) -> Value {
        let (verb, named) = step.iter().next().unwrap();
        let text = named.as_str().unwrap_or_default();
        let run = quoted(step.get("run").and_then(Value::as_str).unwrap_or_default());
        match verb.as_str() {
            "chain" => self.chain(text).await,
            "unpause" | "pause" => self.pause(named, verb == "pause").await,
            "trigger" => self.post(&format!("/dags/{text}/dagRuns"), &step["body"]).await,
            "event" => {
                let mut body = json!({"dataset_uri": text});
                if let Some(extra) = step.get("extra") {
                    body["extra"] = extra.clone();
                }
                let said = self.post("/datasets/events", &body).await;
                for (dag, count) in step.get("runs").and_then(Value::as_object).into_iter().flatten() {
                    self.await_runs(dag, count.as_i64().unwrap()).await;
                }
                said
            }
            "delete_queued" => {
                let path = format!("/dags/{text}/datasets/queuedEvent");
                said(self.server.call("DELETE", &path, None).await)
            }
            "clear" => self.post(&format!("/dags/{text}/clearTaskInstances"), &step["body"]).await,
            "clear_run" => self.post(&format!("/dags/{text}/dagRuns/{run}/clear"), &json!({"dry_run": false})).await,
            "patch_task" => {
                let path = format!("/dags/{text}/dagRuns/{run}/taskInstances/{}", step["task"].as_str().unwrap());
                let body = json!({"dry_run": false, "new_state": step["state"]});
                said(self.server.call("PATCH", &path, Some(&body)).await)
            }
            "open" => {
                self.open(text);
                Value::Null
            }
            "replace" => {
                write(&self.folder.join(text), self.home.path());
                self.parse_again().await;
                Value::Null
            }
            "backfill" => backfill(text, &step["args"]),
            _ => panic!("an unknown step: {verb}"),
        }
    }
}

/// What the command line's `dags backfill` answers with these arguments.
fn backfill(dag: &str, args: &Value) -> Value {
    panic!("there is no backfill yet: {dag} {args}")
}
