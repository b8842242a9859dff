//! Schedules as Airflow shows them.

use chrono::TimeDelta;
use serde_json::{Map, Value, json};
use updraft_core::model::{DatasetCondition, DatasetNode, Schedule};

use super::cron;

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
    match schedule {
        Schedule::None => "Never, external triggers only".to_owned(),
        Schedule::Cron { expression } => cron::describe(preset(expression)),
        Schedule::Once => "Once, as soon as possible".to_owned(),
        Schedule::Continuous => "As frequently as possible, but only one run at a time.".to_owned(),
        Schedule::Datasets { .. } => "Triggered by datasets".to_owned(),
        Schedule::DatasetOrTime { timetable, .. } => match timetable.as_ref() {
            Schedule::DatasetOrTime { .. } => "Triggered by datasets".to_owned(),
            timetable => format!("Triggered by datasets or {}", description(timetable)),
        },
        Schedule::Timetable { class, arguments } if is_cron(class) => {
            first_argument(arguments, "cron").map(|text| cron::describe(preset(text))).unwrap_or_default()
        }
        _ => String::new(),
    }
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
    match schedule {
        Schedule::Cron { expression } => expression.clone(),
        Schedule::Once => "@once".to_owned(),
        Schedule::Continuous => "@continuous".to_owned(),
        Schedule::Datasets { .. } => "Dataset".to_owned(),
        Schedule::DatasetOrTime { timetable, .. } => match timetable.as_ref() {
            Schedule::Cron { expression } => format!("Dataset or {}", preset(expression)),
            Schedule::Timetable { class, arguments } => format!("Dataset or {}", timetable_summary(class, arguments)),
            _ => "Dataset".to_owned(),
        },
        Schedule::Timetable { class, arguments } => timetable_summary(class, arguments),
        _ => "None".to_owned(),
    }
}

fn timetable_summary(class: &str, arguments: &Value) -> String {
    let name = class.rsplit_once('.').map_or(class, |(_, name)| name);
    match first_argument(arguments, "cron").filter(|_| is_cron(class)) {
        Some(expression) => preset(expression).to_owned(),
        None => name.to_owned(),
    }
}

fn is_cron(class: &str) -> bool {
    class.ends_with("CronTriggerTimetable") || class.ends_with("CronDataIntervalTimetable")
}

/// An argument that is given by its name or comes first.
fn first_argument<'a>(arguments: &'a Value, name: &str) -> Option<&'a str> {
    let positional = ["args", "__args__"].iter().find_map(|key| arguments.get(key)?.get(0)?.as_str());
    let keyword = arguments.get(name).or_else(|| arguments.get("kwargs")?.get(name)).and_then(Value::as_str);
    positional.or(keyword).or_else(|| arguments.get(0)?.as_str())
}

fn preset(expression: &str) -> &str {
    match expression {
        "@hourly" => "0 * * * *",
        "@daily" => "0 0 * * *",
        "@weekly" => "0 0 * * 0",
        "@monthly" => "0 0 1 * *",
        "@quarterly" => "0 0 1 */3 *",
        "@yearly" => "0 0 1 1 *",
        expression => expression,
    }
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
