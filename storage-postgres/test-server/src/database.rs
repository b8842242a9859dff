//! A database of a test.

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::url_of;

/// A database of a test. Dropping it removes it, whoever is connected.
#[derive(Debug)]
pub struct Database {
    /// Empty once it was given away.
    name: String,
    server: PgConnectOptions,
}

impl Database {
    pub(crate) fn new(name: String, server: PgConnectOptions) -> Self {
        Self { name, server }
    }

    /// How to connect to it, as a superuser.
    pub fn options(&self) -> PgConnectOptions {
        self.server.clone().database(&self.name)
    }

    /// How to connect to it, for programs.
    pub fn url(&self) -> String {
        url_of(&self.options())
    }

    /// A connection to it.
    ///
    /// # Panics
    /// The server fails.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect_with(&self.options()).await.expect("the database of the test")
    }

    /// Its name; it stays.
    pub(crate) fn keep(mut self) -> String {
        std::mem::take(&mut self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.name.is_empty() {
            return;
        }
        let statement = AssertSqlSafe(format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        let server = self.server.clone();
        // The runtime of the test is about to end, and whatever is in its way here goes with the server.
        std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            let _: sqlx::Result<()> = runtime.block_on(async {
                let mut connection = PgConnection::connect_with(&server).await?;
                sqlx::raw_sql(statement).execute(&mut connection).await?;
                connection.close().await
            });
        });
    }
}
