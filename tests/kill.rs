//! Schedulers that are killed (`kill -9`) in the middle of their work, and started again at once: every trigger that was
//! acknowledged ends, no try runs twice or beside another of its instance, and nothing waits long for the dead.
//!
//! Three processes run runs and trigger more; every 2 s a random one is killed, until enough kills have hit running work:
//! `UPDRAFT_KILLS=100 cargo test --all-features --test kill` (8 by default). Every other time the process comes back under
//! another name, so that its runs wait until its lease has passed. What happened is read from marks that the tasks
//! append to a file themselves; the shell's children beat there as long as they live.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use updraft::clock::{Clock, SystemClock};
use updraft::dag::{DagBuilder, chain};
use updraft::operator::{Outcome, TaskContext, TaskError};
use updraft::operators::OperatorsConfig;
use updraft::postgres::{PostgresSettings, PostgresStorage, sqlx};
use updraft::service::ServiceError;
use updraft::storage::{PageRequest, StorageError, TaskInstanceQuery};
use updraft::{TriggerRequest, Updraft};
use updraft_test_postgres::{Cluster, Database};

const LEASE: Duration = Duration::from_secs(2);

/// How long an instance of a dead scheduler may wait, in seconds.
const LONGEST_WAIT: f64 = 4.0;

/// How long what is left may take after the last kill: the lease, and what it takes without faults.
const LONGEST_END: Duration = Duration::from_secs(2 + 20);

const SCHEDULERS: usize = 3;

/// Tells the program that it is a scheduler: where the database is, its name, and the folder of the marks.
const VARIABLES: [&str; 3] = ["KILL_TEST_DATABASE", "KILL_TEST_NAME", "KILL_TEST_FOLDER"];

/// The tasks of a run, each with those before it.
const TASKS: [(&str, &[&str]); 4] =
    [("first", &[]), ("shell", &["first"]), ("code", &["first"]), ("last", &["shell", "code"])];

/// A moment in seconds, on the clock that all processes share.
fn seconds() -> f64 {
    let micros = SystemClock::new().now().timestamp_micros();
    f64::from(u32::try_from(micros / 1_000_000).expect("a moment of this century")) + (micros % 1_000_000) as f64 / 1e6
}

/// Appends a line, in one write.
fn mark(folder: &Path, line: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(folder.join("marks"))?;
    file.write_all(format!("{line}\n").as_bytes())
}

/// A shell that leaves marks, with a child that beats until the group is killed.
fn shell(dag: &DagBuilder, id: &str, folder: &Path, seconds: &str) -> updraft::dag::TaskHandle {
    let marks = folder.join("marks").display().to_string();
    let script = format!(
        r#"parent=$PPID
mark() {{
    echo "$1 $AIRFLOW_CTX_DAG_RUN_ID $AIRFLOW_CTX_TASK_ID $AIRFLOW_CTX_TRY_NUMBER $parent $EPOCHREALTIME" >>{marks}
}}
mark start
while sleep 0.1; do mark beat; done >/dev/null 2>&1 &
sleep {seconds}
mark end"#
    );
    dag.operator(id, "airflow.operators.bash.BashOperator", serde_json::json!({"bash_command": script}))
}

fn orchestrator(options: PostgresSettings, name: &str, folder: &Path) -> (Updraft, PostgresStorage) {
    let clock = Arc::new(SystemClock::new());
    let storage = PostgresStorage::new(options, clock.clone());
    let dag = DagBuilder::new("work").max_active_runs(10_000).max_active_tasks(10_000);
    let dag = dag.default_args(|task| task.retries(1000).retry_delay(Duration::ZERO));
    let (first, last) = (shell(&dag, "first", folder, "0.2"), shell(&dag, "last", folder, "0.1"));
    let into = folder.to_owned();
    let code = dag.task("code", move |cx: TaskContext| {
        let folder = into.clone();
        async move {
            let attempt = cx.attempt();
            let mark = |what: &str| {
                let ids = format!("{} {} {}", attempt.run.run_id, cx.task().task_id, attempt.try_number);
                let line = format!("{what} {ids} {} {:.6}", std::process::id(), seconds());
                mark(&folder, &line).map_err(|error| TaskError::failed(error.to_string()))
            };
            mark("start")?;
            cx.clock().sleep(Duration::from_millis(300)).await;
            mark("end")?;
            Ok(Outcome::success())
        }
    });
    chain([&first, &shell(&dag, "shell", folder, "0.6"), &last]);
    chain([&first, &code, &last]);
    let builder = Updraft::builder()
        .clock(clock)
        .storage(Arc::new(storage.clone()))
        .scheduler_name(name)
        .scheduler_lease(LEASE)
        .builtin_operators(OperatorsConfig::default())
        .dag(dag);
    (builder.build().expect("an orchestrator"), storage)
}

