//! When a DAG wants runs.

use serde_json::json;
use updraft_core::model::{DatasetCondition, DatasetNode, Schedule};
use updraft_core::schedule::Timetables;

use crate::node::{Data, Mapping, Node, Object};

/// Finds the URIs that a file of datasets gives to names, as pairs.
pub(crate) type NamedUris<'a> = dyn FnMut(&Node, &[String]) -> Result<Vec<(String, String)>, String> + 'a;

const DAY: i64 = 86_400_000_000;

/// The schedule that a DAG's keys declare. Without one it is a day, as in Airflow.
pub(crate) fn schedule(node: Option<&Node>, uri_of: &mut NamedUris<'_>) -> Result<Schedule, String> {
    let Some(node) = node else {
        return Ok(Schedule::TimeDelta { microseconds: DAY });
    };
    match &node.data {
        Data::Str(text) => Ok(from_text(text)),
        Data::TimeDelta(microseconds) => Ok(Schedule::TimeDelta { microseconds: *microseconds }),
        Data::RelativeDelta(fields) => Ok(Schedule::RelativeDelta { fields: fields.clone() }),
        Data::Datasets(condition) => Ok(Schedule::Datasets { condition: condition.clone() }),
        Data::Object(object) => from_object(object),
        Data::List(items) => {
            let mut parts = Vec::new();
            for item in items {
                match &item.data {
                    Data::Null => {}
                    Data::Str(uri) if uri.trim().is_empty() => {}
                    Data::Str(uri) => parts.push(single(uri.trim())),
                    Data::Datasets(condition) => parts.push(condition.clone()),
                    _ => return Err(format!("a list of datasets may not hold a value of type '{}'", item.type_name())),
                }
            }
            if parts.is_empty() {
                return Err("the list of datasets is empty".into());
            }
            Ok(Schedule::Datasets { condition: combine(parts, DatasetNode::All) })
        }
        Data::Map(map) if map.get_set("datasets").is_some() => from_datasets(map, uri_of),
        _ => Err(format!("a value of type '{}' is not a valid schedule", node.type_name())),
    }
}

fn from_text(text: &str) -> Schedule {
    match text {
        none if none.trim().eq_ignore_ascii_case("none") => Schedule::None,
        "@once" => Schedule::Once,
        "@continuous" => Schedule::Continuous,
        _ => Schedule::cron(text),
    }
}

/// The schedule, if a timetable can be made of it that allows so many runs at a time.
pub(crate) fn checked(schedule: Schedule, max_active_runs: u32, timetables: &Timetables) -> Result<Schedule, String> {
    // What is wrong is wrong in every zone.
    let timetable = timetables.timetable(&schedule, "UTC")?;
    match timetable.active_runs_limit() {
        Some(most) if max_active_runs > most => {
            Err(format!("the schedule {} requires max_active_runs <= {most}", timetable.summary()))
        }
        _ => Ok(schedule),
    }
}

fn from_object(object: &Object) -> Result<Schedule, String> {
    let argument = |name: &str, place: usize| object.kwargs.get(name).or_else(|| object.args.get(place));
    let name = object.class.strip_prefix("airflow.").and_then(|path| path.rsplit('.').next());
    match name.unwrap_or_default() {
        "NullTimetable" => Ok(Schedule::None),
        "OnceTimetable" => Ok(Schedule::Once),
        "ContinuousTimetable" => Ok(Schedule::Continuous),
        "DeltaDataIntervalTimetable" => match argument("delta", 0).map(|delta| &delta.data) {
            Some(Data::TimeDelta(microseconds)) => Ok(Schedule::TimeDelta { microseconds: *microseconds }),
            Some(Data::RelativeDelta(fields)) => Ok(Schedule::RelativeDelta { fields: fields.clone() }),
            _ => Err("DeltaDataIntervalTimetable needs a timedelta or relativedelta".into()),
        },
        "DatasetOrTimeSchedule" | "AssetOrTimeSchedule" => {
            let timetable = argument("timetable", 0).ok_or("a timetable is missing")?;
            let datasets = object.kwargs.get("datasets").or_else(|| object.kwargs.get("assets"));
            let datasets = datasets.or_else(|| object.args.get(1)).ok_or("datasets are missing")?;
            let Schedule::Datasets { condition } = schedule(Some(datasets), &mut |_, _| Err("no file here".into()))?
            else {
                return Err("datasets are expected".into());
            };
            // Timetables within timetables are bounded by the depth of the file.
            let timetable = schedule(Some(timetable), &mut |_, _| Err("no file here".into()))?;
            Ok(Schedule::DatasetOrTime { condition, timetable: Box::new(timetable) })
        }
        _ => {
            let args: Vec<_> = object.args.iter().map(Node::to_json).collect();
            let arguments = json!({"args": args, "kwargs": object.kwargs.to_json()});
            Ok(Schedule::Timetable { class: object.class.clone(), arguments })
        }
    }
}

