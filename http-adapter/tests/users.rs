//! Users, roles and how callers are known.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::World;
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;
use updraft_core::service::NewToken;
use updraft_core::storage::UserUpdate;
use updraft_http_adapter::access::{AnyOf, BasicAuthenticator, StoredUsers, TokenAuthenticator};
use updraft_http_adapter::airflow::Airflow;

fn ann() -> Value {
    json!({
        "username": "ann", "email": "ann@example.com", "first_name": "Ann", "last_name": "A", "password": "secret",
        "roles": [{"name": "Op"}],
    })
}

fn with(change: Value) -> Value {
    let mut user = ann();
    user.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    user
}

/// Status and detail.
async fn refusal(world: &World, method: &str, path: &str, body: Value) -> (u16, String) {
    let answer = world.call(method, path, body).await;
    (answer.status, answer.json()["detail"].as_str().unwrap_or(&answer.text).to_owned())
}

#[tokio::test]
async fn users_are_made_and_shown() {
    let world = World::new().await;
    let made = world.call("POST", "/users", ann()).await;
    let expected = json!({
        "active": true, "changed_on": made.json()["changed_on"], "created_on": made.json()["created_on"],
        "email": "ann@example.com", "fail_login_count": null, "first_name": "Ann", "last_login": null, "last_name": "A",
        "login_count": null, "roles": [{"name": "Op"}], "username": "ann",
    });
    assert_eq!((made.status, made.json()), (200, expected.clone()));
    let created = expected["created_on"].as_str().unwrap();
    assert!(created.starts_with("2026-11-21T13:07:42.") && created.len() == 26, "{created}");
    assert_eq!(world.get("/users/ANN").await.json(), expected);
    let without = json!({"username": "bob", "email": "b", "first_name": "", "last_name": "B"});
    let bob = world.call("POST", "/users", without).await;
    assert_eq!((bob.status, bob.json()["roles"].clone()), (200, json!([{"name": "Public"}])));
    let listed = world.get("/users?limit=1&offset=1").await.json();
    assert_eq!((listed["total_entries"].clone(), listed["users"][0]["username"].clone()), (json!(2), json!("bob")));
    let first = async |order: &str| {
        let listed = world.get(&format!("/users?order_by={order}")).await.json();
        listed["users"][0]["username"].as_str().map(str::to_owned)
    };
    assert_eq!(first("first_name").await.as_deref(), Some("bob"));
    assert_eq!(first("id").await.as_deref(), Some("ann"));
    for order in ["-id", "username", "password", "role"] {
        let detail = world.get(&format!("/users?order_by={order}")).await.json()["detail"].clone();
        let expected = format!("Ordering with '{order}' is disallowed or the attribute does not exist on the model");
        assert_eq!(detail, expected);
    }
}

#[tokio::test]
async fn users_are_refused_as_in_airflow() {
    let world = World::new().await;
    assert_eq!(world.call("POST", "/users", ann()).await.status, 200);
    let missing = "Missing data for required field.";
    for (body, status, detail) in [
        (ann(), 409, "Username `ann` already exists. Use PATCH to update.".to_owned()),
        (with(json!({"username": "ANN"})), 409, "Username `ANN` already exists. Use PATCH to update.".to_owned()),
        (with(json!({"username": "b"})), 409, "The email `ann@example.com` is already taken.".to_owned()),
        (
            with(json!({"username": "b", "email": "b", "roles": [{"name": "X"}, {"name": "Op"}, {"name": "it's"}]})),
            400,
            "Unknown roles: 'X', \"it's\"".to_owned(),
        ),
        (
            json!({"username": "b"}),
            400,
            format!("{{'first_name': ['{missing}'], 'last_name': ['{missing}'], 'email': ['{missing}']}}"),
        ),
        (with(json!({"nope": 1})), 400, "{'nope': ['Unknown field.']}".to_owned()),
        (with(json!({"active": false})), 400, "Property is read-only - 'active'".to_owned()),
        (
            with(json!({"first_name": "x".repeat(257)})),
            400,
            "{'first_name': ['Longer than maximum length 256.']}".to_owned(),
        ),
        (with(json!({"roles": [{"name": "Op"}, {}]})), 400, format!("{{'roles': {{1: {{'name': ['{missing}']}}}}}}")),
        (with(json!({"roles": [{"name": "Op", "x": 1}]})), 400, "{'roles': {0: {'x': ['Unknown field.']}}}".to_owned()),
        (with(json!({"roles": [null]})), 400, "{'roles': {0: ['Field may not be null.']}}".to_owned()),
    ] {
        assert_eq!(refusal(&world, "POST", "/users", body.clone()).await, (status, detail), "{body}");
    }
    let answer = world.get("/users/nope").await;
    assert_eq!((answer.status, answer.json()["title"].clone()), (404, json!("User not found")));
    assert_eq!(answer.json()["detail"], "The User with username `nope` was not found");
    assert_eq!(world.send("DELETE", "/api/v1/users/nope", &[], "").await.status, 404);
    assert_eq!(world.send("DELETE", "/api/v1/users/ann", &[], "").await.status, 204);
    assert_eq!(world.get("/users/ann").await.status, 404);
}

