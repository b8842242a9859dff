//! The stages of a definition, and the groups and chains in them.

use updraft_core::id::TaskIx;

use super::definition::{Build, Input};
use crate::node::{Node, Place};

/// How deep groups and chains may be nested.
pub(super) const MAX_NESTING: usize = 16;

/// What has been laid out so far, for what comes after it: on which tasks that waits, and what it takes.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) tails: Vec<TaskIx>,
    pub(super) result: Input,
}

/// A group or chain that is being laid out.
struct Frame<'n> {
    is_chain: bool,
    items: std::slice::Iter<'n, Node>,
    place: Place,
    group: Option<u32>,
    /// What the next item comes after: in a chain the item before it.
    before: Part,
    /// Of a group: the ends and results of its members, and how many they are.
    tails: Vec<TaskIx>,
    results: Vec<serde_json::Value>,
    members: u64,
}

impl<'n> Frame<'n> {
    fn new(is_chain: bool, items: &'n [Node], place: Place, group: Option<u32>, before: Part) -> Self {
        let (tails, results) = (Vec::new(), Vec::new());
        Self { is_chain, items: items.iter(), place, group, before, tails, results, members: 0 }
    }

    fn take(&mut self, part: Part) {
        self.members += 1;
        if self.is_chain {
            self.before = part;
            return;
        }
        self.tails.extend(part.tails);
        match part.result {
            Input::List(list) => self.results.extend(list),
            Input::Of(id) => self.results.push(id.into()),
        }
    }

    /// As Celery has it, the result of a group of one is that of its member, not a list.
    fn end(mut self) -> Part {
        if self.is_chain {
            return self.before;
        }
        if self.members != 1 {
            self.results.push(self.members.into());
        }
        Part { tails: self.tails, result: Input::List(self.results) }
    }
}

/// Lays out the stages one after the other. What is wrong goes to the problems; `None` if that leaves nothing to go on with.
pub(super) fn lay_out<'n>(place: Place, stages: &'n [Node], build: &mut Build<'_, '_>) -> Option<Part> {
    let start = Part { tails: Vec::new(), result: Input::List(vec![serde_json::Value::Null]) };
    let mut open: Vec<Frame<'n>> = vec![Frame::new(true, stages, place, None, start)];
    loop {
        let depth = open.len();
        let frame = open.last_mut()?;
        let Some(item) = frame.items.next() else {
            let frame = open.pop()?;
            if frame.members == 0 && !open.is_empty() {
                build.problems.add(frame.place, "a group or chain needs at least one task");
            }
            let part = frame.end();
            match open.last_mut() {
                Some(outer) => outer.take(part),
                None => return Some(part),
            }
            continue;
        };
        if let Some(name) = item.as_str() {
            let part = build.task(name, item.place, &frame.before, frame.group);
            frame.take(part);
            continue;
        }
        let Some((name, is_chain, tasks)) = nested(item, depth, build) else { continue };
        // All members of a group wait for all that comes before it.
        if !is_chain && tasks.len() > 1 {
            frame.before = build.gathered(frame.before.clone());
        }
        let (before, parent) = (frame.before.clone(), frame.group);
        let group = build.group(&name, parent);
        open.push(Frame::new(is_chain, tasks, item.place, Some(group), before));
    }
}

/// The name of a group or chain, whether it is a chain, and what is in it.
fn nested<'n>(item: &'n Node, depth: usize, build: &mut Build<'_, '_>) -> Option<(String, bool, &'n [Node])> {
    let mut wrong = |place, message: String| build.problems.add(place, message);
    let Some([(name, content)]) = item.as_map().map(|map| map.entries.as_slice()) else {
        wrong(item.place, "a stage must be the name of a task, or a mapping of one name to a group".into());
        return None;
    };
    let name = crate::node::key_text(name);
    let Some(map) = content.as_map() else {
        wrong(item.place, format!("the group '{name}' must be a mapping of 'type' and 'tasks'"));
        return None;
    };
    let kind = map.get("type").and_then(Node::as_str);
    let is_chain = match (depth, kind) {
        (1, _) => false,
        (_, Some("group")) => false,
        (_, Some("chain")) => true,
        _ => {
            wrong(content.place, format!("the type of '{name}' must be 'group' or 'chain'"));
            return None;
        }
    };
    let Some(tasks) = map.get("tasks").and_then(Node::as_list) else {
        wrong(content.place, format!("the group '{name}' needs a list of 'tasks'"));
        return None;
    };
    if depth > MAX_NESTING {
        wrong(item.place, format!("groups and chains are nested more than {MAX_NESTING} deep"));
        return None;
    }
    Some((name, is_chain, tasks))
}
