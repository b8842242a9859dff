//! Makes the objects that `__type__` asks for, of a closed set of classes, and joins what `__and__`, `__or__` and
//! `__join__` join.

use chrono::{NaiveDate, Timelike};
use serde_json::{Map, Value};
use updraft_core::model::{DatasetCondition, DatasetNode};
use updraft_core::schedule::Timetables;

use crate::node::{Data, Mapping, Node, Object, ParamNode, Place, key_text};
use crate::schedule;

/// Timetables and other classes that are kept by name.
const KEPT: [&str; 14] = [
    "CronDataIntervalTimetable",
    "CronTriggerTimetable",
    "MultipleCronTriggerTimetable",
    "DeltaTriggerTimetable",
    "DeltaDataIntervalTimetable",
    "NullTimetable",
    "OnceTimetable",
    "ContinuousTimetable",
    "EventsTimetable",
    "DatasetOrTimeSchedule",
    "AssetOrTimeSchedule",
    "XComArg",
    "PlainXComArg",
    "DatasetAlias",
];

const WEEKDAYS: [&str; 7] = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"];

type Result<T> = std::result::Result<T, (Place, String)>;

/// The value with objects in place of what describes them. Files are nested to a bounded depth.
///
/// # Errors
/// The first thing that is wrong.
pub(crate) fn cast(node: Node, timetables: &Timetables) -> Result<Node> {
    let place = node.place;
    let data = match node.data {
        Data::List(items) => Data::List(items.into_iter().map(|item| cast(item, timetables)).collect::<Result<_>>()?),
        Data::Map(map) => cast_map(map, place, timetables)?,
        data => data,
    };
    Ok(Node::new(data, place))
}

fn cast_map(mut map: Mapping, place: Place, timetables: &Timetables) -> Result<Data> {
    if map.get("__type__").and_then(Node::as_str) == Some("builtins.list")
        && let Some(items) = map.remove("items")
    {
        return match cast(items, timetables)?.data {
            Data::List(items) => Ok(Data::List(items)),
            _ => Err((place, "the items of builtins.list must be a list".into())),
        };
    }
    let class = map.remove("__type__");
    let args = match map.remove("__args__").map(|args| cast(args, timetables)).transpose()? {
        None => Vec::new(),
        Some(Node { data: Data::Null, .. }) => Vec::new(),
        Some(Node { data: Data::List(args), .. }) => args,
        Some(other) => {
            return Err((other.place, format!("__args__ must be a list, not of type '{}'", other.type_name())));
        }
    };
    let mut kwargs = Mapping::default();
    for (key, value) in map.entries {
        kwargs.entries.push((key, cast(value, timetables)?));
    }
    let Some(class) = class else {
        return joined(kwargs, place);
    };
    let Some(name) = class.as_str() else {
        return Err((class.place, "__type__ must be the import path of a class".into()));
    };
    if !name.starts_with("airflow.") && timetables.knows_class(name) {
        return Ok(Data::Object(Box::new(Object { class: name.into(), args, kwargs })));
    }
    object(name, args, kwargs).map_err(|message| (place, message))
}

/// What the keys of logic make of a mapping; without one it stays as it is.
fn joined(map: Mapping, place: Place) -> Result<Data> {
    for (key, sign, kind) in [
        ("__and__", " & ", Some(DatasetNode::All as fn(u32) -> DatasetNode)),
        ("__or__", " | ", Some(DatasetNode::Any as fn(u32) -> DatasetNode)),
        ("__join__", "", None),
    ] {
        let Some(items) = map.get(key) else { continue };
        let Some(items) = items.as_list() else {
            return Err((items.place, format!("{key} must be a list")));
        };
        let conditions: Vec<_> = items
            .iter()
            .filter_map(|item| match &item.data {
                Data::Datasets(condition) => Some(condition.clone()),
                _ => None,
            })
            .collect();
        if let Some(kind) = kind
            && !items.is_empty()
            && conditions.len() == items.len()
        {
            return Ok(Data::Datasets(schedule::combine(conditions, kind)));
        }
        if !conditions.is_empty() || (kind.is_some() && items.is_empty()) {
            return Err((place, format!("{key} joins texts, or datasets, but not both")));
        }
        let text = items.iter().map(key_text).collect::<Vec<_>>().join(sign);
        return Ok(Data::Str(if kind.is_some() { format!("({text})") } else { text }));
    }
    Ok(Data::Map(map))
}

