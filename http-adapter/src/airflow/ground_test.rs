//! Requests through a real socket, up to where a handler would begin.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::request::Parts;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use updraft_core::clock::SystemClock;
use updraft_core::id::IdSource;
use updraft_core::log::MemoryLogs;
use updraft_core::service::{Service, Settings};
use updraft_storage_memory::MemoryStorage;

use super::call::Call;
use super::document::{Document, Place};
use super::ground::Ground;
use super::operation::{Answer, Operation};
use super::reply::Reply;
use super::{Host, handler};
use crate::access::{AccessError, Action, Authenticator, Authorizer, Principal, Resource};

/// Counts the handlers that were reached.
#[derive(Debug, Default)]
struct Reached(AtomicUsize);

async fn echo(mut call: Call<Reached>) -> Answer {
    call.state.0.fetch_add(1, Ordering::SeqCst);
    if call.query.text("dag_id_pattern") == Some("panic") {
        panic!("asked to");
    }
    let limit = call.query.page()?.limit;
    let members = call.body_members();
    Ok(Reply::json(&json!({
        "caller": call.principal.name,
        "dag_id": call.path.text("dag_id"),
        "xcom_key": call.path.text("xcom_key"),
        "limit": limit,
        "tags": call.query.list("tags"),
        "update_mask": call.query.list("update_mask"),
        "body": members,
    })))
}

/// Takes any user whose password is `secret`.
#[derive(Debug)]
struct Secret;

#[async_trait]
impl Authenticator for Secret {
    async fn authenticate(&self, head: &Parts) -> Result<Option<Principal>, AccessError> {
        let header = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let decoded = header.strip_prefix("Basic ").and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
        let text = String::from_utf8(decoded).unwrap_or_default();
        Ok(text.strip_suffix(":secret").map(|name| Principal::named(name, [name.to_owned()])))
    }

    fn challenge(&self) -> Option<&str> {
        Some("Basic")
    }
}

/// Permits what the role's name says; the real operations with an echo in place of their handlers.
fn ground(anonymous_role: Option<&str>) -> Ground<Reached> {
    let echoes = handler::operations().into_iter().map(|operation| Operation::<Reached> {
        id: operation.id,
        access: operation.access,
        handler: |call| Box::pin(echo(call)),
    });
    let clock = Arc::new(SystemClock::new());
    let storage = Arc::new(MemoryStorage::new(clock.clone()));
    let service = Service::new(storage, Arc::new(MemoryLogs::default()), IdSource::from_seed(1), Settings::default());
    let mut host = Host::new(&service, clock);
    host.gate.authenticator = Arc::new(Secret);
    host.gate.anonymous_role = anonymous_role.map(str::to_owned);
    Ground::new(Arc::default(), echoes.collect(), host).unwrap()
}

