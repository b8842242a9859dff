//! Reads files and folders.

use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Debug};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use updraft_core::clock::Clock;
use updraft_core::model::Dag;
use updraft_core::operator::Registry;
use updraft_core::schedule::Timetables;

use crate::dag::{self, DagContext};
use crate::env::{self, AllowedEnv, Environment};
use crate::ignored::{IgnoreSyntax, Rules};
use crate::merge::{self, Global};
use crate::node::{Data, Node, Place, key_text};
use crate::problem::{Problem, Problems};
use crate::{cast, dump, parse};

/// Names of files that hold defaults instead of DAGs; of two in a folder the first counts.
const DEFAULTS: [&str; 2] = ["defaults.yml", "defaults.yaml"];
/// The largest file that is read.
const MAX_BYTES: u64 = 64 << 20;

/// Reads DAG files.
#[derive(Clone)]
pub struct Loader {
    folders: Vec<PathBuf>,
    registry: Arc<Registry>,
    timetables: Arc<Timetables>,
    clock: Arc<dyn Clock>,
    allowed_env: AllowedEnv,
    environment: Environment,
    ignore_syntax: IgnoreSyntax,
}

impl Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader")
            .field("folders", &self.folders)
            .field("allowed_env", &self.allowed_env)
            .finish_non_exhaustive()
    }
}

/// What a file gave.
#[derive(Debug, Clone)]
pub struct FileLoad {
    /// The file.
    pub path: PathBuf,
    /// Its text, as far as it could be read.
    pub source: Arc<str>,
    /// Its DAGs that are right, in the order of the file.
    pub dags: Vec<Arc<Dag>>,
    /// All that is wrong with it.
    pub problems: Vec<Problem>,
    /// Other files that count for it.
    pub also_read: Vec<PathBuf>,
}

impl FileLoad {
    /// The import error that the file has, if it has one: a line for each problem.
    pub fn error(&self) -> Option<String> {
        let lines: Vec<String> = self.problems.iter().map(ToString::to_string).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

impl Loader {
    /// A loader of no folder, which allows no environment variable.
    pub fn new(registry: Arc<Registry>, clock: Arc<dyn Clock>) -> Self {
        Self {
            folders: Vec::new(),
            registry,
            timetables: Arc::default(),
            clock,
            allowed_env: AllowedEnv::default(),
            environment: env::process_environment(),
            ignore_syntax: IgnoreSyntax::default(),
        }
    }

    /// Adds a folder. Files of defaults count from it down.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        self.folders.push(std::path::absolute(&folder).unwrap_or(folder));
        self
    }

    /// Lets files name these timetables, rather than Airflow's alone.
    #[must_use]
    pub fn timetables(mut self, timetables: Arc<Timetables>) -> Self {
        self.timetables = timetables;
        self
    }

    /// Says which environment variables files may name; `*` stands for all.
    #[must_use]
    pub fn allow_env(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.allowed_env = AllowedEnv::new(names);
        self
    }

    /// Takes environment variables from elsewhere than this process.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Says how `.airflowignore` files are written.
    #[must_use]
    pub fn ignore_syntax(mut self, syntax: IgnoreSyntax) -> Self {
        self.ignore_syntax = syntax;
        self
    }

    /// The folders.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The DAG files below the folders, sorted. Links to folders are followed, each folder is visited once.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut visited = HashSet::new();
        for root in &self.folders {
            let mut folders: Vec<(PathBuf, Vec<Arc<Rules>>)> = vec![(root.clone(), Vec::new())];
            while let Some((folder, mut rules)) = folders.pop() {
                let real = folder.canonicalize().unwrap_or_else(|_| folder.clone());
                let Ok(entries) = std::fs::read_dir(&folder) else { continue };
                if !visited.insert(real) {
                    continue;
                }
                rules.extend(Rules::of_folder(&folder, self.ignore_syntax).map(Arc::new));
                for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
                    let is_dir = path.is_dir();
                    if rules.iter().filter_map(|rules| rules.decide(&path, is_dir)).next_back().unwrap_or(false) {
                        continue;
                    }
                    if is_dir {
                        folders.push((path, rules.clone()));
                    } else if is_dag_file(&path) {
                        files.push(path);
                    }
                }
            }
        }
        files.sort();
        files.dedup();
        files
    }

    /// Reads all DAG files of the folders. A DAG that an earlier file declares already is a problem of the later one.
    pub fn load_folder(&self) -> Vec<FileLoad> {
        let mut loads: Vec<FileLoad> = self.files().iter().map(|path| self.load_file(path)).collect();
        refuse_duplicates(loads.iter_mut());
        loads
    }

    /// Reads a file. DAGs that are right are there, whatever is wrong with others.
    pub fn load_file(&self, path: &Path) -> FileLoad {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
        let mut reading = Reading { loader: self, files: vec![path.clone()], problems: Vec::new() };
        let mut dags = Vec::new();
        let source = match read_text(&path) {
            Ok(text) => {
                reading.read(&text, &mut dags);
                text
            }
            Err(message) => {
                reading.add(None, None, None, message);
                String::new()
            }
        };
        let mut also_read = reading.files.split_off(1);
        // Files of defaults that do not exist yet count as soon as they do.
        also_read.extend(self.defaults_of(&path));
        also_read.sort();
        also_read.dedup();
        reading.problems.sort_by(|a, b| (a.line, &a.dag_id, &a.task_id).cmp(&(b.line, &b.dag_id, &b.task_id)));
        reading.problems.dedup();
        FileLoad { path, source: source.into(), dags, problems: reading.problems, also_read }
    }

    /// Where files of defaults may stand that count for a file, the nearest first.
    fn defaults_of(&self, path: &Path) -> Vec<PathBuf> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let root =
            self.folders.iter().filter(|root| folder.starts_with(root)).max_by_key(|root| root.components().count());
        let folders: Vec<&Path> = match root {
            Some(root) => folder.ancestors().take_while(|folder| folder.starts_with(root)).collect(),
            None => vec![folder],
        };
        folders.into_iter().flat_map(|folder| DEFAULTS.iter().map(move |name| folder.join(name))).collect()
    }
}

