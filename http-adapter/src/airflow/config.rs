//! The configuration that clients may read, if the host exposes it.

use std::borrow::Cow;

/// An option of the configuration under Airflow's names, as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigOption {
    section: Cow<'static, str>,
    key: Cow<'static, str>,
    /// None of what is secret: only that it is set is shown.
    value: Option<String>,
}

impl ConfigOption {
    /// An option with its value, as Airflow writes it: `True` and `False`, lists separated by commas.
    pub fn new(section: impl Into<Cow<'static, str>>, key: impl Into<Cow<'static, str>>, value: impl ToString) -> Self {
        Self { section: section.into(), key: key.into(), value: Some(value.to_string()) }
    }

    /// A switch.
    pub fn flag(section: impl Into<Cow<'static, str>>, key: impl Into<Cow<'static, str>>, value: bool) -> Self {
        Self::new(section, key, if value { "True" } else { "False" })
    }

    /// An option that is set, and whose value nobody is to see.
    pub fn hidden(section: impl Into<Cow<'static, str>>, key: impl Into<Cow<'static, str>>) -> Self {
        Self { section: section.into(), key: key.into(), value: None }
    }

    pub(super) fn section(&self) -> &str {
        &self.section
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn shown(&self) -> &str {
        self.value.as_deref().unwrap_or("< hidden >")
    }
}
