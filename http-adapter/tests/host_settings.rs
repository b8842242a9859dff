//! What a host settles: the configuration that is shown, CORS, the length of pages.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{Answer, World};
use serde_json::{Value, json};
use updraft_http_adapter::airflow::{Airflow, ConfigOption, Cors};

const JSON: &[(&str, &str)] = &[("accept", "application/json")];
const TEXT: &[(&str, &str)] = &[("accept", "text/plain")];

async fn get(world: &World, path: &str, headers: &[(&str, &str)]) -> Answer {
    world.send("GET", &format!("/api/v1{path}"), headers, "").await
}

async fn exposing() -> World {
    let options = [
        ConfigOption::new("core", "parallelism", 16),
        ConfigOption::flag("core", "dags_are_paused_at_creation", true),
        ConfigOption::hidden("database", "sql_alchemy_conn"),
    ];
    World::with(|builder| builder.config(options).expose_config(true)).await
}

#[tokio::test]
async fn the_configuration_is_hidden_unless_the_host_exposes_it() {
    let world = World::new().await;
    for path in ["/config", "/config?section=core", "/config/section/core/option/parallelism"] {
        for headers in [JSON, TEXT] {
            let answer = get(&world, path, headers).await;
            assert_eq!(answer.status, 403, "{path}");
            assert_eq!(answer.json()["title"], "Forbidden");
            assert_eq!(
                answer.json()["detail"],
                "Your Airflow administrator chose not to expose the configuration, most likely for security reasons."
            );
        }
        assert_eq!(get(&world, path, &[]).await.status, 406, "what cannot be written is refused first");
    }
}

#[tokio::test]
async fn the_configuration_is_written_as_airflow_writes_it() {
    let world = exposing().await;
    let answer = get(&world, "/config?section=core", TEXT).await;
    assert_eq!(answer.content_type.as_deref(), Some("text/plain"));
    assert_eq!(answer.text, "[core]\nparallelism = 16\ndags_are_paused_at_creation = True\n");
    assert_eq!(get(&world, "/config?section=core", &[("accept", "*/*")]).await.text, answer.text);

    let option = get(&world, "/config/section/core/option/parallelism", JSON).await;
    assert_eq!(option.content_type.as_deref(), Some("application/json"));
    let lines = [
        "{",
        "    \"sections\": [",
        "        {",
        "            \"name\": \"core\",",
        "            \"options\": [",
        "                {",
        "                    \"key\": \"parallelism\",",
        "                    \"value\": \"16\"",
        "                }",
        "            ]",
        "        }",
        "    ]",
        "}",
    ];
    assert_eq!(option.text, lines.join("\n"));
    assert_eq!(option.text.len(), 226);
    let upper = get(&world, "/config/section/CORE/option/Parallelism", TEXT).await;
    assert_eq!(upper.text, "[CORE]\nParallelism = 16\n");

    let all = get(&world, "/config", JSON).await.json();
    let names: Vec<_> = all["sections"].as_array().unwrap().iter().map(|section| &section["name"]).collect();
    assert_eq!(names, ["core", "database", "api", "webserver"]);
    let all = get(&world, "/config", TEXT).await.text;
    assert!(all.contains("\n\n[api]\nmaximum_page_limit = 100\nfallback_page_limit = 100\n"), "{all}");
}

#[tokio::test]
async fn secrets_of_the_configuration_stay_hidden() {
    let world = exposing().await;
    for (section, option) in [("webserver", "secret_key"), ("database", "sql_alchemy_conn")] {
        let answer = get(&world, &format!("/config/section/{section}/option/{option}"), JSON).await.json();
        assert_eq!(answer["sections"][0]["options"], json!([{"key": option, "value": "< hidden >"}]));
        let text = get(&world, &format!("/config?section={section}"), TEXT).await.text;
        assert!(text.contains(&format!("{option} = < hidden >\n")), "{text}");
    }
}

#[tokio::test]
async fn options_that_are_not_there_are_not_found() {
    let world = exposing().await;
    for (path, title, detail) in [
        ("/config?section=nope", "section not found.", "section=nope not found."),
        ("/config/section/core/option/nope", "Config not found.", "The option [core/nope] is not found in config."),
        (
            "/config/section/nope/option/parallelism",
            "Config not found.",
            "The option [nope/parallelism] is not found in config.",
        ),
    ] {
        let answer = get(&world, path, JSON).await;
        assert_eq!((answer.status, &answer.json()["title"]), (404, &json!(title)), "{path}");
        assert_eq!(answer.json()["detail"], detail);
    }
    let refused = get(&world, "/config", &[("accept", "application/xml")]).await;
    assert_eq!((refused.status, refused.text.as_str()), (406, ""));
    assert_eq!(refused.content_type.as_deref(), Some("text/html; charset=utf-8"));
}

