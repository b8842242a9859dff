//! A PostgreSQL server for tests, and a database of its own for each test.
//!
//! [`Cluster::shared`] is the server of the test run: the one that the environment variable `UPDRAFT_TEST_POSTGRES` names
//! (`scripts/test` starts it), or one that this process starts and that ends with it, even by `kill -9`.

mod database;
mod program;
mod server;

use std::io;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::OnceCell;
use updraft_core::clock::SystemClock;
use updraft_storage_postgres::{PostgresSettings, PostgresStorage};

pub use database::Database;
use server::Server;

/// Names the server to use, as a URL that a superuser connects by.
pub const VARIABLE: &str = "UPDRAFT_TEST_POSTGRES";

/// What survives a crash of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Nothing for sure: what is fast, for tests that look at answers. A crash of the server alone loses nothing.
    None,
    /// What PostgreSQL does by default.
    Default,
}

/// A PostgreSQL server.
#[derive(Debug)]
pub struct Cluster {
    server: Server,
    /// The name of the database that those of tests are copies of.
    template: OnceCell<String>,
}

impl Cluster {
    /// The server of this test run.
    ///
    /// # Panics
    /// There is none and none can be started; the text says what to do.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Cluster> = OnceCell::const_new();
        let open = async || match std::env::var(VARIABLE) {
            Ok(url) => Self::new(Server::given(&url)),
            Err(_) => Self::start(Durability::None).await.unwrap_or_else(|error| panic!("{error}")),
        };
        SHARED.get_or_init(open).await
    }

    /// A server of one's own, which is gone once this is dropped.
    ///
    /// # Errors
    /// PostgreSQL was not found, or does not start.
    pub async fn start(durability: Durability) -> io::Result<Self> {
        Ok(Self::new(Server::start(durability).await?))
    }

    fn new(server: Server) -> Self {
        Self { server, template: OnceCell::new() }
    }

    /// How a superuser reaches its database `postgres`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Stops the server as a crash does.
    ///
    /// # Panics
    /// It is not this process's own, or does not stop.
    pub async fn stop(&self) {
        self.server.stop().await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Starts the server again.
    ///
    /// # Panics
    /// It is not this process's own, or does not start.
    pub async fn restart(&self) {
        self.server.launch().await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// A database with Updraft's tables and nothing in them. It is removed when it is dropped.
    ///
    /// # Panics
    /// The server fails.
    pub async fn database(&self) -> Database {
        let template = self.template.get_or_init(|| self.make_template()).await;
        self.create(&format!("TEMPLATE {template}")).await
    }

    /// A database with nothing in it.
    ///
    /// # Panics
    /// The server fails.
    pub async fn empty_database(&self) -> Database {
        self.create("TEMPLATE template0").await
    }

    async fn make_template(&self) -> String {
        // Its texts are not sorted byte by byte, as those of most hosts' databases are not; a server without ICU can do
        // without.
        let sorted = self.try_create("TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'").await;
        let database = match sorted {
            Ok(database) => database,
            Err(_) => self.empty_database().await,
        };
        let settings = PostgresSettings::from_options(database.options());
        let storage = PostgresStorage::new(settings, std::sync::Arc::new(SystemClock::new()));
        storage.migrate().await.expect("the tables are made");
        storage.close().await;
        database.keep()
    }

    async fn create(&self, from: &str) -> Database {
        self.try_create(from).await.unwrap_or_else(|error| panic!("no database can be made: {error}"))
    }

    async fn try_create(&self, from: &str) -> sqlx::Result<Database> {
        let mut connection = PgConnection::connect_with(self.server.options()).await?;
        let name = "SELECT 'updraft_' || replace(gen_random_uuid()::text, '-', '')";
        let name: String = sqlx::query_scalar(name).fetch_one(&mut connection).await?;
        let statement = format!("CREATE DATABASE {name} {from}");
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await?;
        connection.close().await?;
        Ok(Database::new(name, self.server.options().clone()))
    }
}

/// Options as a URL.
fn url_of(options: &PgConnectOptions) -> String {
    use sqlx::ConnectOptions;
    options.to_url_lossy().to_string()
}