fn object(class: &str, args: Vec<Node>, kwargs: Mapping) -> std::result::Result<Data, String> {
    let name = class.rsplit('.').next().unwrap_or(class);
    match class {
        "datetime.timedelta" => return timedelta(&args, &kwargs),
        "datetime.datetime" | "pendulum.datetime" | "pendulum.DateTime" => return datetime(&args, &kwargs),
        "datetime.date" | "pendulum.date" => {
            return match datetime(&args, &kwargs)? {
                Data::DateTime(at, _) => Ok(Data::Date(at.date())),
                other => Ok(other),
            };
        }
        "dateutil.relativedelta.relativedelta" => return relativedelta(&args, &kwargs),
        "pendulum.timezone" | "pendulum.Timezone" | "pendulum.tz.timezone" | "zoneinfo.ZoneInfo" => {
            let zone = args.first().or_else(|| kwargs.get("name")).or_else(|| kwargs.get("key"));
            return match zone.and_then(Node::as_str) {
                Some(zone) => crate::date::zone(zone).map(|_| Data::Str(zone.into())),
                None => Err(format!("{class} needs the name of a zone")),
            };
        }
        "dateutil.relativedelta.weekday" => return weekday(&args, &kwargs),
        _ if class.strip_prefix("dateutil.relativedelta.").is_some_and(|name| WEEKDAYS.contains(&name)) => {
            let nth = args.first().or_else(|| kwargs.get("n"));
            return nth_weekday(name, nth);
        }
        "builtins.list" => return Ok(Data::List(args)),
        "builtins.dict" => return Ok(Data::Map(kwargs)),
        _ => {}
    }
    if class.starts_with("airflow.") {
        match name {
            "Param" => return param(args, kwargs),
            "Dataset" | "Asset" => return dataset(class, &args, &kwargs),
            "DatasetAll" | "AssetAll" => return datasets(class, &args, DatasetNode::All),
            "DatasetAny" | "AssetAny" => return datasets(class, &args, DatasetNode::Any),
            _ if KEPT.contains(&name) => {
                return Ok(Data::Object(Box::new(Object { class: class.into(), args, kwargs })));
            }
            _ => {}
        }
    }
    Err(format!("the class '{class}' is not one that __type__ can make"))
}

fn timedelta(args: &[Node], kwargs: &Mapping) -> std::result::Result<Data, String> {
    const UNITS: [(&str, i64); 7] = [
        ("days", 86_400_000_000),
        ("seconds", 1_000_000),
        ("microseconds", 1),
        ("milliseconds", 1_000),
        ("minutes", 60_000_000),
        ("hours", 3_600_000_000),
        ("weeks", 604_800_000_000),
    ];
    let mut sum: i64 = 0;
    let positional = args.iter().zip(UNITS).map(|(arg, (name, unit))| (name, unit, arg));
    if args.len() > UNITS.len() {
        return Err("datetime.timedelta takes at most 7 arguments".into());
    }
    let mut parts: Vec<_> = positional.collect();
    for (key, value) in &kwargs.entries {
        let key = key_text(key);
        let (name, unit) = UNITS
            .into_iter()
            .find(|(name, _)| *name == key)
            .ok_or_else(|| format!("'{key}' is an invalid keyword argument for datetime.timedelta"))?;
        parts.push((name, unit, value));
    }
    for (name, unit, value) in parts {
        let micros = match &value.data {
            Data::Int(count) => count.checked_mul(unit),
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "checked to be in range")]
            Data::Float(count) => {
                let micros = (count * unit as f64).round_ties_even();
                (micros.abs() < 9e18).then_some(micros as i64)
            }
            _ => {
                return Err(format!(
                    "'{name}' of datetime.timedelta must be a number, not of type '{}'",
                    value.type_name()
                ));
            }
        };
        sum = micros.and_then(|micros| sum.checked_add(micros)).ok_or("the datetime.timedelta is too long")?;
    }
    Ok(Data::TimeDelta(sum))
}

fn datetime(args: &[Node], kwargs: &Mapping) -> std::result::Result<Data, String> {
    const FIELDS: [&str; 7] = ["year", "month", "day", "hour", "minute", "second", "microsecond"];
    let mut values = [0_u32, 1, 1, 0, 0, 0, 0];
    for (place, (name, value)) in FIELDS.into_iter().zip(&mut values).enumerate() {
        match args.get(place).or_else(|| kwargs.get(name)).map(|node| &node.data) {
            Some(Data::Int(number)) => {
                *value = u32::try_from(*number).map_err(|_| format!("'{name}' is out of range"))?
            }
            Some(_) => return Err(format!("'{name}' must be an integer")),
            None if place < 3 => return Err(format!("'{name}' is missing")),
            None => {}
        }
    }
    let year = i32::try_from(values[0]).unwrap_or(i32::MAX);
    NaiveDate::from_ymd_opt(year, values[1], values[2])
        .and_then(|date| {
            date.and_hms_opt(values[3], values[4], values[5])?.with_nanosecond(values[6].checked_mul(1000)?)
        })
        .map(|at| Data::DateTime(at, None))
        .ok_or_else(|| "the date does not exist".into())
}

