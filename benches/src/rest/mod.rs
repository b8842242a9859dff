//! `updraft-bench rest`: the REST API on a large history in PostgreSQL, over a real socket with real authentication, beside
//! the bare SQL that gives the same counts and pages.

mod client;
mod kind;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::task::JoinSet;
use updraft_core::clock::Clock;
use updraft_core::dag::DagBuilder;
use updraft_core::id::IdSource;
use updraft_core::model::Pool;
use updraft_core::operator::{Outcome, Registry};
use updraft_core::service::{DagDeclaration, NewUser, Service, Settings};
use updraft_core::storage::Storage;
use updraft_http_adapter::access::{BasicAuthenticator, StoredUsers, hash_password};
use updraft_http_adapter::airflow::Airflow;
use updraft_http_adapter::server::{Limits, Server};
use updraft_storage_postgres::{PostgresSettings, PostgresStorage};
use updraft_test_postgres::{Cluster, Database, Durability};

use self::client::{Ask, Client};
use self::kind::{Kind, Must, dag_and_run, dag_id, kinds, run_id};
use crate::postmaster::Postmaster;
use crate::report::{cpu_time, quantile_micros};

/// DAGs, the runs of each, and the tasks of each run.
const DAGS: u64 = 1_000;
const RUNS: u64 = 100;
const TASKS: u64 = 10;

/// Runs that have not ended, with one try each.
const LIVE: u64 = DAGS / 10;

/// Requests at a time.
const CONCURRENCY: usize = 8;

/// For how long a kind is asked, and how often at least and at most.
const TIME: Duration = Duration::from_millis(1000);
const LEAST: u64 = 24;
const MOST: u64 = 20_000;

/// Besides the kinds.
const IN_TURNS: &str = "gets of dags, runs and instances in turns";

const USER: &str = "reader";
const PASSWORD: &str = "a password of some length";

/// Requests of one kind, or the SQL beside it.
struct Measured {
    count: usize,
    p50: f64,
    p99: f64,
    a_second: f64,
    /// Processor time of this process for each, in microseconds: of client and server, not of PostgreSQL. It says more than
    /// times where other work shares the cores.
    cpu: f64,
    /// That of PostgreSQL for each, in microseconds.
    server_cpu: f64,
}

impl Measured {
    fn new(mut times: Vec<Duration>, whole: Duration, cpu: Duration, server_cpu: Duration) -> Self {
        let count = times.len();
        let millis = |times: &mut [Duration], thousandths| quantile_micros(times, thousandths) / 1e3;
        let number = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / number.max(1.0);
        let (p50, p99) = (millis(&mut times, 500), millis(&mut times, 990));
        Self { count, p50, p99, a_second: number / whole.as_secs_f64(), cpu: each(cpu), server_cpu: each(server_cpu) }
    }

    fn tell(&self, what: &str) {
        let Self { count, p50, p99, a_second, cpu, server_cpu } = self;
        eprintln!(
            "{what}: n {count}, p50 {p50:.2} ms, p99 {p99:.2} ms, {a_second:.0}/s, CPU {cpu:.0} us, PostgreSQL's {server_cpu:.0} us"
        );
    }

    /// The rep with the median p99.
    fn median(mut reps: Vec<Self>) -> Option<Self> {
        reps.sort_by(|a, b| a.p99.total_cmp(&b.p99));
        let middle = reps.len() / 2;
        reps.into_iter().nth(middle)
    }
}

struct Bench {
    clock: Arc<dyn Clock>,
    options: PgConnectOptions,
    address: SocketAddr,
    postmaster: Postmaster,
}