#[tokio::test]
async fn users_are_changed() {
    let world = World::new().await;
    world.call("POST", "/users", ann()).await;
    world.call("POST", "/users", with(json!({"username": "bob", "email": "bob@example.com"}))).await;
    let changed = world.call("PATCH", "/users/ann", with(json!({"first_name": "New", "roles": []}))).await;
    assert_eq!((changed.status, changed.json()["first_name"].clone()), (200, json!("New")));
    assert_eq!(changed.json()["roles"], json!([]));
    assert_eq!(changed.json()["changed_on"], changed.json()["created_on"], "as in Airflow");
    let masked = with(json!({"first_name": "Not", "last_name": "Masked"}));
    let changed = world.call("PATCH", "/users/ann?update_mask=last_name", masked).await.json();
    assert_eq!((changed["first_name"].clone(), changed["last_name"].clone()), (json!("New"), json!("Masked")));
    let missing = "Missing data for required field.";
    for (path, body, status, detail) in [
        (
            "ann",
            json!({"first_name": "x"}),
            400,
            format!("{{'last_name': ['{missing}'], 'username': ['{missing}'], 'email': ['{missing}']}}"),
        ),
        ("nope", ann(), 404, "The User with username `nope` was not found".to_owned()),
        ("ann", with(json!({"username": "bob"})), 409, "The username `bob` already exists".to_owned()),
        (
            "ann",
            with(json!({"email": "bob@example.com"})),
            409,
            "The email `bob@example.com` already exists".to_owned(),
        ),
        ("ann?update_mask=nope,active", ann(), 400, "Unknown update masks: 'nope', 'active'".to_owned()),
        ("ann?update_mask=roles", with(json!({"roles": [{"name": "X"}]})), 400, "Unknown roles: 'X'".to_owned()),
    ] {
        let path = format!("/users/{path}");
        assert_eq!(refusal(&world, "PATCH", &path, body).await, (status, detail), "{path}");
    }
    let renamed = world.call("PATCH", "/users/ann", with(json!({"username": "Ann2"}))).await;
    assert_eq!(renamed.json()["username"], "Ann2");
    assert_eq!(world.get("/users/ann").await.status, 404);
}

fn action(action: &str, resource: &str) -> Value {
    json!({"action": {"name": action}, "resource": {"name": resource}})
}