/// Whether a file holds DAGs, by its name.
fn is_dag_file(path: &Path) -> bool {
    let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    is_yaml && !path.file_name().is_some_and(|name| DEFAULTS.iter().any(|defaults| name == *defaults))
}

/// Takes DAGs away that an earlier file declares already.
pub(crate) fn refuse_duplicates<'a>(loads: impl Iterator<Item = &'a mut FileLoad>) {
    let mut first: BTreeMap<String, PathBuf> = BTreeMap::new();
    for load in loads {
        let (path, problems) = (load.path.clone(), &mut load.problems);
        load.dags.retain(|dag| match first.get(dag.dag_id.as_str()) {
            Some(other) => {
                problems.push(Problem {
                    file: path.clone(),
                    line: None,
                    dag_id: Some(dag.dag_id.to_string()),
                    task_id: None,
                    message: format!("the DAG is declared in {} already", other.display()),
                });
                false
            }
            None => {
                first.insert(dag.dag_id.to_string(), path.clone());
                true
            }
        });
    }
}

pub(crate) fn read_text(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| format!("the file cannot be read: {error}"))?.len();
    if size > MAX_BYTES {
        return Err(format!("the file has more than {MAX_BYTES} bytes"));
    }
    let bytes = std::fs::read(path).map_err(|error| format!("the file cannot be read: {error}"))?;
    String::from_utf8(bytes).map_err(|_| "the file is not UTF-8".into())
}

