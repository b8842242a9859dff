//! Query and path parameters that have been checked, and what handlers ask of them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use updraft_core::storage::{OrderBy, PageRequest, Range};

use super::date;
use super::field::Fields;
use super::problem::Problem;

/// The entries of a page where nothing is asked for, as the document says.
const DEFAULT_LIMIT: usize = 100;

/// How long pages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageLimits {
    /// The most entries, also where more are asked for.
    pub(crate) maximum: usize,
    /// The entries where 0 is asked for.
    pub(crate) fallback: usize,
}

impl Default for PageLimits {
    fn default() -> Self {
        Self { maximum: 100, fallback: 100 }
    }
}

/// Parameters that fit the document.
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    values: BTreeMap<String, Value>,
    limits: PageLimits,
}

impl Parameters {
    /// With pages as long as the host has it.
    pub(super) fn limited(self, limits: PageLimits) -> Self {
        Self { limits, ..self }
    }

    pub(crate) fn insert(&mut self, name: &str, value: Value) {
        self.values.insert(name.to_owned(), value);
    }

    /// All of them, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// A text; none where it was not given.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).and_then(Value::as_str)
    }

    pub(crate) fn integer(&self, name: &str) -> Option<i64> {
        self.values.get(name).and_then(Value::as_i64)
    }

    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.values.get(name).and_then(Value::as_f64)
    }

    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.values.get(name).and_then(Value::as_bool)
    }

    /// The items of an array, which were repeated or separated by commas.
    pub(crate) fn list(&self, name: &str) -> Option<Vec<String>> {
        let items = self.values.get(name)?.as_array()?;
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

    /// `limit` and `offset`; no more entries than the host allows.
    pub(crate) fn page(&self) -> Result<PageRequest, Problem> {
        let page = self.uncapped_page()?;
        let limit = if page.limit == 0 { self.limits.fallback } else { page.limit.min(self.limits.maximum) };
        Ok(PageRequest { limit, ..page })
    }

    /// `limit` and `offset` of the lists that Airflow does not cap; still 100 entries where nothing is asked for.
    pub(crate) fn uncapped_page(&self) -> Result<PageRequest, Problem> {
        let limit = match self.integer("limit") {
            Some(limit) => usize::try_from(limit)
                .map_err(|_| Problem::bad_request_titled("Page limit must be a positive integer", None))?,
            None => DEFAULT_LIMIT,
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
        let values = value.as_object().unwrap().clone().into_iter().collect();
        Parameters { values, limits: PageLimits::default() }
    }

    #[test]
    fn pages_are_capped() {
        let page = |value| parameters(value).page().unwrap();
        assert_eq!(page(json!({})), PageRequest { limit: 100, offset: 0 });
        assert_eq!(page(json!({"limit": 0, "offset": 3})), PageRequest { limit: 100, offset: 3 });
        assert_eq!(page(json!({"limit": 1000})), PageRequest { limit: 100, offset: 0 });
        assert_eq!(page(json!({"limit": 7})), PageRequest { limit: 7, offset: 0 });
        assert_eq!(parameters(json!({"limit": 1000})).uncapped_page().unwrap().limit, 1000);
        let limits = PageLimits { maximum: 500, fallback: 20 };
        let limit = |value| parameters(value).limited(limits).page().unwrap().limit;
        assert_eq!([limit(json!({})), limit(json!({"limit": 0})), limit(json!({"limit": 1000}))], [100, 20, 500]);
        let limits = PageLimits { maximum: 5, fallback: 20 };
        assert_eq!(parameters(json!({})).limited(limits).page().unwrap().limit, 5);
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
