//! The OpenAPI document: what is served to people and clients, and the source of all checks of requests.

use http::Method;
use serde_json::Value;

use crate::schema::{Flavour, Ordered, Schema, SchemaError};

/// The document as it is written.
pub(crate) const TEXT: &str = include_str!("openapi.yaml");

/// A document that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DocumentError {
    #[error("the OpenAPI document is not YAML: {0}")]
    Yaml(String),
    #[error("the OpenAPI document refers to {0}, which is not there")]
    Reference(String),
    #[error("the OpenAPI document lacks {0}")]
    Lacks(String),
    #[error("in the operation {0}: {1}")]
    Schema(String, #[source] SchemaError),
}

/// The document, and what was compiled from it.
#[derive(Debug)]
pub(crate) struct Document {
    source: Ordered,
    pub(crate) operations: Vec<OperationSpec>,
}

/// One operation as the document describes it.
#[derive(Debug)]
pub(crate) struct OperationSpec {
    pub(crate) id: String,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) body: Option<Schema>,
}

/// A parameter of an operation.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
    pub(crate) schema: Schema,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Path,
    Query,
}

/// How the text of a parameter becomes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Integer,
    Number,
    Boolean,
    /// Of strings. Where not exploded, the last of several counts.
    Array {
        explode: bool,
    },
    /// A text that may hold slashes.
    Path,
    Text,
}

impl Document {
    pub(crate) fn load() -> Result<Self, DocumentError> {
        let source: Ordered = serde_saphyr::from_str(TEXT).map_err(|error| DocumentError::Yaml(error.to_string()))?;
        let resolved = resolve(&source, &source)?;
        let paths = resolved.get("paths").ok_or_else(|| DocumentError::Lacks("paths".to_owned()))?;
        let mut operations = Vec::new();
        for (path, item) in paths.members() {
            let shared = item.get("parameters").map(Ordered::items).unwrap_or_default();
            for (method, operation) in item.members() {
                if let Some(method) = method_of(method) {
                    operations.push(OperationSpec::new(path, method, operation, shared)?);
                }
            }
        }
        Ok(Self { source, operations })
    }

    /// The document as JSON on one line, for clients that reach this server at `base_path`.
    pub(crate) fn json(&self, base_path: &str) -> Vec<u8> {
        let mut document = self.source.to_value();
        document["servers"][0]["url"] = Value::from(base_path);
        let mut bytes = document.to_string().into_bytes();
        bytes.push(b'\n');
        bytes
    }

    /// The document as YAML, for clients that reach this server at `base_path`.
    pub(crate) fn yaml(base_path: &str) -> Vec<u8> {
        let quoted = Value::from(base_path).to_string();
        TEXT.replacen("{url: /api/v1,", &format!("{{url: {quoted},"), 1).into_bytes()
    }
}

impl OperationSpec {
    fn new(path: &str, method: Method, operation: &Ordered, shared: &[Ordered]) -> Result<Self, DocumentError> {
        let text = |key: &str| operation.get(key).and_then(Ordered::as_str).map(str::to_owned);
        let id =
            text("operationId").ok_or_else(|| DocumentError::Lacks(format!("an operationId of {method} {path}")))?;
        let of_schema = |error| DocumentError::Schema(id.clone(), error);
        let own = operation.get("parameters").map(Ordered::items).unwrap_or_default();
        let mut parameters = Vec::new();
        for parameter in own.iter().chain(shared) {
            parameters.push(Parameter::new(&id, parameter)?);
        }
        let body = operation.get("requestBody").and_then(|body| body.get("content"));
        let body = body.and_then(|content| content.get("application/json")).and_then(|json| json.get("schema"));
        let body =
            body.map(|schema| Schema::compile(schema.clone(), Flavour::Request)).transpose().map_err(of_schema)?;
        Ok(Self { id, method, path: path.to_owned(), parameters, body })
    }

    pub(crate) fn parameters_in(&self, place: Place) -> impl Iterator<Item = &Parameter> {
        self.parameters.iter().filter(move |parameter| parameter.place == place)
    }
}

impl Parameter {
    fn new(operation: &str, parameter: &Ordered) -> Result<Self, DocumentError> {
        let lacks = |what: &str| DocumentError::Lacks(format!("{what} of a parameter of {operation}"));
        let name = parameter.get("name").and_then(Ordered::as_str).ok_or_else(|| lacks("the name"))?;
        let place = match parameter.get("in").and_then(Ordered::as_str) {
            Some("path") => Place::Path,
            Some("query") => Place::Query,
            _ => return Err(lacks("a known place")),
        };
        let schema = parameter.get("schema").ok_or_else(|| lacks("the schema"))?;
        let format = schema.get("format").and_then(Ordered::as_str);
        let kind = match schema.get("type").and_then(Ordered::as_str) {
            Some("integer") => Kind::Integer,
            Some("number") => Kind::Number,
            Some("boolean") => Kind::Boolean,
            Some("array") => Kind::Array { explode: parameter.get("explode") != Some(&Ordered::Bool(false)) },
            _ if format == Some("path") => Kind::Path,
            _ => Kind::Text,
        };
        Ok(Self {
            name: name.to_owned(),
            place,
            kind,
            required: parameter.get("required").is_some_and(Ordered::is_true),
            schema: Schema::compile(schema.clone(), Flavour::Parameter)
                .map_err(|error| DocumentError::Schema(operation.to_owned(), error))?,
        })
    }
}

fn method_of(name: &str) -> Option<Method> {
    match name {
        "get" => Some(Method::GET),
        "post" => Some(Method::POST),
        "put" => Some(Method::PUT),
        "patch" => Some(Method::PATCH),
        "delete" => Some(Method::DELETE),
        _ => None,
    }
}

/// Puts the referred parts in place of all references. What stands beside a reference keeps its place before them, and
/// gives way to what they say. Recurses over our own document only.
pub(super) fn resolve(node: &Ordered, root: &Ordered) -> Result<Ordered, DocumentError> {
    match node {
        Ordered::Array(items) => {
            Ok(Ordered::Array(items.iter().map(|item| resolve(item, root)).collect::<Result<_, _>>()?))
        }
        Ordered::Object(members) => {
            let mut out: Vec<(String, Ordered)> = Vec::with_capacity(members.len());
            let mut put = |key: &str, value: Ordered| match out.iter_mut().find(|(name, _)| name == key) {
                Some(member) => member.1 = value,
                None => out.push((key.to_owned(), value)),
            };
            for (key, value) in members.iter().filter(|(key, _)| key != "$ref") {
                put(key, resolve(value, root)?);
            }
            if let Some(reference) = node.get("$ref").and_then(Ordered::as_str) {
                let missing = || DocumentError::Reference(reference.to_owned());
                let path = reference.strip_prefix("#/").ok_or_else(missing)?;
                let target = path.split('/').try_fold(root, |node, key| node.get(key)).ok_or_else(missing)?;
                for (key, value) in resolve(target, root)?.members() {
                    put(key, value.clone());
                }
            }
            Ok(Ordered::Object(out))
        }
        scalar => Ok(scalar.clone()),
    }
}
