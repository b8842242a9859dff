//! Replays what was recorded from Director, and compares.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::client::{Answer, Client};
use crate::server::Server;

const RECORDINGS: &str = include_str!("../data/director/recordings.jsonl");
const ACCEPTED: &str = include_str!("../data/director/accepted.tsv");

/// How many recordings are replayed at a time.
const AT_A_TIME: usize = 12;
/// How long a workflow may take to come to where it was when it was recorded.
const PATIENCE: Duration = Duration::from_secs(90);

#[derive(Debug, Deserialize)]
struct Recording {
    name: String,
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
struct Step {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    /// Whether credentials were sent.
    auth: bool,
    body: Value,
    status: u16,
    content_type: Option<String>,
    answer_headers: BTreeMap<String, String>,
    /// Null where it is not compared.
    answer: Option<String>,
}

/// Where Updraft answers otherwise.
#[derive(Debug)]
struct Accepted {
    name: &'static str,
    step: Option<usize>,
    status: u16,
    body: &'static str,
}

fn accepted() -> Vec<Accepted> {
    let lines = ACCEPTED.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            let [name, step, status, body, reason] = columns[..] else { panic!("five columns: {line}") };
            assert!(!reason.is_empty(), "{line}");
            Accepted { name, step: step.parse().ok(), status: status.parse().expect("a status"), body }
        })
        .collect()
}