fn from_datasets(map: &Mapping, uri_of: &mut NamedUris<'_>) -> Result<Schedule, String> {
    let datasets = map.get_set("datasets").ok_or("datasets are missing")?;
    let mut condition = match &datasets.data {
        Data::Str(text) => condition(text)?,
        Data::Datasets(condition) => condition.clone(),
        Data::List(items) => {
            let mut parts = Vec::new();
            for item in items {
                match &item.data {
                    Data::Str(text) => parts.push(condition(text)?),
                    Data::Datasets(condition) => parts.push(condition.clone()),
                    _ => return Err(format!("datasets may not hold a value of type '{}'", item.type_name())),
                }
            }
            if parts.is_empty() {
                return Err("the list of datasets is empty".into());
            }
            combine(parts, DatasetNode::All)
        }
        _ => return Err(format!("datasets must be a list or a condition, not of type '{}'", datasets.type_name())),
    };
    if let Some(file) = map.get_set("file") {
        let names: Vec<String> = condition.uris().map(ToOwned::to_owned).collect();
        let uris = uri_of(file, &names)?;
        for node in &mut condition.postfix {
            if let DatasetNode::Uri(name) = node {
                let found = uris.iter().find(|(known, _)| known == name);
                let (_, uri) = found.ok_or_else(|| format!("the file of datasets has none named '{name}'"))?;
                uri.clone_into(name);
            }
        }
    }
    match map.get_set("timetable") {
        Some(timetable) => {
            let timetable = Box::new(schedule(Some(timetable), uri_of)?);
            Ok(Schedule::DatasetOrTime { condition, timetable })
        }
        None => Ok(Schedule::Datasets { condition }),
    }
}

pub(crate) fn single(uri: &str) -> DatasetCondition {
    DatasetCondition { postfix: vec![DatasetNode::Uri(uri.into())] }
}

/// Joins conditions. A first one that is already of the kind takes the others in, as Airflow's classes do.
pub(crate) fn combine(parts: Vec<DatasetCondition>, kind: fn(u32) -> DatasetNode) -> DatasetCondition {
    let mut parts = parts.into_iter();
    let mut joined = parts.next().unwrap_or_default();
    for part in parts {
        let count = match joined.postfix.last() {
            Some(&DatasetNode::All(count)) if kind(count) == DatasetNode::All(count) => Some(count),
            Some(&DatasetNode::Any(count)) if kind(count) == DatasetNode::Any(count) => Some(count),
            _ => None,
        };
        if count.is_some() {
            joined.postfix.pop();
        }
        joined.postfix.extend(part.postfix);
        joined.postfix.push(kind(count.map_or(2, |count| count.saturating_add(1))));
    }
    joined
}

/// Reads `(a & b) | c`, without recursion; `&` binds more tightly.
pub(crate) fn condition(text: &str) -> Result<DatasetCondition, String> {
    let wrong = |what: &str| format!("the condition '{text}' is not valid: {what}");
    let mut values: Vec<DatasetCondition> = Vec::new();
    let mut operators: Vec<char> = Vec::new();
    let reduce = |values: &mut Vec<DatasetCondition>, operator: char| {
        let (Some(right), Some(left)) = (values.pop(), values.pop()) else {
            return Err(wrong("an operator lacks a side"));
        };
        values.push(combine(vec![left, right], if operator == '&' { DatasetNode::All } else { DatasetNode::Any }));
        Ok(())
    };
    let mut awaits_value = true;
    let mut rest = text.trim_start();
    while let Some(c) = rest.chars().next() {
        match c {
            '(' if awaits_value => operators.push('('),
            ')' if !awaits_value => loop {
                match operators.pop() {
                    Some('(') => break,
                    Some(operator) => reduce(&mut values, operator)?,
                    None => return Err(wrong("a parenthesis is closed that was not opened")),
                }
            },
            '&' | '|' if !awaits_value => {
                while operators.last().is_some_and(|&last| last == '&' || last == c) {
                    if let Some(operator) = operators.pop() {
                        reduce(&mut values, operator)?;
                    }
                }
                operators.push(c);
                awaits_value = true;
            }
            '(' | ')' | '&' | '|' => return Err(wrong(&format!("'{c}' is not expected there"))),
            _ => {
                if !awaits_value {
                    return Err(wrong("two datasets stand side by side without an operator"));
                }
                let end = rest.find(|c: char| c.is_whitespace() || "()&|".contains(c)).unwrap_or(rest.len());
                values.push(single(&rest[..end]));
                awaits_value = false;
                rest = rest[end..].trim_start();
                continue;
            }
        }
        rest = rest[1..].trim_start();
    }
    while let Some(operator) = operators.pop() {
        if operator == '(' {
            return Err(wrong("a parenthesis is not closed"));
        }
        reduce(&mut values, operator)?;
    }
    match (values.pop(), values.is_empty()) {
        (Some(condition), true) if !awaits_value => Ok(condition),
        _ => Err(wrong("a dataset is missing")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postfix(text: &str) -> String {
        let part = |node: &DatasetNode| match node {
            DatasetNode::Uri(uri) => uri.clone(),
            DatasetNode::All(count) => format!("&{count}"),
            DatasetNode::Any(count) => format!("|{count}"),
            _ => String::new(),
        };
        match condition(text) {
            Ok(condition) => condition.postfix.iter().map(part).collect::<Vec<_>>().join(" "),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn conditions_are_read_as_python_does() {
        assert_eq!(postfix("a"), "a");
        assert_eq!(postfix("a & b & c"), "a b c &3");
        assert_eq!(postfix("a | b & c"), "a b c &2 |2");
        assert_eq!(postfix("(s3://x/y.csv & b) | c | d"), "s3://x/y.csv b &2 c d |3");
        assert_eq!(postfix("((a))"), "a");
        for wrong in ["", "a b", "a &", "& a", "(a", "a)", "()", "a | | b", "(a & b))"] {
            assert!(postfix(wrong).starts_with("error: "), "{wrong}: {}", postfix(wrong));
        }
        let deep = format!("{}a{}", "(".repeat(100_000), ")".repeat(100_000));
        assert_eq!(postfix(&deep), "a");
    }
}
