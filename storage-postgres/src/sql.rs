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
        if self.name() == DEFAULT_SCHEMA {
            return text.into_sql_str();
        }
        self.renamed(text)
    }

    /// A statement whose `/* order */` is one of the orders that this crate knows.
    pub(crate) fn ordered(&self, text: &'static str, order: &'static str) -> SqlStr {
        self.renamed(&text.replace("/* order */", order))
    }

    fn renamed(&self, text: &str) -> SqlStr {
        let text = if self.name() == DEFAULT_SCHEMA {
            text.to_owned()
        } else {
            text.replace("updraft.", &format!("{}.", self.name()))
        };
        // The text is this crate's own; the schema's name was checked to be a plain identifier.
        AssertSqlSafe(text).into_sql_str()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use sqlx::Executor;
    use updraft_test_postgres::Cluster;

    use super::*;
    use crate::page::Orders;

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
                found.push((name.display().to_string(), std::fs::read_to_string(&path).expect("a statement")));
            }
        }
        found.sort();
        found
    }

    fn texts<F>(orders: &Orders<F>) -> Vec<&'static str> {
        orders.iter().flat_map(|(_, texts)| *texts).chain([""]).collect()
    }

    /// What may stand for `/* order */`.
    fn orders(name: &str) -> Vec<&'static str> {
        use updraft_core::storage::RunOrder as R;
        let of_runs = [
            [R::Id, R::DagId, R::RunId, R::LogicalDate, R::StartDate].as_slice(),
            &[R::EndDate, R::State, R::UpdatedAt, R::ExternalTrigger, R::Conf],
            &[R::RunType, R::QueuedAt, R::DataIntervalStart, R::DataIntervalEnd, R::LastSchedulingDecision],
        ];
        match name {
            "dag/list" => texts(crate::dag::ORDERS),
            "dataset/events" => texts(crate::dataset::EVENT_ORDERS),
            "dataset/list" => texts(crate::dataset::ORDERS),
            "dag_warning/list" => texts(crate::dag_warning::ORDERS),
            "dag_run/page" => of_runs.concat().into_iter().flat_map(crate::dag_run::order).collect(),
            "event_log/list" => texts(crate::event_log::ORDERS),
            "import_error/list" => texts(crate::import_error::ORDERS),
            "pool/list" => texts(crate::pool::ORDERS),
            "secret/connections" => texts(crate::secret::CONNECTION_ORDERS),
            "secret/variables" => texts(crate::secret::VARIABLE_ORDERS),
            "role/list" => texts(crate::role::ORDERS),
            "user/list" => texts(crate::user::ORDERS),
            _ => panic!("{name} has an order, but which?"),
        }
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
            let variants = match text.contains("/* order */") {
                true => orders(&name).into_iter().map(|order| schema.ordered(text, order)).collect(),
                false => vec![schema.sql(text)],
            };
            for variant in variants {
                if let Err(error) = connection.prepare(variant).await {
                    wrong.push(format!("{name}: {error}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