#[tokio::test]
async fn roles_are_as_in_airflow() {
    let world = World::new().await;
    let listed = world.get("/roles").await.json();
    let roles = listed["roles"].as_array().unwrap();
    let names: Vec<_> = roles.iter().map(|role| role["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Admin", "Op", "Public", "User", "Viewer"]);
    assert_eq!(listed["total_entries"], 5);
    let by_id = world.get("/roles?order_by=role_id&limit=2").await.json();
    assert_eq!((by_id["roles"][1]["name"].clone(), by_id["total_entries"].clone()), (json!("Public"), json!(5)));
    assert_eq!(world.get("/roles?order_by=-name").await.status, 400);
    assert_eq!(world.get("/roles/Viewer").await.json()["actions"][0], action("can_read", "DAGs"));
    let role = json!({"name": "r", "actions": [action("can_read", "DAGs")]});
    let made = world.call("POST", "/roles", role.clone()).await;
    assert_eq!((made.status, made.json()), (200, json!({})));
    assert_eq!(world.get("/roles/r").await.json(), role);
    let add = json!({"name": "r", "actions": [action("can_edit", "DAGs"), {}]});
    let both = json!([action("can_read", "DAGs"), action("can_edit", "DAGs")]);
    let patched = world.call("PATCH", "/roles/r", add).await;
    assert_eq!((patched.status, patched.json()["actions"].clone()), (200, both.clone()), "{}", patched.text);
    let none = world.call("PATCH", "/roles/r?update_mask=actions", json!({"name": "x", "actions": []})).await;
    assert_eq!(none.json(), json!({"name": "r", "actions": both}));
    let renamed = world.call("PATCH", "/roles/r", json!({"name": "r2"})).await;
    assert_eq!((renamed.status, renamed.json()["name"].clone()), (200, json!("r2")));
    let taken = world.call("PATCH", "/roles/r2", json!({"name": "Op"})).await;
    assert_eq!((taken.status, taken.json()["name"].clone()), (200, json!("r2")), "as in Airflow");
    let missing = "Missing data for required field.";
    for (method, path, body, status, detail) in [
        ("POST", "", json!({"actions": []}), 400, format!("{{'name': ['{missing}']}}")),
        ("POST", "", json!({"name": "x"}), 400, format!("{{'actions': ['{missing}']}}")),
        (
            "POST",
            "",
            json!({"name": "r2"}),
            409,
            "Role with name 'r2' already exists; please update with the PATCH endpoint".to_owned(),
        ),
        (
            "POST",
            "",
            json!({"name": "x", "actions": [action("can_fly", "DAGs")]}),
            400,
            "The specified action: 'can_fly' was not found".to_owned(),
        ),
        (
            "POST",
            "",
            json!({"name": "x", "actions": [action("can_read", "DAG:nope")]}),
            400,
            "The specified resource: 'DAG:nope' was not found".to_owned(),
        ),
        (
            "POST",
            "",
            json!({"name": "x".repeat(65), "actions": []}),
            400,
            "{'name': ['Longer than maximum length 64.']}".to_owned(),
        ),
        (
            "POST",
            "",
            json!({"name": "x", "actions": [{"action": {"name": "can_read"}}]}),
            400,
            format!("{{'actions': {{0: {{'resource': ['{missing}']}}}}}}"),
        ),
        ("PATCH", "/nope", json!({"name": "x"}), 404, "Role with name 'nope' was not found".to_owned()),
        ("PATCH", "/r2?update_mask=nope", json!({"name": "x"}), 400, "'nope' in update_mask is unknown".to_owned()),
        ("PATCH", "/r2?update_mask=actions", json!({"name": "x"}), 400, format!("{{'actions': ['{missing}']}}")),
        ("PATCH", "/r2", json!({"name": "x", "nope": 1}), 400, "{'nope': ['Unknown field.']}".to_owned()),
    ] {
        assert_eq!(refusal(&world, method, &format!("/roles{path}"), body.clone()).await, (status, detail), "{body}");
    }
    assert_eq!(world.send("DELETE", "/api/v1/roles/Viewer", &[], "").await.status, 204);
    assert_eq!(world.send("DELETE", "/api/v1/roles/Viewer", &[], "").await.status, 404);
    assert_eq!(world.call_as("Viewer", "GET", "/dags", "").await.status, 403, "a removed role permits nothing");
    let permissions = world.get("/permissions?limit=3").await.json();
    let actions = json!([{"name": "can_edit"}, {"name": "can_read"}, {"name": "can_create"}]);
    assert_eq!(permissions, json!({"actions": actions, "total_entries": 5}));
}

/// The API over the world's storage, as a host mounts it.
fn airflow(world: &World) -> Airflow {
    let users = StoredUsers::new(world.service.clone());
    let basic = BasicAuthenticator::new(users, Arc::new(world.clock.clone()), world.service.ids()).unwrap();
    let both = AnyOf::new(basic).or(TokenAuthenticator::new(world.service.clone()));
    Airflow::builder(world.service.clone(), Arc::new(world.clock.clone())).authenticator(both).build().unwrap()
}

