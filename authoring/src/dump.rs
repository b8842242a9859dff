//! Writes values as PyYAML's `dump` does with `sort_keys=False`: the documentation of a DAG shows its configuration so.

use serde_json::{Map, Value};
use updraft_core::model::{DatasetCondition, DatasetNode};

use crate::date;
use crate::node::{Data, Mapping, Node, ParamNode};
use crate::scalar;

/// Beyond this column, lines are folded at a space.
const WIDTH: usize = 80;
const INDENT: usize = 2;
/// A key of this length or more is written with a question mark; PyYAML counts its tag, `!!str`, even if it is not shown.
const LONG_KEY: usize = 128;
const TAG: usize = 5;

/// A mapping of one key, as a document.
pub(crate) fn dump(key: &str, value: &Node) -> String {
    let mut mapping = Mapping::default();
    mapping.insert_str(key, value.clone());
    let mut emitter = Emitter { out: String::new(), column: 0, whitespace: true, indention: true, indent: None };
    emitter.node(&Tree::from_data(&Data::Map(mapping)), Context::Root);
    emitter.write_indent();
    emitter.out
}

/// What is written: values of Python's own classes as plain trees with tags.
enum Tree {
    Scalar { text: String, is_str: bool },
    List { tag: String, items: Vec<Tree> },
    Map { tag: String, entries: Vec<(Tree, Tree)> },
}

impl Tree {
    fn plain(text: impl Into<String>) -> Self {
        Self::Scalar { text: text.into(), is_str: false }
    }

    fn text(text: impl Into<String>) -> Self {
        Self::Scalar { text: text.into(), is_str: true }
    }

    fn object<'a>(class: &str, fields: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        let entries = fields.into_iter().map(|(name, field)| (Self::text(name), field)).collect();
        Self::Map { tag: format!("!!python/object:{class}"), entries }
    }

    fn from_data(data: &Data) -> Self {
        match data {
            Data::Null => Self::plain("null"),
            Data::Bool(value) => Self::plain(value.to_string()),
            Data::Int(value) => Self::plain(value.to_string()),
            Data::BigInt(digits) => Self::plain(digits.as_str()),
            Data::Float(value) => Self::plain(yaml_float(*value)),
            Data::Str(text) => Self::text(text.as_str()),
            Data::Date(date) => Self::plain(date.to_string()),
            Data::DateTime(at, offset) => Self::plain(date::isoformat(*at, *offset).replacen('T', " ", 1)),
            Data::List(items) => Self::List { tag: String::new(), items: items.iter().map(Self::from_node).collect() },
            Data::Map(map) => Self::from_mapping(String::new(), map),
            Data::TimeDelta(micros) => {
                let (days, rest) = (micros.div_euclid(86_400_000_000), micros.rem_euclid(86_400_000_000));
                let parts = [days, rest / 1_000_000, rest % 1_000_000];
                Self::List {
                    tag: "!!python/object/apply:datetime.timedelta".into(),
                    items: parts.into_iter().map(|part| Self::plain(part.to_string())).collect(),
                }
            }
            Data::RelativeDelta(fields) => relative_delta(fields),
            Data::Param(param) => param_tree(param),
            Data::Datasets(condition) => datasets(condition),
            Data::Object(object) => {
                let mut tree = Self::from_mapping(format!("!!python/object:{}", object.class), &object.kwargs);
                if let (Self::Map { entries, .. }, false) = (&mut tree, object.args.is_empty()) {
                    let items = object.args.iter().map(Self::from_node).collect();
                    entries.insert(0, (Self::text("args"), Self::List { tag: String::new(), items }));
                }
                tree
            }
        }
    }

    fn from_node(node: &Node) -> Self {
        Self::from_data(&node.data)
    }

    fn from_mapping(tag: String, map: &Mapping) -> Self {
        let entries = map.entries.iter().map(|(key, value)| (Self::from_node(key), Self::from_node(value))).collect();
        Self::Map { tag, entries }
    }

    /// JSON comes from our own values, so its objects have no order to keep.
    fn from_json(value: &Value) -> Self {
        match value {
            Value::Null => Self::plain("null"),
            Value::Bool(value) => Self::plain(value.to_string()),
            Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
                Some(float) => Self::plain(yaml_float(float)),
                None => Self::plain(number.to_string()),
            },
            Value::String(text) => Self::text(text.as_str()),
            Value::Array(items) => {
                Self::List { tag: String::new(), items: items.iter().map(Self::from_json).collect() }
            }
            Value::Object(map) => {
                let entries =
                    map.iter().map(|(key, value)| (Self::text(key.as_str()), Self::from_json(value))).collect();
                Self::Map { tag: String::new(), entries }
            }
        }
    }
}

