//! Python's containers: lists and dictionaries that templates may change, and the views on them.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indexmap::IndexMap;
use minijinja::value::{DynObject, Enumerator, Object, ObjectRepr, Tuple, ValueKind};
use minijinja::{Error, State, Value};

use super::error::{invalid, limit};
use super::sequence_filters::Group;
use super::work::spend;
use super::{dict_methods, list_methods, python};

/// How deep containers may nest: printing, comparing and dropping them recurse.
const MAX_DEPTH: usize = 100;

/// How deep a value's containers go.
pub(super) fn depth_of(value: &Value) -> usize {
    let of_items = |items: &[Value]| 1 + items.iter().map(depth_of).max().unwrap_or(0);
    if let Some(list) = value.downcast_object_ref::<List>() {
        list.depth.load(Relaxed)
    } else if let Some(dict) = value.downcast_object_ref::<Dict>() {
        dict.depth.load(Relaxed)
    } else if let Some(tuple) = value.downcast_object_ref::<Tuple>() {
        of_items(tuple)
    } else if let Some(view) = value.downcast_object_ref::<View>() {
        of_items(&view.items)
    } else if let Some(group) = value.downcast_object_ref::<Group>() {
        depth_of(&group.pair())
    } else if matches!(value.kind(), ValueKind::Map | ValueKind::Iterable) {
        // The engine's own (a namespace, a macro's kwargs) could come to hold what holds them: no container takes them.
        MAX_DEPTH
    } else {
        0
    }
}

/// A value that is put into a container that exists already: containers go in as copies, so that none comes to hold
/// itself, and what was measured stays true.
pub(super) fn copied(state: &mut State, value: &Value) -> Result<Value, Error> {
    if let Some(list) = value.downcast_object_ref::<List>() {
        let items = list.items();
        spend(state, items.len())?;
        return List::value(items.iter().map(|item| copied(state, item)).collect::<Result<_, _>>()?);
    }
    if let Some(dict) = value.downcast_object_ref::<Dict>() {
        let entries = dict.lock().clone();
        spend(state, entries.len())?;
        let copies = entries.into_iter().map(|(key, item)| Ok((key, copied(state, &item)?)));
        return Dict::value(copies.collect::<Result<_, Error>>()?);
    }
    if let Some(items) = value.downcast_object_ref::<Tuple>() {
        return Ok(tuple(items.iter().map(|item| copied(state, item)).collect::<Result<_, _>>()?));
    }
    checked_depth(std::iter::once(value))?;
    Ok(value.clone())
}

fn checked_depth<'v>(values: impl Iterator<Item = &'v Value>) -> Result<usize, Error> {
    let depth = 1 + values.map(depth_of).max().unwrap_or(0);
    if depth > MAX_DEPTH {
        return Err(limit("lists and dictionaries are nested too deeply"));
    }
    Ok(depth)
}

fn admit(state: &mut State, depth: &AtomicUsize, item: &Value) -> Result<Value, Error> {
    let item = copied(state, item)?;
    depth.fetch_max(checked_depth(std::iter::once(&item))?, Relaxed);
    spend(state, 1)?;
    Ok(item)
}

/// Python's list.
pub(super) struct List {
    items: Mutex<Vec<Value>>,
    depth: AtomicUsize,
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[…]")
    }
}

impl List {
    /// A new list, unless its items are nested too deeply.
    pub(super) fn value(items: Vec<Value>) -> Result<Value, Error> {
        let depth = checked_depth(items.iter())?;
        Ok(Value::from_object(List { items: Mutex::new(items), depth: AtomicUsize::new(depth) }))
    }

    /// A new list of values that hold no containers.
    pub(super) fn flat(items: Vec<Value>) -> Value {
        Value::from_object(List { items: Mutex::new(items), depth: AtomicUsize::new(1) })
    }

    /// Makes room for an item: returns what to put in.
    pub(super) fn admit(&self, state: &mut State, item: &Value) -> Result<Value, Error> {
        admit(state, &self.depth, item)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<Value>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn items(&self) -> Vec<Value> {
        self.lock().clone()
    }
}

impl Object for List {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.lock().get(key.as_usize()?).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.items())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.lock().len())
    }

    fn call_method(self: &Arc<Self>, state: &mut State, method: &str, args: &[Value]) -> Result<Value, Error> {
        list_methods::call(self, state, method, args)
    }

    fn custom_cmp(self: &Arc<Self>, _other: &DynObject) -> Option<std::cmp::Ordering> {
        None
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        python::render(&Value::from_dyn_object(self.clone()), f)
    }
}

/// A dictionary's key: equal as Python's are, so that `1`, `1.0` and `True` are one key.
#[derive(Clone, Debug)]
pub(super) struct Key(pub(super) Value);

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        match (self.0.as_str(), other.0.as_str()) {
            (Some(a), Some(b)) => a == b,
            (None, None) => python::equal(&self.0, &other.0),
            _ => false,
        }
    }
}

impl Eq for Key {}

impl std::hash::Hash for Key {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        match self.0.as_str() {
            Some(text) => text.hash(state),
            None => match python::number(&self.0) {
                Some(number) => number.to_bits().hash(state),
                // Tuples, dates and None are rare as keys: they share a bucket.
                None => 0_u8.hash(state),
            },
        }
    }
}