/// Serves on a port of this machine until the test ends.
async fn serve(ground: Arc<Ground<Reached>>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let ground = Arc::clone(&ground);
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let ground = Arc::clone(&ground);
                async move { Ok::<_, std::convert::Infallible>(ground.answer(request).await) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

struct Answered {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Answered {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers =
            lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        Self { status, headers: headers.collect(), body: bytes[end + 4..].to_vec() }
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

async fn send(address: std::net::SocketAddr, head: &str, body: &[u8]) -> Answered {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    // The server may answer, and close, before it has read everything.
    let _ = stream.write_all(body).await;
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    Answered::parse(&bytes)
}

async fn request(address: std::net::SocketAddr, method: &str, target: &str, headers: &str, body: &[u8]) -> Answered {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let head = format!("{method} {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{length}{headers}\r\n");
    send(address, &head, body).await
}

fn credentials(name: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{name}:secret")))
}

fn admin_json() -> String {
    format!("{}Content-Type: application/json\r\n", credentials("Admin"))
}

/// Recordings of Airflow 2.11.2, made by this project, of requests that never reach a handler.
#[tokio::test]
async fn refusals_are_those_of_airflow() {
    let recordings: Vec<Value> = serde_json::from_str(include_str!("../../tests/data/refusals.json")).unwrap();
    let closed = serve(Arc::new(ground(None))).await;
    let public = serve(Arc::new(ground(Some("Public")))).await;
    let mut replayed = 0;
    for recording in &recordings {
        let name = recording["name"].as_str().unwrap();
        let asked = &recording["request"];
        let text = |key: &str| asked[key].as_str().unwrap_or_default();
        let mut headers: String = asked["headers"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(key, value)| format!("{key}: {}\r\n", value.as_str().unwrap()))
            .collect();
        match asked["auth"].as_str() {
            Some("admin") => headers.push_str(&credentials("Admin")),
            Some(raw) => headers.push_str(&format!("Authorization: {}\r\n", raw.trim_start_matches("raw: "))),
            None => {}
        }
        let body = match (&asked["json"], &asked["raw"]) {
            (Value::Null, Value::String(raw)) => raw.clone(),
            (Value::Null, _) => String::new(),
            (json, _) => json.to_string(),
        };
        let query = if text("query").is_empty() { String::new() } else { format!("?{}", text("query")) };
        let target = format!("{}{query}", text("path"));
        let address = if name.starts_with("variants.") { closed } else { public };
        let answered = request(address, text("method"), &target, &headers, body.as_bytes()).await;
        let expected = &recording["response"];
        assert_eq!(u64::from(answered.status), expected["status"].as_u64().unwrap(), "{name}: {}", answered.json());
        if !expected["json"].is_null() {
            assert_eq!(answered.json(), expected["json"], "{name}");
        }
        for header in ["content-type", "content-length", "cache-control", "x-robots-tag"] {
            assert_eq!(
                answered.headers.get(header).map(String::as_str),
                expected["headers"][header].as_str(),
                "{name}: {header}"
            );
        }
        replayed += 1;
    }
    assert!(replayed >= 80, "{replayed} recordings");
}

/// Every operation of the table, with a request that passes all other checks.
fn each_operation() -> Vec<(String, String, String, String, bool)> {
    let document = Document::load().unwrap();
    let open = |id: &str| {
        handler::operations()
            .iter()
            .any(|operation| operation.id == id && matches!(operation.access, super::operation::Access::Open))
    };
    let requests = document.operations.iter().map(|spec| {
        let mut path = format!("/api/v1{}", spec.path);
        for parameter in spec.parameters_in(Place::Path) {
            path = path.replace(&format!("{{{}}}", parameter.name), "1");
        }
        let required: Vec<_> = spec
            .parameters_in(Place::Query)
            .filter(|parameter| parameter.required)
            .map(|parameter| format!("{}=x", parameter.name))
            .collect();
        if !required.is_empty() {
            path = format!("{path}?{}", required.join("&"));
        }
        let body = match (&spec.body, spec.id.contains("note")) {
            (None, _) => "",
            (Some(_), true) => r#"{"note": "x"}"#,
            (Some(_), _) if spec.id == "create_dataset_event" => r#"{"dataset_uri": "x"}"#,
            (Some(_), false) => "{}",
        };
        (spec.id.clone(), spec.method.to_string(), path, body.to_owned(), open(&spec.id))
    });
    requests.collect()
}

#[tokio::test]
async fn no_operation_is_reached_without_a_principal_who_may() {
    let ground = Arc::new(ground(None));
    let address = serve(Arc::clone(&ground)).await;
    let mut tried = 0;
    for (id, method, target, body, open) in each_operation() {
        let is_known = ground.operations.contains_key(id.as_str());
        assert!(is_known, "{id} has no line in the table of operations");
        let json = "Content-Type: application/json\r\n";
        let before = ground.state.0.load(Ordering::SeqCst);
        let nobody = request(address, &method, &target, json, body.as_bytes()).await;
        if open {
            assert_eq!(nobody.status, 200, "{id}");
            continue;
        }
        assert_eq!(nobody.status, 401, "{id}: {}", nobody.json());
        assert_eq!(nobody.headers.get("www-authenticate").map(String::as_str), Some("Basic"), "{id}");
        let public =
            request(address, &method, &target, &format!("{json}{}", credentials("Public")), body.as_bytes()).await;
        assert_eq!(public.status, 403, "{id}: {}", public.json());
        let unknown_role =
            request(address, &method, &target, &format!("{json}{}", credentials("nobody")), body.as_bytes()).await;
        assert_eq!(unknown_role.status, 403, "{id}");
        assert_eq!(ground.state.0.load(Ordering::SeqCst), before, "{id} was reached");
        let admin =
            request(address, &method, &target, &format!("{json}{}", credentials("Admin")), body.as_bytes()).await;
        assert_eq!(admin.status, 200, "{id}: {}", admin.json());
        tried += 1;
    }
    assert_eq!(tried + 2, ground.document.operations.len(), "only health and version are open");
}

/// The rows of the recordings `access.*`, and the 2.10 table.
#[tokio::test]
async fn roles_may_what_they_may_in_airflow() {
    let address = serve(Arc::new(ground(None))).await;
    let by_id: BTreeMap<String, _> =
        each_operation().into_iter().map(|(id, method, target, body, _)| (id, (method, target, body))).collect();
    for (id, least) in [
        ("get_dags", "Viewer"),
        ("get_dag", "Viewer"),
        ("get_dag_source", "Viewer"),
        ("get_pools", "Viewer"),
        ("get_import_errors", "Viewer"),
        ("get_dag_runs", "Viewer"),
        ("get_task_instances", "Viewer"),
        ("get_xcom_entry", "Viewer"),
        ("get_log", "Viewer"),
        ("get_datasets", "Viewer"),
        ("get_dag_dataset_queued_events", "Viewer"),
        ("get_upstream_dataset_events", "Viewer"),
        ("get_dag_stats", "Viewer"),
        ("get_dag_warnings", "Viewer"),
        ("create_dataset_event", "User"),
        ("delete_dag_dataset_queued_event", "Op"),
        ("patch_dag", "User"),
        ("delete_dag", "User"),
        ("post_dag_run", "User"),
        ("delete_dag_run", "User"),
        ("clear_dag_run", "User"),
        ("post_clear_task_instances", "User"),
        ("post_pool", "Op"),
        ("delete_pool", "Op"),
        ("get_event_logs", "Admin"),
    ] {
        let roles = ["Public", "Viewer", "User", "Op", "Admin"];
        let (method, target, body) = &by_id[id];
        for role in roles {
            let place = |role| roles.iter().position(|known| *known == role);
            let expected = if place(role) >= place(least) { 200 } else { 403 };
            let headers = format!("Content-Type: application/json\r\n{}", credentials(role));
            let answered = request(address, method, target, &headers, body.as_bytes()).await;
            assert_eq!(answered.status, expected, "{role} {id}");
        }
    }
}

#[derive(Debug)]
struct OnlyDag(&'static str);

#[async_trait]
impl Authorizer for OnlyDag {
    async fn permits(&self, _: &Principal, _: Action, _: Resource, dag: Option<&str>) -> Result<bool, AccessError> {
        Ok(dag == Some(self.0))
    }
}

#[tokio::test]
async fn permissions_are_asked_for_the_dag_that_is_named() {
    let mut ground = ground(None);
    ground.gate.authorizer = Arc::new(OnlyDag("mine"));
    let address = serve(Arc::new(ground)).await;
    for (target, expected) in [
        ("/api/v1/dags/mine", 200),
        ("/api/v1/dags/%6Dine/dagRuns", 200),
        ("/api/v1/dags/mine2/dagRuns", 403),
        ("/api/v1/dags/~/dagRuns", 403),
        ("/api/v1/dags", 403),
        ("/api/v1/eventLogs?dag_id=mine", 200),
        ("/api/v1/eventLogs?dag_id=mine&dag_id=other", 403),
    ] {
        assert_eq!(request(address, "GET", target, &credentials("ann"), b"").await.status, expected, "{target}");
    }
}

#[tokio::test]
async fn hostile_requests_are_refused() {
    let address = serve(Arc::new(ground(None))).await;
    let post =
        |body: Vec<u8>| async move { request(address, "POST", "/api/v1/dags/d/dagRuns", &admin_json(), &body).await };
    for deep in [
        format!("{{\"conf\": {}", "{\"a\":".repeat(10_000)),
        "[".repeat(500_000),
        format!("{{\"conf\":{{\"a\":{}{}}}}}", "[".repeat(10_000), "]".repeat(10_000)),
    ] {
        let answered = post(deep.into_bytes()).await;
        assert_eq!(answered.status, 400);
        assert_eq!(answered.json()["detail"], "Request body is nested too deeply");
    }
    let long = post(format!("{{\"note\": \"{}\"}}", "x".repeat(1024 * 1024)).into_bytes()).await;
    assert_eq!(long.status, 413, "{}", long.json());
    let chunked = "POST /api/v1/dags/d/dagRuns HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("{:x}\r\n{}\r\n", 300_000, "x".repeat(300_000));
    assert_eq!(send(address, chunked, format!("{}0\r\n\r\n", chunk.repeat(4)).as_bytes()).await.status, 413);
    let wrong_items = format!("{{\"dag_ids\": [{}1]}}", "1,".repeat(500_000));
    let wide = request(address, "POST", "/api/v1/dags/~/dagRuns/list", &admin_json(), wrong_items.as_bytes()).await;
    assert_eq!(wide.json()["detail"], "1 is not of type 'string' - 'dag_ids.0'");
    let nested = format!("{{\"conf\": [{}1{}]}}", "[\"a\",".repeat(120), "]".repeat(120));
    assert_eq!(post(nested.into_bytes()).await.status, 400);
    for (body, detail) in [
        (b"{\"note\": \"\xff\"}".to_vec(), "Request body is not valid JSON"),
        (b"{\"note\": \"a\\u0000\"}".to_vec(), "Request body holds a NUL character"),
        (b"{\"conf\": {\"x\": NaN}}".to_vec(), "Request body is not valid JSON"),
        (b"{\"conf\": {\"x\": 1e999}}".to_vec(), "Request body is not valid JSON"),
        (b" ".to_vec(), "Request body is not valid JSON"),
        (b"\xef\xbb\xbf[]".to_vec(), "[] is not of type 'object'"),
    ] {
        let answered = post(body).await;
        assert_eq!((answered.status, answered.json()["detail"].clone()), (400, Value::from(detail)));
    }
    for (target, expected) in [
        ("/api/v1/dags/%", 200),
        ("/api/v1/dags/%zz", 200),
        ("/api/v1/dags/%ff%fe", 404),
        ("/api/v1/dags/%00", 404),
        ("/api/v1/dags/%E2%9C%93", 200),
        ("/api/v1/dags/..%2f..%2fetc", 404),
        ("/api/v1/dags/{dag_id}", 200),
        ("/api/v1/dags/*", 200),
        ("/api/v1/eventLogs/99999999999999999999999", 200),
        ("/api/v1/eventLogs/-1", 404),
        ("/api/v1/eventLogs/+1", 404),
        ("/api/v1/dags?limit=99999999999999999999999", 200),
        ("/api/v1/dags?tags=%00", 400),
        ("/api/v1/dags?%ff=1", 400),
        ("/api/v1/dags?limit", 400),
        ("/api/v1/dags?&&", 200),
        ("/nowhere/%ff", 404),
        ("*", 404),
    ] {
        let answered = request(address, "GET", target, &credentials("Admin"), b"").await;
        assert_eq!(answered.status, expected, "{target}: {}", answered.json());
    }
    for (method, expected) in [("GET", 308), ("HEAD", 308), ("OPTIONS", 308), ("PUT", 405)] {
        let answered = request(address, method, "/api/v1//dags", &admin_json(), b"").await;
        assert_eq!(answered.status, expected, "{method} of a doubled slash");
    }
    let many: String = (0..101).map(|n| format!("X-{n}: 1\r\n")).collect();
    let answered = request(address, "GET", "/api/v1/version", &many, b"").await;
    assert!([431, 400].contains(&answered.status), "{}", answered.status);
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_connection_goes_on() {
    let address = serve(Arc::new(ground(None))).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let first = format!("GET /api/v1/dags?dag_id_pattern=panic HTTP/1.1\r\nHost: test\r\n{}\r\n", credentials("Admin"));
    let second = "GET /api/v1/version HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    stream.write_all(format!("{first}{second}").as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 500"), "{text}");
    assert!(!text.contains("asked to"), "what went wrong is not shown");
    assert!(text.contains("HTTP/1.1 200"), "{text}");
}

#[tokio::test]
async fn requests_are_known_by_an_id() {
    let address = serve(Arc::new(ground(None))).await;
    let id = |answered: Answered| answered.headers["x-request-id"].clone();
    let given = request(address, "GET", "/api/v1/version", "X-Request-Id: abc-1\r\n", b"").await;
    assert_eq!(id(given), "abc-1");
    let first = id(request(address, "GET", "/api/v1/nope", "", b"").await);
    let odd = id(request(address, "GET", "/api/v1/nope", &format!("X-Request-Id: {}\r\n", "x".repeat(500)), b"").await);
    assert!(first.len() == 36 && odd.len() == 36 && first != odd);
}

#[tokio::test]
async fn parameters_reach_the_handler() {
    let address = serve(Arc::new(ground(None))).await;
    let get =
        |target: &'static str| async move { request(address, "GET", target, &credentials("Admin"), b"").await.json() };
    assert_eq!(get("/api/v1/dags?tags=a&tags=b,c&limit=1&limit=2").await["tags"], json!(["a", "b", "c"]));
    assert_eq!(get("/api/v1/dags?limit=1&limit=2").await["limit"], 2);
    assert_eq!(get("/dags?limit=0").await["limit"], 100, "a host may have taken the prefix away");
    assert_eq!(get("/api/v1/dags/~/dagRuns/list").await["dag_id"], "~", "a GET is no list by POST");
    let xcom = get("/api/v1/dags/d/dagRuns/r/taskInstances/t/xcomEntries/a/b%2Fc").await;
    assert_eq!(xcom["xcom_key"], "a/b/c");
    let body = br#"{"name": "p", "slots": 1, "nope": [1.0]}"#;
    let patched =
        request(address, "PATCH", "/api/v1/pools/p?update_mask=a&update_mask=slots,name", &admin_json(), body)
            .await
            .json();
    assert_eq!(patched["update_mask"], json!(["slots", "name"]));
    assert_eq!(patched["body"], json!({"name": "p", "slots": 1, "nope": [1.0]}));
    assert_eq!(patched["caller"], "Admin");
}

#[tokio::test]
async fn head_and_options_are_answered_for_each_path() {
    let address = serve(Arc::new(ground(None))).await;
    let get = request(address, "GET", "/api/v1/version", "", b"").await;
    let head = request(address, "HEAD", "/api/v1/version", "", b"").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.headers["content-length"], get.headers["content-length"]);
    let options = request(address, "OPTIONS", "/api/v1/dags", "", b"").await;
    assert_eq!(options.status, 200);
    let mut methods: Vec<_> = options.headers["allow"].split(", ").collect();
    methods.sort_unstable();
    assert_eq!(methods, ["GET", "HEAD", "OPTIONS", "PATCH"]);
    let redirect = request(address, "GET", "/api/v1//dags?limit=1", "", b"").await;
    assert_eq!((redirect.status, redirect.headers["location"].as_str()), (308, "/api/v1/dags?limit=1"));
    let redirect = request(address, "GET", "/api/v1/ui", "", b"").await;
    assert_eq!((redirect.status, redirect.headers["location"].as_str()), (308, "/api/v1/ui/"));
    // A part that may hold slashes does not begin with one.
    let redirect = request(address, "GET", "/api/v1/datasets//s3%3A//x", "", b"").await;
    assert_eq!((redirect.status, redirect.headers["location"].as_str()), (308, "/api/v1/datasets/s3%3A/x"));
    assert_eq!(request(address, "GET", "/api/v1/datasets/s3%3A//x", &credentials("Admin"), b"").await.status, 200);
    assert_eq!(request(address, "GET", "//evil.example/dags", "", b"").await.status, 404);
}

#[tokio::test]
async fn the_document_is_served_and_browsed_without_credentials() {
    let mut ground = ground(None);
    ground.base_path = "/flow/api".to_owned();
    let address = serve(Arc::new(ground)).await;
    let json = request(address, "GET", "/flow/api/openapi.json", "", b"").await;
    assert_eq!(json.headers["content-type"], "application/json");
    assert_eq!(json.json()["servers"][0]["url"], "/flow/api");
    let yaml = request(address, "GET", "/flow/api/openapi.yaml", "", b"").await;
    assert_eq!(yaml.headers["content-type"], "text/yaml");
    let parsed: Value = serde_saphyr::from_str(&String::from_utf8(yaml.body).unwrap()).unwrap();
    assert_eq!(parsed, json.json());
    for (page, content_type) in [("", "text/html"), ("browser.js", "text/javascript"), ("browser.css", "text/css")] {
        let answered = request(address, "GET", &format!("/flow/api/ui/{page}"), "", b"").await;
        assert_eq!(answered.status, 200, "{page}");
        assert!(answered.headers["content-type"].starts_with(content_type));
        assert!(!String::from_utf8(answered.body).unwrap().contains("://"), "{page} needs nothing from elsewhere");
    }
}
