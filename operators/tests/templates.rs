//! Renders what real Airflow rendered, and compares; and tries templates that mean harm.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value as Json, json};
use updraft_operators::template::{
    Attribute, Lookup, LookupError, PreviousSuccess, Pulled, Renderer, TemplateConnection, TemplateContext,
    TemplateErrorKind, TemplateFacts, XComPull,
};

/// The world that the recorded templates saw.
struct World {
    data: Json,
    pushed: Mutex<BTreeMap<String, Json>>,
}

impl Lookup for World {
    fn xcom_pull(&self, pull: &XComPull) -> Result<Pulled, LookupError> {
        let find = |task: &String| {
            let own_dag = pull.dag_id.as_ref().is_none_or(|dag| *dag == self.data["dag_id"]);
            let key = pull.key.as_deref().unwrap_or("return_value");
            self.data["xcoms"].get(task)?.get(key).filter(|_| own_dag).cloned()
        };
        let tasks = pull.task_ids.clone().unwrap_or_default();
        Ok(match pull.many {
            true => Pulled::Many(tasks.iter().filter_map(find).collect()),
            false => tasks.first().and_then(find).map_or(Pulled::Nothing, Pulled::One),
        })
    }

    fn xcom_push(&self, key: &str, value: Json) -> Result<(), LookupError> {
        self.pushed.lock().expect("the lock").insert(key.to_owned(), value);
        Ok(())
    }

    fn variable(&self, key: &str) -> Result<Option<String>, LookupError> {
        match key {
            "unreachable" => Err(LookupError("the storage is away".to_owned())),
            key => Ok(self.data["variables"].get(key).and_then(Json::as_str).map(str::to_owned)),
        }
    }

    fn connection(&self, conn_id: &str) -> Result<Option<TemplateConnection>, LookupError> {
        let Some(fields) = self.data["connections"].get(conn_id) else { return Ok(None) };
        let text = |name: &str| fields.get(name).and_then(Json::as_str).map(str::to_owned);
        Ok(Some(TemplateConnection {
            conn_id: conn_id.to_owned(),
            conn_type: text("conn_type").unwrap_or_default(),
            description: text("description"),
            host: text("host"),
            login: text("login"),
            password: text("password"),
            schema: text("schema"),
            port: fields.get("port").and_then(Json::as_i64),
            extra: text("extra"),
        }))
    }
}

fn recorded() -> Json {
    serde_json::from_str(include_str!("data/templates.json")).expect("the recording is JSON")
}

fn date(value: &Json) -> DateTime<Utc> {
    value.as_str().expect("a date").parse().expect("a date")
}

fn context(data: &Json, run: &str) -> TemplateContext {
    let world = Arc::new(World { data: data.clone(), pushed: Mutex::default() });
    TemplateContext::new(&facts(data, run), world).expect("a context")
}

