//! Jinja2's filters on sequences.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, State, Value};

use super::args::{Args, flag, integer, kwargs, needed, text};
use super::error::{invalid, undefined};
use super::filters::{Filter, apply, list, no_item};
use super::list_methods::sort as sorted;
use super::object::{Dict, tuple};
use super::operators::{calculate, item};
use super::python::{self, type_name};
use super::work::spend;
use super::{dict_methods, macros};

/// The filters of this module by name.
pub(super) const FILTERS: [(&str, Filter); 19] = [
    ("batch", batch),
    ("dictsort", dict_sort),
    ("first", first),
    ("groupby", group_by),
    ("join", join),
    ("last", last),
    ("map", map),
    ("max", |state, value, args| extreme(state, value, args, true)),
    ("min", |state, value, args| extreme(state, value, args, false)),
    ("random", random),
    ("reject", |state, value, args| select(state, value, args, false, false)),
    ("rejectattr", |state, value, args| select(state, value, args, true, false)),
    ("reverse", reverse),
    ("select", |state, value, args| select(state, value, args, false, true)),
    ("selectattr", |state, value, args| select(state, value, args, true, true)),
    ("slice", slice),
    ("sort", sort),
    ("sum", sum),
    ("unique", unique),
];

/// What `attribute='a.b'` and `attribute=0` reach in an item.
fn reach(value: &Value, attribute: &Value) -> Result<Value, Error> {
    let Some(path) = attribute.as_str() else { return item(value, attribute) };
    let mut value = value.clone();
    for part in path.split('.') {
        let key = part.parse::<i64>().map_or_else(|_| Value::from(part), Value::from);
        let next = item(&value, &key)?;
        if next.is_undefined() && value.is_undefined() {
            return Err(undefined(format!("'{path}' is undefined")));
        }
        value = next;
    }
    Ok(value)
}

fn defined(value: Value, of: &Value, attribute: &Value) -> Result<Value, Error> {
    match value.is_undefined() {
        true => Err(python::no_attribute(of, &attribute.to_string())),
        false => Ok(value),
    }
}

/// A sort key: an attribute if one is asked for, and text in lower case unless case matters.
fn key_of(value: &Value, attribute: Option<&Value>, case_sensitive: bool) -> Result<Value, Error> {
    let key = match attribute {
        Some(attribute) => defined(reach(value, attribute)?, value, attribute)?,
        None => value.clone(),
    };
    Ok(match key.as_str() {
        Some(text) if !case_sensitive => Value::from(text.to_lowercase()),
        _ => key,
    })
}

fn present(value: Option<Value>) -> Option<Value> {
    value.filter(|value| !value.is_none())
}

fn batch(state: &mut State, value: Value, args: Args) -> Result<Value, Error> {
    let [count, fill] = args.bind("batch", ["linecount", "fill_with"])?;
    let count = integer(Some(needed(count, "batch", "linecount")?), 1)?;
    let count =
        usize::try_from(count).ok().filter(|count| *count > 0).ok_or_else(|| invalid("batch() needs a count"))?;
    let mut batches = Vec::new();
    for chunk in python::iterate(state, &value)?.chunks(count) {
        let mut chunk = chunk.to_vec();
        if let Some(fill) = present(fill.clone()) {
            spend(state, count)?;
            chunk.resize(count, fill);
        }
        batches.push(list(chunk)?);
    }
    list(batches)
}

fn slice(state: &mut State, value: Value, args: Args) -> Result<Value, Error> {
    let [count, fill] = args.bind("slice", ["slices", "fill_with"])?;
    let count = integer(Some(needed(count, "slice", "slices")?), 1)?;
    let count =
        usize::try_from(count).ok().filter(|count| *count > 0).ok_or_else(|| invalid("slice() needs a count"))?;
    spend(state, count)?;
    let items = python::iterate(state, &value)?;
    let (each, extra) = (items.len() / count, items.len() % count);
    let mut slices = Vec::new();
    let mut at = 0;
    for index in 0..count {
        let size = each + usize::from(index < extra);
        let mut part = items[at..at + size].to_vec();
        at += size;
        if let Some(fill) = present(fill.clone())
            && index >= extra
        {
            part.push(fill);
        }
        slices.push(list(part)?);
    }
    list(slices)
}

fn dict_sort(_state: &mut State, value: Value, args: Args) -> Result<Value, Error> {
    let [case_sensitive, by, reverse] = args.bind("dictsort", ["case_sensitive", "by", "reverse"])?;
    let position = match by.as_ref().and_then(Value::as_str).unwrap_or("key") {
        "key" => 0,
        "value" => 1,
        _ => return Err(invalid("You can only sort by either \"key\" or \"value\"")),
    };
    let Some(dict) = value.downcast_object::<Dict>() else {
        return Err(python::no_attribute(&value, "items"));
    };
    let position = Value::from(position);
    let case_sensitive = flag(case_sensitive);
    let key = |pair: &Value| key_of(pair, Some(&position), case_sensitive);
    list(sorted(dict_methods::pairs(&dict), key, flag(reverse))?)
}

