//! How defaults and a DAG's own configuration become one.

use crate::node::{Data, Mapping, Node, Place};
use crate::problem::Problems;

/// What `defaults.yml` files say together: `default_args` key by key, `tags` united, of other keys the nearest file's.
#[derive(Debug, Default)]
pub(crate) struct Global {
    default_args: Mapping,
    /// Keys that are put before each DAG's own.
    pub(crate) dag_args: Mapping,
}

impl Global {
    /// Takes another file in, nearer than those before it.
    pub(crate) fn take(&mut self, file: Mapping, problems: &mut Problems) {
        for (key, value) in file.entries {
            match key.as_str() {
                Some("default_args") => merge_args(&mut self.default_args, &value, problems),
                Some("tags") => {
                    let mut tags: Vec<Node> = match self.dag_args.get("tags").map(|tags| &tags.data) {
                        Some(Data::List(tags)) => tags.clone(),
                        _ => Vec::new(),
                    };
                    match &value.data {
                        Data::List(more) => tags.extend(more.iter().cloned()),
                        _ => problems.wrong_type("tags", &value, "list"),
                    }
                    tags.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
                    tags.dedup();
                    self.dag_args.insert(key, Node::new(Data::List(tags), value.place));
                }
                _ => self.dag_args.insert(key, value),
            }
        }
    }

    /// The file's `default` with the global `default_args` under its own.
    pub(crate) fn file_default(&self, file_default: Option<&Node>, problems: &mut Problems) -> Node {
        let place = file_default.map_or_else(Place::default, |node| node.place);
        let mut merged = match file_default.map(|node| &node.data) {
            Some(Data::Map(map)) => map.clone(),
            Some(_) => {
                problems.add(place, "'default' must be a mapping");
                Mapping::default()
            }
            None => Mapping::default(),
        };
        let mut args = self.default_args.clone();
        if let Some(own) = merged.get("default_args") {
            merge_args(&mut args, &own.clone(), problems);
        }
        merged.insert_str("default_args", Node::new(Data::Map(args), place));
        Node::new(Data::Map(merged), place)
    }
}

fn merge_args(args: &mut Mapping, more: &Node, problems: &mut Problems) {
    match &more.data {
        Data::Map(more) => more.entries.iter().for_each(|(key, value)| args.insert(key.clone(), value.clone())),
        _ => problems.wrong_type("default_args", more, "dict"),
    }
}

/// The keys of `first`, with the values of `second` where it has them, then its others.
pub(crate) fn overlaid(first: &Mapping, second: &Mapping) -> Mapping {
    let mut merged = first.clone();
    second.entries.iter().for_each(|(key, value)| merged.insert(key.clone(), value.clone()));
    merged
}

/// Puts what `config` lacks into it, mappings into mappings. Files are nested to a bounded depth.
pub(crate) fn fill(config: &mut Mapping, default: &Mapping) {
    for (key, value) in &default.entries {
        match config.entries.iter_mut().find(|(name, _)| name == key) {
            Some((_, Node { data: Data::Map(inner), .. })) => {
                if let Data::Map(default) = &value.data {
                    fill(inner, default);
                }
            }
            Some(_) => {}
            None => config.entries.push((key.clone(), value.clone())),
        }
    }
}
