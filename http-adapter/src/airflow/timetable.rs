//! Schedules as Airflow shows them.

use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::{Map, Value, json};
use updraft_core::model::{DatasetCondition, DatasetNode, Schedule};
use updraft_core::schedule::{Timetable, Timetables};

/// The units of a `relativedelta` that are null unless they are set.
const ABSOLUTE: [&str; 7] = ["year", "month", "day", "hour", "minute", "second", "microsecond"];
/// The units of a `relativedelta` that are zero unless they are set.
const RELATIVE: [&str; 8] = ["years", "months", "days", "leapdays", "hours", "minutes", "seconds", "microseconds"];

/// How deep a shown condition may be nested: what is deeper is not shown, so that no reader has to recurse without end.
const MAX_DEPTH: usize = 64;

/// `schedule_interval`.
pub(super) fn schedule_interval(schedule: &Schedule) -> Value {
    match schedule {
        Schedule::None => Value::Null,
        Schedule::TimeDelta { microseconds } => time_delta(TimeDelta::microseconds(*microseconds)),
        Schedule::RelativeDelta { fields } => relative_delta(fields),
        schedule => expression(&summary(schedule)),
    }
}

/// `timetable_description`.
pub(super) fn description(schedule: &Schedule) -> String {
    timetable(schedule).map(|timetable| timetable.description()).unwrap_or_default()
}

/// `dataset_expression`.
pub(super) fn dataset_expression(schedule: &Schedule) -> Value {
    match schedule {
        Schedule::Datasets { condition } | Schedule::DatasetOrTime { condition, .. } => condition_tree(condition),
        _ => Value::Null,
    }
}

/// A length of time.
pub(super) fn time_delta(delta: TimeDelta) -> Value {
    // As in Python, only the days may be negative.
    let seconds = delta.num_seconds() - i64::from(delta.subsec_nanos() < 0);
    let microseconds = (i64::from(delta.subsec_nanos()).rem_euclid(1_000_000_000)) / 1000;
    json!({
        "__type": "TimeDelta",
        "days": seconds.div_euclid(86_400),
        "seconds": seconds.rem_euclid(86_400),
        "microseconds": microseconds,
    })
}

fn relative_delta(fields: &Map<String, Value>) -> Value {
    let mut shown = Map::new();
    shown.insert("__type".to_owned(), "RelativeDelta".into());
    let get = |unit: &str| fields.get(unit).filter(|value| value.is_number()).cloned();
    for unit in ABSOLUTE {
        shown.insert(unit.to_owned(), get(unit).unwrap_or(Value::Null));
    }
    for unit in RELATIVE {
        shown.insert(unit.to_owned(), get(unit).unwrap_or(0.into()));
    }
    // A week is no unit of its own.
    if let (Some(weeks), Some(days)) = (fields.get("weeks").and_then(Value::as_i64), shown["days"].as_i64()) {
        shown["days"] = days.saturating_add(weeks.saturating_mul(7)).into();
    }
    Value::Object(shown)
}

fn expression(text: &str) -> Value {
    json!({"__type": "CronExpression", "value": text})
}

/// A timetable in a word.
fn summary(schedule: &Schedule) -> String {
    match (schedule, timetable(schedule)) {
        // As written: a preset stays one.
        (Schedule::Cron { expression }, _) => expression.clone(),
        (_, Some(timetable)) => timetable.summary(),
        (Schedule::Timetable { class, .. }, None) => class.rsplit('.').next().unwrap_or_default().to_owned(),
        _ => "None".to_owned(),
    }
}

/// The texts of a timetable are the same in all zones.
fn timetable(schedule: &Schedule) -> Option<Arc<dyn Timetable>> {
    Timetables::default().timetable(schedule, "UTC").ok()
}

