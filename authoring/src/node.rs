//! What a DAG file says, with the place of each value.

use chrono::{NaiveDate, NaiveDateTime};
use serde_json::{Map, Value};
use updraft_core::model::{DatasetCondition, DatasetNode, Param};

/// Where a value stands: which of the files that were read together, and the line, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Place {
    pub(crate) file: u16,
    pub(crate) line: u32,
}

/// A value and its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) data: Data,
    pub(crate) place: Place,
}

/// A value as PyYAML would construct it, or an object that `__type__` asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Data {
    Null,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits, in decimal digits.
    BigInt(String),
    Float(f64),
    Str(String),
    Date(NaiveDate),
    /// With the offset from UTC in seconds, if one is given.
    DateTime(NaiveDateTime, Option<i32>),
    List(Vec<Node>),
    Map(Mapping),
    /// A `datetime.timedelta`, in microseconds.
    TimeDelta(i64),
    /// A `dateutil.relativedelta`, with its arguments.
    RelativeDelta(Map<String, Value>),
    /// A `Param`.
    Param(Box<ParamNode>),
    /// A condition over datasets; a single dataset is the simplest one.
    Datasets(DatasetCondition),
    /// A timetable or another known class, with its arguments.
    Object(Box<Object>),
}

/// An object of a class that is known by name only.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Object {
    pub(crate) class: String,
    pub(crate) args: Vec<Node>,
    pub(crate) kwargs: Mapping,
}

/// A `Param`, with its keywords in the order in which they were written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ParamNode {
    pub(crate) value: Option<Node>,
    pub(crate) description: Option<String>,
    pub(crate) schema: Mapping,
}

impl ParamNode {
    pub(crate) fn to_param(&self, name: String) -> Param {
        Param {
            name,
            value: self.value.as_ref().map(Node::to_json),
            description: self.description.clone(),
            schema: self.schema.to_json(),
        }
    }
}

impl PartialEq for Node {
    /// Places don't count.
    fn eq(&self, other: &Self) -> bool {
        self.data == other.data
    }
}

impl Node {
    pub(crate) fn new(data: Data, place: Place) -> Self {
        Self { data, place }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.data {
            Data::Str(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_map(&self) -> Option<&Mapping> {
        match &self.data {
            Data::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(crate) fn as_map_mut(&mut self) -> Option<&mut Mapping> {
        match &mut self.data {
            Data::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(crate) fn as_list(&self) -> Option<&[Self]> {
        match &self.data {
            Data::List(list) => Some(list),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        self.data == Data::Null
    }

    /// The name of its type in Python, as messages show it.
    pub(crate) fn type_name(&self) -> &str {
        match &self.data {
            Data::Null => "NoneType",
            Data::Bool(_) => "bool",
            Data::Int(_) | Data::BigInt(_) => "int",
            Data::Float(_) => "float",
            Data::Str(_) => "str",
            Data::Date(_) => "date",
            Data::DateTime(..) => "datetime",
            Data::List(_) => "list",
            Data::Map(_) => "dict",
            Data::TimeDelta(_) => "timedelta",
            Data::RelativeDelta(_) => "relativedelta",
            Data::Param(_) => "Param",
            Data::Datasets(_) => "Dataset",
            Data::Object(object) => object.class.rsplit('.').next().unwrap_or(&object.class),
        }
    }

    /// Whether Python takes it for true.
    pub(crate) fn is_truthy(&self) -> bool {
        match &self.data {
            Data::Null => false,
            Data::Bool(value) => *value,
            Data::Int(value) => *value != 0,
            Data::Float(value) => *value != 0.0,
            Data::Str(text) => !text.is_empty(),
            Data::List(list) => !list.is_empty(),
            Data::Map(map) => !map.entries.is_empty(),
            Data::TimeDelta(micros) => *micros != 0,
            _ => true,
        }
    }

    /// As JSON, for arguments and whatever is kept as declared. Files are nested to a bounded depth.
    pub(crate) fn to_json(&self) -> Value {
        match &self.data {
            Data::Null => Value::Null,
            Data::Bool(value) => (*value).into(),
            Data::Int(value) => (*value).into(),
            Data::BigInt(digits) => digits.parse::<f64>().map_or(Value::Null, Into::into),
            Data::Float(value) => (*value).into(),
            Data::Str(text) => text.as_str().into(),
            Data::Date(date) => date.to_string().into(),
            Data::DateTime(at, offset) => crate::date::isoformat(*at, *offset).into(),
            Data::List(list) => list.iter().map(Self::to_json).collect(),
            Data::Map(map) => map.to_json().into(),
            Data::TimeDelta(micros) => tagged("datetime.timedelta", [("microseconds", (*micros).into())]),
            Data::RelativeDelta(fields) => {
                tagged("dateutil.relativedelta.relativedelta", fields.iter().map(|(k, v)| (k.as_str(), v.clone())))
            }
            Data::Param(param) => tagged(
                "airflow.models.param.Param",
                [
                    ("value", param.value.as_ref().map_or(Value::Null, Self::to_json)),
                    ("description", param.description.clone().into()),
                    ("schema", param.schema.to_json().into()),
                ],
            ),
            Data::Datasets(condition) => match condition.postfix.as_slice() {
                [DatasetNode::Uri(uri)] => uri.as_str().into(),
                _ => serde_json::to_value(condition).unwrap_or(Value::Null),
            },
            Data::Object(object) => {
                let mut value = object.kwargs.to_json();
                if !object.args.is_empty() {
                    value.insert("__args__".into(), object.args.iter().map(Self::to_json).collect());
                }
                value.insert("__type__".into(), object.class.as_str().into());
                value.into()
            }
        }
    }
}

fn tagged<'a>(class: &str, fields: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let mut value: Map<_, _> = fields.into_iter().map(|(name, field)| (name.into(), field)).collect();
    value.insert("__type__".into(), class.into());
    value.into()
}

/// A mapping, in the order of its keys' first mention; the last value of a key counts, as in Python.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Mapping {
    pub(crate) entries: Vec<(Node, Node)>,
}

impl Mapping {
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entries.iter().find(|(name, _)| name.as_str() == Some(key)).map(|(_, value)| value)
    }

    /// The value of a key unless it is null.
    pub(crate) fn get_set(&self, key: &str) -> Option<&Node> {
        self.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.entries.iter_mut().find(|(name, _)| name.as_str() == Some(key)).map(|(_, value)| value)
    }

    pub(crate) fn insert(&mut self, key: Node, value: Node) {
        match self.entries.iter_mut().find(|(name, _)| *name == key) {
            Some((_, old)) => *old = value,
            None => self.entries.push((key, value)),
        }
    }

    pub(crate) fn insert_str(&mut self, key: &str, value: Node) {
        self.insert(Node::new(Data::Str(key.into()), value.place), value);
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<Node> {
        let at = self.entries.iter().position(|(name, _)| name.as_str() == Some(key))?;
        Some(self.entries.remove(at).1)
    }

    pub(crate) fn to_json(&self) -> Map<String, Value> {
        self.entries.iter().map(|(key, value)| (key_text(key), value.to_json())).collect()
    }
}

/// A key of a mapping as text: JSON has no others.
pub(crate) fn key_text(key: &Node) -> String {
    match &key.data {
        Data::Str(text) => text.clone(),
        Data::Null => "null".into(),
        Data::Float(value) => crate::dump::python_float(*value),
        _ => match key.to_json() {
            Value::String(text) => text,
            other => other.to_string(),
        },
    }
}
