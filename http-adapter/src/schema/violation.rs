//! A violation of a schema, found and shown as Python does.

use jsonschema::ValidationError;
use jsonschema::paths::{Location, LocationSegment};
use serde_json::Value;

use super::ordered::{Ordered, quote};
use super::wording;

/// One violation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Violation {
    message: String,
    keyword: String,
    schema_path: String,
    instance_path: String,
    dotted_path: String,
    schema: Ordered,
    instance: Ordered,
}

impl Violation {
    pub(super) fn new(document: &Ordered, source: &Ordered, error: &ValidationError<'_>) -> Self {
        Self::within(document, source, error, None)
    }

    /// The paths are shown from `parent` on, of which the error is a part.
    pub(super) fn within(
        document: &Ordered,
        source: &Ordered,
        error: &ValidationError<'_>,
        parent: Option<&ValidationError<'_>>,
    ) -> Self {
        let schema_path = segments(error.schema_path());
        let instance_path = segments(error.instance_path());
        let (keyword, parents) = match schema_path.split_last() {
            Some((LocationSegment::Property(keyword), parents)) => (keyword.to_string(), parents),
            _ => (error.kind().keyword().to_owned(), schema_path.as_slice()),
        };
        let schema = find(document, parents).unwrap_or(&Ordered::Null);
        let instance =
            find(source, &instance_path).cloned().unwrap_or_else(|| Ordered::from(error.instance().as_ref()));
        let (schema_start, instance_start) = parent
            .map_or((0, 0), |parent| (parent.schema_path().iter().count(), parent.instance_path().iter().count()));
        let dotted: Vec<_> = instance_path.iter().map(ToString::to_string).collect();
        Self {
            message: wording::message(&keyword, schema, &instance, error.kind()),
            keyword,
            schema_path: as_index(parents.get(schema_start..).unwrap_or_default()),
            instance_path: as_index(instance_path.get(instance_start..).unwrap_or_default()),
            dotted_path: dotted.join("."),
            schema: schema.clone(),
            instance,
        }
    }

    /// The message alone.
    #[cfg(feature = "director")]
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The message with the place in dots: `'many' is not of type 'integer' - 'slots'`.
    pub(crate) fn with_path(&self) -> String {
        if self.dotted_path.is_empty() {
            self.message.clone()
        } else {
            format!("{} - '{}'", self.message, self.dotted_path)
        }
    }

    /// The text of Python's `str(error)`, which shows the schema and the instance.
    pub(crate) fn long(&self) -> String {
        format!(
            "{}\n\nFailed validating {} in schema{}:\n    {}\n\nOn instance{}:\n    {}",
            self.message,
            quote(&self.keyword),
            self.schema_path,
            self.schema.pretty().replace('\n', "\n    "),
            self.instance_path,
            self.instance.pretty().replace('\n', "\n    "),
        )
    }
}

/// Whether what breaks a schema has at least the type that the schema names.
pub(super) fn is_of_type(document: &Ordered, error: &ValidationError<'_>) -> bool {
    let schema_path = segments(error.schema_path());
    let parents = schema_path.split_last().map_or(&[][..], |(_, parents)| parents);
    let expected = find(document, parents).and_then(|schema| schema.get("type"));
    let is = |name: &Ordered| match (name.as_str(), error.instance().as_ref()) {
        (Some("integer"), Value::Number(number)) => {
            !number.is_f64() || number.as_f64().is_some_and(|n| n.fract() == 0.0)
        }
        (Some("number"), Value::Number(_))
        | (Some("string"), Value::String(_))
        | (Some("boolean"), Value::Bool(_))
        | (Some("null"), Value::Null)
        | (Some("array"), Value::Array(_))
        | (Some("object"), Value::Object(_)) => true,
        _ => false,
    };
    match expected {
        Some(Ordered::Array(names)) => names.iter().any(is),
        Some(name) => is(name),
        None => false,
    }
}

fn segments(location: &Location) -> Vec<LocationSegment<'_>> {
    location.iter().collect()
}

/// `['properties'][0]`.
fn as_index(segments: &[LocationSegment<'_>]) -> String {
    let parts = segments.iter().map(|segment| match segment {
        LocationSegment::Property(name) => format!("[{}]", quote(name)),
        LocationSegment::Index(index) => format!("[{index}]"),
    });
    parts.collect()
}

fn find<'a>(root: &'a Ordered, path: &[LocationSegment<'_>]) -> Option<&'a Ordered> {
    path.iter().try_fold(root, |node, segment| step(node, segment).map(|(_, child)| child))
}

/// The child that a segment names, and its place among its siblings. A pointer does not tell `0` from `"0"`.
fn step<'a>(node: &'a Ordered, segment: &LocationSegment<'_>) -> Option<(usize, &'a Ordered)> {
    let name = segment.to_string();
    match node {
        Ordered::Object(members) => {
            members.iter().enumerate().find(|(_, (key, _))| *key == name).map(|(place, (_, child))| (place, child))
        }
        Ordered::Array(items) => {
            let index: usize = name.parse().ok()?;
            items.get(index).map(|child| (index, child))
        }
        _ => None,
    }
}

/// What a reference within the document stands for.
fn referred<'a>(document: &'a Ordered, segment: &LocationSegment<'_>, child: &Ordered) -> Option<&'a Ordered> {
    let pointer = child.as_str().filter(|_| segment.to_string() == "$ref")?.strip_prefix('#')?;
    let parts = pointer.split('/').filter(|part| !part.is_empty());
    parts.map(|part| part.replace("~1", "/").replace("~0", "~")).try_fold(document, |node, part| match node {
        Ordered::Array(items) => items.get(part.parse::<usize>().ok()?),
        node => node.get(&part),
    })
}

/// Where Python would find this violation: it walks the schema's keywords as they are written, members in the order of
/// `properties`, and the items of an array one after the other.
pub(super) fn position(document: &Ordered, error: &ValidationError<'_>) -> Vec<usize> {
    #[derive(Clone, Copy)]
    enum Inside {
        Schema,
        /// Of `properties`: each child stands for a member of the instance.
        Members,
        /// Of `allOf` and the like: the children are about the same instance.
        Choices,
    }
    let schema_path = segments(error.evaluation_path());
    let instance_path = segments(error.instance_path());
    let mut instance = instance_path.iter();
    let mut position = Vec::with_capacity(schema_path.len() + instance_path.len() + 1);
    let mut node = document;
    let mut inside = Inside::Schema;
    for segment in &schema_path {
        let Some((place, child)) = step(node, segment) else {
            break;
        };
        let child = referred(document, segment, child).unwrap_or(child);
        position.push(place);
        inside = match (inside, segment.to_string().as_str()) {
            (Inside::Members, _) => {
                instance.next();
                Inside::Schema
            }
            (Inside::Choices, _) => Inside::Schema,
            (Inside::Schema, "properties" | "patternProperties") => Inside::Members,
            (Inside::Schema, "allOf" | "anyOf" | "oneOf") => Inside::Choices,
            (Inside::Schema, "items") => {
                if let Some(LocationSegment::Index(index)) = instance.next() {
                    position.push(*index);
                }
                Inside::Schema
            }
            (Inside::Schema, "additionalProperties") => {
                instance.next();
                Inside::Schema
            }
            (Inside::Schema, _) => Inside::Schema,
        };
        node = child;
    }
    if let jsonschema::error::ValidationErrorKind::Required { property } = error.kind() {
        let place = node.items().iter().position(|name| name.as_str() == property.as_str());
        position.push(place.unwrap_or(usize::MAX));
    }
    position
}
