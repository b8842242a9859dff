//! The statements: static text in files, values by bind parameters only.

use std::borrow::Cow;

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

/// The schema that the files name.
pub(crate) const DEFAULT_SCHEMA: &str = "updraft";

/// The text of a file of `sql/`.
macro_rules! sql {
    ($name:literal) => {
        include_str!(concat!("../sql/", $name, ".sql"))
    };
}
pub(crate) use sql;

/// Texts that statements share: each stands where a statement has its name in a comment, as in `/* runs */`.
const PARTS: &[(&str, &str)] = &[
    ("all run values", sql!("part/all_run_values")),
    ("all runs", sql!("part/all_runs")),
    ("all tasks", sql!("part/all_tasks")),
    ("dags", sql!("part/dags")),
    ("date and id", sql!("part/date_and_id")),
    ("ended", sql!("part/ended")),
    ("event", sql!("part/event")),
    ("events", sql!("part/events")),
    ("events of dag", sql!("part/events_of_dag")),
    ("in states", sql!("part/in_states")),
    ("instance", sql!("part/instance")),
    ("of dag", sql!("part/of_dag")),
    ("own", sql!("part/own")),
    ("run", sql!("part/run")),
    ("run values", sql!("part/run_values")),
    ("runs", sql!("part/runs")),
    ("size", sql!("part/size")),
    ("tasks", sql!("part/tasks")),
    ("unfinished", sql!("part/unfinished")),
    ("values", sql!("part/values")),
];

/// In place of `runs`, where all are of one DAG.
pub(crate) const RUNS_OF_DAG: (&str, &str) = ("runs", sql!("part/runs_of_dag"));

/// In place of `dags`, where they are chosen by what tells little: it can be planned once.
pub(crate) const ALL_DAGS: (&str, &str) = ("dags", sql!("part/all_dags"));

/// In place of `of dag`, where all runs of the DAG are asked for: what is not asked for costs time, too, whenever a plan starts.
pub(crate) const ALL_OF_DAG: (&str, &str) = ("of dag", sql!("part/all_of_dag"));

