//! Variables, as Airflow's clients see them.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::World;
use serde_json::{Value, json};

async fn set(world: &World, body: Value) -> Value {
    let answer = world.call("POST", "/variables", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

async fn keys(world: &World, query: &str) -> (String, u64) {
    let answer = world.get(&format!("/variables{query}")).await.json();
    let keys = answer["variables"].as_array().unwrap().iter().map(|variable| variable["key"].as_str().unwrap());
    (keys.collect(), answer["total_entries"].as_u64().unwrap())
}

#[tokio::test]
async fn what_is_set_again_is_made_anew() {
    let world = World::new().await;
    let sent = json!({"key": "a", "value": "1", "description": "d"});
    assert_eq!(set(&world, sent.clone()).await, sent);
    set(&world, json!({"key": "b", "value": "2"})).await;
    assert_eq!(world.get("/variables/a").await.json(), sent);
    assert_eq!(set(&world, json!({"key": "a", "value": "3"})).await, json!({"key": "a", "value": "3"}));
    let shown = json!({"key": "a", "value": "3", "description": null});
    assert_eq!(world.get("/variables/a").await.json(), shown, "its description is gone");
    assert_eq!(keys(&world, "").await, ("ba".to_owned(), 2), "it is the newest");
}

#[tokio::test]
async fn changes_leave_what_they_do_not_name() {
    let world = World::new().await;
    set(&world, json!({"key": "a/b c", "value": "1", "description": "d"})).await;
    let path = "/variables/a/b%20c";
    for (query, body, value, description) in [
        ("", json!({"value": "2"}), "2", "d"),
        ("", json!({"value": "3", "description": "e"}), "3", "e"),
        ("?update_mask=description", json!({"value": "4", "description": "f"}), "3", "f"),
        ("?update_mask=val", json!({"value": "5", "description": "g"}), "5", "f"),
        ("?update_mask=%20val,description", json!({"value": "6", "description": "h"}), "6", "h"),
    ] {
        let mut body = body;
        body["key"] = json!("a/b c");
        let answer = world.call("PATCH", &format!("{path}{query}"), body).await;
        let expected = json!({"key": "a/b c", "value": value, "description": description});
        assert_eq!((answer.status, answer.json()), (200, expected.clone()));
        assert_eq!(world.get(path).await.json(), expected);
    }
    for (query, body, title, detail) in [
        (
            "",
            json!({}),
            "Invalid Variable schema",
            "{'key': ['Missing data for required field.'], 'value': ['Missing data for required field.']}",
        ),
        (
            "",
            json!({"key": "a/b c", "value": "x", "description": null}),
            "Invalid Variable schema",
            "{'description': ['Field may not be null.']}",
        ),
        (
            "",
            json!({"key": "x", "value": "x"}),
            "Invalid post body",
            "key from request body doesn't match uri parameter",
        ),
        (
            "?update_mask=value",
            json!({"key": "a/b c", "value": "x"}),
            "Bad Request",
            "'value' is unknown or cannot be updated.",
        ),
        (
            "?update_mask=description",
            json!({"key": "a/b c", "value": "x"}),
            "Bad Request",
            "'description' is unknown or cannot be updated.",
        ),
        ("?update_mask=", json!({"key": "a/b c", "value": "x"}), "Bad Request", "'' is unknown or cannot be updated."),
    ] {
        let answer = world.call("PATCH", &format!("{path}{query}"), body).await;
        let problem = answer.json();
        assert_eq!((answer.status, &problem["title"], &problem["detail"]), (400, &json!(title), &json!(detail)));
    }
    assert_eq!(world.get(path).await.json()["value"], "6");
    let absent = world.call("PATCH", "/variables/x?update_mask=nope", json!({"key": "x", "value": ""})).await;
    assert_eq!((absent.status, &absent.json()["title"]), (404, &json!("Variable not found")));
}

#[tokio::test]
async fn a_key_may_be_anything_of_250_characters() {
    let world = World::new().await;
    for key in ["", " ", "é/✓?", "a b", &"x".repeat(250)] {
        set(&world, json!({"key": key, "value": ""})).await;
    }
    let answer = world.call("POST", "/variables", json!({"key": "x".repeat(251), "value": ""})).await;
    let problem = answer.json();
    assert_eq!((answer.status, &problem["title"]), (400, &json!("Invalid Variable schema")));
    assert_eq!(problem["detail"], "{'key': ['Longer than maximum length 250.']}");
    assert_eq!(world.send("DELETE", "/api/v1/variables/%C3%A9%2F%E2%9C%93%3F", &[], "").await.status, 204);
}

#[tokio::test]
async fn lists_are_ordered_and_paged() {
    let world = World::new().await;
    for (key, value) in [("b", "2"), ("a", "3"), ("c", "1")] {
        set(&world, json!({"key": key, "value": value})).await;
    }
    for (query, expected) in [
        ("", "bac"),
        ("?order_by=-id", "cab"),
        ("?order_by=key", "abc"),
        ("?order_by=-key&limit=2", "cb"),
        ("?order_by=value", "cba"),
        ("?offset=2", "c"),
        ("?offset=7", ""),
    ] {
        assert_eq!(keys(&world, query).await, (expected.to_owned(), 3), "{query}");
    }
    for order in ["val", "description", ""] {
        assert_eq!(world.get(&format!("/variables?order_by={order}")).await.status, 400);
    }
}

#[tokio::test]
async fn the_event_log_hides_values_of_secret_names() {
    let world = World::new().await;
    let last = async || {
        let answer = world.get("/eventLogs?order_by=-event_log_id&limit=1").await.json();
        let entry = answer["event_logs"][0].clone();
        (entry["event"].as_str().unwrap().to_owned(), entry["extra"].as_str().unwrap().to_owned())
    };
    set(&world, json!({"key": "plain", "value": "seen"})).await;
    assert_eq!(last().await, ("api.variable.create".into(), r#"{"key": "plain", "value": "seen"}"#.into()));
    set(&world, json!({"value": "canary", "key": "my_api_key"})).await;
    assert_eq!(last().await, ("api.variable.create".into(), r#"{"value": "***", "key": "my_api_key"}"#.into()));
    world
        .call("PATCH", "/variables/my_api_key", json!({"key": "my_api_key", "value": "canary", "description": "d"}))
        .await;
    let expected = r#"{"key": "my_api_key", "value": "***", "description": "d"}"#;
    assert_eq!(last().await, ("api.variable.edit".into(), expected.into()));
    for status in [204, 404] {
        assert_eq!(world.send("DELETE", "/api/v1/variables/my_api_key", &[], "").await.status, status);
        assert_eq!(last().await, ("api.variable.delete".into(), r#"{"variable_key": "my_api_key"}"#.into()));
    }
}
