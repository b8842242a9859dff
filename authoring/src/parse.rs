//! Reads YAML as PyYAML's `FullLoader` does, with places and within bounds.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, Span, Tag};

use crate::env::Refused;
use crate::node::{Data, Mapping, Node, Place};
use crate::scalar;

/// How deep values may be nested. Code that walks over values recurses at most so deep.
const MAX_DEPTH: usize = 100;
/// How many values a file may have, with aliases counted as what they stand for.
const MAX_NODES: usize = 4_000_000;

/// The one document of a text.
#[derive(Debug)]
pub(crate) struct Document {
    /// Its value; null if the text is empty.
    pub(crate) root: Node,
    /// What is wrong within it, with the key of the outermost mapping under which it stands.
    pub(crate) problems: Vec<(Option<String>, Place, String)>,
}

/// What keeps a text from being read at all.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ParseError {
    pub(crate) line: Option<u32>,
    pub(crate) message: String,
}

/// Reads a text. `refused` are the environment variables in it that must not be named, sorted by offset.
pub(crate) fn parse(text: &str, file: u16, refused: &[Refused]) -> Result<Document, ParseError> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.flow_nesting_limit = MAX_DEPTH;
    options.block_nesting_limit = MAX_DEPTH;
    let mut builder = Builder { file, refused, ..Builder::default() };
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| ParseError {
            line: line(error.marker().line()),
            message: format!("the YAML cannot be read: {}", error.info()),
        })?;
        builder.take(event, &span)?;
    }
    let root = builder.root.unwrap_or_else(|| Node::new(Data::Null, Place { file, line: 1 }));
    Ok(Document { root, problems: builder.problems })
}

fn line(line: usize) -> Option<u32> {
    u32::try_from(line).ok().filter(|line| *line > 0)
}

#[derive(Default)]
struct Builder<'a> {
    file: u16,
    refused: &'a [Refused],
    frames: Vec<Frame>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    root: Option<Node>,
    problems: Vec<(Option<String>, Place, String)>,
}

struct Frame {
    place: Place,
    anchor: usize,
    first_node: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<(Node, Node)>, index: HashMap<String, usize>, merged: Vec<(Node, Node)>, key: Option<Key> },
}

