//! Typed access to the keys of a DAG, task group or task.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::node::{Data, Mapping, Node, key_text};
use crate::problem::Problems;
use updraft_core::model::Param;

/// Reads the keys of a mapping. A key that is null counts as absent; a value of the wrong type is noted as a problem.
pub(crate) struct Fields<'a, 'p> {
    pub(crate) map: &'a Mapping,
    pub(crate) problems: &'p mut Problems,
}

impl<'a> Fields<'a, '_> {
    pub(crate) fn get(&self, key: &str) -> Option<&'a Node> {
        self.map.get_set(key)
    }

    pub(crate) fn text(&mut self, key: &str) -> Option<&'a str> {
        let node = self.get(key)?;
        if node.as_str().is_none() {
            self.problems.wrong_type(key, node, "str");
        }
        node.as_str()
    }

    pub(crate) fn flag(&mut self, key: &str) -> Option<bool> {
        let node = self.get(key)?;
        match node.data {
            Data::Bool(value) => Some(value),
            _ => {
                self.problems.wrong_type(key, node, "bool");
                None
            }
        }
    }

    pub(crate) fn integer(&mut self, key: &str) -> Option<i64> {
        let node = self.get(key)?;
        match node.data {
            Data::Int(value) => Some(value),
            // In Python a bool is an integer.
            Data::Bool(value) => Some(value.into()),
            _ => {
                self.problems.wrong_type(key, node, "int");
                None
            }
        }
    }

    pub(crate) fn count(&mut self, key: &str) -> Option<u32> {
        let value = self.integer(key)?;
        let count = u32::try_from(value).ok();
        if count.is_none() {
            let place = self.get(key)?.place;
            self.problems.add(place, format!("'{key}' must be a number from 0 to {}, not {value}", u32::MAX));
        }
        count
    }

    pub(crate) fn duration(&mut self, key: &str) -> Option<Duration> {
        self.with(key, crate::date::duration)
    }

    pub(crate) fn duration_or_seconds(&mut self, key: &str) -> Option<Duration> {
        self.with(key, crate::date::duration_or_seconds)
    }

    pub(crate) fn date(&mut self, key: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.with(key, |node| crate::date::task_date(node, now))
    }

    /// Reads a key by a function whose error completes a sentence about the key.
    pub(crate) fn with<T>(&mut self, key: &str, read: impl FnOnce(&Node) -> Result<T, String>) -> Option<T> {
        let node = self.get(key)?;
        self.problems.take(node.place, read(node).map_err(|message| format!("'{key}': {message}")))
    }

    /// Parameters in the order of their declaration.
    pub(crate) fn params(&mut self, key: &str) -> Vec<Param> {
        let Some(node) = self.get(key) else { return Vec::new() };
        let Some(map) = node.as_map() else {
            self.problems.wrong_type(key, node, "dict");
            return Vec::new();
        };
        let param = |(name, value): &(Node, Node)| match &value.data {
            Data::Param(param) => param.to_param(key_text(name)),
            _ => Param {
                name: key_text(name),
                value: Some(value.to_json()),
                description: None,
                schema: serde_json::Map::new(),
            },
        };
        map.entries.iter().map(param).collect()
    }

    /// A list of texts.
    pub(crate) fn texts(&mut self, key: &str) -> Vec<(&'a str, &'a Node)> {
        let Some(node) = self.get(key) else { return Vec::new() };
        let Some(list) = node.as_list() else {
            self.problems.wrong_type(key, node, "list");
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in list {
            match item.as_str() {
                Some(text) => texts.push((text, item)),
                None => self.problems.add(
                    item.place,
                    format!("'{key}' must be a list of texts; one item has the type '{}'", item.type_name()),
                ),
            }
        }
        texts
    }
}