/// Puts the schema's name into statements.
#[derive(Debug, Clone)]
pub(crate) struct Schema(Cow<'static, str>);

impl Schema {
    /// # Errors
    /// The name is no plain identifier.
    pub(crate) fn new(name: &str) -> Result<Self, String> {
        let is_plain = name.len() <= 63
            && name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !is_plain {
            return Err(format!(
                "'{name}' cannot be the name of the schema: small letters, digits and underscores, not a digit first, at most 63"
            ));
        }
        Ok(Self(if name == DEFAULT_SCHEMA { Cow::Borrowed(DEFAULT_SCHEMA) } else { Cow::Owned(name.to_owned()) }))
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// A statement for this schema.
    pub(crate) fn sql(&self, text: &'static str) -> SqlStr {
        if text.contains("/* ") {
            return self.with::<&str>(text, &[]);
        }
        if self.name() == DEFAULT_SCHEMA {
            return text.into_sql_str();
        }
        self.finished(text.to_owned())
    }

    /// A statement whose `/* order */` is one of the orders that this crate knows.
    pub(crate) fn ordered(&self, text: &'static str, order: &str) -> SqlStr {
        self.with(text, &[("order", order)])
    }

    /// A statement with these parts, which are this crate's own texts, besides those that statements share.
    pub(crate) fn with<T: AsRef<str>>(&self, text: &'static str, parts: &[(&str, T)]) -> SqlStr {
        let mut expanded = String::with_capacity(2 * text.len());
        expand(text, parts, &mut expanded);
        self.finished(expanded)
    }

    fn finished(&self, text: String) -> SqlStr {
        let text =
            if self.name() == DEFAULT_SCHEMA { text } else { text.replace("updraft.", &format!("{}.", self.name())) };
        // The text is this crate's own; the schema's name was checked to be a plain identifier.
        AssertSqlSafe(text).into_sql_str()
    }
}

/// Recurses over our own texts only, which name each other two deep.
fn expand<T: AsRef<str>>(text: &str, parts: &[(&str, T)], out: &mut String) {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("/* ") {
        out.push_str(before);
        let Some((name, after)) = after.split_once(" */") else {
            out.push_str("/* ");
            rest = after;
            continue;
        };
        let own = parts.iter().find(|(known, _)| *known == name).map(|(_, part)| part.as_ref());
        match own.or_else(|| PARTS.iter().find(|(known, _)| *known == name).map(|(_, part)| *part)) {
            Some(part) => expand(part.trim_end(), parts, out),
            None => {
                out.push_str("/* ");
                out.push_str(name);
                out.push_str(" */");
            }
        }
        rest = after;
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use sqlx::Executor;
    use updraft_test_postgres::Cluster;

    use super::*;
    use crate::page::{Orders, Walk, Walks};

    #[test]
    fn names_of_schemas_are_identifiers() {
        for name in ["updraft", "_a1", "tenant_7"] {
            assert!(Schema::new(name).is_ok(), "{name}");
        }
        for name in ["", "1a", "A", "a-b", "a.b", "a\"b", "a b", &"a".repeat(64)] {
            assert!(Schema::new(name).is_err(), "{name}");
        }
    }

    #[test]
    fn another_schema_takes_the_place_of_the_default() {
        let schema = Schema::new("tenant").expect("an identifier");
        assert_eq!(schema.sql("SELECT id FROM updraft.dag_run").as_str(), "SELECT id FROM tenant.dag_run");
    }

    /// All statements by name, as they are in the folder.
    fn files() -> Vec<(String, String)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
        let mut found = Vec::new();
        for noun in std::fs::read_dir(&folder).expect("the folder of statements") {
            for file in std::fs::read_dir(noun.expect("a noun").path()).expect("a folder") {
                let path = file.expect("a file").path();
                let name = path.strip_prefix(&folder).expect("it is in the folder").with_extension("");
                if name.starts_with("part") {
                    continue;
                }
                found.push((name.display().to_string(), std::fs::read_to_string(&path).expect("a statement")));
            }
        }
        found.sort();
        found
    }

    fn texts<F>(orders: &Orders<F>) -> Vec<&'static str> {
        orders.iter().flat_map(|(_, texts)| *texts).chain([""]).collect()
    }

    fn walks<F>(orders: &Walks<F>, last: &'static str) -> Vec<String> {
        let keys = orders.iter().map(|(_, keys)| *keys);
        let both = |keys| [Walk { keys, last, descending: false }, Walk { keys, last, descending: true }];
        keys.flat_map(both).flat_map(|walk| [walk.order(), walk.mirrored()]).collect()
    }

    /// What may stand for `/* order */`, and for `/* walk */`.
    fn orders(name: &str) -> Vec<String> {
        let owned = |texts: Vec<&'static str>| texts.into_iter().map(str::to_owned).collect();
        match name {
            "dag/list" => owned(texts(crate::dag::ORDERS)),
            "dag_run/page" | "dag_run/of_dag" => walks(crate::dag_run::ORDERS, crate::dag_run::LAST),
            "dag_warning/list" => owned(texts(crate::dag_warning::ORDERS)),
            "dataset/events" => owned(texts(crate::dataset::EVENT_ORDERS)),
            "dataset/list" => owned(texts(crate::dataset::ORDERS)),
            "event_log/list" => walks(crate::event_log::ORDERS, crate::event_log::LAST),
            "import_error/list" => owned(texts(crate::import_error::ORDERS)),
            "pool/list" => owned(texts(crate::pool::ORDERS)),
            "role/list" => owned(texts(crate::role::ORDERS)),
            "secret/connections" => owned(texts(crate::secret::CONNECTION_ORDERS)),
            "secret/variables" => owned(texts(crate::secret::VARIABLE_ORDERS)),
            "user/list" => owned(texts(crate::user::ORDERS)),
            _ => panic!("{name} has an order, but which?"),
        }
    }

    /// All forms of a statement.
    fn variants(schema: &Schema, name: &str, text: &'static str) -> Vec<SqlStr> {
        if text.contains("/* order */") {
            let with = |order: &String| schema.with(text, &[("order", order.as_str()), ("walk", order)]);
            let with_all = |order: &String| schema.with(text, &[("order", order.as_str()), ALL_OF_DAG]);
            let orders = orders(name);
            let all = orders.iter().filter(|_| text.contains("/* of dag */")).map(with_all);
            let all_dags = text.contains("/* dags */").then(|| schema.with(text, &[("order", ""), ALL_DAGS]));
            return orders.iter().map(with).chain(all).chain(all_dags).collect();
        }
        if text.contains("/* down */") || text.contains("/* runs */") {
            let downs = ["", "DESC"].map(|down| ("down", down));
            return downs
                .iter()
                .flat_map(|down| [schema.with(text, &[*down]), schema.with(text, &[*down, RUNS_OF_DAG])])
                .collect();
        }
        vec![schema.sql(text)]
    }

    #[tokio::test]
    async fn every_statement_fits_the_schema() {
        let database = Cluster::shared().await.database().await;
        let mut connection = database.connect().await;
        let schema = Schema::new(DEFAULT_SCHEMA).expect("an identifier");
        let mut wrong = Vec::new();
        let files = files();
        assert!(files.len() > 50, "the statements are found");
        for (name, text) in files {
            let text: &'static str = text.leak();
            for variant in variants(&schema, &name, text) {
                if let Err(error) = connection.prepare(variant).await {
                    wrong.push(format!("{name}: {error}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