enum Key {
    Plain(Node),
    Merge,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), ParseError> {
        let place = Place { file: self.file, line: line(span.start.line()).unwrap_or(1) };
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(error(place, "there is more than one document in the file"))
            }
            Event::Alias(id) => {
                let Some((node, size)) = self.anchors.get(&id) else {
                    return Err(error(place, "an alias stands within what it refers to"));
                };
                let (node, size) = (node.clone(), *size);
                self.count(size, place)?;
                self.push(node, place)
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1, place)?;
                self.check_variables(span, place);
                let is_merge = style == ScalarStyle::Plain && tag.is_none() && text == "<<";
                if is_merge && self.awaits_key() {
                    if let Some(Frame { content: Content::Map { key, .. }, .. }) = self.frames.last_mut() {
                        *key = Some(Key::Merge);
                    }
                    return Ok(());
                }
                let node = Node::new(self.scalar(text, style, tag, place), place);
                if anchor != 0 {
                    self.anchors.insert(anchor, (node.clone(), 1));
                }
                self.push(node, place)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), &["seq", "python/list", "python/tuple"], place);
                self.open(anchor, place, Content::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.check_tag(tag.as_deref(), &["map", "python/dict"], place);
                let content =
                    Content::Map { entries: Vec::new(), index: HashMap::new(), merged: Vec::new(), key: None };
                self.open(anchor, place, content)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(place),
            _ => Ok(()),
        }
    }

    fn count(&mut self, nodes: usize, place: Place) -> Result<(), ParseError> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(error(
                place,
                &format!("the file has more than {MAX_NODES} values, aliases counted as what they stand for"),
            ));
        }
        Ok(())
    }

    fn open(&mut self, anchor: usize, place: Place, content: Content) -> Result<(), ParseError> {
        if self.frames.len() >= MAX_DEPTH {
            return Err(error(place, &format!("values are nested more than {MAX_DEPTH} deep")));
        }
        self.count(1, place)?;
        self.frames.push(Frame { place, anchor, first_node: self.nodes, content });
        Ok(())
    }

    fn close(&mut self, place: Place) -> Result<(), ParseError> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        let data = match frame.content {
            Content::List(items) => Data::List(items),
            Content::Map { entries, merged, .. } if merged.is_empty() => Data::Map(Mapping { entries }),
            Content::Map { entries, merged, .. } => {
                let mut mapping = Mapping::default();
                for (key, value) in merged.into_iter().chain(entries) {
                    mapping.insert(key, value);
                }
                Data::Map(mapping)
            }
        };
        let node = Node::new(data, frame.place);
        if frame.anchor != 0 {
            let size = self.nodes - frame.first_node + 1;
            self.anchors.insert(frame.anchor, (node.clone(), size));
        }
        self.push(node, place)
    }

    fn awaits_key(&self) -> bool {
        matches!(self.frames.last(), Some(Frame { content: Content::Map { key: None, .. }, .. }))
    }

    fn push(&mut self, node: Node, place: Place) -> Result<(), ParseError> {
        let Some(frame) = self.frames.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        let (entries, index, merged, key) = match &mut frame.content {
            Content::List(items) => {
                items.push(node);
                return Ok(());
            }
            Content::Map { entries, index, merged, key } => (entries, index, merged, key),
        };
        match key.take() {
            None => {
                if matches!(node.data, Data::List(_) | Data::Map(_)) {
                    return Err(error(place, "a key of a mapping must be a scalar"));
                }
                *key = Some(Key::Plain(node));
            }
            Some(Key::Plain(name)) => match name.as_str() {
                // The last value of a key counts, in the place of the first.
                Some(text) => match index.get(text) {
                    Some(&at) => entries[at] = (name, node),
                    None => {
                        index.insert(text.into(), entries.len());
                        entries.push((name, node));
                    }
                },
                None => match entries.iter_mut().find(|(other, _)| *other == name) {
                    Some(entry) => entry.1 = node,
                    None => entries.push((name, node)),
                },
            },
            Some(Key::Merge) => {
                let wrong = || error(place, "'<<' merges mappings only");
                match node.data {
                    Data::Map(mapping) => merged.extend(mapping.entries),
                    Data::List(list) => {
                        for item in list.into_iter().rev() {
                            match item.data {
                                Data::Map(mapping) => merged.extend(mapping.entries),
                                _ => return Err(wrong()),
                            }
                        }
                    }
                    _ => return Err(wrong()),
                }
            }
        }
        Ok(())
    }

    fn scalar(&mut self, text: Cow<'_, str>, style: ScalarStyle, tag: Option<Cow<'_, Tag>>, place: Place) -> Data {
        let resolved = match tag.as_deref().map(tag_name) {
            None if style == ScalarStyle::Plain => scalar::resolve(&text),
            None => return Data::Str(text.into_owned()),
            Some(Some("str" | "python/str" | "python/unicode")) => return Data::Str(text.into_owned()),
            Some(Some("null" | "python/none")) => return Data::Null,
            Some(Some("int" | "python/int" | "python/long")) => {
                scalar::int(&text).and_then(|data| data.ok_or_else(|| format!("{text:?} is not a number")))
            }
            Some(Some("float" | "python/float")) => {
                let plain = || text.replace('_', "").parse().ok();
                scalar::float(&text).or_else(plain).map(Data::Float).ok_or_else(|| format!("{text:?} is not a number"))
            }
            Some(Some("bool" | "python/bool")) => scalar::null_or_bool(&text)
                .filter(|data| *data != Data::Null)
                .ok_or_else(|| format!("{text:?} is not a bool")),
            Some(Some("timestamp")) => scalar::resolve(&text),
            Some(_) => {
                let name = tag.as_deref().map(Tag::original).unwrap_or_default();
                Err(format!("the tag {name} is not supported; objects are written with __type__"))
            }
        };
        resolved.unwrap_or_else(|message| {
            self.problem(place, message);
            Data::Null
        })
    }

    fn check_tag(&mut self, tag: Option<&Tag>, allowed: &[&str], place: Place) {
        if let Some(tag) = tag
            && !tag_name(tag).is_some_and(|name| allowed.contains(&name))
        {
            let name = tag.original();
            self.problem(place, format!("the tag {name} is not supported; objects are written with __type__"));
        }
    }

    /// A shell's own variables in a command are left to the shell; anywhere else a name must be allowed.
    fn check_variables(&mut self, span: &Span, place: Place) {
        let Some(range) = span.byte_range() else { return };
        let first = self.refused.partition_point(|refused| refused.offset < range.start);
        let is_command = self.frames.iter().any(|frame| match &frame.content {
            Content::Map { key: Some(Key::Plain(key)), .. } => key.as_str() == Some("bash_command"),
            _ => false,
        });
        for refused in self.refused[first..].iter().take_while(|refused| refused.offset < range.end) {
            if refused.is_set || !is_command {
                let message = format!(
                    "the environment variable '{}' is not on the list of those that DAG files may name",
                    refused.name
                );
                self.problem(place, message);
            }
        }
    }

    fn problem(&mut self, place: Place, message: String) {
        let top = self.frames.first().and_then(|frame| match &frame.content {
            Content::Map { key: Some(Key::Plain(key)), .. } => Some(crate::node::key_text(key)),
            _ => None,
        });
        self.problems.push((top, place, message));
    }
}

