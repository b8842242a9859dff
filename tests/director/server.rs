//! A server with a Director project.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use updraft::clock::{Clock, SystemClock};
use updraft::http::access::{BasicAuthenticator, StoredUsers, hash_password};
use updraft::http::server::{Limits, Server as HttpServer};
use updraft::log::{LogKey, LogStore, MemoryLogs};
use updraft::operator::{Operator, Outcome, TaskContext, TaskError};
use updraft::postgres::{PostgresSettings, PostgresStorage};
use updraft::service::NewUser;
use updraft::storage::{PageRequest, Storage};
use updraft::{MemoryStorage, Running, Updraft};
use updraft_test_postgres::{Cluster, Database};

use crate::client::{Answer, Client};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// The open API, and the one that asks for credentials (`alice`, `secret`) and has pages of 5, over one engine.
pub(crate) struct Server {
    pub(crate) updraft: Updraft,
    running: Running,
    logs: Arc<MemoryLogs>,
    open: Client,
    pub(crate) closed: Client,
    stop: Vec<oneshot::Sender<()>>,
    tasks: Vec<JoinHandle<()>>,
    project: PathBuf,
    database: Option<Database>,
}

/// Returns what it was given.
#[derive(Debug)]
struct Echo;

#[async_trait::async_trait]
impl Operator for Echo {
    async fn execute(&self, context: &TaskContext) -> Result<Outcome, TaskError> {
        let arguments = context.arguments();
        Ok(Outcome::value(json!([arguments["args"][0], arguments["payload"]["n"]])))
    }
}

