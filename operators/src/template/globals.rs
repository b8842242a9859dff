//! Jinja2's global functions that the engine lacks.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use minijinja::value::{Object, ObjectRepr};
use minijinja::{Environment, Error, State, Value};

use super::args::{Args, text};
use super::error::invalid;
use super::object::Function;
use super::{dict_methods, operators, python};

/// Makes the globals known to an environment.
pub(super) fn register(env: &mut Environment<'_>) {
    env.remove_global("debug");
    for (name, function) in [
        ("range", operators::range as fn(&mut State, &[Value]) -> Result<Value, Error>),
        ("dict", dict_methods::make),
        ("cycler", |_, values| match values {
            [] => Err(invalid("at least one item has to be provided")),
            values => Ok(Value::from_object(Cycler { items: values.to_vec(), position: AtomicUsize::new(0) })),
        }),
        ("joiner", |_, values| {
            let [separator] = Args::new(values).bind("joiner", ["sep"])?;
            let separator = separator.map_or(Ok(", ".to_owned()), |separator| text(&separator, "joiner"))?;
            Ok(Value::from_object(Joiner { separator, used: AtomicBool::new(false) }))
        }),
        ("lipsum", |_, _| Ok(Value::from("Lorem ipsum dolor sit amet."))),
    ] {
        env.add_global(name, Function::value(name, function));
    }
}

struct Cycler {
    items: Vec<Value>,
    position: AtomicUsize,
}

impl fmt::Debug for Cycler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<Cycler>")
    }
}

impl Cycler {
    fn current(&self) -> Value {
        self.items[self.position.load(Relaxed) % self.items.len()].clone()
    }
}

impl Object for Cycler {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        true
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        (key.as_str()? == "current").then(|| self.current())
    }

    fn call_method(self: &Arc<Self>, _state: &mut State, method: &str, _args: &[Value]) -> Result<Value, Error> {
        match method {
            "next" => {
                let current = self.current();
                self.position.fetch_add(1, Relaxed);
                Ok(current)
            }
            "reset" => {
                self.position.store(0, Relaxed);
                Ok(Value::from(()))
            }
            _ => Err(python::no_attribute(&Value::from_dyn_object(self.clone()), method)),
        }
    }
}

#[derive(Debug)]
struct Joiner {
    separator: String,
    used: AtomicBool,
}

impl Object for Joiner {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn is_true(self: &Arc<Self>) -> bool {
        true
    }

    fn call(self: &Arc<Self>, _state: &mut State<'_, '_>, _args: &[Value]) -> Result<Value, Error> {
        let text = if self.used.swap(true, Relaxed) { self.separator.as_str() } else { "" };
        Ok(Value::from(text))
    }
}
