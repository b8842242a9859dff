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
        inlets: Vec::new(),
        outlets: Vec::new(),
        triggering_dataset_events: Vec::new(),
        inlet_events: Vec::new(),
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

/// What an error of Airflow's may be to us.
fn kinds_of(error: &str) -> &'static [TemplateErrorKind] {
    use TemplateErrorKind::{Invalid, Limit, NotFound, Syntax, Undefined};
    match error {
        "TemplateSyntaxError" | "TemplateAssertionError" => &[Syntax],
        "UndefinedError" => &[Undefined],
        "AttributeError" => &[Undefined, Invalid],
        "OverflowError" => &[Limit],
        "AirflowNotFoundException" | "TemplateNotFound" => &[NotFound],
        // Python's own, for a key of a dictionary as for a variable.
        "KeyError" => &[Invalid, NotFound],
        _ => &[Invalid],
    }
}

/// Templates that we render otherwise, each with its reason.
const DIFFERENCES: [(&str, &str); 13] = [
    ("{{ macros.datetime.utcnow is defined }}", "methods exist only where they are called"),
    ("{{ range(5)[1:3] }}", "a part of a range is a list"),
    ("{{ macros.yaml.dump({'a': 1}) }}", "there is no YAML writer"),
    (
        "{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, x=4) }}",
        "the engine's macros take what they declare",
    ),
    ("{{ conf.get('core', 'dags_are_paused_at_creation') }}", "there is no airflow.cfg"),
    ("{{ ti.get_previous_dagrun().run_id }}", "objects are facts of this run, without queries of others"),
    ("{{ dag.get_task('extract').task_id }}", "other tasks are not in the context"),
    ("{{ 1 > 2 > missing }}", "every operand of a chain is evaluated"),
    ("{{ 2 ** 200 }}", "integers end at 128 bits"),
    ("{{ triggering_dataset_events }}", "prints as a plain dictionary"),
    ("{{ outlet_events }}", "prints as a plain dictionary"),
    ("{{ var }}", "the accessors print nothing of what was read last"),
    ("{% for i in [1] %}{{ loop }}{% endfor %}x", "the engine prints its loop otherwise"),
];

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
            (Err(error), _, Some(expected)) => kinds_of(expected).contains(&error.kind()) && error.line().is_some(),
            _ => false,
        };
        let differs = DIFFERENCES.iter().any(|(known, _)| *known == template);
        if matches == differs {
            let expected = case.get("expected").or(case.get("message"));
            failures
                .push(format!("{template}\n  expected {expected:?} {:?}\n  got      {result:?}", case.get("error")));
        }
    }
    assert!(cases.len() > 500);
    assert!(failures.is_empty(), "{} of {} differ:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

fn render(template: &str) -> Result<String, updraft_operators::template::TemplateError> {
    let recorded = recorded();
    Renderer::new().render(template, &context(&recorded["world"], "manual"))
}

#[test]
fn an_undefined_name_is_said_with_its_line() {
    let error = render("a\n\n{{ ds }} {{ dag_run.conf.nope }}").expect_err("undefined");
    assert_eq!(error.kind(), TemplateErrorKind::Undefined);
    assert_eq!(error.to_string(), "'dag_run.conf.nope' is undefined (line 3)");
    let error = render("{{\n  nope.attr }}").expect_err("undefined");
    assert_eq!(error.message(), "'nope' is undefined");
}

#[test]
fn nested_fields_are_rendered_and_their_errors_have_a_path() {
    let recorded = recorded();
    let context = context(&recorded["world"], "manual");
    let renderer = Renderer::new();
    let field = json!({"{{ ds }}": ["{{ ds }}", 1, {"x": "{{ params.limit + 1 }}"}], "none": null});
    let rendered = renderer.render_value(&field, &context).expect("renders");
    assert_eq!(rendered, json!({"{{ ds }}": ["2024-03-05", 1, {"x": "11"}], "none": null}));
    let field = json!({"env": {"A": ["x", "{{ nope }}"]}});
    let error = renderer.render_value(&field, &context).expect_err("undefined").within("op_kwargs");
    assert_eq!(error.to_string(), "'nope' is undefined (in op_kwargs.env.A[1], line 1)");
}

#[test]
fn the_host_can_fail_a_look_up() {
    let error = render("{{ var.value.unreachable }}").expect_err("fails");
    assert_eq!(error.kind(), TemplateErrorKind::Lookup);
    assert_eq!(error.message(), "the storage is away");
}

#[test]
fn pushed_xcoms_reach_the_host() {
    let data = recorded()["world"].clone();
    let world = Arc::new(World { data: data.clone(), pushed: Mutex::default() });
    let context = TemplateContext::new(&facts(&data, "manual"), world.clone()).expect("a context");
    Renderer::new().render("{{ ti.xcom_push('k', {'a': [1, none]}) }}", &context).expect("renders");
    assert_eq!(world.pushed.lock().expect("the lock")["k"], json!({"a": [1, null]}));
}

#[test]
fn the_shell_filter_quotes_what_a_shell_would_split() {
    assert_eq!(render("{{ dag_run.conf.path | sh }}").expect("renders"), "'/data/in put'");
    assert_eq!(
        render("{{ \"it's\" | sh }} {{ '' | sh }} {{ 'a/b.c' | sh }}").expect("renders"),
        "'it'\"'\"'s' '' a/b.c"
    );
}

#[test]
fn bombs_are_errors() {
    let deep = |open: &str, close: &str| format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
    let long = |part: &str| format!("{{{{ 1{} }}}}", part.repeat(10_000));
    let bombs = [
        format!("{{{{ {} }}}}", deep("(", ")")),
        format!("{{{{ {} }}}}", deep("[", "]")),
        format!("{{{{ {} }}}}", deep("not ", "")),
        format!("{{{{ {} }}}}", deep("-", "")),
        format!("{{{{ {} }}}}", deep("1 if ", " else 1")),
        format!("{{{{ {} }}}}", deep("{1: ", "}")),
        format!("{{{{ {} }}}}", deep("f(", ")")),
        deep("{% if 1 %}", "{% endif %}"),
        deep("{% for i in [1] %}", "{% endfor %}"),
        format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(10_000)),
        format!("{{{{ ds{} }}}}", "|upper".repeat(10_000)),
        format!("{{{{ ds{} }}}}", ".upper()".repeat(10_000)),
        format!("{{{{ ds{} }}}}", "[:]".repeat(10_000)),
        format!("{{{{ 1{} }}}}", " if 1".repeat(10_000)),
        "{{ 'a' * 1000000000 }}".to_owned(),
        "{{ [0] * 1000000000 }}".to_owned(),
        "{{ '%1000000000d' % 1 }}".to_owned(),
        "{{ '{:1000000000}'.format(1) }}".to_owned(),
        "{{ 'a'.ljust(1000000000) }}".to_owned(),
        "{{ 'a'.zfill(1000000000) }}".to_owned(),
        "{{ 2 ** 1000000000 }}".to_owned(),
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}".to_owned(),
        "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}"
            .to_owned(),
        "{% set ns = namespace(l=[]) %}{% for i in range(1000) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}".to_owned(),
        "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}"
            .to_owned(),
        "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}".to_owned(),
        "{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns }}".to_owned(),
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}".to_owned(),
        format!("{{% for i in range(100000) %}}{}{{% endfor %}}", "x".repeat(100_000)),
        format!("{{% set b %}}{{% for i in range(100000) %}}{}{{% endfor %}}{{% endset %}}", "x".repeat(100_000)),
    ];
    for bomb in bombs {
        let error = render(&bomb).expect_err(&bomb[..bomb.len().min(80)]);
        let is_bounded = matches!(error.kind(), TemplateErrorKind::Limit | TemplateErrorKind::Invalid);
        assert!(is_bounded || error.kind() == TemplateErrorKind::Syntax, "{error} of {}", &bomb[..bomb.len().min(80)]);
    }
    // Long but flat ones are no bombs.
    for part in [" + 1", " ~ 1", " and 1", " or 1"] {
        render(&long(part)).expect(part);
    }
    render(&format!("{{{{ [{}] | length }}}}", "1, ".repeat(50_000))).expect("a long list");
}