impl Bench {
    /// Asks at full concurrency until it is enough.
    async fn measure<F, A>(&self, mut askers: Vec<A>, ask: F) -> (Measured, Vec<A>)
    where
        A: Send + 'static,
        F: AsyncAsk<A>,
    {
        let number = Arc::new(AtomicU64::new(0));
        let (begin, cpu, server_cpu) = (self.clock.monotonic(), cpu_time(), self.postmaster.cpu_time());
        let mut tasks = JoinSet::new();
        for mut asker in askers.drain(..) {
            let (clock, number, ask) = (Arc::clone(&self.clock), Arc::clone(&number), ask.clone());
            tasks.spawn(async move {
                let mut times = Vec::new();
                loop {
                    let n = number.fetch_add(1, Ordering::Relaxed);
                    let is_over = n >= LEAST && clock.monotonic() - begin > TIME;
                    if is_over || n >= MOST {
                        return (times, asker);
                    }
                    let asked = clock.monotonic();
                    let answered = ask.ask(&mut asker, n).await;
                    times.push(clock.monotonic() - asked);
                    // Also parsing costs time: not each answer is looked at.
                    if n < 2 * CONCURRENCY as u64 || n % 64 == 0 {
                        ask.check(answered);
                    }
                }
            });
        }
        let mut times = Vec::new();
        while let Some(done) = tasks.join_next().await {
            let (some, asker) = done.expect("requests are answered");
            times.extend(some);
            askers.push(asker);
        }
        let whole = self.clock.monotonic() - begin;
        let cpu = cpu_time().saturating_sub(cpu);
        let server_cpu = self.postmaster.cpu_time().saturating_sub(server_cpu);
        (Measured::new(times, whole, cpu, server_cpu), askers)
    }

    async fn clients(&self) -> Vec<Client> {
        let mut clients = Vec::new();
        for _ in 0..CONCURRENCY {
            clients.push(Client::connect(self.address, USER, PASSWORD).await);
        }
        clients
    }

    async fn connections(&self) -> Vec<PgConnection> {
        let mut connections = Vec::new();
        for _ in 0..CONCURRENCY {
            let connection = PgConnection::connect_with(&self.options).await;
            connections.push(connection.expect("the database can be reached"));
        }
        connections
    }
}

/// One request, or the statements beside it.
trait AsyncAsk<A>: Clone + Send + 'static {
    type Answer: Send;

    fn ask(&self, asker: &mut A, n: u64) -> impl Future<Output = Self::Answer> + Send;
    fn check(&self, answer: Self::Answer);
}

#[derive(Clone)]
struct OverHttp(Arc<Vec<Kind>>, usize);

impl AsyncAsk<Client> for OverHttp {
    type Answer = (http::StatusCode, bytes::Bytes);

    async fn ask(&self, client: &mut Client, n: u64) -> Self::Answer {
        let ask: Ask = (self.0[self.1].ask)(n);
        client.ask(&ask).await
    }

    fn check(&self, (status, body): Self::Answer) {
        let kind = &self.0[self.1];
        assert_eq!(status, http::StatusCode::OK, "{}: {}", kind.name, String::from_utf8_lossy(&body));
        kind.answer.check(kind.name, &body);
    }
}

/// The three kinds that name something by key, in turns.
#[derive(Clone)]
struct Gets(Arc<Vec<Kind>>);

impl AsyncAsk<Client> for Gets {
    type Answer = (http::StatusCode, bytes::Bytes);

    async fn ask(&self, client: &mut Client, n: u64) -> Self::Answer {
        let kind = usize::try_from(n % 3).unwrap_or(0);
        client.ask(&(self.0[kind].ask)(n)).await
    }

    fn check(&self, (status, _): Self::Answer) {
        assert_eq!(status, http::StatusCode::OK);
    }
}

#[derive(Clone)]
struct Sql(Arc<Vec<Kind>>, usize);

impl AsyncAsk<PgConnection> for Sql {
    type Answer = usize;

