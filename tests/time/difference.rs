//! Where two values differ.

use serde_json::Value;

/// The places at which `found` is not as `expected`, a line each.
pub(crate) fn differences(expected: &Value, found: &Value) -> Vec<String> {
    let mut differences = Vec::new();
    let mut left = vec![(String::new(), expected, found)];
    while let Some((place, expected, found)) = left.pop() {
        match (expected, found) {
            (Value::Object(known), Value::Object(others)) => {
                for (key, expected) in known {
                    match others.get(key) {
                        Some(found) => left.push((format!("{place}/{key}"), expected, found)),
                        None => differences.push(format!("{place}/{key}: nothing, in Airflow {expected}")),
                    }
                }
                let more = others.iter().filter(|(key, _)| !known.contains_key(*key));
                differences.extend(more.map(|(key, found)| format!("{place}/{key}: {found}, in Airflow nothing")));
            }
            (Value::Array(known), Value::Array(others)) if known.len() == others.len() => {
                let pairs = known.iter().zip(others).enumerate();
                left.extend(pairs.map(|(i, (expected, found))| (format!("{place}/{i}"), expected, found)));
            }
            _ if expected == found => {}
            _ => differences.push(format!("{place}: {found}\n    in Airflow {expected}")),
        }
    }
    differences.sort();
    differences
}
