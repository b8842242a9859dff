//! The methods of Python's list, and those of tuples.

use std::cmp::Ordering;
use std::sync::Arc;

use minijinja::{Error, State, Value};

use super::args::{Args, flag, integer, needed};
use super::error::invalid;
use super::object::List;
use super::python;

pub(super) fn call(list: &Arc<List>, state: &mut State, method: &str, values: &[Value]) -> Result<Value, Error> {
    let args = Args::new(values);
    let none = || Ok(Value::from(()));
    match method {
        "append" => {
            let item = list.admit(state, &args.one("append")?)?;
            list.lock().push(item);
            none()
        }
        "extend" => {
            let items = python::iterate(state, &args.one("extend")?)?;
            for item in items {
                let item = list.admit(state, &item)?;
                list.lock().push(item);
            }
            none()
        }
        "insert" => {
            let [index, item] = args.bind("insert", ["index", "object"])?;
            let item = list.admit(state, &needed(item, "insert", "object")?)?;
            let index = integer(index, 0)?;
            let mut items = list.lock();
            let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
            let index = if index < 0 { (index + length).max(0) } else { index.min(length) };
            items.insert(usize::try_from(index).unwrap_or_default(), item);
            none()
        }
        "pop" => {
            let [index] = args.bind("pop", ["index"])?;
            let index = integer(index, -1)?;
            let mut items = list.lock();
            if items.is_empty() {
                return Err(invalid("pop from empty list"));
            }
            match position(index, items.len()) {
                Some(index) => Ok(items.remove(index)),
                None => Err(invalid("pop index out of range")),
            }
        }
        "remove" => {
            let item = args.one("remove")?;
            let found = list.items().iter().position(|candidate| python::equal(candidate, &item));
            match found {
                Some(index) => {
                    list.lock().remove(index);
                    none()
                }
                None => Err(invalid("list.remove(x): x not in list")),
            }
        }
        "clear" => {
            list.lock().clear();
            none()
        }
        "reverse" => {
            list.lock().reverse();
            none()
        }
        "sort" => {
            let [key, reverse] = args.bind("sort", ["key", "reverse"])?;
            if key.is_some_and(|key| !key.is_none()) {
                return Err(invalid("sort() takes no key in a template"));
            }
            let sorted = sort(list.items(), |item| Ok(item.clone()), flag(reverse))?;
            *list.lock() = sorted;
            none()
        }
        "copy" => List::value(list.items()),
        "index" | "count" => search(state, &list.items(), method, args),
        _ => Err(python::no_attribute(&Value::from_dyn_object(list.clone()), method)),
    }
}

/// `index` and `count`, of lists and tuples.
pub(super) fn search(state: &mut State, items: &[Value], method: &str, args: Args) -> Result<Value, Error> {
    let [item, start, end] = args.bind(method, ["value", "start", "end"])?;
    let item = needed(item, method, "value")?;
    if method == "count" {
        return Ok(Value::from(items.iter().filter(|candidate| python::equal(candidate, &item)).count()));
    }
    let clamp = |index: i64| {
        let index = if index < 0 { index.saturating_add_unsigned(items.len() as u64) } else { index };
        usize::try_from(index.max(0)).unwrap_or_default().min(items.len())
    };
    let start = clamp(integer(start, 0)?);
    let end = clamp(integer(end, i64::MAX)?);
    let found = (start..end).find(|index| python::equal(&items[*index], &item));
    match found {
        Some(index) => Ok(Value::from(index)),
        None => Err(invalid(format!("{} is not in list", python::repr(state, &item)?))),
    }
}

/// An index from either end, if it is within.
fn position(index: i64, length: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add_unsigned(length as u64)? } else { index };
    usize::try_from(index).ok().filter(|index| *index < length)
}

/// A stable sort by a key, with Python's error where two keys have no order.
pub(super) fn sort(
    items: Vec<Value>,
    mut key: impl FnMut(&Value) -> Result<Value, Error>,
    reverse: bool,
) -> Result<Vec<Value>, Error> {
    let mut keyed = items.into_iter().map(|item| Ok((key(&item)?, item))).collect::<Result<Vec<_>, Error>>()?;
    let mut failure = None;
    keyed.sort_by(|(a, _), (b, _)| {
        let (first, second) = if reverse { (b, a) } else { (a, b) };
        // Python asks whether the later is less than the earlier.
        match python::order(second, first, "<") {
            Ok(ordering) => ordering.map_or(Ordering::Equal, Ordering::reverse),
            Err(error) => {
                failure.get_or_insert(error);
                Ordering::Equal
            }
        }
    });
    match failure {
        Some(error) => Err(error),
        None => Ok(keyed.into_iter().map(|(_, item)| item).collect()),
    }
}
