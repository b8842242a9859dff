//! Our OpenAPI document beside Airflow's own: the same interface for every operation that we have.

use std::path::PathBuf;

use serde_json::Value;

use super::document::{self, Document};
use crate::schema::Ordered;

/// Airflow's document, where the machine has it.
fn reference() -> Option<Value> {
    let folder = std::env::var_os("UPDRAFT_REFERENCE").map(PathBuf::from);
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference");
    let file = folder.unwrap_or_else(beside).join("openapi/v1-2.11.2.yaml");
    let text = std::fs::read_to_string(&file).ok()?;
    Some(resolved(&text))
}

fn resolved(text: &str) -> Value {
    let document: Ordered = serde_saphyr::from_str(text).unwrap();
    facts(document::resolve(&document, &document).unwrap().to_value())
}

/// Leaves out what is said for people.
fn facts(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(key, value)| {
                !(value.is_string()
                    && (key == "description" || key == "summary" || key == "x-openapi-router-controller"))
                    && !matches!(key.as_str(), "example" | "examples" | "externalDocs")
            });
            kept.map(|(key, value)| (key, facts(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(facts).collect(),
        scalar => scalar,
    }
}

fn sorted(parameters: &Value, shared: &Value) -> Vec<String> {
    let own = parameters.as_array().into_iter().flatten();
    let mut all: Vec<_> = own.chain(shared.as_array().into_iter().flatten()).map(without_optional_false).collect();
    all.sort();
    all
}

/// `required: false` is what an absent `required` means.
fn without_optional_false(parameter: &Value) -> String {
    let mut parameter = parameter.clone();
    if parameter["required"] == false
        && let Some(members) = parameter.as_object_mut()
    {
        members.remove("required");
    }
    parameter.to_string()
}

#[test]
fn the_interface_is_that_of_airflow() {
    let Some(theirs) = reference() else {
        assert!(std::env::var_os("CI").is_none(), "CI has Airflow's document");
        eprintln!("Airflow's document is not on this machine; set UPDRAFT_REFERENCE");
        return;
    };
    let ours = resolved(document::TEXT);
    let mut compared = 0;
    for (path, item) in theirs["paths"].as_object().unwrap() {
        for (method, their) in item.as_object().unwrap().iter().filter(|(method, _)| *method != "parameters") {
            let our = &ours["paths"][path][method];
            let place = format!("{method} {path}");
            assert_eq!(our["operationId"], their["operationId"], "{place}");
            assert_eq!(our["tags"], their["tags"], "{place}");
            let our_shared = &ours["paths"][path]["parameters"];
            assert_eq!(
                sorted(&our["parameters"], our_shared),
                sorted(&their["parameters"], &item["parameters"]),
                "{place}"
            );
            assert_eq!(our["requestBody"], their["requestBody"], "{place}");
            let codes =
                |operation: &Value| operation["responses"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
            assert_eq!(codes(our), codes(their), "{place}");
            for code in codes(our) {
                assert_eq!(our["responses"][&code], their["responses"][&code], "{place} {code}");
            }
            compared += 1;
        }
    }
    assert_eq!(compared, Document::load().unwrap().operations.len(), "nothing is ours alone");
}