#[tokio::test]
async fn there_are_no_plugins_and_no_providers() {
    let world = World::new().await;
    assert_eq!(get(&world, "/plugins?limit=1", &[]).await.json(), json!({"plugins": [], "total_entries": 0}));
    assert_eq!(get(&world, "/providers", &[]).await.json(), json!({"providers": [], "total_entries": 0}));
    let answer = get(&world, "/plugins?limit=-1", &[]).await;
    assert_eq!(answer.json()["title"], "Page limit must be a positive integer");
    assert_eq!(get(&world, "/plugins?nope=1", &[]).await.status, 400);
}

#[tokio::test]
async fn pages_are_as_long_as_the_host_has_it() {
    let world = World::with(|builder| builder.maximum_page_limit(3).fallback_page_limit(2)).await;
    for index in 0..5 {
        let pool = json!({"name": format!("p{index}"), "slots": 1});
        assert_eq!(world.call("POST", "/pools", pool).await.status, 200);
    }
    for (query, expected) in [("", 3), ("?limit=100", 3), ("?limit=0", 2), ("?limit=1", 1)] {
        let answer = world.get(&format!("/pools{query}")).await.json();
        assert_eq!(answer["pools"].as_array().unwrap().len(), expected, "{query}");
        assert_eq!(answer["total_entries"], 6);
    }
}

#[tokio::test]
async fn other_origins_are_told_nothing_unless_the_host_says_so() {
    let names = ["access-control-allow-origin", "access-control-allow-methods", "access-control-allow-headers"];
    let told = |answer: &Answer| names.map(|name| answer.headers.get(name).map(|v| v.to_str().unwrap().to_owned()));
    let from = &[("origin", "https://b.example")];
    let world = World::new().await;
    assert_eq!(told(&get(&world, "/dags", from).await), [None, None, None]);

    let cors = Cors::new()
        .allow_headers("authorization, content-type")
        .allow_methods("GET, POST")
        .allow_origins(["https://a.example", "https://b.example"]);
    let world = World::with(|builder| builder.cors(cors)).await;
    let said = |origin: Option<&str>| {
        [origin, Some("GET, POST"), Some("authorization, content-type")].map(|text| text.map(str::to_owned))
    };
    for (method, path) in [
        ("GET", "/api/v1/dags"),
        ("OPTIONS", "/api/v1/dags"),
        ("GET", "/api/v1/openapi.json"),
        ("GET", "/api/v1/dags/none"),
        ("GET", "/api/v1/dags?nope=1"),
    ] {
        assert_eq!(told(&world.send(method, path, from, "").await), said(Some("https://b.example")), "{method} {path}");
        let other = &[("origin", "https://c.example")];
        assert_eq!(told(&world.send(method, path, other, "").await), said(None), "{method} {path}");
        assert_eq!(told(&world.send(method, path, &[], "").await), said(Some("https://a.example")), "{method} {path}");
    }
    // As in Airflow, what is not there says nothing.
    for (method, path) in [("GET", "/api/v1/none"), ("PUT", "/api/v1/dags")] {
        assert_eq!(told(&world.send(method, path, from, "").await), [None, None, None], "{method} {path}");
    }
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let build =
        |settle: fn(updraft_http_adapter::airflow::AirflowBuilder) -> updraft_http_adapter::airflow::AirflowBuilder| {
            let clock = std::sync::Arc::new(updraft_core::clock::SystemClock::new());
            let storage = std::sync::Arc::new(updraft_storage_memory::MemoryStorage::new(clock.clone()));
            let logs = std::sync::Arc::new(updraft_core::log::MemoryLogs::default());
            let ids = updraft_core::id::IdSource::from_seed(1);
            let service = updraft_core::service::Service::new(storage, logs, ids, Default::default());
            settle(Airflow::builder(service, clock)).build().map(drop).map_err(|error| error.to_string())
        };
    assert_eq!(build(|builder| builder), Ok(()));
    assert!(build(|builder| builder.maximum_page_limit(0)).unwrap_err().contains("pages of 0 entries"));
    assert!(build(|builder| builder.fallback_page_limit(0)).unwrap_err().contains("pages of 0 entries"));
    assert!(build(|builder| builder.cors(Cors::new().allow_origins(["a b"]))).unwrap_err().contains("no origin"));
}

#[tokio::test]
async fn xcoms_are_deserialized_where_the_host_allows_it() {
    let play = async |world: &World| {
        world.register("d", false, &[("t", &[])]).await;
        world.call("POST", "/dags/d/dagRuns", json!({"dag_run_id": "r"})).await;
        let state = Some(updraft_core::model::TaskState::Success);
        world.play("d", "r", &[("t", state, json!({"a": [1, null]}))], None).await;
    };
    let path = "/dags/d/dagRuns/r/taskInstances/t/xcomEntries/return_value";
    let world = World::new().await;
    play(&world).await;
    let refused = world.get(&format!("{path}?deserialize=true")).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["detail"], "XCom deserialization is disabled in configuration.");

    let world = World::with(|builder| builder.enable_xcom_deserialize_support(true)).await;
    play(&world).await;
    assert_eq!(world.get(&format!("{path}?deserialize=true")).await.json()["value"], "{'a': [1, None]}");
    let native = world.get(&format!("{path}?deserialize=true&stringify=false")).await.json();
    assert_eq!(native["value"], json!({"a": [1, Value::Null]}));
}
