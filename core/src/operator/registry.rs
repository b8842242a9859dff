//! Finds operators by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Operator;
use crate::model::{OperatorRef, Task};

/// A name that no operator has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no operator is registered as '{0}'")]
pub struct UnknownOperator(pub String);

/// Checks a task's arguments when its DAG is loaded; the text says what is wrong.
pub type CheckArguments = fn(&Map<String, Value>) -> Result<(), String>;

/// What is known of a kind of operator.
#[derive(Debug, Clone)]
pub struct OperatorInfo {
    /// The import path that Airflow's API shows, for example `airflow.operators.bash.BashOperator`.
    pub path: OperatorRef,
    /// Other import paths and short names by which DAG files may call it.
    pub aliases: Vec<String>,
    /// Which arguments are templates.
    pub template_fields: Vec<String>,
    /// What template fields that a task leaves out show as; null for others.
    pub field_defaults: Map<String, Value>,
    /// Background colour in a graph.
    pub ui_color: String,
    /// Text colour in a graph.
    pub ui_fgcolor: String,
    /// Whether nothing has to run.
    pub is_empty: bool,
    /// Checks arguments when a DAG is loaded.
    pub check: Option<CheckArguments>,
}

impl OperatorInfo {
    /// An operator that DAG files call by this import path or name.
    pub fn new(path: &str) -> Self {
        Self {
            path: OperatorRef::from_path(path),
            aliases: Vec::new(),
            template_fields: Vec::new(),
            field_defaults: Map::new(),
            ui_color: "#fff".into(),
            ui_fgcolor: "#000".into(),
            is_empty: false,
            check: None,
        }
    }

    /// Adds a name by which DAG files may call it.
    #[must_use]
    pub fn alias(mut self, alias: &str) -> Self {
        self.aliases.push(alias.into());
        self
    }

    /// Says which arguments are templates.
    #[must_use]
    pub fn template_fields(mut self, fields: &[&str]) -> Self {
        self.template_fields = fields.iter().map(|&field| field.into()).collect();
        self
    }

    /// Copies what an operator's kind says of every task of it.
    pub fn apply_to(&self, task: &mut Task) {
        task.operator = self.path.clone();
        task.template_fields.clone_from(&self.template_fields);
        task.ui_color.clone_from(&self.ui_color);
        task.ui_fgcolor.clone_from(&self.ui_fgcolor);
        task.is_empty = self.is_empty;
    }
}

/// Finds operators by name.
#[derive(Debug, Clone)]
pub struct Registry {
    entries: BTreeMap<String, (Arc<OperatorInfo>, Arc<dyn Operator>)>,
    names: BTreeMap<String, String>,
}

impl Default for Registry {
    /// Knows the empty operator, which needs nothing.
    fn default() -> Self {
        let mut registry = Self { entries: BTreeMap::new(), names: BTreeMap::new() };
        let mut info = OperatorInfo::new("airflow.operators.empty.EmptyOperator")
            .alias("airflow.operators.dummy.DummyOperator")
            .alias("airflow.operators.dummy_operator.DummyOperator")
            .alias("airflow.providers.standard.operators.empty.EmptyOperator")
            .alias("EmptyOperator")
            .alias("empty");
        info.ui_color = "#e8f7e4".into();
        info.is_empty = true;
        registry.register(info, super::Closure(|_| async { Ok(super::Outcome::success()) }));
        registry
    }
}

impl Registry {
    /// Adds an operator under its path and aliases; a later one of the same name replaces an earlier one.
    pub fn register(&mut self, info: OperatorInfo, operator: impl Operator + 'static) {
        let path = info.path.path();
        for name in info.aliases.iter().chain([&path]) {
            self.names.insert(name.clone(), path.clone());
        }
        self.entries.insert(path, (Arc::new(info), Arc::new(operator)));
    }

    /// What is known of the operator of this name.
    ///
    /// # Errors
    /// No operator has the name.
    pub fn info(&self, name: &str) -> Result<&Arc<OperatorInfo>, UnknownOperator> {
        self.entry(name).map(|(info, _)| info)
    }

    /// The operator of this name.
    ///
    /// # Errors
    /// No operator has the name.
    pub fn operator(&self, name: &str) -> Result<&Arc<dyn Operator>, UnknownOperator> {
        self.entry(name).map(|(_, operator)| operator)
    }

    /// Whether a task of this kind can run here.
    pub fn can_run(&self, operator: &OperatorRef) -> bool {
        self.entries.contains_key(&operator.path())
    }

    fn entry(&self, name: &str) -> Result<&(Arc<OperatorInfo>, Arc<dyn Operator>), UnknownOperator> {
        self.names.get(name).and_then(|path| self.entries.get(path)).ok_or_else(|| UnknownOperator(name.into()))
    }
}
