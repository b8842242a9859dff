//! Templates, rendered as Airflow's Jinja2 renders them.
//!
//! minijinja runs the templates: scopes, loops, macros, blocks, white space. Expressions are lowered to calls first (see
//! `expression`), so that values are Python's throughout: how they print, compare and add up, what methods they have.

mod args;
mod context;
mod dataset;
mod date;
mod dict_methods;
mod error;
mod expression;
mod filters;
mod globals;
mod interval;
mod json;
mod lexer;
mod list_methods;
mod lookup;
mod macros;
mod moment;
mod moment_methods;
mod object;
mod operators;
mod pendulum_format;
mod python;
mod sequence_filters;
mod statement;
mod strftime;
mod tests;
mod text_format;
mod text_methods;
mod work;

use std::fmt;
use std::io;

use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde_json::Value as Json;

pub use self::context::{Attribute, Attributes, PreviousSuccess, TemplateContext, TemplateFacts};
pub use self::dataset::DatasetEvents;
pub use self::error::{TemplateError, TemplateErrorKind};
pub use self::lookup::{Lookup, LookupError, Pulled, TemplateConnection, XComPull};

/// Whether a text has anything to render in it.
pub(crate) fn has_tags(text: &str) -> bool {
    statement::find_tag(text).is_some()
}

/// What a text without tags renders to: Jinja2 unifies the ends of lines, and drops the last one.
pub(crate) fn without_tags(text: &str) -> String {
    let mut text = if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text.to_owned() };
    if text.ends_with('\n') {
        text.pop();
    }
    text
}

/// Instructions that one rendering may run.
const MAX_STEPS: u64 = 2_000_000;
/// Bytes that one template may have, and may become.
const MAX_TEMPLATE: usize = 4 * 1024 * 1024;
const MAX_OUTPUT: usize = 16 * 1024 * 1024;
/// How deep macros may call one another.
const MAX_CALLS: usize = 200;

/// Renders templates. Make one and share it: it is costly to build and holds no state of a rendering.
pub struct Renderer {
    environment: Environment<'static>,
}

impl fmt::Debug for Renderer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renderer").finish_non_exhaustive()
    }
}

impl Default for Renderer {
    fn default() -> Self {
        Renderer::new()
    }
}

impl Renderer {
    /// A renderer with Jinja2's and Airflow's filters, tests and globals.
    pub fn new() -> Self {
        Self::with_sequences(false)
    }

    /// A renderer of what is read back as Python's literals, where lazy sequences of XComs print as lists.
    pub(crate) fn native() -> Self {
        Self::with_sequences(true)
    }

    fn with_sequences(as_lists: bool) -> Self {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(MAX_STEPS));
        environment.set_recursion_limit(MAX_CALLS);
        environment.set_unknown_method_callback(text_methods::call);
        environment.set_formatter(move |out, state, value| {
            if value.is_undefined() {
                return Err(error::undefined("the value to print is undefined"));
            }
            let list = value.downcast_object_ref::<object::View>().filter(|_| as_lists);
            let list = list.map(|view| object::List::value(view.items.clone())).transpose()?;
            let value = list.as_ref().unwrap_or(value);
            let text = python::print(state, value)?;
            let html = matches!(state.auto_escape(), AutoEscape::Html) && !value.is_safe();
            let text = if html { filters::escape_html(&text) } else { text };
            out.write_str(&text).map_err(minijinja::Error::from)
        });
        operators::register(&mut environment);
        globals::register(&mut environment);
        filters::register(&mut environment);
        tests::register(&mut environment);
        Renderer { environment }
    }

    /// Renders one template.
    pub fn render(&self, template: &str, context: &TemplateContext) -> Result<String, TemplateError> {
        if !has_tags(template) {
            return Ok(without_tags(template));
        }
        if template.len() > MAX_TEMPLATE {
            return Err(TemplateError::limit(format!("the template is longer than {MAX_TEMPLATE} bytes")));
        }
        let lowered = statement::lower(template)?;
        let compiled = self.environment.template_from_named_str("template", &lowered)?;
        let mut output = Output { bytes: Vec::new(), full: false };
        let result = compiled.render_captured_to(context.root.clone(), &mut output).map(|_| ());
        if output.full {
            return Err(TemplateError::limit(format!("the template renders to more than {MAX_OUTPUT} bytes")));
        }
        result?;
        String::from_utf8(output.bytes).map_err(|_| TemplateError::limit("the rendered text is not UTF-8"))
    }

    /// Renders every text in lists and dictionaries, as Airflow renders a field; keys stay as they are.
    ///
    /// An error's [`path`](TemplateError::path) says which text it was.
    pub fn render_value(&self, value: &Json, context: &TemplateContext) -> Result<Json, TemplateError> {
        let mut rendered = value.clone();
        each_text(&mut rendered, |path, value| {
            if let Json::String(text) = value {
                *text = self.render(text, context).map_err(|error| error.within(path))?;
            }
            Ok::<(), TemplateError>(())
        })?;
        Ok(rendered)
    }
}

/// Changes every text in lists and dictionaries; keys stay as they are. `change` gets the place and the text.
pub(crate) fn each_text<E>(
    value: &mut Json,
    mut change: impl FnMut(&str, &mut Json) -> Result<(), E>,
) -> Result<(), E> {
    let mut pending = vec![(String::new(), value)];
    while let Some((path, value)) = pending.pop() {
        match value {
            Json::String(_) => change(&path, value)?,
            Json::Array(items) => {
                let items = items.iter_mut().enumerate();
                pending.extend(items.map(|(index, item)| (format!("{path}[{index}]"), item)).rev());
            }
            Json::Object(map) => {
                let dot = if path.is_empty() { "" } else { "." };
                pending.extend(map.iter_mut().map(|(key, item)| (format!("{path}{dot}{key}"), item)).rev());
            }
            _ => {}
        }
    }
    Ok(())
}

/// Collects what is rendered, up to the limit.
struct Output {
    bytes: Vec<u8>,
    full: bool,
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > MAX_OUTPUT {
            self.full = true;
            return Err(io::Error::other("too long"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