/// Jinja2's `items`: the pairs of a mapping, or nothing of what is undefined.
pub(super) fn items(_state: &mut State, value: Value, _args: Args) -> Result<Value, Error> {
    match value.downcast_object::<Dict>() {
        Some(dict) => list(dict_methods::pairs(&dict)),
        None => Err(invalid("Can only get item pairs from a mapping.")),
    }
}

fn first(state: &mut State, value: Value, _args: Args) -> Result<Value, Error> {
    python::iterate(state, &value)?.into_iter().next().ok_or_else(|| no_item("first"))
}

fn last(state: &mut State, value: Value, _args: Args) -> Result<Value, Error> {
    python::iterate(state, &value)?.pop().ok_or_else(|| no_item("last"))
}

fn random(state: &mut State, value: Value, _args: Args) -> Result<Value, Error> {
    let items = python::iterate(state, &value)?;
    let index = (macros::random(state) * items.len() as f64) as usize;
    items.get(index).cloned().ok_or_else(|| no_item("random"))
}

fn reverse(state: &mut State, value: Value, _args: Args) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        return Ok(Value::from(text.chars().rev().collect::<String>()));
    }
    let mut items = python::iterate(state, &value)?;
    items.reverse();
    list(items)
}

fn group_by(state: &mut State, value: Value, args: Args) -> Result<Value, Error> {
    let [attribute, default, case_sensitive] = args.bind("groupby", ["attribute", "default", "case_sensitive"])?;
    let attribute = needed(attribute, "groupby", "attribute")?;
    let case_sensitive = flag(case_sensitive);
    let reached = |item: &Value| match (reach(item, &attribute)?, &default) {
        (found, Some(default)) if found.is_undefined() => Ok(default.clone()),
        (found, _) => defined(found, item, &attribute),
    };
    let key = |item: &Value| key_of(&reached(item)?, None, case_sensitive);
    let items = sorted(python::iterate(state, &value)?, key, false)?;
    let mut groups: Vec<(Value, Value, Vec<Value>)> = Vec::new();
    for item in items {
        let key = key(&item)?;
        match groups.last_mut() {
            Some((last, _, members)) if python::equal(last, &key) => members.push(item),
            _ => {
                let shown = reached(&item)?;
                groups.push((key, shown, vec![item]));
            }
        }
    }
    let groups = groups.into_iter().map(|(_, grouper, members)| Ok(Group::value(grouper, list(members)?)));
    list(groups.collect::<Result<Vec<_>, Error>>()?)
}

/// A group: a pair that also has names for its halves.
#[derive(Debug)]
pub(super) struct Group {
    grouper: Value,
    members: Value,
}

impl Group {
    fn value(grouper: Value, members: Value) -> Value {
        Value::from_object(Group { grouper, members })
    }

    pub(super) fn pair(&self) -> Value {
        tuple(vec![self.grouper.clone(), self.members.clone()])
    }
}

impl minijinja::value::Object for Group {
    fn repr(self: &std::sync::Arc<Self>) -> minijinja::value::ObjectRepr {
        minijinja::value::ObjectRepr::Seq
    }

    fn get_value(self: &std::sync::Arc<Self>, key: &Value) -> Option<Value> {
        match (key.as_str(), key.as_usize()) {
            (Some("grouper"), _) | (None, Some(0)) => Some(self.grouper.clone()),
            (Some("list"), _) | (None, Some(1)) => Some(self.members.clone()),
            _ => None,
        }
    }

    fn enumerate(self: &std::sync::Arc<Self>) -> minijinja::value::Enumerator {
        minijinja::value::Enumerator::Seq(2)
    }
}

fn join(state: &mut State, value: Value, args: Args) -> Result<Value, Error> {
    let [separator, attribute] = args.bind("join", ["d", "attribute"])?;
    let separator = separator.map_or(Ok(String::new()), |separator| python::print(state, &separator))?;
    let attribute = present(attribute);
    let mut out = String::new();
    for (index, item) in python::iterate(state, &value)?.iter().enumerate() {
        if index > 0 {
            spend(state, separator.len())?;
            out.push_str(&separator);
        }
        let item = match &attribute {
            Some(attribute) => defined(reach(item, attribute)?, item, attribute)?,
            None => item.clone(),
        };
        if item.is_undefined() {
            return Err(undefined("an item to join is undefined"));
        }
        out.push_str(&python::print(state, &item)?);
    }
    Ok(Value::from(out))
}

fn map(state: &mut State, value: Value, args: Args) -> Result<Value, Error> {
    let items = python::iterate(state, &value)?;
    let mut mapped = Vec::with_capacity(items.len());
    if args.positional.is_empty() {
        let [attribute, default] = args.bind("map", ["attribute", "default"])?;
        let attribute = needed(attribute, "map", "attribute")?;
        for item in &items {
            let found = reach(item, &attribute)?;
            mapped.push(match &default {
                Some(default) if found.is_undefined() => default.clone(),
                _ => found,
            });
        }
        return list(mapped);
    }
    let Args { mut positional, named } = args;
    let filter = text(&positional.remove(0), "map")?;
    let args = Args { positional, named };
    for item in items {
        spend(state, 8)?;
        mapped.push(apply(state, &filter, item, &args)?);
    }
    list(mapped)
}