#[test]
fn what_a_person_may_write_is_within_the_limits() {
    let nested = |open: &str, close: &str| format!("{}1{}", open.repeat(50), close.repeat(50));
    for template in [
        format!("{{{{ {} }}}}", nested("[", "]")),
        format!("{{{{ {} }}}}", nested("dict(a=", ")")),
        format!("{{{{ {} }}}}", nested("(1 + ", ")")),
        format!("{{{{ {} }}}}", nested("0 if 0 else ", "")),
        format!("{{{{ {} }}}}", nested("not ", "")),
        nested("{% if 1 %}", "{% endif %}"),
        nested("{% for i in [1] %}", "{% endfor %}"),
        format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(90)),
        format!("{{{{ ds{} }}}}", "|upper".repeat(50)),
        format!("{{{{ ds{} }}}}", ".upper()".repeat(50)),
        format!("{{{{ ds{} }}}}", "[:]".repeat(50)),
        "{{ ds }}\n".repeat(20_000),
    ] {
        render(&template).unwrap_or_else(|error| panic!("{error} of {}", &template[..template.len().min(80)]));
    }
}

#[test]
fn a_list_cannot_come_to_hold_itself() {
    assert_eq!(render("{% set l = [] %}{% do l.append(l) %}{{ l }}").expect("renders"), "[[]]");
    assert_eq!(render("{% set d = {} %}{% do d.update(a=d) %}{{ d }}").expect("renders"), "{'a': {}}");
}
