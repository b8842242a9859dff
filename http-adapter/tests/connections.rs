//! Connections, as Airflow's clients see them.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::World;
use serde_json::{Value, json};
use updraft_core::service::{Actor, Settings};

async fn made(world: &World, body: Value) -> Value {
    let answer = world.call("POST", "/connections", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

async fn refused(world: &World, method: &str, path: &str, body: Value) -> (u16, Value) {
    let answer = world.call(method, path, body).await;
    (answer.status, answer.json()["detail"].clone())
}

async fn event(world: &World) -> (String, Value) {
    let answer = world.get("/eventLogs?order_by=-event_log_id&limit=1").await.json();
    let entry = &answer["event_logs"][0];
    let extra = serde_json::from_str(entry["extra"].as_str().unwrap()).unwrap();
    (entry["event"].as_str().unwrap().to_owned(), extra)
}

#[tokio::test]
async fn secrets_go_in_and_never_come_out() {
    let world = World::new().await;
    let extra = r#"{"z": 1.0, "Api_Key": ["k", {"a": "b"}], "nested": {"token": "t", "n": null}}"#;
    let body = json!({"connection_id": "c", "conn_type": "http", "password": "canary", "extra": extra});
    let shown = made(&world, body).await;
    let hidden = r#"{"z": 1.0, "Api_Key": ["***", {"a": "***"}], "nested": {"token": "***", "n": null}}"#;
    assert_eq!(shown["extra"], hidden);
    assert_eq!(shown.get("password"), None);
    assert_eq!(world.get("/connections/c").await.json(), shown);
    let listed = world.get("/connections").await;
    assert!(!listed.text.contains("canary") && listed.json()["connections"][0].get("extra").is_none());
    for (extra, expected) in [
        (json!("no json, password=x"), json!("no json, password=x")),
        (json!(""), json!("")),
        (json!(null), json!(null)),
        (json!("[1, \"é\"]"), json!("[1, \"\\u00e9\"]")),
        (json!("{\"a\": NaN}"), json!("{\"a\": NaN}")),
        (json!("{\"password\": \"x\", \"a\": NaN}"), json!("***")),
    ] {
        let answer = world.call("PATCH", "/connections/c", json!({"extra": extra})).await;
        assert_eq!(answer.json()["extra"], expected, "{extra}");
    }
}

#[tokio::test]
async fn a_password_changes_only_if_there_is_a_new_one() {
    let world = World::new().await;
    let service = &world.service;
    made(&world, json!({"connection_id": "c", "conn_type": "http", "password": "p"})).await;
    for (body, mask, expected) in [
        (json!({"password": ""}), "", "p"),
        (json!({"host": "h"}), "", "p"),
        (json!({"password": "q", "host": "i"}), "?update_mask=host", "p"),
        (json!({"password": "q", "host": "j"}), "?update_mask=password", "q"),
        (json!({"password": "r"}), "", "r"),
    ] {
        let answer = world.call("PATCH", &format!("/connections/c{mask}"), body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(service.connection("c").await.unwrap().password.as_deref(), Some(expected));
    }
    assert_eq!(service.connection("c").await.unwrap().host.as_deref(), Some("i"));
}

#[tokio::test]
async fn bad_connections_are_refused_in_airflows_words() {
    let world = World::new().await;
    let long = "x".repeat(501);
    for (body, detail) in [
        (
            json!({}),
            "{'connection_id': ['Missing data for required field.'], 'conn_type': ['Missing data for required field.']}",
        ),
        (
            json!({"nope": 1, "aaa": 2, "host": long, "connection_id": "x".repeat(251), "port": 1}),
            "{'connection_id': ['Longer than maximum length 250.'], 'conn_type': ['Missing data for required field.'], 'host': ['Longer than maximum length 500.'], 'nope': ['Unknown field.'], 'aaa': ['Unknown field.']}",
        ),
        (
            json!({"connection_id": "c", "conn_type": "t", "port": 3_000_000_000_u64}),
            "{'port': ['Not a valid integer.']}",
        ),
        (json!({"connection_id": "x".repeat(201), "conn_type": "t"}), "The key has to be less than 200 characters"),
        (
            json!({"connection_id": "a'b", "conn_type": "t"}),
            "The key \"a'b\" has to be made of alphanumeric characters, dashes, dots and underscores exclusively",
        ),
        (
            json!({"connection_id": "", "conn_type": "t"}),
            "The key '' has to be made of alphanumeric characters, dashes, dots and underscores exclusively",
        ),
    ] {
        assert_eq!(refused(&world, "POST", "/connections", body).await, (400, detail.into()));
    }
    made(&world, json!({"connection_id": "é_1.x-2", "conn_type": "", "port": 5})).await;
    assert_eq!(world.get("/connections/%C3%A9_1.x-2").await.json()["port"], 5);
    let detail = "5.0 is not of type 'integer' - 'port'";
    assert_eq!(refused(&world, "PATCH", "/connections/absent", json!({"port": 5.0})).await, (400, detail.into()));
    // The body is looked at first, then the connection, then what the body asks for.
    let unknown = json!({"nope": 1, "connection_id": "other"});
    let detail = "{'nope': ['Unknown field.']}";
    assert_eq!(refused(&world, "PATCH", "/connections/absent", unknown).await, (400, detail.into()));
    let detail = "The Connection with connection_id: `absent` was not found";
    let other = json!({"connection_id": "other"});
    assert_eq!(refused(&world, "PATCH", "/connections/absent?update_mask=x", other).await, (404, detail.into()));
    for mask in ["password", "", "host,%20,port", "connection_id", "extra"] {
        let path = format!("/connections/%C3%A9_1.x-2?update_mask={mask}");
        let (status, detail) = refused(&world, "PATCH", &path, json!({"host": "h", "port": 1})).await;
        assert_eq!(status, 400);
        assert!(detail.as_str().unwrap().ends_with("' is unknown or cannot be updated."), "{detail}");
    }
    let path = "/connections/%C3%A9_1.x-2?update_mask=host,%20port";
    let changed = world.call("PATCH", path, json!({"host": null, "port": null, "login": "l"})).await.json();
    assert_eq!((&changed["host"], &changed["port"], &changed["login"]), (&json!(null), &json!(null), &json!(null)));
}

#[tokio::test]
async fn lists_are_ordered_and_paged() {
    let world = World::new().await;
    for (id, kind, host, port) in
        [("b", "x", json!("h"), json!(2)), ("a", "y", json!(null), json!(3)), ("c", "w", json!("g"), json!(null))]
    {
        made(&world, json!({"connection_id": id, "conn_type": kind, "host": host, "port": port})).await;
    }
    for (query, expected) in [
        ("", "bac"),
        ("?order_by=id", "bac"),
        ("?order_by=-id", "cab"),
        ("?order_by=connection_id", "abc"),
        ("?order_by=conn_type", "cba"),
        ("?order_by=host", "cba"),
        ("?order_by=-port", "cab"),
        ("?order_by=description&limit=2", "ba"),
        ("?offset=1", "ac"),
        ("?offset=9", ""),
    ] {
        let answer = world.get(&format!("/connections{query}")).await.json();
        let ids: String = answer["connections"]
            .as_array()
            .unwrap()
            .iter()
            .map(|connection| connection["connection_id"].as_str().unwrap())
            .collect();
        assert_eq!((ids.as_str(), answer["total_entries"].as_u64()), (expected, Some(3)), "{query}");
    }
    for order in ["conn_id", "login", "extra", ""] {
        assert_eq!(world.get(&format!("/connections?order_by={order}")).await.status, 400);
    }
    assert_eq!(world.get("/connections/b?limit=1").await.status, 400);
}

#[tokio::test]
async fn the_event_log_tells_of_changes_without_secrets() {
    let world = World::new().await;
    let extra = r#"{"token": "canary", "a": [1]}"#;
    let body = json!({"connection_id": "c", "conn_type": "http", "login": "l", "password": "canary", "extra": extra});
    made(&world, body.clone()).await;
    let mut expected = body;
    expected["password"] = json!("***");
    expected["extra"] = json!({"token": "***", "a": [1]});
    assert_eq!(event(&world).await, ("api.connection.create".to_owned(), expected));
    world.call("PATCH", "/connections/c?update_mask=extra", json!({"extra": "canary"})).await;
    let expected = json!({"extra": "Encountered non-JSON in `extra` field"});
    assert_eq!(event(&world).await, ("api.connection.edit".to_owned(), expected));
    world.call("PATCH", "/connections/absent", json!({"password": "canary"})).await;
    assert_eq!(event(&world).await, ("api.connection.edit".to_owned(), json!({"password": "***"})));
    for status in [204, 404] {
        assert_eq!(world.send("DELETE", "/api/v1/connections/c", &[], "").await.status, status);
        assert_eq!(event(&world).await, ("api.connection.delete".to_owned(), json!({"connection_id": "c"})));
    }
    assert!(!world.get("/eventLogs").await.text.contains("canary"));
}

#[tokio::test]
async fn connections_are_tested_only_where_the_host_allows_it() {
    let body = json!({"connection_id": "c", "conn_type": "http", "host": "127.0.0.1"});
    let world = World::new().await;
    let answer = world.call("POST", "/connections/test", body.clone()).await;
    let text = "Testing connections is disabled in Airflow configuration. Contact your deployment admin to enable it.";
    assert_eq!((answer.status, answer.content_type.as_deref()), (403, Some("text/html; charset=utf-8")));
    assert_eq!(answer.text, text);
    assert_eq!(world.call("POST", "/connections/test", json!({"port": "x"})).await.status, 400);
    let world = World::with(|airflow| airflow.allow_connection_test(true)).await;
    let answer = world.call("POST", "/connections/test", body).await;
    assert_eq!(answer.json(), json!({"status": false, "message": "Unknown hook type \"http\""}));
    let detail = refused(&world, "POST", "/connections/test", json!({"conn_type": "http", "x": 1})).await;
    let expected = "{'connection_id': ['Missing data for required field.'], 'x': ['Unknown field.']}";
    assert_eq!(detail, (400, expected.into()));
    assert_eq!(world.get("/connections").await.json()["total_entries"], 0);
}

#[tokio::test]
async fn a_host_names_secrets_of_its_own() {
    let mut settings = Settings::default();
    settings.sensitive_names = updraft_core::mask::SensitiveNames::with(["pin"]);
    let world = World::with_settings(settings, |airflow| airflow).await;
    let shown = made(&world, json!({"connection_id": "c", "conn_type": "http", "extra": r#"{"my_PIN": "1"}"#})).await;
    assert_eq!(shown["extra"], r#"{"my_PIN": "***"}"#);
    let error = world.service.delete_connection("absent", &Actor::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "the connection 'absent' does not exist");
}