impl Server {
    pub(crate) async fn in_memory(project: &Path) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let storage = Arc::new(MemoryStorage::new(Arc::clone(&clock)));
        Self::start(project, storage, clock, None, false).await
    }

    pub(crate) async fn on_postgres(project: &Path) -> Self {
        Self::on_database(project, Cluster::shared().await.database().await, false).await
    }

    pub(crate) async fn with_rust_tasks(project: &Path) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let storage = Arc::new(MemoryStorage::new(Arc::clone(&clock)));
        Self::start(project, storage, clock, None, true).await
    }

    pub(crate) async fn with_rust_tasks_on_postgres(project: &Path) -> Self {
        Self::on_database(project, Cluster::shared().await.database().await, true).await
    }

    async fn on_database(project: &Path, database: Database, rust: bool) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let storage = PostgresStorage::new(PostgresSettings::from_options(database.options()), Arc::clone(&clock));
        storage.migrate().await.expect("tables");
        Self::start(project, Arc::new(storage), clock, Some(database), rust).await
    }

    async fn start(
        project: &Path,
        storage: Arc<dyn Storage>,
        clock: Arc<dyn Clock>,
        database: Option<Database>,
        rust: bool,
    ) -> Self {
        let logs = Arc::new(MemoryLogs::default());
        let mut builder = Updraft::builder()
            .clock(Arc::clone(&clock))
            .storage(storage)
            .logs(Arc::<MemoryLogs>::clone(&logs))
            .parallelism(if rust { 32 } else { 6 })
            .scheduler_name("director")
            .director_project(project);
        for queue in ["celery", "q1", "q2"] {
            builder = builder.queue(queue);
        }
        if rust {
            for name in ["A", "B", "C"] {
                builder = builder.director_task(name, Echo);
            }
        }
        let updraft = builder.build().expect("it fits together");
        let user = NewUser {
            username: "alice".into(),
            email: "alice@localhost".into(),
            first_name: "Alice".into(),
            last_name: "A".into(),
            roles: vec!["Admin".to_owned()],
            password_hash: hash_password("secret", updraft.ids()).expect("a hash"),
        };
        if updraft.storage().user("alice").await.is_err() {
            updraft.service().put_user(user).await.expect("a user");
        }
        let basic =
            BasicAuthenticator::new(StoredUsers::new(updraft.service().clone()), Arc::clone(&clock), updraft.ids())
                .expect("a gate");
        let apis = [
            updraft.director().anonymous_role("Admin").build(),
            updraft.director().authenticator(basic).per_page(5).build(),
        ];
        let running = updraft.start().await.expect("it starts");
        let (mut clients, mut stop, mut tasks) = (Vec::new(), Vec::new(), Vec::new());
        for api in apis {
            let server =
                HttpServer::bind("127.0.0.1:0".parse().expect("an address"), Limits::default(), Arc::clone(&clock));
            let server = server.await.expect("a port");
            clients.push(Client { address: server.local_addr().expect("an address") });
            let (sender, stopped) = oneshot::channel::<()>();
            stop.push(sender);
            tasks.push(tokio::spawn(server.serve(api, async { stopped.await.unwrap_or_default() })));
        }
        let (closed, open) = (clients.pop().expect("two"), clients.pop().expect("one"));
        Self { updraft, running, logs, open, closed, stop, tasks, project: project.into(), database }
    }

    pub(crate) async fn stop(self) -> Option<Database> {
        drop(self.stop);
        for task in self.tasks {
            task.await.expect("the server ends");
        }
        self.running.shutdown(Duration::ZERO).await;
        self.database
    }

    /// Another process on the same database.
    pub(crate) async fn restarted(self) -> Self {
        let project = self.project.clone();
        let database = self.stop().await.expect("a database");
        Self::on_database(&project, database, false).await
    }

    pub(crate) fn client(&self) -> Client {
        self.open.clone()
    }

    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.open.send(method, path, headers, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.open.post(path, body).await
    }

    /// Launches a workflow, and returns its id.
    pub(crate) async fn launch(&self, project: &str, name: &str, payload: Value) -> String {
        let body = json!({"project": project, "name": name, "payload": payload});
        let answer = self.post("/api/workflows", &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json()["id"].as_str().expect("an id").to_owned()
    }

    /// Waits for what must come.
    pub(crate) async fn eventually<T, F>(&self, patience: Duration, mut look: impl FnMut() -> F) -> T
    where
        F: Future<Output = Option<T>>,
    {
        let clock = self.updraft.clock();
        let began = clock.monotonic();
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(clock.monotonic() < began + patience, "it never comes");
            clock.sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until a workflow has a status.
    pub(crate) async fn until(&self, id: &str, status: &str) -> Answer {
        let look = || async {
            let answer = self.get(&format!("/api/workflows/{id}")).await;
            (answer.json()["status"] == status).then_some(answer)
        };
        self.eventually(PATIENCE, look).await
    }

    /// Waits until a task of a workflow has a status.
    pub(crate) async fn until_task(&self, id: &str, key: &str, status: &str) {
        let look = || async {
            let answer = self.get(&format!("/api/workflows/{id}")).await.json();
            let tasks = answer["tasks"].as_array().cloned().unwrap_or_default();
            tasks.iter().any(|task| task["key"] == key && task["status"] == status).then_some(())
        };
        self.eventually(PATIENCE, look).await;
    }

    /// Waits until there is a definition.
    pub(crate) async fn until_defined(&self, fullname: &str) {
        let look = || async {
            let definitions = self.get("/api/definitions").await.json();
            let definitions = definitions.as_array().cloned().unwrap_or_default();
            definitions.iter().any(|definition| definition["fullname"] == fullname).then_some(())
        };
        self.eventually(PATIENCE, look).await;
    }

    pub(crate) async fn import_errors(&self) -> Vec<String> {
        let storage = self.updraft.storage();
        let errors = storage.import_errors(None, PageRequest::ALL).await.expect("import errors");
        errors.items.into_iter().map(|error| error.stack_trace).collect()
    }

    pub(crate) async fn log_of(&self, dag_id: &str, run_id: &str, task_id: &str) -> String {
        let (dag_id, run_id, task_id) = (dag_id.into(), run_id.into(), task_id.into());
        let key = LogKey { dag_id, run_id, task_id, map_index: -1, try_number: 1 };
        let chunk = self.logs.read(&key, 0, usize::MAX).await.expect("a log").unwrap_or_default();
        String::from_utf8(chunk.bytes).expect("a log is UTF-8")
    }
}
