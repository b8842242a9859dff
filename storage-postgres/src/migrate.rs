//! Making and upgrading the tables.

use std::borrow::Cow;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use updraft_core::storage::{Result, StorageError};

use crate::PostgresStorage;
use crate::error::storage_error;

/// Number, name and text; numbers grow, and what was released never changes.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "start", include_str!("../migrations/0001_start.sql")),
    (3, "access", include_str!("../migrations/0003_access.sql")),
    (4, "dataset", include_str!("../migrations/0004_dataset.sql")),
    (6, "parsing_request", include_str!("../migrations/0006_parsing_request.sql")),
    (8, "run_by_uid", include_str!("../migrations/0008_run_by_uid.sql")),
    (16, "automated_run", include_str!("../migrations/0016_automated_run.sql")),
];

impl PostgresStorage {
    /// Makes the schema and its tables, or upgrades them. Processes that do so at the same time wait for each other, by an
    /// advisory lock of the database; which migrations were applied is kept in the schema, in the table `migration`.
    ///
    /// # Errors
    /// `Unavailable`; `Internal` if the tables were made by a newer version, a migration was
    /// changed after it had been applied, or the user may not create the schema.
    pub async fn migrate(&self) -> Result<()> {
        let schema = &self.inner.schema;
        let migrations = MIGRATIONS
            .iter()
            .map(|&(number, name, text)| {
                Migration::new(number, Cow::Borrowed(name), MigrationType::Simple, schema.sql(text), false)
            })
            .collect();
        let mut migrator = Migrator::with_migrations(migrations);
        migrator.dangerous_set_table_name(format!("{}.migration", schema.name()));
        migrator.create_schema(schema.name().to_owned());
        migrator.run(&self.inner.writers).await.map_err(|error| match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => storage_error(error),
            other => StorageError::Internal(Box::new(other)),
        })
    }
}
