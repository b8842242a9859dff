//! A project's folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use updraft_core::clock::Clock;
use updraft_core::operator::Registry;

use super::definition::{self, Ground};
use super::env;
use crate::env::{Environment, process_environment};
use crate::loader::{FileLoad, read_text};
use crate::node::{Data, Node, key_text};
use crate::parse;
use crate::problem::{Problem, Problems};
use crate::watch::DagFiles;

/// How many folders below `tasks/` are looked into.
const MAX_FOLDERS: usize = 10_000;

/// The tasks that a project's Python files define.
#[derive(Debug, Clone, Default)]
pub struct FoundTasks {
    /// Their names.
    pub names: BTreeSet<String>,
    /// Files that could not be read, and why.
    pub problems: Vec<(PathBuf, String)>,
}

/// Finds the tasks that a project's Python files define.
pub trait ProjectTasks: Debug + Send + Sync {
    /// The tasks of the files below `tasks/` in the project's folder. It may take as long as an interpreter takes.
    ///
    /// # Errors
    /// The text says why no file could be read at all.
    fn find(&self, project: &Path) -> Result<FoundTasks, String>;
}

/// A Director project.
#[derive(Clone)]
pub struct Project {
    folder: PathBuf,
    registry: Arc<Registry>,
    tasks: Arc<dyn ProjectTasks>,
    clock: Arc<dyn Clock>,
    environment: Environment,
}

impl Debug for Project {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Project").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Project {
    /// The project in a folder. Tasks are operators of the registry by name, else what `tasks` finds.
    pub fn new(
        folder: impl Into<PathBuf>,
        registry: Arc<Registry>,
        tasks: Arc<dyn ProjectTasks>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let folder = folder.into();
        let folder = std::path::absolute(&folder).unwrap_or(folder);
        Self { folder, registry, tasks, clock, environment: process_environment() }
    }

    /// Takes environment variables from elsewhere than this process.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A setting of Director, by its name without `DIRECTOR_`: from the environment, or else from the project's `.env`.
    pub fn setting(&self, name: &str) -> Option<String> {
        let name = format!("DIRECTOR_{name}");
        (self.environment)(&name).or_else(|| {
            let text = read_text(&self.folder.join(".env")).ok()?;
            env::parse(&text, &self.environment).remove(&name)
        })
    }

    /// The Python files of tasks, sorted, and the folders that hold them.
    fn python_files(&self) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        let mut open = vec![self.folder.join("tasks")];
        while let Some(folder) = open.pop() {
            // A link to a folder above would never end.
            if folders.len() >= MAX_FOLDERS {
                break;
            }
            if let Ok(entries) = std::fs::read_dir(&folder) {
                for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
                    if path.is_dir() {
                        if path.file_name().is_some_and(|name| name != "__pycache__") && !path.is_symlink() {
                            open.push(path);
                        }
                    } else if path.extension().is_some_and(|extension| extension == "py") {
                        files.push(path);
                    }
                }
            }
            folders.push(folder);
        }
        files.sort();
        folders.sort();
        (files, folders)
    }

    fn read(&self, path: &Path, text: &str, load: &mut FileLoad) {
        let problem =
            |line, dag_id, message: String| Problem { file: path.into(), line, dag_id, task_id: None, message };
        let document = match parse::parse(text, 0, &[]) {
            Ok(document) => document,
            Err(error) => return load.problems.push(problem(error.line, None, error.message)),
        };
        let mut wrong = BTreeSet::new();
        for (name, place, message) in document.problems {
            wrong.extend(name.clone());
            load.problems.push(problem(Some(place.line), name, message));
        }
        let definitions = match document.root {
            Node { data: Data::Null, .. } => return,
            Node { data: Data::Map(map), .. } => map.entries,
            other => {
                let message = "the file must be a mapping of workflows".into();
                return load.problems.push(problem(Some(other.place.line), None, message));
            }
        };
        let found = self.tasks.find(&self.folder).unwrap_or_else(|message| {
            load.problems.push(problem(None, None, message));
            FoundTasks::default()
        });
        let in_file = |(file, message)| Problem { file, line: None, dag_id: None, task_id: None, message };
        load.problems.extend(found.problems.into_iter().map(in_file));
        let default = self.setting("DEFAULT_RETENTION_OFFSET").and_then(|text| text.trim().parse::<i64>().ok());
        let mut ground = Ground {
            folder: &self.folder,
            registry: &self.registry,
            functions: &found.names,
            retention: default.and_then(|offset| u64::try_from(offset).ok()),
            schemas: BTreeMap::new(),
        };
        for (key, value) in definitions {
            let name = key_text(&key);
            if wrong.contains(&name) {
                continue;
            }
            let mut problems = Problems::default();
            let dag = definition::read(&name, &value, path, &mut ground, &mut problems);
            for found in problems.list {
                let line = found.place.unwrap_or(key.place).line;
                let mut problem = problem(Some(line), Some(name.clone()), found.message);
                problem.task_id = found.task_id;
                load.problems.push(problem);
            }
            load.dags.extend(dag.map(Arc::new));
        }
        load.also_read.extend(ground.schemas.into_keys());
    }
}

impl DagFiles for Project {
    fn files(&self) -> Vec<PathBuf> {
        let path = self.folder.join("workflows.yml");
        if path.exists() { vec![path] } else { Vec::new() }
    }

    fn load_file(&self, path: &Path) -> FileLoad {
        let mut load = FileLoad {
            path: path.into(),
            source: Arc::from(""),
            dags: Vec::new(),
            problems: Vec::new(),
            also_read: Vec::new(),
        };
        match read_text(path) {
            Ok(text) => {
                self.read(path, &text, &mut load);
                load.source = text.into();
            }
            Err(message) => {
                load.problems.push(Problem { file: path.into(), line: None, dag_id: None, task_id: None, message });
            }
        }
        let (files, folders) = self.python_files();
        load.also_read.extend(files.into_iter().chain(folders));
        load.also_read.push(self.folder.join(".env"));
        load.also_read.sort();
        load.also_read.dedup();
        load.problems.sort_by(|a, b| (&a.file, a.line, &a.dag_id).cmp(&(&b.file, b.line, &b.dag_id)));
        load
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }
}