    async fn ask(&self, connection: &mut PgConnection, n: u64) -> usize {
        let (dag, run) = dag_and_run(n);
        let mut rows = 0;
        for statement in self.0[self.1].floor {
            // Prepared once, whatever is asked for.
            let is_get = statement.contains("$dag");
            let text = statement.replace("$dag", "$1").replace("$run", "$2");
            let query = sqlx::query(AssertSqlSafe(text));
            let query = if is_get { query.bind(dag_id(dag)) } else { query };
            let query = if statement.contains("$run") { query.bind(run_id(run)) } else { query };
            rows = query.fetch_all(&mut *connection).await.expect("the statement is right").len();
        }
        rows
    }

    fn check(&self, rows: usize) {
        assert!(rows > 0, "{}: the statement finds something", self.0[self.1].name);
    }
}

/// Fills a database, serves it, measures each kind, or those whose names are given; medians of the reps are printed. Without
/// reps it says where it serves, and does so until it is ended: for a look at plans and profiles.
///
/// # Panics
/// PostgreSQL is not installed, or an answer is wrong.
pub async fn run(clock: Arc<dyn Clock>, reps: usize, only: &[String]) {
    let cluster = Cluster::start(Durability::Default).await.unwrap_or_else(|error| panic!("{error}"));
    let database = cluster.database().await;
    let ids = IdSource::from_system();
    let settings = PostgresSettings::from_options(database.options());
    let storage = PostgresStorage::new(settings, Arc::clone(&clock));
    let shared: Arc<dyn Storage> = Arc::new(storage.clone());
    let service = Service::new(Arc::clone(&shared), Arc::new(storage.logs()), ids.clone(), Settings::default());
    let begin = clock.monotonic();
    prepare(&service, &ids).await;
    fill(&database).await;
    eprintln!("filled in {} s", (clock.monotonic() - begin).as_secs());

    let authenticator =
        BasicAuthenticator::new(StoredUsers::new(service.clone()), Arc::clone(&clock), &ids).expect("an authenticator");
    let api = Airflow::builder(service, Arc::clone(&clock)).authenticator(authenticator).build().expect("an API");
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = Server::bind(listen, Limits::default(), Arc::clone(&clock)).await.expect("a port is free");
    let address = server.local_addr().expect("it listens");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(api, async { drop(stopped.await) }));

    if reps == 0 {
        eprintln!("{} on http://{address} as {USER}, {PASSWORD:?}", database.url());
        std::future::pending::<()>().await;
    }
    let postmaster = Postmaster::of(&mut database.connect().await).await;
    let bench = Bench { clock, options: database.options(), address, postmaster };
    measure(&bench, reps, only).await;

    drop(stop);
    serving.await.expect("the server stops");
    storage.close().await;
}

