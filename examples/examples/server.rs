//! The example server: DAG files in, Airflow's REST API out.
//!
//!     cargo run --release --example server
//!
//! Options also come from the environment, as `UPDRAFT_…`.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use clap::Parser;
use http::{Request, Response};
use tokio::signal::unix::{SignalKind, signal};
use tower_service::Service;
use updraft::http::Body;
use updraft::http::access::{AnyOf, BasicAuthenticator, StoredUsers, TokenAuthenticator, hash_password};
use updraft::http::airflow::{Airflow, Cors};
use updraft::http::airflow_experimental::{self, AirflowExperimental};
use updraft::http::director::Director;
use updraft::http::server::{Limits, RequestBody, Server};
use updraft::id::IdSource;
use updraft::log::{FileLogs, LogStore};
use updraft::operators::OperatorsConfig;
use updraft::postgres::{PostgresSettings, PostgresStorage};
use updraft::secret::Keyring;
use updraft::service::{Actor, NewUser};
use updraft::storage::{SchedulerStorage, Storage, StorageError, Subject};
use updraft::{MemoryStorage, Updraft};

/// Runs DAGs from files, and serves Airflow's stable REST API at /api/v1, and if asked the old one at /api/experimental.
#[derive(Debug, Parser)]
#[command(name = "updraft-server", version)]
struct Options {
    /// Where to listen.
    #[arg(long, env = "UPDRAFT_LISTEN", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// A folder of DAG files; may be repeated. The shipped examples by default.
    #[arg(long, env = "UPDRAFT_DAGS", value_delimiter = ',')]
    dags: Vec<PathBuf>,
    /// The folder of a Celery Director project; its API is then served at /api/workflows, /api/definitions and /api/ping.
    /// May be repeated.
    #[arg(long, env = "UPDRAFT_DIRECTOR", value_delimiter = ',')]
    director: Vec<PathBuf>,
    /// A queue whose tasks are run here; may be repeated. All by default.
    #[arg(long = "queue", env = "UPDRAFT_QUEUES", value_delimiter = ',')]
    queues: Vec<String>,
    /// An environment variable that DAG files may use; may be repeated, * for all.
    #[arg(long, env = "UPDRAFT_DAG_ENV", value_delimiter = ',')]
    dag_env: Vec<String>,
    /// Where state is kept: memory, or a PostgreSQL database, as postgres://USER:PASSWORD@HOST/DATABASE.
    #[arg(long, env = "UPDRAFT_STORAGE", default_value = "memory", hide_env_values = true)]
    storage: String,
    /// The schema of the tables in the database.
    #[arg(long, env = "UPDRAFT_SCHEMA", default_value = "updraft")]
    schema: String,
    /// Leaves the tables of the database as they are; without it they are made, or upgraded.
    #[arg(long, env = "UPDRAFT_NO_MIGRATE", value_parser = clap::builder::FalseyValueParser::new())]
    no_migrate: bool,
    /// The name of this server's scheduler: of two with one name, the later takes over at once. HOST:PORT by default.
    #[arg(long, env = "UPDRAFT_NAME")]
    name: Option<String>,
    /// After how many seconds of silence other servers on the database take over what this one runs.
    #[arg(long, env = "UPDRAFT_LEASE", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    lease: u64,
    /// The administrator, as USER:PASSWORD; without it, and if there is none yet, a password is made and printed.
    #[arg(long, env = "UPDRAFT_ADMIN", hide_env_values = true)]
    admin: Option<String>,
    /// The role of callers without credentials; none by default.
    #[arg(long, env = "UPDRAFT_ANONYMOUS_ROLE")]
    anonymous_role: Option<String>,
    /// Shows the configuration to those who may read it; secrets are never shown.
    #[arg(long, env = "UPDRAFT_EXPOSE_CONFIG", value_parser = clap::builder::FalseyValueParser::new())]
    expose_config: bool,
    /// The most entries of a page.
    #[arg(long, env = "UPDRAFT_MAXIMUM_PAGE_LIMIT", default_value_t = 100)]
    maximum_page_limit: usize,
    /// An origin whose pages may use the API from a browser, as https://example.org; may be repeated, * for all.
    #[arg(long, env = "UPDRAFT_CORS_ORIGINS", value_delimiter = ',')]
    cors_origin: Vec<String>,
    /// What passwords, extras and values of variables are encrypted with where they are kept; may be repeated: the first
    /// encrypts, all decrypt. Airflow's Fernet keys fit.
    #[arg(
        long = "secret-key",
        env = "UPDRAFT_SECRET_KEYS",
        value_name = "KEY",
        value_delimiter = ',',
        hide_env_values = true
    )]
    secret_keys: Vec<String>,
    /// Prints a new key for --secret-key, and does nothing else.
    #[arg(long)]
    make_secret_key: bool,
    /// Encrypts all secrets with the first key before the server starts.
    #[arg(long)]
    rotate_secrets: bool,
    /// Answers those who try connections out (POST /connections/test); there are no hooks, so nothing is reached.
    #[arg(long, env = "UPDRAFT_TEST_CONNECTION", value_parser = clap::builder::FalseyValueParser::new())]
    test_connection: bool,
    /// Serves Airflow's experimental API, too, for clients that know no other.
    #[arg(long, env = "UPDRAFT_EXPERIMENTAL", value_parser = clap::builder::FalseyValueParser::new())]
    experimental: bool,
    /// Most tries at a time.
    #[arg(long, env = "UPDRAFT_PARALLELISM", default_value_t = 32)]
    parallelism: usize,
    /// A folder for logs of tries. By default they are in the database if state is, else in a folder of this process in the
    /// system's temporary folder.
    #[arg(long, env = "UPDRAFT_LOG_DIR")]
    log_dir: Option<PathBuf>,
    /// How many seconds running tries may take to end when the server stops.
    #[arg(long, env = "UPDRAFT_SHUTDOWN_PATIENCE", default_value_t = 5)]
    shutdown_patience: u64,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()))
        .init();
    let options = Options::parse();
    if options.make_secret_key {
        println!("{}", Keyring::make_key(&IdSource::from_system()));
        return Ok(());
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let clock = Arc::new(updraft::clock::SystemClock::new());
    let server = Server::bind(options.listen, Limits::default(), clock.clone())
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    let address = server.local_addr()?;
    let database = database(&options, clock.clone()).await?;
    let storage: Arc<dyn Storage> = match &database {
        Some(database) => Arc::new(database.clone()),
        None => Arc::new(MemoryStorage::new(clock.clone())),
    };
    let name = options.name.clone().unwrap_or_else(|| match whoami::hostname() {
        Ok(host) => format!("{host}:{}", address.port()),
        Err(_) => address.to_string(),
    });
    let shipped = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/dags"));
    let folders = if options.dags.is_empty() { vec![shipped] } else { options.dags.clone() };
    let own_logs = || std::env::temp_dir().join(format!("updraft-logs-{}", std::process::id()));
    let logs: Arc<dyn LogStore> = match (&options.log_dir, &database) {
        (Some(folder), _) => Arc::new(FileLogs::new(folder)?),
        (None, Some(database)) => Arc::new(database.logs()),
        (None, None) => Arc::new(FileLogs::new(own_logs())?),
    };
    let operators = OperatorsConfig { python_path: folders.clone(), ..OperatorsConfig::default() };
    let mut builder = Updraft::builder()
        .clock(clock.clone())
        .storage(storage)
        .scheduler_name(name)
        .scheduler_lease(Duration::from_secs(options.lease))
        .logs(logs)
        .builtin_operators(operators)
        .secret_keys(&options.secret_keys)
        .parallelism(options.parallelism);
    for folder in &folders {
        if !folder.is_dir() {
            return Err(format!("{} is not a folder", folder.display()).into());
        }
        builder = builder.dag_folder(folder);
    }
    for name in &options.dag_env {
        builder = builder.dag_env(name);
    }
    for folder in &options.director {
        if !folder.join("workflows.yml").is_file() {
            return Err(format!("{} has no workflows.yml", folder.display()).into());
        }
        builder = builder.director_project(folder);
    }
    for queue in &options.queues {
        builder = builder.queue(queue);
    }
    let updraft = builder.build()?;
    make_admin(&updraft, options.admin.as_deref()).await?;
    if options.rotate_secrets {
        let rotation = updraft.service().rotate_secrets(&Actor::default().through("cli")).await?;
        println!("{} variables and connections were encrypted anew", rotation.resealed);
        for subject in rotation.unreadable {
            println!("No key fits {subject}");
        }
    }

    let service = updraft.service();
    let basic = BasicAuthenticator::new(StoredUsers::new(service.clone()), clock.clone(), updraft.ids())?;
    let authenticator = Arc::new(AnyOf::new(basic).or(TokenAuthenticator::new(service.clone())));
    let mut experimental = updraft.airflow_experimental().authenticator(authenticator.clone());
    let mut director = updraft.director().authenticator(authenticator.clone());
    let mut api = updraft
        .airflow()
        .authenticator(authenticator)
        .expose_config(options.expose_config)
        .maximum_page_limit(options.maximum_page_limit)
        .allow_connection_test(options.test_connection);
    if !options.cors_origin.is_empty() {
        let cors = Cors::new()
            .allow_headers("origin, content-type, accept, authorization")
            .allow_methods("GET, POST, PATCH, PUT, DELETE, OPTIONS")
            .allow_origins(&options.cors_origin);
        api = api.cors(cors);
    }
    if let Some(role) = &options.anonymous_role {
        let roles: Vec<_> = service.all_roles().await?.into_iter().map(|role| role.name).collect();
        if !roles.contains(role) {
            return Err(format!("'{role}' is not a role; there are {}", roles.join(", ")).into());
        }
        api = api.anonymous_role(role);
        experimental = experimental.anonymous_role(role);
        director = director.anonymous_role(role);
    }
    let running = updraft.start().await?;
    println!("Updraft listens on http://{address}");
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let apis = Apis {
        airflow: api.build()?,
        experimental: options.experimental.then(|| experimental.build()).transpose()?,
        director: (!options.director.is_empty()).then(|| director.build()),
    };
    server.serve(apis, stop).await;
    running.shutdown(Duration::from_secs(options.shutdown_patience)).await;
    if let Some(database) = database {
        database.close().await;
    }
    Ok(())
}