fn error(place: Place, message: &str) -> ParseError {
    ParseError { line: Some(place.line), message: message.into() }
}

/// The name of one of YAML's own tags.
fn tag_name(tag: &Tag) -> Option<&str> {
    if tag.original() == "!" {
        return Some("str");
    }
    tag.core_suffix()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn json(text: &str) -> Value {
        let document = parse(text, 0, &[]).unwrap();
        assert_eq!(document.problems, []);
        document.root.to_json()
    }

    fn message(text: &str) -> String {
        parse(text, 0, &[]).unwrap_err().message
    }

    #[test]
    fn documents_become_values() {
        assert_eq!(
            json("a: [1, 'x', {b: ~}]\nc: |\n  two\n  lines\n"),
            json!({"a": [1, "x", {"b": null}], "c": "two\nlines\n"})
        );
        assert_eq!(json("# nothing\n"), Value::Null);
        assert_eq!(json("a: 1\nb: 2\na: 3\n"), json!({"a": 3, "b": 2}));
        assert_eq!(json("!!str 1: !!int '2'\nyes: !!float 3\n"), json!({"1": 2, "true": 3.0}));
    }

    #[test]
    fn aliases_and_merges_are_resolved() {
        let text = "base: &b {x: 1, y: 2}\nother: &o {y: 3, z: 4}\none: {<<: *b, y: 9}\ntwo:\n  <<: [*b, *o]\n";
        let value = json(text);
        assert_eq!(value["one"], json!({"x": 1, "y": 9}));
        assert_eq!(value["two"], json!({"x": 1, "y": 2, "z": 4}));
        assert!(message("a: &a [*a]").contains("alias"));
        assert!(message("a: {<<: 1}").contains("merges mappings"));
    }

    #[test]
    fn lines_are_those_of_the_text() {
        let document = parse("a:\n  b: 1\n\n  c:\n    - x\n", 3, &[]).unwrap();
        let a = document.root.as_map().unwrap().get("a").unwrap().as_map().unwrap();
        assert_eq!(a.get("b").unwrap().place, Place { file: 3, line: 2 });
        assert_eq!(a.get("c").unwrap().as_list().unwrap()[0].place.line, 5);
        assert!(parse("a: 1\nb: [", 0, &[]).unwrap_err().line >= Some(2));
    }

    #[test]
    fn bombs_are_refused() {
        assert!(message(&format!("{}{}", "[".repeat(10_000), "]".repeat(10_000))).contains("the YAML cannot be read"));
        let deep: String = (0..10_000).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
        assert!(parse(&deep, 0, &[]).is_err());
        let mut laughs = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
        for i in 1..12 {
            let aliases = vec![format!("*a{}", i - 1); 10].join(", ");
            laughs.push_str(&format!("a{i}: &a{i} [{aliases}]\n"));
        }
        assert!(message(&laughs).contains("more than 4000000 values"));
    }

    #[test]
    fn foreign_tags_are_named() {
        let document =
            parse("dag:\n  x: !!python/name:os.system ''\n  y: !!python/object/apply:os.system [ls]\n", 0, &[])
                .unwrap();
        assert_eq!(document.problems.len(), 2);
        assert_eq!(document.problems[0].0.as_deref(), Some("dag"));
        assert!(document.problems[0].2.contains("!!python/name:os.system"), "{:?}", document.problems);
    }
}
