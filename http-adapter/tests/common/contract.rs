//! What Airflow's OpenAPI document promises of answers.
//!
//! The document is Airflow's own where the machine has it, else ours, which `reference_test.rs` compares with it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use jsonschema::{Draft, Validator};
use serde_json::{Map, Value, json};

use super::wire::Answer;

const OURS: &str = include_str!("../../src/airflow/openapi.yaml");

/// Statuses that real Airflow answers where an operation does not document them: what the router, the checks of requests
/// and the access control refuse.
const GENERIC: &[u16] = &[400, 401, 403, 404, 405, 406, 415];

/// Conflicts that real Airflow answers though the operation does not document them.
const UNDOCUMENTED_CONFLICTS: &[&str] = &["patch_user", "post_connection", "post_pool", "post_role"];

/// Members of problems that the document calls strings, and that are null in real Airflow: the text of an error is in one of
/// them, and the other has none.
const NULL_IN_PROBLEMS: &[&str] = &["detail", "title"];

static CONTRACT: LazyLock<Contract> = LazyLock::new(Contract::load);

struct Contract {
    operations: Vec<Operation>,
    problem: Validator,
}

struct Operation {
    id: String,
    method: String,
    /// The parts of the path, and whether a name stands for several.
    parts: Vec<Part>,
    /// By status and type of content.
    contents: BTreeMap<u16, BTreeMap<String, Validator>>,
}

enum Part {
    Fixed(String),
    One,
    Rest,
}

/// Whether the answer keeps what the document promises; answers outside of the API promise nothing.
pub fn check(method: &str, target: &str, answer: &Answer) -> Result<(), String> {
    let path = target.split('?').next().unwrap_or_default();
    let Some(path) = path.strip_prefix("/api/v1/") else { return Ok(()) };
    CONTRACT.check(method, path, answer)
}

/// The operations of the document, as method and path.
pub fn operations() -> Vec<(String, String)> {
    let document = document();
    let paths = document["paths"].as_object().unwrap().iter();
    let operations =
        paths.flat_map(|(path, item)| methods(item).map(|(method, _)| (method.to_uppercase(), path.clone())));
    operations.collect()
}

impl Contract {
    fn load() -> Self {
        let document = document();
        let components = schemas_of_json(&document["components"]);
        let compile = |schema: &Value| {
            let schema = json!({"allOf": [schemas_of_json(schema)], "components": components});
            jsonschema::options().with_draft(Draft::Draft7).build(&schema).unwrap()
        };
        let mut problem = document["components"]["schemas"]["Error"].clone();
        for member in NULL_IN_PROBLEMS {
            problem["properties"][*member]["nullable"] = true.into();
        }
        let mut operations = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods(item) {
                let shared = item["parameters"].as_array().into_iter().flatten();
                let own = operation["parameters"].as_array().into_iter().flatten();
                let long: Vec<&str> = own
                    .chain(shared)
                    .map(|parameter| referred(&document, parameter))
                    .filter(|parameter| parameter["schema"]["format"] == "path")
                    .map(|parameter| parameter["name"].as_str().unwrap())
                    .collect();
                let responses = operation["responses"].as_object().unwrap();
                let contents = responses.iter().map(|(status, response)| {
                    let contents = referred(&document, response)["content"].as_object().into_iter().flatten();
                    let contents = contents.map(|(kind, content)| (kind.clone(), compile(&content["schema"])));
                    (status.parse().unwrap(), contents.collect())
                });
                operations.push(Operation {
                    id: operation["operationId"].as_str().unwrap().to_owned(),
                    method: method.to_uppercase(),
                    parts: path.split('/').skip(1).map(|part| Part::new(part, &long)).collect(),
                    contents: contents.collect(),
                });
            }
        }
        Self { operations, problem: compile(&problem) }
    }

    fn check(&self, method: &str, path: &str, answer: &Answer) -> Result<(), String> {
        let status = answer.status;
        if status >= 500 {
            return Err(format!("{status} tells of a defect"));
        }
        let wanted = if method == "HEAD" { "GET" } else { method };
        let all = self.operations.iter().filter(|operation| operation.method == wanted && operation.fits(path));
        let Some(operation) = all.max_by_key(|operation| operation.fixed_parts()) else {
            return match status {
                400.. => self.check_problem(method, answer),
                _ => Ok(()), // a page, a redirection, or the methods of a path
            };
        };
        match operation.contents.get(&status) {
            // Which is a page there, if the host does not allow it.
            _ if operation.id == "test_connection" && status == 403 && is_page(answer) => Ok(()),
            None if operation.admits(status) => self.check_problem(method, answer),
            None => Err(format!("{} does not document {status}", operation.id)),
            Some(_) if status >= 400 => self.check_problem(method, answer),
            Some(_) if method == "HEAD" => expect_empty(answer),
            Some(contents) if contents.is_empty() => {
                expect_empty(answer).or_else(|reason| match operation.id.as_str() {
                    // Which says so where the file is to be read again already.
                    "reparse_dag_file" => Ok(()),
                    _ => Err(reason),
                })
            }
            Some(contents) => {
                let kind = answer.content_type.as_deref().unwrap_or_default().split(';').next().unwrap_or_default();
                let schema =
                    contents.get(kind).ok_or_else(|| format!("{} does not document {kind:?}", operation.id))?;
                let value = match kind {
                    "application/json" => parsed(answer)?,
                    _ => Value::from(answer.text.clone()),
                };
                validate(schema, &value)
            }
        }
    }

    fn check_problem(&self, method: &str, answer: &Answer) -> Result<(), String> {
        // What cannot be said in a form that the caller accepts is not said.
        if method == "HEAD" || answer.status == 406 {
            return Ok(());
        }
        if answer.content_type.as_deref() != Some("application/problem+json") {
            return Err(format!("a problem has the type {:?}", answer.content_type));
        }
        let problem = parsed(answer)?;
        let members: Vec<_> = problem.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        if members != ["detail", "status", "title", "type"] || problem["status"] != answer.status {
            return Err("the problem has not Airflow's form".to_owned());
        }
        validate(&self.problem, &problem)
    }
}

