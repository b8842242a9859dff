//! Values as Python prints them: this API shows much that way.

use std::time::Duration;

use chrono::{DateTime, FixedOffset, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use updraft_core::model::DagRun;
use updraft_core::python;

use crate::airflow::date::isoformat;

/// What stays as it is in a path that Airflow's web server makes.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@')
    .remove(b'_')
    .remove(b'.')
    .remove(b'-')
    .remove(b'~');

/// `2024-05-01 10:00:00+00:00`
pub(super) fn python_date(date: DateTime<FixedOffset>) -> String {
    isoformat(date).replacen('T', " ", 1)
}

/// A date in UTC, or `None`.
pub(super) fn python_date_option(date: Option<DateTime<Utc>>) -> String {
    date.map_or_else(none, |date| python_date(date.fixed_offset()))
}

pub(super) fn none() -> String {
    "None".to_owned()
}

pub(super) fn python_bool(flag: bool) -> String {
    if flag { "True" } else { "False" }.to_owned()
}

/// `1 day, 0:05:00.500000`
pub(super) fn python_duration(duration: Duration) -> String {
    let (seconds, micros) = (duration.as_secs(), duration.subsec_micros());
    let days = match seconds / 86_400 {
        0 => String::new(),
        1 => "1 day, ".to_owned(),
        days => format!("{days} days, "),
    };
    let micros = if micros == 0 { String::new() } else { format!(".{micros:06}") };
    format!("{days}{}:{:02}:{:02}{micros}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

/// `{'a', 'b'}`: a set of Python has no order, this one is sorted.
pub(super) fn python_set<'a>(items: impl Iterator<Item = &'a str>) -> String {
    let mut items: Vec<_> = items.map(python::str_repr).collect();
    items.sort_unstable();
    if items.is_empty() { "set()".to_owned() } else { format!("{{{}}}", items.join(", ")) }
}

/// A run as Airflow prints it.
pub(super) fn run_repr(run: &DagRun, logical_date: DateTime<FixedOffset>) -> String {
    format!(
        "<DagRun {} @ {}: {}, state:{}, queued_at: {}. externally triggered: {}>",
        run.dag_id,
        python_date(logical_date),
        run.run_id,
        run.state.as_str(),
        python_date(run.queued_at.fixed_offset()),
        python_bool(run.external_trigger)
    )
}

/// Where Airflow's web page shows a run.
pub(super) fn graph_url(run: &DagRun) -> String {
    let date = python_date(run.logical_date.fixed_offset()).replace('+', "%2B").replacen(' ', "+", 1);
    format!("/dags/{}/graph?execution_date={date}", utf8_percent_encode(run.dag_id.as_str(), PATH))
}

/// The URI of a declared dataset, and its further members as Python prints them.
pub(super) fn dataset(declared: &Value) -> (String, String) {
    match declared {
        Value::Object(members) => {
            let uri = members.get("uri").map(python::str).unwrap_or_default();
            (uri, members.get("extra").map_or_else(none, python::repr))
        }
        other => (python::str(other), none()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_as_python_prints_them() {
        assert_eq!(python_duration(Duration::from_secs(300)), "0:05:00");
        assert_eq!(python_duration(Duration::from_millis(86_400_500)), "1 day, 0:00:00.500000");
        assert_eq!(python_duration(Duration::from_secs(3 * 86_400 + 36_061)), "3 days, 10:01:01");
        assert_eq!(python_set(["b", "a'"].into_iter()), "{\"a'\", 'b'}");
        assert_eq!(python_set([].into_iter()), "set()");
        let declared = serde_json::json!({"uri": "s3://a", "extra": {"k": 1}});
        assert_eq!(dataset(&declared), ("s3://a".to_owned(), "{'k': 1}".to_owned()));
        assert_eq!(dataset(&"s3://b".into()), ("s3://b".to_owned(), "None".to_owned()));
    }
}
