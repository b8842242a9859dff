//! Members of bodies and answers: those a caller may send, and those it wants to see.

use serde::Serialize;
use serde_json::{Map, Value};

use super::json;
use super::problem::Problem;
use crate::schema::quote;

/// What is wrong with the members of a body, in the words of Airflow's second check, which comes after the schema's.
#[derive(Debug, Default)]
pub(crate) struct FieldErrors(Vec<(String, Vec<String>)>);

impl FieldErrors {
    pub(crate) fn one(field: &str, message: &str) -> Self {
        let mut errors = Self::default();
        errors.add(field, message);
        errors
    }

    /// A complaint about the body as a whole.
    pub(crate) fn whole(message: &str) -> Self {
        Self::one("_schema", message)
    }

    pub(crate) fn add(&mut self, field: &str, message: &str) {
        match self.0.iter_mut().find(|(name, _)| name == field) {
            Some((_, messages)) => messages.push(message.to_owned()),
            None => self.0.push((field.to_owned(), vec![message.to_owned()])),
        }
    }

    /// Complains about each member that is not in `known`.
    pub(crate) fn add_unknown(&mut self, body: &Map<String, Value>, known: &[&str]) {
        for field in body.keys().filter(|field| !known.contains(&field.as_str())) {
            self.add(field, "Unknown field.");
        }
    }

    /// Complains about each of `required` that is not there.
    pub(crate) fn add_missing(&mut self, body: &Map<String, Value>, required: &[&str]) {
        for field in required.iter().filter(|field| !body.contains_key(**field)) {
            self.add(field, "Missing data for required field.");
        }
    }

    /// An error if there was anything to complain about.
    pub(crate) fn check(self) -> Result<(), Problem> {
        if self.0.is_empty() { Ok(()) } else { Err(self.into_problem()) }
    }

    /// A complaint about a member of an item of a list: `{'roles': {0: {'name': ['Unknown field.']}}}`. The path names the
    /// members down to it.
    pub(crate) fn nested(list: &str, index: usize, path: &[&str], message: &str) -> Problem {
        let inner = path
            .iter()
            .rev()
            .fold(format!("[{}]", quote(message)), |inner, member| format!("{{{}: {inner}}}", quote(member)));
        Problem::bad_request(format!("{{{}: {{{index}: {inner}}}}}", quote(list)))
    }

    /// Complains about each text that is longer than its field may be.
    pub(crate) fn add_too_long(&mut self, body: &Map<String, Value>, limits: &[(&str, usize)]) {
        for (field, limit) in limits {
            if body.get(*field).and_then(Value::as_str).is_some_and(|text| text.chars().count() > *limit) {
                self.add(field, &format!("Longer than maximum length {limit}."));
            }
        }
    }

    /// 400 with the complaints as Python writes a dict: `{'nope': ['Unknown field.']}`.
    pub(crate) fn into_problem(self) -> Problem {
        let fields: Vec<_> = self
            .0
            .iter()
            .map(|(field, messages)| {
                let messages: Vec<_> = messages.iter().map(|message| quote(message)).collect();
                format!("{}: [{}]", quote(field), messages.join(", "))
            })
            .collect();
        Problem::bad_request(format!("{{{}}}", fields.join(", ")))
    }
}

/// The members that a caller wants to see (`fields=a,b`).
#[derive(Debug)]
pub(crate) struct Fields(Option<Vec<String>>);

impl Fields {
    pub(crate) fn new(names: Option<Vec<String>>) -> Self {
        Self(names)
    }

    /// Names that are not in `known`; how Airflow complains about them depends on the operation.
    pub(crate) fn unknown(&self, known: &[&str]) -> Vec<&str> {
        let names = self.0.iter().flatten().map(String::as_str);
        names.filter(|name| !known.contains(name)).collect()
    }

    /// Leaves only the wanted members.
    pub(crate) fn project(&self, mut entry: Map<String, Value>) -> Map<String, Value> {
        if let Some(names) = &self.0 {
            entry.retain(|name, _| names.contains(name));
        }
        entry
    }

    /// An entry, whose members are in order, with the wanted ones only.
    pub(crate) fn of<T: Serialize>(&self, entry: T) -> Wanted<T> {
        match &self.0 {
            None => Wanted::Whole(entry),
            Some(_) => Wanted::Part(Value::Object(self.project(json::members(&entry)))),
        }
    }
}

/// An entry, or what the caller wants to see of it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Wanted<T> {
    Whole(T),
    Part(#[serde(serialize_with = "json::sorted")] Value),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn complaints_are_a_python_dict() {
        let body = json!({"nope": true});
        let body = body.as_object().unwrap();
        let mut errors = FieldErrors::default();
        errors.add_missing(body, &["include_upstream"]);
        errors.add_unknown(body, &["include_upstream"]);
        let problem = errors.check().unwrap_err();
        assert_eq!(
            problem.body()["detail"],
            "{'include_upstream': ['Missing data for required field.'], 'nope': ['Unknown field.']}"
        );
        let whole = FieldErrors::whole("Both 'data_interval_start' and 'data_interval_end' must be specified together");
        assert_eq!(
            whole.into_problem().body()["detail"],
            "{'_schema': [\"Both 'data_interval_start' and 'data_interval_end' must be specified together\"]}"
        );
    }

    #[test]
    fn complaints_about_items_name_them() {
        let problem = FieldErrors::nested("actions", 2, &["action", "name"], "Unknown field.");
        assert_eq!(problem.body()["detail"], "{'actions': {2: {'action': {'name': ['Unknown field.']}}}}");
    }

    #[test]
    fn fields_pick_members() {
        let entry = json!({"a": 1, "b": 2}).as_object().unwrap().clone();
        let fields = Fields::new(Some(vec!["b".to_owned(), "nope".to_owned()]));
        assert_eq!(Value::Object(fields.project(entry.clone())), json!({"b": 2}));
        assert_eq!(fields.unknown(&["a", "b"]), ["nope"]);
        assert_eq!(Fields::new(None).project(entry.clone()), entry);
    }
}
