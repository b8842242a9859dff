//! Files of DAGs are read again when clients ask.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{World, dag};
use updraft_core::storage::ParsingRequestStorage;

#[tokio::test]
async fn a_file_that_is_asked_for_waits_once() {
    let world = World::new().await;
    let mut declared = dag("one", &[("a", &[])]);
    declared.fileloc = "/dags/one.yaml".into();
    world.register_with(declared, false).await;
    let token = world.get("/dags/one").await.json()["file_token"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/parseDagFile/{token}");
    for expected in ["", "Duplicate request"] {
        let answer = world.send("PUT", &path, &[], "").await;
        assert_eq!((answer.status, answer.text.as_str()), (201, expected));
        assert_eq!(answer.content_type.as_deref(), Some("text/html; charset=utf-8"));
    }
    assert_eq!(world.storage.parsing_requests().await.unwrap(), ["/dags/one.yaml"]);
    world.storage.take_parsing_requests(&["/dags/one.yaml".to_owned()]).await.unwrap();
    assert_eq!(world.send("PUT", &path, &[], "").await.text, "", "it was read again meanwhile");
}

#[tokio::test]
async fn files_that_declare_nothing_are_not_found() {
    let world = World::new().await;
    let mut declared = dag("one", &[("a", &[])]);
    declared.fileloc = "/dags/one.yaml".into();
    world.register_with(declared, false).await;
    let token = world.get("/dags/one").await.json()["file_token"].as_str().unwrap().to_owned();
    world.send("DELETE", "/api/v1/dags/one", &[], "").await;
    for token in ["bad_token", &token] {
        let answer = world.send("PUT", &format!("/api/v1/parseDagFile/{token}"), &[], "").await;
        assert_eq!((answer.status, &answer.json()["title"]), (404, &"File not found".into()), "{token}");
    }
    assert!(world.storage.parsing_requests().await.unwrap().is_empty());
}