async fn measure(bench: &Bench, reps: usize, only: &[String]) {
    let is_asked = |name: &str| only.is_empty() || only.iter().any(|one| one == name);
    let kinds = Arc::new(kinds());
    let mut connections = bench.connections().await;
    let mut asked: Vec<Vec<Measured>> = kinds.iter().map(|_| Vec::new()).collect();
    let mut floors: Vec<Vec<Measured>> = kinds.iter().map(|_| Vec::new()).collect();
    let mut gets = Vec::new();
    for _ in 0..reps.max(1) {
        for at in (0..kinds.len()).filter(|at| is_asked(kinds[*at].name)) {
            let over_http = OverHttp(Arc::clone(&kinds), at);
            // The server closes connections that say nothing for a while.
            let mut clients = bench.clients().await;
            // Statements are prepared and versions are read by the first requests.
            for (client, n) in clients.iter_mut().zip(0..) {
                over_http.check(over_http.ask(client, n).await);
            }
            let (measured, _) = bench.measure(clients, over_http).await;
            measured.tell(kinds[at].name);
            asked[at].push(measured);
            if !kinds[at].floor.is_empty() {
                let sql = Sql(Arc::clone(&kinds), at);
                for (connection, n) in connections.iter_mut().zip(0..) {
                    sql.ask(connection, n).await;
                }
                let (measured, back) = bench.measure(connections, sql).await;
                connections = back;
                measured.tell("  in SQL");
                floors[at].push(measured);
            }
        }
        if is_asked(IN_TURNS) {
            let in_turns = Gets(Arc::clone(&kinds));
            let mut clients = bench.clients().await;
            for (client, n) in clients.iter_mut().zip(0..) {
                in_turns.check(in_turns.ask(client, n).await);
            }
            let (measured, _) = bench.measure(clients, in_turns).await;
            measured.tell(IN_TURNS);
            gets.push(measured);
        }
    }
    println!(
        "| | n | p50 ms | p99 ms | requests/s | CPU us | PostgreSQL's CPU us | SQL p50 ms | SQL p99 ms | holds? |\n|{}",
        " --- |".repeat(10)
    );
    for ((kind, asked), floors) in kinds.iter().zip(asked).zip(floors) {
        let (Some(asked), floor) = (Measured::median(asked), Measured::median(floors)) else { continue };
        let (floor_p50, floor_p99) = floor.as_ref().map_or((0.0, 0.0), |floor| (floor.p50, floor.p99));
        let holds = match kind.must {
            Must::Quick => asked.p99 < 10.0,
            Must::Floor => asked.p50 <= floor_p50 + 3.0 && asked.p99 <= floor_p99 + 3.0,
        };
        let beside = floor.map_or("| ".to_owned(), |floor| format!("{:.2} | {:.2}", floor.p50, floor.p99));
        let Measured { count, p50, p99, a_second, cpu, server_cpu } = asked;
        let holds = if holds { "yes" } else { "**no**" };
        println!(
            "| {} | {count} | {p50:.2} | {p99:.2} | {a_second:.0} | {cpu:.0} | {server_cpu:.0} | {beside} | {holds} |",
            kind.name
        );
    }
    if let Some(gets) = Measured::median(gets) {
        let holds = if gets.a_second >= 5_000.0 { "yes" } else { "**no**" };
        let Measured { count, p50, p99, a_second, cpu, server_cpu } = gets;
        println!(
            "| {IN_TURNS} | {count} | {p50:.2} | {p99:.2} | {a_second:.0} | {cpu:.0} | {server_cpu:.0} | | | {holds} |"
        );
    }
}

/// DAGs, a pool and a user, as a program makes them.
async fn prepare(service: &Service, ids: &IdSource) {
    let storage = service.storage();
    let pool = Pool { id: 0, name: "small".into(), slots: 16, description: None, include_deferred: false };
    storage.create_pool(pool, None).await.expect("a pool can be made");
    let declarations = (0..DAGS).map(|dag| {
        let builder = DagBuilder::new(dag_id(dag));
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                let handle = builder.task(&format!("t{task}"), |_| async { Ok(Outcome::success()) });
                if task + 1 == TASKS && dag % 10 == 0 { handle.pool("small") } else { handle }
            })
            .collect();
        for pair in tasks.windows(2) {
            pair[1].after(&pair[0]);
        }
        let built = builder.build(&Registry::default()).expect("a chain is a DAG");
        DagDeclaration::from(built.dag)
    });
    service.register(declarations.collect()).await.expect("DAGs can be registered");
    let user = NewUser {
        username: USER.into(),
        email: "reader@localhost".into(),
        first_name: "R".into(),
        last_name: "Eader".into(),
        roles: vec!["Admin".to_owned()],
        password_hash: hash_password(PASSWORD, ids).expect("a password"),
    };
    service.put_user(user).await.expect("a user can be stored");
}

async fn fill(database: &Database) {
    let mut connection = database.connect().await;
    let text = include_str!("fill.sql").replace("$runs", &RUNS.to_string()).replace("$tasks", &TASKS.to_string());
    sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut connection).await.expect("the tables can be filled");
    // What autovacuum and checkpoints do sooner or later, but not while the first kinds are measured.
    for statement in ["VACUUM ANALYZE", "CHECKPOINT"] {
        connection.execute(statement).await.expect("the server tidies up");
    }
    connection.close().await.ok();
}
