//! Query and path parameters that have been checked, and what handlers ask of them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use updraft_core::storage::{OrderBy, PageRequest, Range};

use super::date;
use super::field::Fields;
use super::problem::Problem;

/// The most entries of a page, also where none or a larger number is asked for.
const MAX_LIMIT: usize = 100;

/// Parameters that fit the document.
#[derive(Debug, Default)]
pub(crate) struct Parameters(BTreeMap<String, Value>);

impl Parameters {
    pub(crate) fn insert(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// All of them, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// A text; none where it was not given.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    pub(crate) fn integer(&self, name: &str) -> Option<i64> {
        self.0.get(name).and_then(Value::as_i64)
    }

    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.0.get(name).and_then(Value::as_f64)
    }

    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.0.get(name).and_then(Value::as_bool)
    }

    /// The items of an array, which were repeated or separated by commas.
    pub(crate) fn list(&self, name: &str) -> Option<Vec<String>> {
        let items = self.0.get(name)?.as_array()?;
        Some(items.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    pub(crate) fn date(&self, name: &str) -> Option<DateTime<Utc>> {
        self.text(name).and_then(date::parse).map(|date| date.to_utc())
    }

    /// The bounds `<name>_gte` and `<name>_lte`.
    pub(crate) fn date_range(&self, name: &str) -> Range<DateTime<Utc>> {
        Range { at_least: self.date(&format!("{name}_gte")), at_most: self.date(&format!("{name}_lte")) }
    }

    /// The bounds `<name>_gte` and `<name>_lte`.
    pub(crate) fn number_range(&self, name: &str) -> Range<f64> {
        Range { at_least: self.number(&format!("{name}_gte")), at_most: self.number(&format!("{name}_lte")) }
    }

    /// `limit` and `offset`: 100 entries at most, also for 0.
    pub(crate) fn page(&self) -> Result<PageRequest, Problem> {
        let page = self.uncapped_page()?;
        let limit = if page.limit == 0 { MAX_LIMIT } else { page.limit.min(MAX_LIMIT) };
        Ok(PageRequest { limit, ..page })
    }

    /// `limit` and `offset` of the lists that Airflow does not cap; still 100 entries where nothing is asked for.
    pub(crate) fn uncapped_page(&self) -> Result<PageRequest, Problem> {
        let limit = match self.integer("limit") {
            Some(limit) => usize::try_from(limit)
                .map_err(|_| Problem::bad_request_titled("Page limit must be a positive integer", None))?,
            None => MAX_LIMIT,
        };
        let offset = usize::try_from(self.integer("offset").unwrap_or(0)).unwrap_or(0);
        Ok(PageRequest { limit, offset })
    }

    /// `order_by`, where `allowed` names what one may sort by; none where it was not given.
    pub(crate) fn order_by<F: Copy>(&self, allowed: &[(&str, F)]) -> Result<Option<OrderBy<F>>, Problem> {
        self.text("order_by").map(|text| order_by(text, allowed)).transpose()
    }

    /// The members that the caller wants to see.
    pub(crate) fn fields(&self) -> Fields {
        Fields::new(self.list("fields"))
    }
}

/// Reads `name` or `-name`.
pub(crate) fn order_by<F: Copy>(text: &str, allowed: &[(&str, F)]) -> Result<OrderBy<F>, Problem> {
    let name = text.trim_start_matches('-');
    let Some((_, field)) = allowed.iter().find(|(allowed, _)| *allowed == name) else {
        let detail = format!("Ordering with '{name}' is disallowed or the attribute does not exist on the model");
        return Err(Problem::bad_request(detail));
    };
    Ok(OrderBy { field: *field, descending: text.starts_with('-') })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parameters(value: Value) -> Parameters {
        Parameters(value.as_object().unwrap().clone().into_iter().collect())
    }

    #[test]
    fn pages_are_capped() {
        let page = |value| parameters(value).page().unwrap();
        assert_eq!(page(json!({})), PageRequest { limit: 100, offset: 0 });
        assert_eq!(page(json!({"limit": 0, "offset": 3})), PageRequest { limit: 100, offset: 3 });
        assert_eq!(page(json!({"limit": 1000})), PageRequest { limit: 100, offset: 0 });
        assert_eq!(page(json!({"limit": 7})), PageRequest { limit: 7, offset: 0 });
        assert_eq!(parameters(json!({"limit": 1000})).uncapped_page().unwrap().limit, 1000);
        let problem = parameters(json!({"limit": -1})).page().unwrap_err();
        assert_eq!(problem.body()["title"], "Page limit must be a positive integer");
        assert_eq!(problem.body()["detail"], Value::Null);
    }

    #[test]
    fn orders_are_from_the_allowed_names() {
        let order = |text| order_by(text, &[("dag_id", 1), ("state", 2)]);
        assert_eq!(order("-state").unwrap(), OrderBy { field: 2, descending: true });
        assert_eq!(order("dag_id").unwrap(), OrderBy { field: 1, descending: false });
        let problem = order("--nope").unwrap_err();
        assert_eq!(
            problem.body()["detail"],
            "Ordering with 'nope' is disallowed or the attribute does not exist on the model"
        );
        assert!(order("").is_err());
    }
}