/// Triggers runs until the file `stop` is there, and marks those that were acknowledged.
async fn trigger(updraft: Updraft, name: String, folder: PathBuf, pause: Duration) {
    for index in 0.. {
        if folder.join("stop").exists() {
            return;
        }
        let request = TriggerRequest { run_id: Some(format!("{name}:{index}")), ..TriggerRequest::default() };
        match updraft.trigger("work", request).await {
            Ok(run) => mark(&folder, &format!("triggered {} - 0 {} {:.6}", run.run_id, std::process::id(), seconds())),
            Err(ServiceError::Storage(StorageError::Unavailable(_))) => Ok(()),
            Err(error) => mark(&folder, &format!("error {error:?}")),
        }
        .expect("a mark");
        updraft.clock().sleep(pause).await;
    }
}

/// What a scheduler's process does until it is killed, or its parent is gone.
async fn be_a_scheduler(url: &str, name: &str, folder: &Path) {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let (updraft, _) = orchestrator(PostgresSettings::from_url(url).expect("a URL"), name, folder);
    let running = updraft.start().await.expect("a start");
    let runs = format!("{name}:{}", std::process::id());
    trigger(updraft.clone(), runs, folder.to_owned(), Duration::from_millis(700)).await;
    // Ends with the process, by the thread above or by a kill.
    std::future::pending::<()>().await;
    drop(running);
}

/// A scheduler's process; dropping it kills it.
struct Process {
    name: String,
    child: Child,
}