async fn ask(airflow: &Airflow, method: &str, path: &str, authorization: &str) -> (u16, Option<String>) {
    let request = Request::builder().method(method).uri(format!("/api/v1{path}"));
    let request = request.header("authorization", authorization).header("content-type", "application/json");
    let body = if method == "GET" { "" } else { r#"{"name": "p", "slots": 1}"# };
    let response = airflow.clone().oneshot(request.body(Full::new(bytes::Bytes::from(body))).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    body.collect().await.unwrap();
    let header = |name| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    (head.status.as_u16(), header("www-authenticate").or_else(|| header("retry-after")))
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

#[tokio::test]
async fn a_stored_user_logs_in_until_something_changes() {
    let world = World::new().await;
    let airflow = airflow(&world);
    world.call("POST", "/users", ann()).await;
    for login in ["ann", "ANN", "ann@example.com"] {
        assert_eq!(ask(&airflow, "GET", "/pools", &basic(login, "secret")).await.0, 200, "{login}");
    }
    let counts = async || {
        let ann = world.get("/users/ann").await.json();
        (ann["login_count"].clone(), ann["fail_login_count"].clone(), ann["last_login"].is_string())
    };
    assert_eq!(counts().await, (json!(3), json!(0), true));
    assert_eq!(ask(&airflow, "GET", "/pools", &basic("ann", "wrong")).await, (401, Some("Basic".to_owned())));
    assert_eq!(counts().await, (json!(3), json!(1), true));
    assert_eq!(ask(&airflow, "GET", "/users", &basic("ann", "secret")).await.0, 403, "Op knows no users");
    world.call("PATCH", "/users/ann?update_mask=roles", with(json!({"roles": [{"name": "Admin"}]}))).await;
    assert_eq!(ask(&airflow, "GET", "/users", &basic("ann", "secret")).await.0, 200, "new roles count at once");
    world.call("PATCH", "/users/ann?update_mask=password", with(json!({"password": "other"}))).await;
    assert_eq!(ask(&airflow, "GET", "/pools", &basic("ann", "secret")).await.0, 401);
    assert_eq!(ask(&airflow, "GET", "/pools", &basic("ann", "other")).await.0, 200);
    world.service.update_user("ann", UserUpdate { active: Some(false), ..UserUpdate::default() }).await.unwrap();
    assert_eq!(ask(&airflow, "GET", "/pools", &basic("ann", "other")).await.0, 401);
}

#[tokio::test]
async fn who_goes_on_failing_has_to_wait() {
    let world = World::new().await;
    let airflow = airflow(&world);
    world.call("POST", "/users", ann()).await;
    for _ in 0..100 {
        assert_eq!(ask(&airflow, "GET", "/pools", &basic("ann", "wrong")).await.0, 401);
    }
    assert_eq!(ask(&airflow, "GET", "/pools", &basic("ann", "wrong")).await, (429, Some("1".to_owned())));
    assert_eq!(ask(&airflow, "GET", "/pools", &basic("ann", "secret")).await.0, 429, "guesses are not told apart");
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(ask(&airflow, "GET", "/pools", &basic("ann", "secret")).await.0, 200, "the account is not locked");
}

#[tokio::test]
async fn tokens_let_in_as_far_as_they_go() {
    let world = World::new().await;
    let airflow = airflow(&world);
    world.call("POST", "/users", with(json!({"roles": [{"name": "Op"}, {"name": "Admin"}]}))).await;
    let token = async |new: NewToken| {
        let new = NewToken { username: "ann".to_owned(), name: "ci".to_owned(), ..new };
        let (token, text) = world.service.create_token(new).await.unwrap();
        assert!(text.reveal().starts_with("udt_") && text.reveal().len() == 68);
        assert_eq!(format!("{text:?}"), "TokenText");
        (token, format!("Bearer {}", text.reveal()))
    };
    let (_, all) = token(NewToken::default()).await;
    let (_, scoped) =
        token(NewToken { roles: Some(["Op".to_owned(), "User".to_owned()].into()), ..NewToken::default() }).await;
    let (_, looking) = token(NewToken { read_only: true, ..NewToken::default() }).await;
    let soon = Some("2026-11-21T13:30:00Z".parse().unwrap());
    let (short, expiring) = token(NewToken { expires: soon, ..NewToken::default() }).await;
    for (bearer, users, pools) in [(&all, 200, 200), (&scoped, 403, 409), (&looking, 200, 403), (&expiring, 200, 409)] {
        assert_eq!(ask(&airflow, "GET", "/users", bearer).await.0, users);
        assert_eq!(ask(&airflow, "POST", "/pools", bearer).await.0, pools);
    }
    assert_eq!(ask(&airflow, "GET", "/users", "Bearer udt_0").await, (401, Some("Basic".to_owned())));
    let used = world.service.tokens(Some("ann")).await.unwrap();
    assert!(used.len() == 4 && used.iter().all(|token| token.last_used.is_some()));
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(ask(&airflow, "GET", "/users", &expiring).await.0, 401);
    world.service.revoke_token(short.id).await.unwrap();
    assert!(
        world
            .service
            .create_token(NewToken { expires: soon, username: "ann".to_owned(), ..NewToken::default() })
            .await
            .is_err()
    );
    world.call("PATCH", "/users/ann?update_mask=password", with(json!({"password": "other"}))).await;
    for bearer in [&all, &scoped, &looking] {
        assert_eq!(ask(&airflow, "GET", "/users", bearer).await.0, 401, "a new password ends them");
    }
}