/// A file while it is read, with the files that are read for it.
struct Reading<'a> {
    loader: &'a Loader,
    files: Vec<PathBuf>,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn read(&mut self, text: &str, dags: &mut Vec<Arc<Dag>>) {
        let (text, refused) = env::expand(text, &self.loader.allowed_env, &self.loader.environment);
        let document = match parse::parse(&text, 0, &refused) {
            Ok(document) => document,
            Err(error) => return self.add(error.line, None, None, error.message),
        };
        // A value that could not be read makes its DAG wrong, and no other.
        let mut wrong: HashSet<String> = HashSet::new();
        let before = self.problems.len();
        for (top, place, message) in document.problems {
            let dag_id = top.filter(|top| top != "default" && top != "task_groups");
            wrong.extend(dag_id.clone());
            self.add_at(place, dag_id, None, message);
        }
        let default_is_wrong = self.problems[before..].iter().any(|problem| problem.dag_id.is_none());
        let mut config = match document.root.data {
            Data::Null => return,
            Data::Map(config) => config,
            _ => return self.add_at(document.root.place, None, None, "the file must be a mapping of DAGs".into()),
        };

        let mut problems = Problems::default();
        let global = self.global(&mut problems);
        let default = config.remove("default").map(|default| self.cast(default, None));
        let default = match default {
            Some(None) => None,
            Some(Some(default)) => Some(global.file_default(Some(&default), &mut problems)),
            None => Some(global.file_default(None, &mut problems)),
        };
        let usable = problems.list.is_empty() && !default_is_wrong;
        for found in problems.list {
            self.add_at(found.place.unwrap_or_default(), None, None, found.message);
        }
        let Some(default) = default.filter(|_| usable) else { return };
        let shown_default = dump::dump("default", &default);

        for (key, value) in config.entries {
            let Some(dag_id) = key.as_str().map(ToOwned::to_owned) else {
                self.add_at(key.place, None, None, format!("the DAG id {} must be a text", key_text(&key)));
                continue;
            };
            if dag_id == "task_groups" || wrong.contains(&dag_id) {
                continue;
            }
            if let Some(dag) = self.dag(&dag_id, key.place, value, &global, &default, &shown_default) {
                dags.push(Arc::new(dag));
            }
        }
    }

    fn dag(
        &mut self,
        dag_id: &str,
        place: Place,
        value: Node,
        global: &Global,
        default: &Node,
        shown_default: &str,
    ) -> Option<Dag> {
        if value.as_map().is_none() {
            let message = format!("its configuration must be a mapping, not of type '{}'", value.type_name());
            self.add_at(place, Some(dag_id.into()), None, message);
            return None;
        }
        let own = self.cast_dag(value, dag_id)?;
        let mut conf = merge::overlaid(&global.dag_args, own.as_map()?);
        if conf.get("task_groups").and_then(Node::as_map).is_some_and(|groups| groups.entries.is_empty()) {
            conf.remove("task_groups");
        }
        let shown = format!("{shown_default}\n{}", dump::dump(dag_id, &Node::new(Data::Map(conf.clone()), place)));
        if let Some(default) = default.as_map() {
            merge::fill(&mut conf, default);
        }
        let path = self.files[0].clone();
        let mut cx = DagContext {
            registry: &self.loader.registry,
            timetables: &self.loader.timetables,
            now: self.loader.clock.now(),
            path: &path,
            also_read: Vec::new(),
        };
        let read = dag::read(dag_id, place, &conf, &shown, &mut cx);
        let also_read = cx.also_read;
        let result = match read {
            Ok(dag) => Some(dag),
            Err(list) => {
                for found in list {
                    self.add_at(found.place.unwrap_or(place), Some(dag_id.into()), found.task_id, found.message);
                }
                None
            }
        };
        self.files.extend(also_read);
        result
    }

    /// The files of defaults that count for the file.
    fn global(&mut self, problems: &mut Problems) -> Global {
        let mut global = Global::default();
        let mut paths = Vec::new();
        let mut seen = HashSet::new();
        for path in self.loader.defaults_of(&self.files[0]) {
            if path.is_file() && seen.insert(path.parent().map(Path::to_path_buf)) {
                paths.push(path);
            }
        }
        for path in paths.into_iter().rev() {
            let file = u16::try_from(self.files.len()).unwrap_or(u16::MAX);
            self.files.push(path.clone());
            let read = read_text(&path).map_err(|message| (Place { file, line: 1 }, message)).and_then(|text| {
                let (text, refused) = env::expand(&text, &self.loader.allowed_env, &self.loader.environment);
                let document = parse::parse(&text, file, &refused)
                    .map_err(|error| (Place { file, line: error.line.unwrap_or(1) }, error.message))?;
                if let Some((_, place, message)) = document.problems.into_iter().next() {
                    return Err((place, message));
                }
                cast::cast(document.root, &self.loader.timetables)
            });
            match read {
                Ok(Node { data: Data::Map(map), .. }) => global.take(map, problems),
                Ok(Node { data: Data::Null, .. }) => {}
                Ok(other) => problems.add(other.place, "a file of defaults must be a mapping"),
                Err((place, message)) => problems.add(place, message),
            }
        }
        global
    }

    /// Casts a DAG's configuration, each of its tasks by itself, so that all problems are found and say their task.
    fn cast_dag(&mut self, mut node: Node, dag_id: &str) -> Option<Node> {
        let mut is_right = true;
        if let Some(tasks) = node.as_map_mut().and_then(|map| map.get_mut("tasks")) {
            let mut confs: Vec<(String, &mut Node)> = Vec::new();
            match &mut tasks.data {
                Data::Map(map) if map.get("__type__").is_none() => {
                    confs.extend(map.entries.iter_mut().map(|(name, conf)| (key_text(name), conf)));
                }
                Data::List(list) => confs.extend(list.iter_mut().map(|conf| {
                    let name = conf.as_map().and_then(|map| map.get("task_id")).map(key_text);
                    (name.unwrap_or_default(), conf)
                })),
                _ => {}
            }
            for (task_id, conf) in confs {
                let place = conf.place;
                let conf_before = std::mem::replace(conf, Node::new(Data::Null, place));
                match cast::cast(conf_before, &self.loader.timetables) {
                    Ok(cast) => *conf = cast,
                    Err((place, message)) => {
                        self.add_at(place, Some(dag_id.into()), Some(task_id), message);
                        is_right = false;
                    }
                }
            }
        }
        // What is cast already stays as it is.
        self.cast(node, Some(dag_id)).filter(|_| is_right)
    }

    fn cast(&mut self, node: Node, dag_id: Option<&str>) -> Option<Node> {
        let cast = cast::cast(node, &self.loader.timetables);
        cast.map_err(|(place, message)| self.add_at(place, dag_id.map(Into::into), None, message)).ok()
    }

    fn add_at(&mut self, place: Place, dag_id: Option<String>, task_id: Option<String>, message: String) {
        let file = self.files.get(usize::from(place.file)).or(self.files.first()).cloned().unwrap_or_default();
        let line = (place.line > 0).then_some(place.line);
        self.problems.push(Problem { file, line, dag_id, task_id, message });
    }

    fn add(&mut self, line: Option<u32>, dag_id: Option<String>, task_id: Option<String>, message: String) {
        self.add_at(Place { file: 0, line: line.unwrap_or(0) }, dag_id, task_id, message);
    }
}
