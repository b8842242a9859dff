//! Renders the template fields of tries.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use updraft_core::model::Task;
use updraft_core::operator::{RenderTemplates, TaskContext, TaskError};
use updraft_core::python;

use crate::python_literal;
use crate::template::{
    Lookup, LookupError, Pulled, Renderer, TemplateConnection, TemplateContext, TemplateError, TemplateErrorKind,
    XComPull, each_text, has_tags, without_tags,
};
use crate::xcom;

mod facts;

/// Largest template file.
const MAX_FILE: u64 = 4 << 20;

/// Renders the arguments that are templates as Airflow does: every text within, template files included.
#[derive(Debug, Default)]
pub struct TemplateRenderer {
    texts: Arc<OnceLock<Renderer>>,
    objects: Arc<OnceLock<Renderer>>,
}

impl TemplateRenderer {
    /// A renderer for all tasks. It reads the files and asks the store that each try brings with it.
    pub fn new() -> Self {
        Self::default()
    }
}

/// The ends of file names that make a text name a template file.
fn extensions(task: &Task) -> Vec<&str> {
    match task.arguments.get("templates_exts") {
        Some(Value::Array(extensions)) => extensions.iter().filter_map(Value::as_str).collect(),
        _ if task.operator.class_name == "BashOperator" => vec![".sh", ".bash"],
        _ => Vec::new(),
    }
}

/// Visits the template fields that the arguments have.
fn fields<'a>(task: &'a Task, arguments: &mut Map<String, Value>, mut each: impl FnMut(&'a str, &mut Value)) {
    for name in &task.template_fields {
        if let Some(value) = arguments.get_mut(name) {
            each(name, value);
        }
    }
}

#[async_trait]
impl RenderTemplates for TemplateRenderer {
    async fn render(&self, context: &TaskContext) -> Result<Map<String, Value>, TaskError> {
        let task = context.task();
        let mut arguments = context.arguments().clone();
        let is_native = context.attempt().dag.render_template_as_native_obj;
        let extensions = extensions(task);
        let mut has_templates = false;
        fields(task, &mut arguments, |_, value| {
            let found = each_text(value, |_, text| {
                let text = text.as_str().unwrap_or_default();
                let is_file = extensions.iter().any(|extension| text.ends_with(extension));
                if is_file || has_tags(text) { Err(()) } else { Ok(()) }
            });
            has_templates |= found.is_err();
        });
        if has_templates {
            let renderer = Arc::clone(if is_native { &self.objects } else { &self.texts });
            let context = context.clone();
            // The templates' questions wait for the storage, and a template may compute for a while.
            let work = move || {
                let renderer = renderer.get_or_init(if is_native { Renderer::native } else { Renderer::new });
                Try { context: &context, renderer, is_native }.render(arguments)
            };
            let rendered = tokio::task::spawn_blocking(work).await;
            return rendered.unwrap_or_else(|error| Err(TaskError::failed(format!("the rendering ended: {error}"))));
        }
        fields(task, &mut arguments, |_, value| {
            let Ok(()) = each_text(value, |_, value| {
                if let Value::String(text) = value {
                    *value = finish(without_tags(text), is_native);
                }
                Ok::<_, std::convert::Infallible>(())
            });
        });
        Ok(arguments)
    }
}

/// What a rendered text becomes.
fn finish(text: String, is_native: bool) -> Value {
    match is_native.then(|| python_literal::parse(&text)).flatten() {
        Some(value) => value,
        None => Value::String(text),
    }
}

/// Renders for one try.
struct Try<'a> {
    context: &'a TaskContext,
    renderer: &'a Renderer,
    is_native: bool,
}

