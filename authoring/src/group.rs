//! The task groups of a DAG.

use std::collections::HashMap;

use updraft_core::model::{Dag, TaskGroup};

use crate::fields::Fields;
use crate::node::{Data, Mapping, Node, Place};
use crate::problem::Problems;

const KNOWN: [&str; 9] = [
    "tooltip",
    "prefix_group_id",
    "default_args",
    "parent_group_name",
    "dependencies",
    "ui_color",
    "ui_fgcolor",
    "add_suffix_on_collision",
    // Written by loaders of lists.
    "group_name",
];

/// A group as declared, beside its entry in [`Dag::groups`].
pub(crate) struct Group<'a> {
    pub(crate) name: &'a str,
    pub(crate) place: Place,
    pub(crate) conf: &'a Mapping,
    /// Its index in [`Dag::groups`].
    pub(crate) index: u32,
    /// Defaults of its tasks, those of the groups around it included.
    pub(crate) default_args: Mapping,
}

/// The mapping or list of named configurations under `node`, as pairs in order. `key` names an entry of a list.
pub(crate) fn named<'a>(
    what: &str,
    key: &str,
    node: Option<&'a Node>,
    problems: &mut Problems,
) -> Vec<(&'a str, Place, &'a Mapping)> {
    let Some(node) = node else { return Vec::new() };
    let mut list: Vec<(&Node, &Node)> = Vec::new();
    match &node.data {
        Data::Null => {}
        Data::Map(map) => list.extend(map.entries.iter().map(|(name, conf)| (name, conf))),
        Data::List(items) => {
            let mut seen = HashMap::new();
            for item in items {
                match item.as_map().and_then(|map| map.get(key)) {
                    Some(name) => {
                        if let Some(text) = name.as_str()
                            && seen.insert(text, ()).is_some()
                        {
                            problems.add(name.place, format!("Duplicate {key} detected in {what} list: '{text}'"));
                            continue;
                        }
                        list.push((name, item));
                    }
                    None => problems.add(item.place, format!("an entry of {what} must be a mapping with a '{key}'")),
                }
            }
        }
        _ => problems
            .add(node.place, format!("'{what}' must be a mapping or a list, not of type '{}'", node.type_name())),
    }
    let mut found = Vec::new();
    for (name, conf) in list {
        let Some(text) = name.as_str() else {
            problems.add(name.place, format!("the {key} must be a text, not of type '{}'", name.type_name()));
            continue;
        };
        match conf.as_map() {
            Some(map) => found.push((text, name.place, map)),
            None => {
                problems.enter_task(text);
                problems.add(
                    name.place,
                    format!("its configuration must be a mapping, not of type '{}'", conf.type_name()),
                );
                problems.leave_task();
            }
        }
    }
    found
}

/// Reads the groups into the DAG, parents first.
pub(crate) fn read<'a>(node: Option<&'a Node>, dag: &mut Dag, problems: &mut Problems) -> Vec<Group<'a>> {
    let declared = named("task_groups", "group_name", node, problems);
    let by_name: HashMap<&str, usize> = declared.iter().enumerate().map(|(at, (name, ..))| (*name, at)).collect();
    let mut groups: Vec<Group<'a>> = Vec::new();
    let mut index_of: HashMap<&str, usize> = HashMap::new();
    let mut refused = vec![false; declared.len()];

    for start in 0..declared.len() {
        // From the group up to the first parent that is known already.
        let mut path = Vec::new();
        let mut at = Some(start);
        while let Some(here) = at {
            let (name, place, conf) = declared[here];
            if index_of.contains_key(name) || refused[here] {
                break;
            }
            if let Some(begin) = path.iter().position(|&seen| seen == here) {
                let names: Vec<_> = path[begin..].iter().map(|&at: &usize| declared[at].0).collect();
                problems.enter_task(name);
                problems.add(place, format!("task groups are within one another: {} -> {name}", names.join(" -> ")));
                problems.leave_task();
                path.iter().for_each(|&at| refused[at] = true);
                path.clear();
                break;
            }
            path.push(here);
            problems.enter_task(name);
            let parent = Fields { map: conf, problems }.text("parent_group_name").filter(|parent| !parent.is_empty());
            at = parent.and_then(|parent| {
                let known = by_name.get(parent).copied();
                if known.is_none() {
                    problems.add(place, format!("its parent_group_name '{parent}' is no task group"));
                    refused[here] = true;
                }
                known
            });
            problems.leave_task();
        }
        for here in path.into_iter().rev() {
            let (name, place, conf) = declared[here];
            let parent = conf.get_set("parent_group_name").and_then(Node::as_str).filter(|parent| !parent.is_empty());
            let parent = parent.and_then(|parent| index_of.get(parent)).map(|&at| &groups[at]);
            let group = make(name, place, conf, parent, dag, problems);
            index_of.insert(name, groups.len());
            groups.push(group);
        }
    }
    groups
}

fn make<'a>(
    name: &'a str,
    place: Place,
    conf: &'a Mapping,
    parent: Option<&Group<'_>>,
    dag: &mut Dag,
    problems: &mut Problems,
) -> Group<'a> {
    problems.enter_task(name);
    for (key, _) in &conf.entries {
        if !key.as_str().is_some_and(|key| KNOWN.contains(&key)) {
            problems.add(key.place, format!("a task group has no key '{}'", crate::node::key_text(key)));
        }
    }
    let mut fields = Fields { map: conf, problems };
    let tooltip = fields.text("tooltip").unwrap_or_default().to_owned();
    let prefix_group_id = fields.flag("prefix_group_id").unwrap_or(true);
    let mut default_args = parent.map(|parent| parent.default_args.clone()).unwrap_or_default();
    if let Some(own) = fields.get("default_args") {
        match own.as_map() {
            Some(own) => own.entries.iter().for_each(|(key, value)| default_args.insert(key.clone(), value.clone())),
            None => fields.problems.wrong_type("default_args", own, "dict"),
        }
    }
    problems.leave_task();
    let parent = parent.map(|parent| parent.index);
    let group_id = prefixed(dag, parent, name);
    let index = u32::try_from(dag.groups.len()).unwrap_or(u32::MAX);
    dag.groups.push(TaskGroup { group_id, prefix_group_id, parent, tooltip });
    Group { name, place, conf, index, default_args }
}

/// The id of a member of a group.
pub(crate) fn prefixed(dag: &Dag, group: Option<u32>, name: &str) -> String {
    match group.and_then(|group| dag.groups.get(group as usize)) {
        Some(group) if group.prefix_group_id => format!("{}.{name}", group.group_id),
        _ => name.into(),
    }
}