/// The APIs, by their paths: what is below /api and is not Airflow's is Director's, if there is a project of it.
#[derive(Debug, Clone)]
struct Apis {
    airflow: Airflow,
    experimental: Option<AirflowExperimental>,
    director: Option<Director>,
}

impl Service<Request<RequestBody>> for Apis {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let path = request.uri().path();
        let is_experimental = path.starts_with(airflow_experimental::BASE_PATH);
        let is_airflows = path.starts_with("/api/v1") || is_experimental;
        match (&mut self.experimental, &mut self.director) {
            (Some(experimental), _) if is_experimental => experimental.call(request),
            (_, Some(director)) if path.starts_with("/api/") && !is_airflows => director.call(request),
            _ => self.airflow.call(request),
        }
    }
}

/// The database, if state is kept in one, with its tables. No error holds the URL, because the URL may hold a password.
async fn database(
    options: &Options,
    clock: Arc<updraft::clock::SystemClock>,
) -> Result<Option<PostgresStorage>, Box<dyn Error>> {
    let url = options.storage.as_str();
    if url == "memory" {
        return Ok(None);
    }
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err("--storage takes 'memory' or the URL of a database, postgres://USER:PASSWORD@HOST/DATABASE".into());
    }
    let settings = PostgresSettings::from_url(url).map_err(|error| format!("--storage: {error}"))?;
    let settings = settings.schema(&options.schema).map_err(|error| format!("--schema: {error}"))?;
    let storage = PostgresStorage::new(settings, clock);
    let usable = match options.no_migrate {
        true => SchedulerStorage::now(&storage).await.map(drop),
        false => storage.migrate().await,
    };
    usable.map_err(|error| match error.source() {
        Some(cause) => format!("the database cannot be used: {error}: {cause}"),
        None => format!("the database cannot be used: {error}"),
    })?;
    Ok(Some(storage))
}

/// Stores the administrator.
async fn make_admin(updraft: &Updraft, given: Option<&str>) -> Result<(), Box<dyn Error>> {
    let (username, password) = match given {
        Some(given) => given.split_once(':').ok_or("--admin takes USER:PASSWORD")?,
        None => ("admin", ""),
    };
    let password = match (given, password) {
        (None, _) => {
            match updraft.storage().user(username).await {
                Ok(_) => return Ok(()),
                Err(StorageError::NotFound(Subject::User(_))) => {}
                Err(error) => return Err(error.into()),
            }
            let mut random = [0; 12];
            updraft.ids().fill(&mut random);
            let password: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
            println!("The administrator is admin:{password}");
            password
        }
        (Some(_), "") => return Err("the administrator's password is empty".into()),
        (Some(_), password) => password.to_owned(),
    };
    let user = NewUser {
        username: username.into(),
        email: format!("{username}@localhost"),
        first_name: username.into(),
        last_name: "Administrator".into(),
        roles: vec!["Admin".into()],
        password_hash: hash_password(&password, updraft.ids())?,
    };
    updraft.service().put_user(user).await?;
    Ok(())
}