/// The condition as nested objects; null if it cannot be shown.
fn condition_tree(condition: &DatasetCondition) -> Value {
    let mut done: Vec<(Value, usize)> = Vec::new();
    for node in &condition.postfix {
        let (name, count) = match node {
            DatasetNode::Uri(uri) => {
                done.push((uri.as_str().into(), 0));
                continue;
            }
            DatasetNode::All(count) => ("all", *count),
            DatasetNode::Any(count) => ("any", *count),
            _ => return Value::Null,
        };
        let Some(start) = done.len().checked_sub(count as usize) else { return Value::Null };
        let operands: Vec<_> = done.drain(start..).collect();
        let depth = operands.iter().map(|(_, depth)| depth + 1).max().unwrap_or(0);
        if depth > MAX_DEPTH {
            return Value::Null;
        }
        let operands: Vec<_> = operands.into_iter().map(|(operand, _)| operand).collect();
        done.push((json!({name: operands}), depth));
    }
    match done.pop() {
        Some((Value::String(uri), _)) => json!({"all": [uri]}),
        Some((tree, _)) => tree,
        None => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cron(expression: &str) -> Schedule {
        Schedule::Cron { expression: expression.to_owned() }
    }

    #[test]
    fn schedules_look_as_in_airflow() {
        assert_eq!(schedule_interval(&Schedule::None), Value::Null);
        assert_eq!(description(&Schedule::None), "Never, external triggers only");
        assert_eq!(schedule_interval(&cron("@daily")), json!({"__type": "CronExpression", "value": "@daily"}));
        assert_eq!(description(&cron("@daily")), "At 00:00");
        assert_eq!(description(&cron("0 */6 * * *")), "Every 6 hours");
        assert_eq!(schedule_interval(&Schedule::Once)["value"], "@once");
        assert_eq!(schedule_interval(&Schedule::Continuous)["value"], "@continuous");
        let delta = Schedule::TimeDelta { microseconds: 6 * 3_600_000_000 };
        assert_eq!(
            schedule_interval(&delta),
            json!({"__type": "TimeDelta", "days": 0, "seconds": 21600, "microseconds": 0})
        );
        assert_eq!(description(&delta), "");
        let month = json!({"months": 1}).as_object().unwrap().clone();
        let month = schedule_interval(&Schedule::RelativeDelta { fields: month });
        assert_eq!((&month["months"], &month["days"], &month["day"]), (&json!(1), &json!(0), &Value::Null));
        assert_eq!(month.as_object().unwrap().len(), 16);
    }

    #[test]
    fn lengths_are_split_as_in_python() {
        let show = |micros| {
            let shown = time_delta(TimeDelta::microseconds(micros));
            [&shown["days"], &shown["seconds"], &shown["microseconds"]].map(|part| part.as_i64().unwrap())
        };
        assert_eq!(show(90_000_000_001), [1, 3600, 1]);
        assert_eq!(show(-1), [-1, 86_399, 999_999]);
        assert_eq!(show(-86_400_000_000), [-1, 0, 0]);
    }

    #[test]
    fn conditions_are_trees_of_bounded_depth() {
        let uri = |name: &str| DatasetNode::Uri(name.to_owned());
        let nested =
            DatasetCondition { postfix: vec![uri("a"), uri("b"), uri("c"), DatasetNode::Any(2), DatasetNode::All(2)] };
        let schedule = Schedule::Datasets { condition: nested };
        assert_eq!(dataset_expression(&schedule), json!({"all": ["a", {"any": ["b", "c"]}]}));
        assert_eq!(schedule_interval(&schedule)["value"], "Dataset");
        let mut deep = vec![uri("a")];
        deep.extend(std::iter::repeat_n(DatasetNode::Any(1), 100_000));
        assert_eq!(condition_tree(&DatasetCondition { postfix: deep }), Value::Null);
        assert_eq!(condition_tree(&DatasetCondition { postfix: vec![DatasetNode::All(3)] }), Value::Null);
        let or_time = Schedule::DatasetOrTime {
            condition: DatasetCondition::all(["a".to_owned()]),
            timetable: Box::new(cron("@daily")),
        };
        assert_eq!(schedule_interval(&or_time)["value"], "Dataset or 0 0 * * *");
        assert_eq!(description(&or_time), "Triggered by datasets or At 00:00");
        assert_eq!(dataset_expression(&or_time), json!({"all": ["a"]}));
    }
}