fn param_tree(param: &ParamNode) -> Tree {
    let no_value = || Tree::Map { tag: "!!python/object:airflow.utils.types.ArgNotSet".into(), entries: Vec::new() };
    Tree::object(
        "airflow.models.param.Param",
        [
            ("value", param.value.as_ref().map_or_else(no_value, Tree::from_node)),
            ("description", param.description.as_deref().map_or_else(|| Tree::plain("null"), Tree::text)),
            ("schema", Tree::from_mapping(String::new(), &param.schema)),
        ],
    )
}

fn relative_delta(fields: &Map<String, Value>) -> Tree {
    let number = |name: &str| fields.get(name).and_then(Value::as_i64).unwrap_or(0);
    let relative = ["years", "months", "days", "leapdays", "hours", "minutes", "seconds", "microseconds"];
    let absolute = ["year", "month", "day", "hour", "minute", "second", "microsecond", "weekday"];
    let has_time = relative[4..].iter().any(|name| number(name) != 0)
        || absolute[3..7].iter().any(|name| fields.contains_key(*name));
    let mut entries: Vec<(&str, Tree)> = Vec::new();
    for name in relative {
        let value = number(name) + if name == "days" { number("weeks") * 7 } else { 0 };
        entries.push((name, Tree::plain(value.to_string())));
    }
    for name in absolute {
        entries.push((name, fields.get(name).map_or_else(|| Tree::plain("null"), Tree::from_json)));
    }
    entries.push(("_has_time", Tree::plain(i32::from(has_time).to_string())));
    Tree::object("dateutil.relativedelta.relativedelta", entries)
}

fn datasets(condition: &DatasetCondition) -> Tree {
    let mut stack: Vec<Tree> = Vec::new();
    for node in &condition.postfix {
        let (class, count) = match node {
            DatasetNode::Uri(uri) => {
                let fields = [("uri", Tree::text(uri.as_str())), ("extra", Tree::plain("null"))];
                stack.push(Tree::object("airflow.datasets.Dataset", fields));
                continue;
            }
            DatasetNode::All(count) => ("airflow.datasets.DatasetAll", *count),
            DatasetNode::Any(count) => ("airflow.datasets.DatasetAny", *count),
            _ => continue,
        };
        let items = stack.split_off(stack.len().saturating_sub(count as usize));
        stack.push(Tree::object(class, [("objects", Tree::List { tag: String::new(), items })]));
    }
    stack.pop().unwrap_or_else(|| Tree::plain("null"))
}