impl Operation {
    fn fits(&self, path: &str) -> bool {
        let mut given = path.split('/');
        for part in &self.parts {
            match (part, given.next()) {
                (_, None | Some("")) => return false,
                (Part::Rest, Some(_)) => return true,
                (Part::Fixed(name), Some(part)) if name != part => return false,
                _ => {}
            }
        }
        given.next().is_none()
    }

    fn fixed_parts(&self) -> usize {
        self.parts.iter().filter(|part| matches!(part, Part::Fixed(_))).count()
    }

    fn admits(&self, status: u16) -> bool {
        GENERIC.contains(&status) || status == 409 && UNDOCUMENTED_CONFLICTS.contains(&self.id.as_str())
    }
}

impl Part {
    fn new(part: &str, long: &[&str]) -> Self {
        match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            None => Self::Fixed(part.to_owned()),
            Some(name) if long.contains(&name) => Self::Rest,
            Some(_) => Self::One,
        }
    }
}

fn is_page(answer: &Answer) -> bool {
    answer.content_type.as_deref() == Some("text/html; charset=utf-8")
}

fn parsed(answer: &Answer) -> Result<Value, String> {
    serde_json::from_str(&answer.text).map_err(|error| format!("no JSON: {error}"))
}

fn expect_empty(answer: &Answer) -> Result<(), String> {
    if answer.text.is_empty() { Ok(()) } else { Err(format!("{} has no body", answer.status)) }
}

fn validate(schema: &Validator, value: &Value) -> Result<(), String> {
    let violations: Vec<_> = schema.iter_errors(value).map(|e| format!("{}: {e}", e.instance_path())).collect();
    if violations.is_empty() { Ok(()) } else { Err(violations.join("; ")) }
}

fn document() -> Value {
    let folder = std::env::var_os("UPDRAFT_REFERENCE").map(PathBuf::from);
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference");
    let file = folder.unwrap_or_else(beside).join("openapi/v1-2.11.2.yaml");
    let text = std::fs::read_to_string(file);
    serde_saphyr::from_str(text.as_deref().unwrap_or(OURS)).unwrap()
}

fn methods(item: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let members = item.as_object().unwrap().iter();
    members.filter(|(name, _)| *name != "parameters").map(|(name, operation)| (name.as_str(), operation))
}

fn referred<'a>(document: &'a Value, node: &'a Value) -> &'a Value {
    match node["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
        None => node,
    }
}

/// Schemas of OpenAPI 3.0 as schemas of JSON: `nullable` adds null to what is allowed, beside a reference too.
fn schemas_of_json(node: &Value) -> Value {
    let members = match node {
        Value::Array(items) => return items.iter().map(schemas_of_json).collect(),
        Value::Object(members) => members,
        scalar => return scalar.clone(),
    };
    let nullable = members.get("nullable") == Some(&Value::Bool(true));
    let mut out = Map::new();
    for (name, value) in members {
        match (name.as_str(), value) {
            ("nullable", Value::Bool(_)) | ("discriminator" | "description" | "example", Value::String(_)) => {}
            ("discriminator", Value::Object(_)) if members.contains_key("oneOf") => {}
            ("enum", Value::Array(options)) if nullable => {
                let null = (!options.contains(&Value::Null)).then_some(Value::Null);
                out.insert(name.clone(), options.iter().cloned().chain(null).collect());
            }
            _ => {
                out.insert(name.clone(), schemas_of_json(value));
            }
        }
    }
    let simple = !out.contains_key("$ref") && !out.contains_key("oneOf") && !out.contains_key("allOf");
    match out.get("type") {
        Some(Value::String(name)) if nullable && simple => {
            let types = json!([name, "null"]);
            out.insert("type".to_owned(), types);
            Value::Object(out)
        }
        _ if nullable => json!({"anyOf": [Value::Object(out), {"type": "null"}]}),
        _ => Value::Object(out),
    }
}