impl Key {
    /// The key for a value; lists and dictionaries are none.
    pub(super) fn new(value: Value) -> Result<Key, Error> {
        if value.downcast_object_ref::<List>().is_some() || value.downcast_object_ref::<Dict>().is_some() {
            return Err(invalid(format!("unhashable type: '{}'", python::type_name(&value))));
        }
        Ok(Key(value))
    }
}

pub(super) type Entries = IndexMap<Key, Value>;

/// Python's dict: keeps the order of insertion.
pub(super) struct Dict {
    entries: Mutex<Entries>,
    depth: AtomicUsize,
}

impl fmt::Debug for Dict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{…}")
    }
}

impl Dict {
    pub(super) fn value(entries: Entries) -> Result<Value, Error> {
        let depth = checked_depth(entries.values().chain(entries.keys().map(|key| &key.0)))?;
        Ok(Value::from_object(Dict { entries: Mutex::new(entries), depth: AtomicUsize::new(depth) }))
    }

    /// From keys that are text and values that are known to be shallow.
    pub(super) fn of(entries: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
        let entries: Entries = entries.into_iter().map(|(key, value)| (Key(Value::from(key)), value)).collect();
        let depth = 1 + entries.values().map(depth_of).max().unwrap_or(0);
        Value::from_object(Dict { entries: Mutex::new(entries), depth: AtomicUsize::new(depth) })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for an item: returns what to put in.
    pub(super) fn admit(&self, state: &mut State, item: &Value) -> Result<Value, Error> {
        admit(state, &self.depth, item)
    }

    pub(super) fn get(&self, key: &Value) -> Option<Value> {
        self.lock().get(&Key(key.clone())).cloned()
    }

    pub(super) fn keys(&self) -> Vec<Value> {
        self.lock().keys().map(|key| key.0.clone()).collect()
    }
}

impl Object for Dict {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get(key)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.keys())
    }

    fn enumerator_len(self: &Arc<Self>) -> Option<usize> {
        Some(self.lock().len())
    }

    fn call_method(self: &Arc<Self>, state: &mut State, method: &str, args: &[Value]) -> Result<Value, Error> {
        dict_methods::call(self, state, method, args)
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        python::render(&Value::from_dyn_object(self.clone()), f)
    }
}

/// Things that iterate but are no lists: `dict_keys([…])`, `range(0, 3)` and lazy selections.
#[derive(Debug)]
pub(super) struct View {
    pub(super) items: Vec<Value>,
    pub(super) print: ViewPrint,
}

/// How a view prints.
#[derive(Debug)]
pub(super) enum ViewPrint {
    /// With a name around its list of items.
    Items(&'static str),
    /// As a text of its own.
    Text(String),
}

impl View {
    pub(super) fn value(items: Vec<Value>, print: ViewPrint) -> Value {
        Value::from_object(View { items, print })
    }
}

impl Object for View {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.items.get(key.as_usize()?).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.items.len())
    }

    fn call_method(self: &Arc<Self>, _state: &mut State, method: &str, _args: &[Value]) -> Result<Value, Error> {
        Err(python::no_attribute(&Value::from_dyn_object(self.clone()), method))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        python::render(&Value::from_dyn_object(self.clone()), f)
    }
}

/// What an inline `if` without `else` gives: it prints nothing, and is undefined, but never an error.
#[derive(Debug)]
pub(super) struct Nothing;

impl Object for Nothing {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn render(self: &Arc<Self>, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

/// Whether a template would call this undefined.
pub(super) fn is_undefined(value: &Value) -> bool {
    value.is_undefined() || value.downcast_object_ref::<Nothing>().is_some()
}

/// Python's Tuple from values.
pub(super) fn tuple(items: Vec<Value>) -> Value {
    Value::from_object(Tuple::from(items))
}

/// JSON as Python's values. Its depth is bounded by whoever parsed it; what is deeper than we print becomes an error.
pub(super) fn from_json(json: &serde_json::Value) -> Result<Value, Error> {
    from_json_at(json, 0)
}

fn from_json_at(json: &serde_json::Value, depth: usize) -> Result<Value, Error> {
    if depth > MAX_DEPTH {
        return Err(limit("the data is nested too deeply"));
    }
    Ok(match json {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(flag) => Value::from(*flag),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(integer), _, _) => Value::from(integer),
            (_, Some(integer), _) => Value::from(integer),
            (_, _, float) => Value::from(float.unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => {
            let items = items.iter().map(|item| from_json_at(item, depth + 1)).collect::<Result<Vec<_>, _>>()?;
            List::value(items)?
        }
        serde_json::Value::Object(map) => {
            let mut entries = Entries::with_capacity(map.len());
            for (key, item) in map {
                entries.insert(Key(Value::from(key.as_str())), from_json_at(item, depth + 1)?);
            }
            Dict::value(entries)?
        }
    })
}

/// What a native function is: it gets the engine's state and the arguments.
pub(super) type Run = fn(&mut State, &[Value]) -> Result<Value, Error>;

/// A native function under a name, as a value that templates call.
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) run: Run,
}

impl Function {
    pub(super) fn value(name: &'static str, run: Run) -> Value {
        Value::from_object(Function { name, run })
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<function {}>", self.name)
    }
}

impl Object for Function {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        (self.run)(state, args)
    }

    fn is_true(self: &Arc<Self>) -> bool {
        true
    }
}