/// Replays everything: lists last and one after the other, because they show what others did.
pub(crate) async fn replay(server: &Server) {
    let recordings: Vec<Recording> =
        RECORDINGS.lines().map(|line| serde_json::from_str(line).expect("a recording")).collect();
    assert_eq!(recordings.len(), 187);
    let accepted = accepted();
    let unknown: Vec<_> =
        accepted.iter().filter(|one| !recordings.iter().any(|recording| recording.name == one.name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let (lists, others): (Vec<_>, Vec<_>) = recordings.iter().partition(|recording| {
        recording.steps.iter().any(|step| {
            step.answer.as_ref().is_some_and(|answer| answer.starts_with('[')) && !step.path.contains("definitions")
        })
    });
    let mut differences: Vec<String> = futures_util::stream::iter(others)
        .map(|recording| one(server, recording, &accepted))
        .buffer_unordered(AT_A_TIME)
        .filter_map(|result| async { result.err() })
        .collect()
        .await;
    for recording in lists {
        differences.extend(one(server, recording, &accepted).await.err());
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n\n"));
}

/// Ids as they were recorded, and as they are here.
#[derive(Debug, Default)]
struct Ids(BTreeMap<String, String>);

impl Ids {
    /// The text with the recorded ids, in any spelling, replaced by those of here in the same spelling.
    fn put_in(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (recorded, here) in &self.0 {
            for spell in [str::to_owned as fn(&str) -> String, |id| id.to_uppercase(), |id| id.replace('-', "")] {
                text = text.replace(&spell(recorded), &spell(here));
            }
        }
        text
    }
}

async fn one(server: &Server, recording: &Recording, accepted: &[Accepted]) -> Result<(), String> {
    let mut ids = Ids::default();
    for (number, step) in recording.steps.iter().enumerate() {
        let is_closed = recording.name.ends_with(".auth");
        let client = if is_closed { server.closed.clone() } else { server.client() };
        let instead =
            accepted.iter().find(|one| one.name == recording.name && one.step.is_none_or(|step| step == number));
        let look = || async {
            let answer = ask(&client, step, &ids).await;
            let compared = match instead {
                Some(instead) => compare_instead(instead, &answer),
                None => compare(step, &answer, &ids),
            };
            (answer, compared)
        };
        let clock = server.updraft.clock();
        let began = clock.monotonic();
        let mut found = look().await;
        // What was looked at until it stood so, when it was recorded, is looked at until it stands so.
        let is_looked_at = step.method == "GET" && step.path.starts_with("/api/workflows/") && step.status == 200;
        while is_looked_at && found.1.is_err() && clock.monotonic() < began + PATIENCE {
            clock.sleep(Duration::from_millis(50)).await;
            found = look().await;
        }
        let (answer, compared) = found;
        let told = |difference| {
            format!(
                "{}, step {number} ({} {}): {difference}\n  here: {} {}",
                recording.name, step.method, step.path, answer.status, answer.text
            )
        };
        compared.map_err(told)?;
        let recorded = step.answer.as_ref().and_then(|answer| serde_json::from_str::<Value>(answer).ok());
        if let (Some(recorded), here) = (recorded, answer.json())
            && step.status == 201
            && let (Some(recorded), Some(here)) = (recorded["id"].as_str(), here["id"].as_str())
        {
            ids.0.insert(recorded.to_owned(), here.to_owned());
        }
    }
    Ok(())
}

async fn ask(client: &Client, step: &Step, ids: &Ids) -> Answer {
    let mut headers: Vec<(&str, &str)> =
        step.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    if step.auth {
        // alice:secret, or alice:wrong where they were refused.
        headers.push((
            "authorization",
            if step.status == 401 { "Basic YWxpY2U6d3Jvbmc=" } else { "Basic YWxpY2U6c2VjcmV0" },
        ));
    }
    let body = match &step.body {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    };
    client.send(&step.method, &ids.put_in(&step.path), &headers, &body).await
}

fn compare_instead(instead: &Accepted, answer: &Answer) -> Result<(), String> {
    let fits = match (instead.body, instead.body.strip_prefix('~')) {
        ("-", _) => true,
        (_, Some(part)) => answer.text.contains(part),
        (whole, None) => answer.text.trim_end() == whole,
    };
    if answer.status == instead.status && fits {
        Ok(())
    } else {
        Err(format!("accepted is {} {}", instead.status, instead.body))
    }
}

fn compare(step: &Step, answer: &Answer, ids: &Ids) -> Result<(), String> {
    let same = |what: &str, recorded: &str, here: &str| {
        if recorded == here { Ok(()) } else { Err(format!("{what}: recorded {recorded}")) }
    };
    same("status", &step.status.to_string(), &answer.status.to_string())?;
    let content_type = answer.headers.get("content-type").map_or("", String::as_str);
    same("content type", step.content_type.as_deref().unwrap_or_default(), content_type)?;
    for (name, recorded) in &step.answer_headers {
        let here = answer.headers.get(&name.to_ascii_lowercase()).map_or("", String::as_str);
        // Flask lists methods in any order.
        let parts = |text: &str| text.split(", ").map(str::to_owned).collect::<BTreeSet<_>>();
        if parts(recorded) != parts(here) {
            return Err(format!("{name}: recorded {recorded}, here {here}"));
        }
    }
    let Some(recorded) = &step.answer else { return Ok(()) };
    let recorded = ids.put_in(recorded);
    let Ok(mut expected) = serde_json::from_str::<Value>(&recorded) else {
        return same("body", &recorded, &answer.text);
    };
    let mut here = answer.json();
    // As bytes, before anything is masked.
    same("body", &in_order(&here), answer.text.trim_end_matches('\n'))?;
    if step.path.starts_with("/api/definitions") {
        // It cannot run: see accepted.tsv on launching it.
        expected.as_array_mut().into_iter().for_each(|list| list.retain(|one| one["fullname"] != "fail.UNKNOWN_TASK"));
    } else if let Some(list) = here.as_array() {
        return compare_lists(expected.as_array().map_or(&[], Vec::as_slice), list, &step.path, ids);
    }
    mask(&mut expected);
    mask(&mut here);
    if step.method == "POST" && expected["status"] == "progress" {
        // It had begun before the answer was written.
        expected["status"] = "pending".into();
    }
    let is_under_way = expected["status"] == "progress" || expected["status"] == "pending";
    if is_under_way && here["status"] != expected["status"] && expected["tasks"].is_array() {
        // What was caught on its way may be further here.
        forget_progress(&mut expected);
        forget_progress(&mut here);
    }
    if expected == here { Ok(()) } else { Err(format!("body: recorded {expected}\n  compared with {here}")) }
}

/// JSON as Director writes it: compact, sorted, ASCII only.
fn in_order(value: &Value) -> String {
    let sorted: BTreeMap<String, Value>;
    match value {
        Value::Object(members) => {
            sorted = members.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
            let members: Vec<_> = sorted
                .iter()
                .map(|(name, value)| format!("{}:{}", ascii(&Value::from(name.as_str())), in_order(value)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(in_order).collect::<Vec<_>>().join(",")),
        scalar => ascii(scalar),
    }
}

fn ascii(value: &Value) -> String {
    let mut out = String::new();
    for c in value.to_string().chars() {
        let mut units = [0; 2];
        match c.is_ascii() {
            true => out.push(c),
            false => c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}"))),
        }
    }
    out
}

fn is_date(value: &Value) -> bool {
    let shape: String =
        value.as_str().unwrap_or_default().chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    ["0000-00-00T00:00:00.000000+00:00", "0000-00-00T00:00:00+00:00"].contains(&shape.as_str())
}

/// Takes what differs from run to run out of a workflow: dates, ids, the frames of tracebacks, the order of tasks.
fn mask(value: &mut Value) {
    let Some(workflow) = value.as_object_mut() else { return };
    mask_dates(workflow);
    if let Some(id) = workflow.get_mut("id") {
        *id = "ID".into();
    }
    let has_failed = workflow.get("status").is_some_and(|status| status == "error");
    let Some(tasks) = workflow.get_mut("tasks").and_then(Value::as_array_mut) else { return };
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for task in tasks.iter_mut().filter_map(Value::as_object_mut) {
        mask_dates(task);
        assert_eq!(task["id"], task["task"], "both are the task's id");
        if let Some(trace) = task.get_mut("result").and_then(|result| result.get_mut("traceback")) {
            let lines: Vec<&str> = trace.as_str().unwrap_or_default().lines().collect();
            *trace = format!("{:?} {:?}", lines.first(), lines.last()).into();
        }
        // Nothing stays pending after a failure.
        if has_failed && task["status"] == "pending" {
            task["status"] = "canceled".into();
        }
    }
    // A task is named after itself and the tasks before it, which are named first.
    for _ in 0..tasks.len() {
        for task in tasks.iter() {
            let previous = task["previous"].as_array().cloned().unwrap_or_default();
            let before: Option<Vec<_>> =
                previous.iter().map(|id| names.get(id.as_str().unwrap_or_default()).cloned()).collect();
            if let (Some(before), Some(id)) = (before, task["id"].as_str()) {
                let mut name = task.clone();
                name["previous"] = before.into();
                name["id"] = "ID".into();
                name["task"] = "ID".into();
                names.insert(id.to_owned(), name.to_string());
            }
        }
    }
    let mut shown: Vec<Value> = tasks
        .iter()
        .map(|task| {
            names
                .get(task["id"].as_str().unwrap_or_default())
                .map_or("?".into(), |name| serde_json::from_str(name).expect("it was JSON"))
        })
        .collect();
    shown.sort_by_key(Value::to_string);
    *tasks = shown;
}

fn mask_dates(members: &mut Map<String, Value>) {
    for name in ["created", "updated"] {
        if let Some(date) = members.get_mut(name)
            && is_date(date)
        {
            *date = "DATE".into();
        }
    }
}

fn forget_progress(value: &mut Value) {
    value["status"] = "ANY".into();
    let tasks = value["tasks"].as_array_mut().map(std::mem::take).unwrap_or_default();
    let keys: BTreeSet<String> = tasks
        .iter()
        .map(|task| format!("{} {}", task["key"], task["previous"].as_array().map_or(0, Vec::len)))
        .collect();
    value["tasks"] = keys.into_iter().collect();
}

/// A list shows what others did, too: those of the recording must stand in it as they did, and all must look the same.
fn compare_lists(expected: &[Value], here: &[Value], path: &str, ids: &Ids) -> Result<(), String> {
    let known: BTreeSet<&str> = ids.0.values().map(String::as_str).collect();
    let own = |list: &[Value]| -> Vec<Value> {
        let own = list.iter().filter(|one| one["id"].as_str().is_some_and(|id| known.contains(id)));
        own.map(|one| one["id"].clone()).collect()
    };
    if own(expected) != own(here) {
        return Err(format!("own workflows: recorded {:?}, here {:?}", own(expected), own(here)));
    }
    if path.contains("per_page=")
        && !path.contains("per_page=abc")
        && expected.len() != here.len()
        && expected.len() < 50
    {
        return Err(format!("length: recorded {}, here {}", expected.len(), here.len()));
    }
    let keys = |one: &Value| {
        let keys: BTreeSet<_> =
            one.as_object().into_iter().flat_map(Map::keys).filter(|key| *key != "comment").cloned().collect();
        keys
    };
    if let Some(first) = expected.first()
        && let Some(other) =
            here.iter().find(|one| keys(one) != keys(first) || !is_date(&one["created"]) || !is_date(&one["updated"]))
    {
        return Err(format!("another shape than {first}: {other}"));
    }
    let created: Vec<&str> = here.iter().filter_map(|one| one["created"].as_str()).collect();
    if !created.is_sorted_by(|a, b| a >= b) {
        return Err("the newest come first".into());
    }
    Ok(())
}