impl Process {
    fn start(name: &str, database: &Database, folder: &Path) -> Self {
        let log = OpenOptions::new().append(true).create(true).open(folder.join("log")).expect("a log");
        let child = Command::new(std::env::current_exe().expect("this program"))
            .env(VARIABLES[0], database.url())
            .env(VARIABLES[1], name)
            .env(VARIABLES[2], folder)
            .env("TMPDIR", folder.join("tmp"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        Self { name: name.into(), child: child.expect("a process") }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug, Clone)]
struct Kill {
    name: String,
    pid: u32,
    time: f64,
    /// Tries that were running.
    hit: usize,
}

/// A line of the marks.
#[derive(Debug, Clone, PartialEq)]
struct Mark {
    what: String,
    run: String,
    task: String,
    number: u32,
    pid: u32,
    time: f64,
}

/// All whole lines, in the order in which they were written.
fn read_marks(folder: &Path) -> Vec<Mark> {
    let mut text = String::new();
    File::open(folder.join("marks")).and_then(|mut file| file.read_to_string(&mut text)).expect("marks");
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let marks = whole.lines().map(|line| {
        assert!(!line.starts_with("error"), "a trigger failed: {line}");
        let words: Vec<&str> = line.split(' ').collect();
        let [what, run, task, number, pid, time] = words[..] else { panic!("a strange mark: {line}") };
        let (number, pid) = (number.parse().expect("a try"), pid.parse().expect("a process"));
        Mark { what: what.into(), run: run.into(), task: task.into(), number, pid, time: time.parse().expect("a time") }
    });
    marks.collect()
}

/// How many tries of a process have begun and not ended.
fn running_in(pid: u32, marks: &[Mark]) -> usize {
    let of = |what: &str| -> BTreeSet<_> {
        let marks = marks.iter().filter(|mark| mark.pid == pid && mark.what == what);
        marks.map(|mark| (&mark.run, &mark.task, mark.number)).collect()
    };
    of("start").difference(&of("end")).count()
}

/// The owners of unfinished runs at a moment.
type Owners = (f64, BTreeMap<String, String>);

async fn look_at_owners(database: &Database, folder: PathBuf) -> Vec<Owners> {
    let clock = SystemClock::new();
    let mut connection = database.connect().await;
    let mut seen = Vec::new();
    while !folder.join("over").exists() {
        let time = seconds();
        let owners: Vec<(String, String)> = sqlx::query_as(
            "SELECT r.run_id, s.name FROM updraft.dag_run r JOIN updraft.scheduler s ON s.id = r.owner WHERE r.state < 2",
        )
        .fetch_all(&mut connection)
        .await
        .expect("owners");
        seen.push((time, owners.into_iter().collect()));
        clock.sleep(Duration::from_millis(100)).await;
    }
    seen
}

async fn count(database: &Database, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(&mut database.connect().await).await.expect("a count")
}

/// Kills until enough kills have hit running work.
async fn kill_again_and_again(wanted: usize, database: &Database, folder: &Path) -> (Vec<Kill>, Vec<Process>) {
    let clock = SystemClock::new();
    let mut processes: Vec<Process> =
        (0..SCHEDULERS).map(|index| Process::start(&format!("s{index}"), database, folder)).collect();
    let mut kills: Vec<Kill> = Vec::new();
    clock.sleep(Duration::from_secs(4)).await;
    while kills.iter().filter(|kill| kill.hit > 0).count() < wanted {
        assert!(kills.len() < wanted * 3 + 10, "kills do not hit running work: {kills:?}");
        let next = clock.monotonic() + Duration::from_secs(2);
        let mut random = [0];
        updraft::id::IdSource::from_system().fill(&mut random);
        let index = usize::from(random[0]) % SCHEDULERS;
        let Process { name, child } = &mut processes[index];
        let pid = child.id();
        let hit = running_in(pid, &read_marks(folder));
        let time = seconds();
        child.kill().expect("a kill");
        child.wait().expect("its end");
        let name = name.clone();
        let new_name = if kills.len().is_multiple_of(2) { name.clone() } else { format!("s{index}.{}", kills.len()) };
        processes[index] = Process::start(&new_name, database, folder);
        kills.push(Kill { name, pid, time, hit });
        clock.sleep_until(next).await;
    }
    (kills, processes)
}

/// What is wrong, and what is worth knowing.
#[derive(Debug, Default)]
struct Findings {
    wrong: Vec<String>,
    /// Tries that a kill has cut short.
    cut: usize,
    /// Of these, those whose next try another scheduler made; the others were the successor's of the same name.
    adopted: usize,
    /// How long instances of dead schedulers waited, in seconds, sorted.
    waits: Vec<f64>,
    /// Tries whose work was done, but whose end was lost with the process.
    done_twice: usize,
}

fn examine(marks: &[Mark], kills: &[Kill], names: &BTreeMap<u32, String>, owners: &[Owners]) -> Findings {
    let mut findings = Findings::default();
    let killed: BTreeMap<u32, &Kill> = kills.iter().map(|kill| (kill.pid, kill)).collect();
    let mut instances: BTreeMap<(&str, &str), Vec<&Mark>> = BTreeMap::new();
    let mut triggered: BTreeMap<&str, &Mark> = BTreeMap::new();
    for mark in marks {
        match mark.what.as_str() {
            "triggered" => drop(triggered.insert(&mark.run, mark)),
            _ => instances.entry((&mark.run, &mark.task)).or_default().push(mark),
        }
    }
    let of = |marks: &[&Mark], what: &str| -> Vec<Mark> {
        marks.iter().filter(|mark| mark.what == what).map(|mark| (*mark).clone()).collect()
    };
    for ((run, task), marks) in &instances {
        let mut wrong = |text: String| findings.wrong.push(format!("{task} of {run}: {text}"));
        // In the order in which they were written, each try stands for itself.
        let mut current = 0;
        for mark in marks {
            if mark.what == "start" {
                if mark.number <= current {
                    wrong(format!("try {} begins after try {current}", mark.number));
                }
                current = mark.number;
            } else if mark.number != current {
                wrong(format!("try {} still lives beside try {current}: {mark:?}", mark.number));
            }
        }
        let (starts, ends) = (of(marks, "start"), of(marks, "end"));
        for (start, next) in starts.iter().zip(starts.iter().skip(1)) {
            let has_ended = ends.iter().any(|end| end.number == start.number);
            match killed.get(&start.pid) {
                None => wrong(format!("try {} did not count, but its scheduler {} lived", start.number, start.pid)),
                Some(kill) if kill.time > next.time => {
                    wrong(format!("try {} was given up before the kill", start.number))
                }
                Some(_) => {}
            }
            findings.cut += 1;
            findings.done_twice += usize::from(has_ended);
            findings.adopted += usize::from(names.get(&start.pid) != names.get(&next.pid));
        }
        // The try that counts is the last, and it ended once.
        let last = starts.last().map_or(0, |start| start.number);
        if ends.iter().filter(|end| end.number == last).count() != 1 {
            wrong(format!("the last try, {last}, ended {} times", ends.iter().filter(|e| e.number == last).count()));
        }
        // No start before the end of what comes before.
        let before = TASKS.iter().find(|(id, _)| id == task).map_or(&[][..], |(_, before)| before);
        let mut ready = triggered.get(run).map(|mark| mark.time);
        for upstream in before {
            let ended = instances.get(&(*run, *upstream)).and_then(|marks| of(marks, "end").pop());
            match (ended, starts.first()) {
                (Some(end), Some(start)) if end.time <= start.time => {
                    ready = Some(ready.map_or(end.time, |ready| ready.max(end.time)));
                }
                _ => wrong(format!("it began before {upstream} had ended")),
            }
        }
        // How long it waited for a dead scheduler: since the last kill of whoever had the run, for each try.
        for start in &starts {
            let had_run = |kill: &&Kill| {
                let before = owners.iter().rev().find(|(time, _)| *time <= kill.time);
                before.and_then(|(_, owners)| owners.get(*run)) == Some(&kill.name)
            };
            let was_ready = match starts.iter().rev().find(|other| other.number < start.number) {
                Some(earlier) => Some(earlier.time),
                None => ready,
            };
            let is_after =
                |kill: &&Kill| kill.time < start.time && was_ready.is_some_and(|ready| ready < kill.time + 1.0);
            let kill = kills.iter().rev().filter(is_after).find(had_run);
            if let (Some(kill), Some(ready)) = (kill, was_ready) {
                let wait = start.time - kill.time.max(ready);
                findings.waits.push(wait);
                if wait > LONGEST_WAIT {
                    wrong(format!("try {} waited {wait:.2} s for {}", start.number, kill.name));
                }
            }
        }
    }
    findings.waits.sort_by(f64::total_cmp);
    findings
}

/// Every instance has succeeded, at the try of the last marks.
async fn compare_with_storage(updraft: &Updraft, marks: &[Mark], runs: &BTreeSet<String>, wrong: &mut Vec<String>) {
    let mut last: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for mark in marks.iter().filter(|mark| mark.what == "start") {
        last.insert((&mark.run, &mark.task), mark.number);
    }
    for run in runs {
        let query = TaskInstanceQuery {
            run_ids: Some([run.clone()].into()),
            page: PageRequest { limit: 100, offset: 0 },
            ..TaskInstanceQuery::default()
        };
        let instances = updraft.service().task_instances(&query).await.expect("instances").items;
        let found: BTreeMap<String, (&str, u32)> = instances
            .iter()
            .map(|instance| {
                let task = instance.task().expect("a task").task_id.to_string();
                (task, (instance.state.as_str(), instance.try_number))
            })
            .collect();
        let expected = TASKS.map(|(task, _)| {
            (task.to_owned(), ("success", last.get(&(run.as_str(), task)).copied().unwrap_or_default()))
        });
        if found != BTreeMap::from(expected.clone()) {
            wrong.push(format!("{run} is stored as {found:?}, its tasks say {expected:?}"));
        }
    }
}

async fn kills() {
    let wanted = std::env::var("UPDRAFT_KILLS").map_or(8, |kills| kills.parse().expect("UPDRAFT_KILLS is a number"));
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    std::fs::create_dir(folder.join("tmp")).expect("a folder");
    mark(folder, "triggered - - 0 0 0").expect("a mark");
    let database = Cluster::shared().await.database().await;
    // A client of its own, which runs nothing.
    let (updraft, storage) = orchestrator(PostgresSettings::from_options(database.options()), "client", folder);
    let clock = SystemClock::new();

    let began = clock.monotonic();
    let work = async {
        let (kills, mut processes) = kill_again_and_again(wanted, &database, folder).await;
        let last_kill = clock.monotonic();
        File::create(folder.join("stop")).expect("a file");
        while count(&database, "SELECT count(*) FROM updraft.dag_run WHERE state < 2").await > 0 {
            assert!(clock.monotonic() - last_kill < Duration::from_secs(120), "runs do not end");
            clock.sleep(Duration::from_millis(50)).await;
        }
        let took = clock.monotonic() - last_kill;
        File::create(folder.join("over")).expect("a file");
        for process in &mut processes {
            assert!(matches!(process.child.try_wait(), Ok(None)), "{} ended by itself", process.name);
        }
        let names: BTreeMap<u32, String> = processes
            .iter()
            .map(|process| (process.child.id(), process.name.clone()))
            .chain(kills.iter().map(|kill| (kill.pid, kill.name.clone())))
            .collect();
        (kills, names, took)
    };
    let client = async {
        // The DAG is known once a scheduler has started.
        while count(&database, "SELECT count(*) FROM updraft.dag").await == 0 {
            clock.sleep(Duration::from_millis(50)).await;
        }
        trigger(updraft.clone(), "client".into(), folder.to_owned(), Duration::from_millis(500)).await;
    };
    let ((kills, names, took), (), owners) = tokio::join!(work, client, look_at_owners(&database, folder.to_owned()));

    let marks = read_marks(folder);
    let mut findings = examine(&marks, &kills, &names, &owners);
    let runs = |what: &str| -> BTreeSet<String> {
        marks.iter().filter(|mark| mark.what == what && mark.run != "-").map(|mark| mark.run.clone()).collect()
    };
    let (acknowledged, all) = (runs("triggered"), runs("start"));
    findings.wrong.extend(acknowledged.difference(&all).map(|run| format!("{run} was acknowledged, and never ran")));
    compare_with_storage(&updraft, &marks, &all, &mut findings.wrong).await;
    storage.close().await;

    let hits = kills.iter().filter(|kill| kill.hit > 0).count();
    let Findings { wrong, cut, adopted, waits, done_twice } = findings;
    let longest = waits.last().copied().unwrap_or_default();
    let half = waits.get(waits.len() / 2).copied().unwrap_or_default();
    println!(
        "took {:.0} s, {} kills, {hits} of them hit running work",
        (clock.monotonic() - began).as_secs_f64(),
        kills.len()
    );
    println!(
        "{} runs, {} of them acknowledged; {} tries",
        all.len(),
        acknowledged.len(),
        marks.iter().filter(|m| m.what == "start").count()
    );
    println!(
        "{cut} tries were cut short: {adopted} were made again by another scheduler, {} by its successor",
        cut - adopted
    );
    println!("{done_twice} of them had done their work when the process was killed, before that was recorded");
    println!("an instance waited for a dead scheduler {half:.2} s (median of {}), {longest:.2} s at most", waits.len());
    println!("after the last kill all ended within {:.2} s", took.as_secs_f64());
    assert!(wrong.is_empty(), "{} things are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(took <= LONGEST_END, "what was left took {took:?}");
    assert!(adopted > 0, "no run was adopted, so this proves nothing");
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match VARIABLES.map(std::env::var) {
        [Ok(url), Ok(name), Ok(folder)] => runtime.block_on(be_a_scheduler(&url, &name, Path::new(&folder))),
        _ => runtime.block_on(kills()),
    }
}