fn facts(data: &Json, run: &str) -> TemplateFacts {
    let run = &data["runs"][run];
    let previous = &data["previous_success"];
    let text = |value: &Json| value.as_str().expect("a text").to_owned();
    let manual = run["run_type"] == "manual";
    let conf = if manual { data["conf"].clone() } else { json!({}) };
    let mut params = data["params"].clone();
    for (key, value) in conf.as_object().expect("an object") {
        params[key] = value.clone();
    }
    let attribute = |name: &str, value: Json| (name.to_owned(), Attribute::Json(value));
    let mut task_ids: Vec<&str> = data["xcoms"].as_object().expect("an object").keys().map(String::as_str).collect();
    task_ids.push("load");
    let minutes = |minutes| Attribute::Duration(Some(TimeDelta::minutes(minutes)));
    TemplateFacts {
        dag_id: text(&data["dag_id"]),
        task_id: text(&data["task_id"]),
        task_type: "BashOperator".to_owned(),
        run_id: text(&run["run_id"]),
        run_type: text(&run["run_type"]),
        external_trigger: manual,
        conf,
        params,
        logical_date: date(&run["logical_date"]),
        data_interval_start: date(&run["data_interval_start"]),
        data_interval_end: date(&run["data_interval_end"]),
        next_execution_date: Some(date(&run["next_execution_date"])),
        prev_execution_date: Some(date(&run["prev_execution_date"])),
        previous_success: Some(PreviousSuccess {
            logical_date: date(&previous["logical_date"]),
            data_interval_start: date(&previous["data_interval_start"]),
            data_interval_end: date(&previous["data_interval_end"]),
            start_date: Some(date(&previous["start_date"])),
            end_date: Some(date(&previous["end_date"])),
        }),
        map_index: -1,
        try_number: 1,
        expanded_ti_count: None,
        map_index_template: None,
        dag: vec![
            attribute("owner", data["owner"].clone()),
            attribute("description", data["description"].clone()),
            attribute("tags", data["tags"].clone()),
            attribute("catchup", json!(false)),
            attribute("max_active_runs", json!(16)),
            attribute("timezone", json!("UTC")),
            ("start_date".to_owned(), Attribute::Date(Some("2024-01-01T00:00:00Z".parse().expect("a date")))),
            attribute("schedule_interval", json!("@daily")),
            attribute("default_args", json!({"owner": data["owner"]})),
            attribute("params", data["params"].clone()),
            attribute("task_ids", json!(task_ids)),
        ],
        dag_run: vec![
            ("start_date".to_owned(), Attribute::Date(Some(date(&run["start_date"])))),
            attribute("id", json!(2)),
        ],
        task: vec![
            attribute("owner", data["owner"].clone()),
            attribute("retries", json!(2)),
            ("retry_delay".to_owned(), minutes(5)),
            attribute("pool", json!("default_pool")),
            attribute("queue", json!("default")),
            attribute("priority_weight", json!(1)),
            attribute("trigger_rule", json!("all_success")),
            attribute("bash_command", data["bash_command"].clone()),
            attribute("env", data["env"].clone()),
            attribute("depends_on_past", json!(false)),
            attribute("wait_for_downstream", json!(false)),
            attribute("upstream_task_ids", json!(["extract", "count", "name", "listing"])),
            attribute("downstream_task_ids", json!([])),
            attribute("email", json!(null)),
            attribute("doc_md", json!(null)),
            ("execution_timeout".to_owned(), Attribute::Duration(None)),
            (
                "template_fields".to_owned(),
                Attribute::Tuple(["bash_command", "env", "cwd"].map(str::to_owned).to_vec()),
            ),
        ],
        task_instance: vec![
            attribute("max_tries", json!(2)),
            ("start_date".to_owned(), Attribute::Date(None)),
            ("end_date".to_owned(), Attribute::Date(None)),
            attribute("duration", json!(null)),
            attribute("pool", json!("default_pool")),
            attribute("pool_slots", json!(1)),
            attribute("queue", json!("default")),
            attribute("priority_weight", json!(1)),
            attribute("external_executor_id", json!(null)),
            attribute("rendered_map_index", json!(null)),
            attribute("next_method", json!(null)),
        ],
        more: serde_json::Map::new(),
        now: "2024-03-05T06:10:00Z".parse().expect("a date"),
        seed: 7,
    }
}

/// What an error of Airflow's is to us.
fn kind_of(error: &str) -> TemplateErrorKind {
    match error {
        "TemplateSyntaxError" | "TemplateAssertionError" => TemplateErrorKind::Syntax,
        "UndefinedError" => TemplateErrorKind::Undefined,
        "OverflowError" => TemplateErrorKind::Limit,
        "AirflowNotFoundException" => TemplateErrorKind::NotFound,
        _ => TemplateErrorKind::Invalid,
    }
}

#[test]
fn templates_render_as_in_airflow() {
    let recorded = recorded();
    let renderer = Renderer::new();
    let mut failures = Vec::new();
    let cases = recorded["cases"].as_array().expect("cases");
    for case in cases {
        let template = case["template"].as_str().expect("a template");
        // Each case has a context of its own, as templates may change lists in it.
        let context = context(&recorded["world"], case["run"].as_str().unwrap_or("manual"));
        let result = renderer.render(template, &context);
        let matches = match (&result, case["expected"].as_str(), case["error"].as_str()) {
            (Ok(text), Some(expected), _) => text == expected,
            (Err(error), _, Some(expected)) => {
                let missing = case["message"].as_str().is_some_and(|message| message.starts_with("'Variable "));
                let kind = if missing { TemplateErrorKind::NotFound } else { kind_of(expected) };
                error.kind() == kind
            }
            _ => false,
        };
        if !matches {
            let expected = case.get("expected").or(case.get("message"));
            failures
                .push(format!("{template}\n  expected {expected:?} {:?}\n  got      {result:?}", case.get("error")));
        }
    }
    assert!(cases.len() > 500);
    assert!(failures.is_empty(), "{} of {} differ:\n{}", failures.len(), cases.len(), failures.join("\n"));
}