/// A float as Python's `repr` shows it.
pub(crate) fn python_float(value: f64) -> String {
    if !value.is_finite() {
        return if value.is_nan() {
            "nan".into()
        } else if value > 0.0 {
            "inf".into()
        } else {
            "-inf".into()
        };
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        return format!("{value:?}");
    }
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

fn yaml_float(value: f64) -> String {
    let text = python_float(value);
    match text.as_str() {
        "nan" => ".nan".into(),
        "inf" => ".inf".into(),
        "-inf" => "-.inf".into(),
        _ if !text.contains('.') && text.contains('e') => text.replacen('e', ".0e", 1),
        _ => text,
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Context {
    Root,
    Item,
    Value,
    Key,
}

struct Emitter {
    out: String,
    column: usize,
    whitespace: bool,
    indention: bool,
    indent: Option<usize>,
}

impl Emitter {
    fn node(&mut self, tree: &Tree, context: Context) {
        match tree {
            Tree::Scalar { text, is_str } => {
                let outer = self.deepen(true, false);
                self.scalar(text, *is_str, context == Context::Key);
                self.indent = outer;
            }
            Tree::List { tag, items } => {
                self.tag(tag);
                if items.is_empty() {
                    return self.indicator("[]", true, false);
                }
                let indentless = context == Context::Value && !self.indention;
                let outer = self.deepen(false, indentless);
                for item in items {
                    self.write_indent();
                    self.indicator("-", true, true);
                    self.node(item, Context::Item);
                }
                self.indent = outer;
            }
            Tree::Map { tag, entries } => {
                self.tag(tag);
                if entries.is_empty() {
                    return self.indicator("{}", true, false);
                }
                let outer = self.deepen(false, false);
                for (key, value) in entries {
                    self.write_indent();
                    if is_simple_key(key) {
                        self.node(key, Context::Key);
                        self.indicator(":", false, false);
                    } else {
                        self.indicator("?", true, true);
                        self.node(key, Context::Value);
                        self.write_indent();
                        self.indicator(":", true, true);
                    }
                    self.node(value, Context::Value);
                }
                self.indent = outer;
            }
        }
    }

    fn tag(&mut self, tag: &str) {
        if !tag.is_empty() {
            self.indicator(tag, true, false);
        }
    }

    fn deepen(&mut self, is_flow: bool, indentless: bool) -> Option<usize> {
        let outer = self.indent;
        self.indent = match outer {
            None => Some(if is_flow { INDENT } else { 0 }),
            Some(indent) => Some(if indentless { indent } else { indent + INDENT }),
        };
        outer
    }

    fn write(&mut self, text: &str) {
        self.column += text.chars().count();
        self.out.push_str(text);
    }

    fn indicator(&mut self, text: &str, needs_whitespace: bool, keeps_indention: bool) {
        if needs_whitespace && !self.whitespace {
            self.write(" ");
        }
        self.whitespace = false;
        self.indention = self.indention && keeps_indention;
        self.write(text);
    }

    fn line_break(&mut self, text: &str) {
        self.whitespace = true;
        self.indention = true;
        self.column = 0;
        self.out.push_str(text);
    }

    fn write_indent(&mut self) {
        let indent = self.indent.unwrap_or(0);
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.line_break("\n");
        }
        if self.column < indent {
            self.whitespace = true;
            let pad = " ".repeat(indent - self.column);
            self.write(&pad);
        }
    }

    fn scalar(&mut self, text: &str, is_str: bool, is_key: bool) {
        let analysis = Analysis::of(text);
        let is_implicit = !is_str || (!matches!(text, "<<" | "=") && matches!(scalar::resolve(text), Ok(Data::Str(_))));
        let folds = !is_key;
        if is_implicit && analysis.plain && !(is_key && text.is_empty()) {
            self.plain(text, folds);
        } else if analysis.single_quoted && !(is_key && analysis.multiline) {
            self.single_quoted(text, folds);
        } else {
            self.double_quoted(text, folds);
        }
    }

    fn plain(&mut self, text: &str, folds: bool) {
        if text.is_empty() {
            return;
        }
        if !self.whitespace {
            self.write(" ");
        }
        self.whitespace = false;
        self.indention = false;
        for run in runs(text, |c| c == ' ') {
            if run == " " && self.column > WIDTH && folds {
                self.write_indent();
                self.whitespace = false;
                self.indention = false;
            } else {
                self.write(run);
            }
        }
    }

    fn single_quoted(&mut self, text: &str, folds: bool) {
        self.indicator("'", true, false);
        let mut at = 0;
        let kind = |c: char| {
            if c == ' ' {
                1
            } else if is_break(c) {
                2
            } else {
                0
            }
        };
        for run in runs_by(text, kind) {
            let end = at + run.len();
            match run.chars().next().map_or(0, kind) {
                1 if run == " " && self.column > WIDTH && folds && at != 0 && end != text.len() => self.write_indent(),
                2 => {
                    if run.starts_with('\n') {
                        self.line_break("\n");
                    }
                    for c in run.chars() {
                        self.line_break(c.encode_utf8(&mut [0; 4]));
                    }
                    self.write_indent();
                }
                _ => self.write(&run.replace('\'', "''")),
            }
            at = end;
        }
        self.indicator("'", false, false);
    }

    fn double_quoted(&mut self, text: &str, folds: bool) {
        self.indicator("\"", true, false);
        let chars: Vec<char> = text.chars().collect();
        let collect = |from: usize, to: usize| chars[from..to].iter().collect::<String>();
        let mut start = 0;
        for end in 0..=chars.len() {
            let next = chars.get(end).copied();
            if next.is_none_or(needs_escape) {
                if start < end {
                    self.write(&collect(start, end));
                    start = end;
                }
                if let Some(c) = next {
                    self.write(&escape(c));
                    start = end + 1;
                }
            }
            if end > 0
                && end + 1 < chars.len()
                && (next == Some(' ') || start >= end)
                && self.column + end > WIDTH + start
                && folds
            {
                let data = if start < end { collect(start, end) } else { String::new() };
                start = start.max(end);
                self.write(&format!("{data}\\"));
                self.write_indent();
                self.whitespace = false;
                self.indention = false;
                if chars.get(start) == Some(&' ') {
                    self.write("\\");
                }
            }
        }
        self.indicator("\"", false, false);
    }
}

fn is_simple_key(key: &Tree) -> bool {
    match key {
        Tree::Scalar { text, .. } => text.chars().count() + TAG < LONG_KEY && !text.contains(is_break),
        _ => false,
    }
}

fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_space(c: char) -> bool {
    is_break(c) || matches!(c, '\0' | ' ' | '\t' | '\r')
}

fn runs(text: &str, kind: impl Fn(char) -> bool) -> Vec<&str> {
    runs_by(text, |c| u8::from(kind(c)))
}

/// The text cut where the kind of its characters changes.
fn runs_by(text: &str, kind: impl Fn(char) -> u8) -> Vec<&str> {
    let mut runs = Vec::new();
    let mut start = 0;
    let mut last = None;
    for (at, c) in text.char_indices() {
        let this = kind(c);
        if last.is_some_and(|last| last != this) {
            runs.push(&text[start..at]);
            start = at;
        }
        last = Some(this);
    }
    if start < text.len() {
        runs.push(&text[start..]);
    }
    runs
}

fn needs_escape(c: char) -> bool {
    matches!(c, '"' | '\\' | '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
        || !matches!(c, '\u{20}'..='\u{7e}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
}

fn escape(c: char) -> String {
    let short = match c {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' => '"',
        '\\' => '\\',
        '\u{85}' => 'N',
        '\u{a0}' => '_',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        _ => {
            let code = u32::from(c);
            return match code {
                0..=0xff => format!("\\x{code:02X}"),
                0x100..=0xffff => format!("\\u{code:04X}"),
                _ => format!("\\U{code:08X}"),
            };
        }
    };
    format!("\\{short}")
}

/// In which ways a text can be written.
struct Analysis {
    plain: bool,
    single_quoted: bool,
    multiline: bool,
}

impl Analysis {
    fn of(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let (Some(&first), Some(&last)) = (chars.first(), chars.last()) else {
            return Self { plain: true, single_quoted: true, multiline: false };
        };
        let mut indicator = text.starts_with("---") || text.starts_with("...");
        let (mut breaks, mut special, mut space_break, mut break_space) = (false, false, false, false);
        for (at, &c) in chars.iter().enumerate() {
            let before = at.checked_sub(1).map(|before| chars[before]);
            let space_after = chars.get(at + 1).is_none_or(|&next| is_space(next));
            indicator |= match c {
                '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`'
                    if at == 0 =>
                {
                    true
                }
                '?' | '-' => at == 0 && space_after,
                ':' => space_after,
                '#' => before.is_some_and(is_space),
                _ => false,
            };
            breaks |= is_break(c);
            let printable = matches!(c, '\n' | '\u{20}'..='\u{7e}' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
                || ('\u{10000}'..'\u{10ffff}').contains(&c);
            special |= !printable || c == '\u{feff}';
            space_break |= is_break(c) && before == Some(' ');
            break_space |= c == ' ' && before.is_some_and(is_break);
        }
        let edges = [first, last].iter().any(|&c| c == ' ' || is_break(c));
        let single_quoted = !break_space && !space_break && !special;
        Self { plain: !edges && single_quoted && !breaks && !indicator, single_quoted, multiline: breaks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Place;
    use indexmap::IndexMap;

    /// JSON with the order of its members.
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Ordered {
        Null(()),
        Bool(bool),
        Int(i64),
        Float(f64),
        Str(String),
        List(Vec<Ordered>),
        Map(IndexMap<String, Ordered>),
    }

    impl Ordered {
        fn node(self) -> Node {
            let data = match self {
                Self::Null(()) => Data::Null,
                Self::Bool(value) => Data::Bool(value),
                Self::Int(value) => Data::Int(value),
                Self::Float(value) => Data::Float(value),
                Self::Str(text) => Data::Str(text),
                Self::List(list) => Data::List(list.into_iter().map(Self::node).collect()),
                Self::Map(map) => {
                    let mut mapping = Mapping::default();
                    for (key, value) in map {
                        mapping.insert(Node::new(Data::Str(key), Place::default()), value.node());
                    }
                    Data::Map(mapping)
                }
            };
            Node::new(data, Place::default())
        }
    }

    #[derive(serde::Deserialize)]
    struct Case {
        value: Ordered,
        text: String,
    }

    #[test]
    fn values_are_written_as_pyyaml_writes_them() {
        let text = include_str!("../tests/data/yaml-dump.json");
        let cases: Vec<Case> = serde_json::from_str(text).unwrap();
        for case in cases {
            assert_eq!(dump("k", &case.value.node()), case.text);
        }
    }
}