fn select(state: &mut State, value: Value, args: Args, by_attribute: bool, keep: bool) -> Result<Value, Error> {
    let items = python::iterate(state, &value)?;
    let Args { mut positional, named } = args;
    let attribute = match (by_attribute, positional.is_empty()) {
        (true, true) => return Err(invalid("Missing parameter for attribute name")),
        (true, false) => Some(positional.remove(0)),
        _ => None,
    };
    let test = match positional.is_empty() {
        true => None,
        false => Some(text(&positional.remove(0), "select")?),
    };
    let mut chosen = Vec::new();
    for item in items {
        spend(state, 8)?;
        let subject = match &attribute {
            Some(attribute) => reach(&item, attribute)?,
            None => item.clone(),
        };
        let holds = match &test {
            Some(test) => {
                let mut values = vec![subject];
                values.extend(positional.iter().cloned());
                if !named.is_empty() {
                    values.push(kwargs(named.clone()));
                }
                state.perform_test(test, &values).map_err(|error| match error.kind() {
                    ErrorKind::UnknownTest => invalid(format!("No test named '{test}'.")),
                    _ => error,
                })?
            }
            None => match &attribute {
                Some(attribute) => defined(subject, &item, attribute)?.is_true(),
                None => subject.is_true(),
            },
        };
        if holds == keep {
            chosen.push(item);
        }
    }
    list(chosen)
}

fn extreme(state: &mut State, value: Value, args: Args, most: bool) -> Result<Value, Error> {
    let [case_sensitive, attribute] = args.bind("max", ["case_sensitive", "attribute"])?;
    let attribute = present(attribute);
    let case_sensitive = flag(case_sensitive);
    let mut best: Option<(Value, Value)> = None;
    for item in python::iterate(state, &value)? {
        let key = key_of(&item, attribute.as_ref(), case_sensitive)?;
        let better = match &best {
            None => true,
            Some((_, best)) => {
                let ordering = python::order(&key, best, if most { ">" } else { "<" })?;
                ordering.is_some_and(|ordering| if most { ordering.is_gt() } else { ordering.is_lt() })
            }
        };
        if better {
            best = Some((item, key));
        }
    }
    best.map(|(item, _)| item).ok_or_else(|| no_item("aggregated"))
}

fn sort(state: &mut State, value: Value, args: Args) -> Result<Value, Error> {
    let [reverse, case_sensitive, attribute] = args.bind("sort", ["reverse", "case_sensitive", "attribute"])?;
    let case_sensitive = flag(case_sensitive);
    let attributes: Vec<Value> = match present(attribute) {
        Some(attribute) => match attribute.as_str() {
            Some(names) => names.split(',').map(Value::from).collect(),
            None => vec![attribute],
        },
        None => vec![],
    };
    let key = |item: &Value| match attributes.as_slice() {
        [] => key_of(item, None, case_sensitive),
        attributes => {
            let keys = attributes.iter().map(|attribute| key_of(item, Some(attribute), case_sensitive));
            Ok(tuple(keys.collect::<Result<_, Error>>()?))
        }
    };
    list(sorted(python::iterate(state, &value)?, key, flag(reverse))?)
}

fn sum(state: &mut State, value: Value, args: Args) -> Result<Value, Error> {
    let [attribute, start] = args.bind("sum", ["attribute", "start"])?;
    let attribute = present(attribute);
    let mut total = start.unwrap_or_else(|| Value::from(0));
    for item in python::iterate(state, &value)? {
        let item = match &attribute {
            Some(attribute) => defined(reach(&item, attribute)?, &item, attribute)?,
            None => item,
        };
        total = calculate(state, &total, "+", &item)?;
    }
    Ok(total)
}

/// Keeps the first of equal items.
fn unique(state: &mut State, value: Value, args: Args) -> Result<Value, Error> {
    let [case_sensitive, attribute] = args.bind("unique", ["case_sensitive", "attribute"])?;
    let attribute = present(attribute);
    let case_sensitive = flag(case_sensitive);
    let mut seen = super::object::Entries::new();
    let mut kept = Vec::new();
    for item in python::iterate(state, &value)? {
        let key = key_of(&item, attribute.as_ref(), case_sensitive)?;
        if seen.insert(super::object::Key::new(key)?, Value::from(())).is_none() {
            kept.push(item);
        }
    }
    list(kept)
}

/// Whether `is iterable` holds.
pub(super) fn is_iterable(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Map | ValueKind::Seq | ValueKind::Iterable | ValueKind::String)
        && type_name(value) != "StrictUndefined"
}