impl Try<'_> {
    fn render(&self, mut arguments: Map<String, Value>) -> Result<Map<String, Value>, TaskError> {
        let task = self.context.task();
        let extensions = extensions(task);
        let mut texts = String::new();
        let mut failed = None;
        fields(task, &mut arguments, |name, value| {
            let loaded = each_text(value, |path, value| {
                let Value::String(text) = value else { return Ok(()) };
                if extensions.iter().any(|extension| text.ends_with(extension)) {
                    *text = self.load(text).map_err(|error| format!("{error} (in {})", place(name, path)))?;
                }
                if has_tags(text) {
                    texts.push_str(text);
                    texts.push('\n');
                }
                Ok(())
            });
            if let (Err(error), None) = (loaded, &failed) {
                failed = Some((name, error));
            }
        });
        if let Some((name, error)) = failed {
            return Err(self.failed(name, error));
        }
        let facts = facts::facts(self.context, &texts)?;
        let lookup = Arc::new(StoreLookup { context: self.context.clone(), runtime: Handle::current() });
        let names = TemplateContext::new(&facts, lookup).map_err(|error| TaskError::failed(said(&error)))?;
        fields(task, &mut arguments, |name, value| {
            if failed.is_some() {
                return;
            }
            let rendered = each_text(value, |path, value| {
                let Value::String(text) = value else { return Ok(()) };
                let rendered = self.renderer.render(text, &names).map_err(|error| error.within(path).within(name))?;
                *value = if self.is_native && rendered.is_empty() && !text.contains("{{") {
                    // A template of nothing but statements has no value.
                    Value::Null
                } else {
                    finish(rendered, self.is_native)
                };
                Ok(())
            });
            if let Err(error) = rendered {
                failed = Some((name, said(&error)));
            }
        });
        match failed {
            Some((name, error)) => Err(self.failed(name, error)),
            None => Ok(arguments),
        }
    }

    /// Says in the log which field it was, as Airflow does.
    fn failed(&self, field: &str, error: String) -> TaskError {
        let task = self.context.task();
        let template = task.arguments.get(field).map(python::repr).unwrap_or_default();
        self.context.error(format_args!(
            "Exception rendering Jinja template for task '{}', field '{field}'. Template: {template}",
            task.task_id
        ));
        TaskError::failed(error)
    }

    /// Reads a template file: from the DAG's folder, or else from the first of its search path that has it.
    fn load(&self, name: &str) -> Result<String, String> {
        let dag = &self.context.attempt().dag;
        let roots: Vec<PathBuf> = folder(&dag.fileloc)
            .into_iter()
            .chain(dag.template_searchpath.iter().filter_map(|root| std::path::absolute(root).ok()))
            .collect();
        // Jinja2 takes every name, also one with a slash before it, for a path below a root.
        let pieces: Vec<&str> = name.split('/').filter(|piece| !piece.is_empty() && *piece != ".").collect();
        if !pieces.contains(&"..") {
            for root in &roots {
                let path = pieces.iter().fold(root.clone(), |path, piece| path.join(piece));
                if path.is_file() {
                    return read(&path).map_err(|error| format!("the template file '{}': {error}", path.display()));
                }
            }
        }
        let roots: Vec<String> = roots.iter().map(|root| format!("'{}'", root.display())).collect();
        let name_shown = python::repr(&Value::from(name));
        Err(format!("jinja2.exceptions.TemplateNotFound: {name_shown} not found in search path: {}", roots.join(", ")))
    }
}

/// The folder of the file that declares a DAG, if a file does.
fn folder(fileloc: &str) -> Option<PathBuf> {
    let file = std::path::absolute(fileloc).ok()?;
    file.parent().map(Path::to_path_buf)
}

fn read(path: &Path) -> Result<String, String> {
    let size = path.metadata().map_err(|error| error.to_string())?.len();
    if size > MAX_FILE {
        return Err(format!("it is larger than {MAX_FILE} bytes"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

fn place(field: &str, path: &str) -> String {
    let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
    format!("{field}{dot}{path}")
}

/// An error under the name that people know from Airflow's logs, where it has one.
fn said(error: &TemplateError) -> String {
    let message = error.message();
    let all = error.to_string();
    match error.kind() {
        TemplateErrorKind::Undefined => format!("jinja2.exceptions.UndefinedError: {all}"),
        TemplateErrorKind::Syntax => format!("jinja2.exceptions.TemplateSyntaxError: {all}"),
        TemplateErrorKind::NotFound if message.starts_with("Variable ") => {
            // Python shows the argument of this one with quotes.
            let place = all.strip_prefix(message).unwrap_or_default();
            format!("KeyError: {}{place}", python::repr(&Value::from(message)))
        }
        TemplateErrorKind::NotFound if message.starts_with("The conn_id ") => {
            format!("airflow.exceptions.AirflowNotFoundException: {all}")
        }
        _ => all,
    }
}

/// Answers templates from the try's store. Only threads that may block use it.
struct StoreLookup {
    context: TaskContext,
    runtime: Handle,
}

fn unanswered(error: impl ToString) -> LookupError {
    LookupError(error.to_string())
}

impl Lookup for StoreLookup {
    fn xcom_pull(&self, pull: &XComPull) -> Result<Pulled, LookupError> {
        self.runtime.block_on(xcom::pull(&self.context, pull)).map_err(unanswered)
    }

    fn xcom_push(&self, key: &str, value: Value) -> Result<(), LookupError> {
        self.runtime.block_on(self.context.xcom_push(key, value)).map_err(unanswered)
    }

    fn variable(&self, key: &str) -> Result<Option<String>, LookupError> {
        self.runtime.block_on(self.context.store().variable(key)).map_err(unanswered)
    }

    fn connection(&self, conn_id: &str) -> Result<Option<TemplateConnection>, LookupError> {
        let found = self.runtime.block_on(self.context.store().connection(conn_id)).map_err(unanswered)?;
        Ok(found.map(|found| TemplateConnection {
            conn_id: found.conn_id,
            conn_type: found.conn_type,
            description: found.description,
            host: found.host,
            login: found.login,
            password: found.password,
            schema: found.schema,
            port: found.port.map(i64::from),
            extra: found.extra,
        }))
    }
}