fn relativedelta(args: &[Node], kwargs: &Mapping) -> std::result::Result<Data, String> {
    const FIELDS: [&str; 19] = [
        "years",
        "months",
        "days",
        "leapdays",
        "weeks",
        "hours",
        "minutes",
        "seconds",
        "microseconds",
        "year",
        "month",
        "day",
        "weekday",
        "hour",
        "minute",
        "second",
        "microsecond",
        "yearday",
        "nlyearday",
    ];
    if !args.is_empty() {
        return Err("dateutil.relativedelta.relativedelta takes keyword arguments only".into());
    }
    let mut fields = Map::new();
    for (key, value) in &kwargs.entries {
        let key = key_text(key);
        match (&value.data, FIELDS.contains(&key.as_str())) {
            (Data::Int(number), true) => fields.insert(key, Value::from(*number)),
            // Made by one of the classes of weekdays.
            (Data::Str(day), true) if key == "weekday" => fields.insert(key, Value::from(day.as_str())),
            (_, true) => return Err(format!("'{key}' of relativedelta must be an integer")),
            _ => return Err(format!("'{key}' is an invalid keyword argument for relativedelta")),
        };
    }
    Ok(Data::RelativeDelta(fields))
}

fn weekday(args: &[Node], kwargs: &Mapping) -> std::result::Result<Data, String> {
    let day = match args.first().or_else(|| kwargs.get("weekday")).map(|node| &node.data) {
        Some(Data::Int(day)) => usize::try_from(*day).ok().and_then(|day| WEEKDAYS.get(day)),
        _ => None,
    };
    let day = day.ok_or("a weekday is a number from 0, for Monday, to 6")?;
    nth_weekday(day, args.get(1).or_else(|| kwargs.get("n")))
}

/// A weekday as dateutil shows it, such as `FR(-1)`.
fn nth_weekday(day: &str, nth: Option<&Node>) -> std::result::Result<Data, String> {
    match nth.map(|nth| &nth.data) {
        None | Some(Data::Null) => Ok(Data::Str(day.into())),
        Some(Data::Int(nth)) if *nth != 0 => Ok(Data::Str(format!("{day}({nth:+})"))),
        Some(_) => Err("which weekday it is must be an integer other than 0".into()),
    }
}

fn param(args: Vec<Node>, mut kwargs: Mapping) -> std::result::Result<Data, String> {
    let mut args = args.into_iter();
    let value = args.next().or_else(|| kwargs.remove("default"));
    let description = args.next().or_else(|| kwargs.remove("description"));
    if args.next().is_some() {
        return Err("Param takes at most 2 positional arguments".into());
    }
    let description = match description.map(|description| description.data) {
        None | Some(Data::Null) => None,
        Some(Data::Str(text)) => Some(text),
        Some(_) => return Err("the description of a Param must be a text".into()),
    };
    let schema = match kwargs.remove("schema") {
        Some(Node { data: Data::Map(schema), .. }) => schema,
        Some(Node { data: Data::Null, .. }) | None => kwargs,
        Some(_) => return Err("the schema of a Param must be a mapping".into()),
    };
    Ok(Data::Param(Box::new(ParamNode { value, description, schema })))
}

/// A condition over conditions, as it is written.
fn datasets(class: &str, args: &[Node], kind: fn(u32) -> DatasetNode) -> std::result::Result<Data, String> {
    let mut condition = DatasetCondition::default();
    for arg in args {
        match &arg.data {
            Data::Datasets(part) => condition.postfix.extend(part.postfix.iter().cloned()),
            _ => return Err(format!("{class} takes datasets, not a value of type '{}'", arg.type_name())),
        }
    }
    match u32::try_from(args.len()) {
        Ok(count) if count > 0 => condition.postfix.push(kind(count)),
        _ => return Err(format!("{class} needs datasets")),
    }
    Ok(Data::Datasets(condition))
}

fn dataset(class: &str, args: &[Node], kwargs: &Mapping) -> std::result::Result<Data, String> {
    let uri = kwargs.get_set("uri").or_else(|| args.first()).or_else(|| kwargs.get_set("name"));
    match uri.and_then(Node::as_str) {
        Some(uri) if !uri.is_empty() => Ok(Data::Datasets(schedule::single(uri))),
        _ => Err(format!("{class} needs a uri")),
    }
}
