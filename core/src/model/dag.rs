//! A DAG: its declaration, its versions and its row in the storage.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{NextRun, Schedule, Task};
use crate::id::{DagId, DagVersionId, TaskId, TaskIx};

/// A parameter of a DAG or task: a default value and the JSON Schema that values must satisfy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// The default; `None` if a run must give one.
    pub value: Option<Value>,
    /// Shown to people.
    pub description: Option<String>,
    /// JSON Schema keywords.
    pub schema: Map<String, Value>,
}

/// A group of tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskGroup {
    /// Unique within the DAG, prefixes of its parents included.
    pub group_id: String,
    /// Whether the ids of its members start with its id and a dot.
    pub prefix_group_id: bool,
    /// The group around it, as an index of [`Dag::groups`].
    pub parent: Option<u32>,
    /// Shown to people.
    pub tooltip: String,
}

/// A DAG as declared: plain data that can be stored and compared. Build one with [`DagBuilder`](crate::dag::DagBuilder),
/// which checks it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dag {
    /// Unique among DAGs.
    pub dag_id: DagId,
    /// Shown in place of the id.
    pub display_name: Option<String>,
    /// One line for people.
    pub description: Option<String>,
    /// Documentation, in Markdown.
    pub doc_md: Option<String>,
    /// The file or module that declares it.
    pub fileloc: String,
    /// When it wants runs.
    pub schedule: Schedule,
    /// Earliest logical date.
    pub start_date: Option<DateTime<Utc>>,
    /// Latest logical date.
    pub end_date: Option<DateTime<Utc>>,
    /// IANA name of its zone.
    pub timezone: String,
    /// Whether missed intervals are made up for.
    pub catchup: bool,
    /// Most runs at a time.
    pub max_active_runs: u32,
    /// Most task instances at a time, over all runs.
    pub max_active_tasks: u32,
    /// Failed runs in a row after which the DAG is paused; 0 for never.
    pub max_consecutive_failed_dag_runs: u32,
    /// The longest time of a run.
    pub dagrun_timeout: Option<Duration>,
    /// Whether the first failed task fails the run.
    pub fail_stop: bool,
    /// Whether it starts paused; `None` leaves that to the host.
    pub is_paused_upon_creation: Option<bool>,
    /// Whether templates render to native objects.
    pub render_template_as_native_obj: bool,
    /// Folders of template files.
    pub template_searchpath: Vec<String>,
    /// Labels, sorted.
    pub tags: Vec<String>,
    /// Parameters, in the order of their declaration.
    pub params: Vec<Param>,
    /// Arguments of all its tasks, as declared.
    pub default_args: Map<String, Value>,
    /// Permissions by role, `{role: {"DAGs": [actions], "DAG Runs": [actions]}}`.
    pub access_control: Option<Value>,
    /// Airflow's first view.
    pub default_view: String,
    /// Airflow's direction of the graph.
    pub orientation: String,
    /// Callbacks and other settings that are kept but not acted on yet.
    pub extra: Map<String, Value>,
    /// Groups; a parent comes before its children.
    pub groups: Vec<TaskGroup>,
    /// Tasks, in the order of their declaration; [`TaskIx`] counts them.
    pub tasks: Vec<Task>,
    /// For DAGs whose tasks are code: which code. A scheduler runs the version only if it registered the same.
    pub code_version: Option<String>,
}

impl Dag {
    /// A DAG with Airflow's defaults and no tasks.
    pub fn new(dag_id: impl Into<DagId>) -> Self {
        Self {
            dag_id: dag_id.into(),
            display_name: None,
            description: None,
            doc_md: None,
            fileloc: String::new(),
            schedule: Schedule::None,
            start_date: None,
            end_date: None,
            timezone: "UTC".into(),
            catchup: true,
            max_active_runs: 16,
            max_active_tasks: 16,
            max_consecutive_failed_dag_runs: 0,
            dagrun_timeout: None,
            fail_stop: false,
            is_paused_upon_creation: None,
            render_template_as_native_obj: false,
            template_searchpath: Vec::new(),
            tags: Vec::new(),
            params: Vec::new(),
            default_args: Map::new(),
            access_control: None,
            default_view: "grid".into(),
            orientation: "LR".into(),
            extra: Map::new(),
            groups: Vec::new(),
            tasks: Vec::new(),
            code_version: None,
        }
    }

    /// The task at a position.
    pub fn task(&self, ix: TaskIx) -> Option<&Task> {
        self.tasks.get(ix.index())
    }

    /// The position of a task. Takes time in proportion to the number of tasks.
    pub fn find_task(&self, task_id: &str) -> Option<TaskIx> {
        self.tasks.iter().position(|task| task.task_id.as_str() == task_id).map(TaskIx::from_index)
    }

    /// All tasks with their positions.
    pub fn tasks(&self) -> impl Iterator<Item = (TaskIx, &Task)> {
        self.tasks.iter().enumerate().map(|(i, task)| (TaskIx::from_index(i), task))
    }

    /// For each task, the tasks directly after it, sorted.
    pub fn downstream(&self) -> Vec<Vec<TaskIx>> {
        let mut downstream = vec![Vec::new(); self.tasks.len()];
        for (ix, task) in self.tasks() {
            for up in &task.upstream {
                if let Some(list) = downstream.get_mut(up.index()) {
                    list.push(ix);
                }
            }
        }
        downstream
    }

    /// The distinct owners of its tasks, sorted.
    pub fn owners(&self) -> Vec<&str> {
        let owners: std::collections::BTreeSet<_> = self.tasks.iter().map(|task| task.owner.as_str()).collect();
        owners.into_iter().collect()
    }

    /// The name to show.
    pub fn display_name(&self) -> &str {
        self.display_name.as_deref().unwrap_or(self.dag_id.as_str())
    }

    /// Ids of tasks in the order of their declaration.
    pub fn task_ids(&self) -> impl Iterator<Item = &TaskId> {
        self.tasks.iter().map(|task| &task.task_id)
    }
}

/// One version of a DAG: runs keep the version that they were created with.
#[derive(Debug, Clone)]
pub struct DagVersion {
    /// The storage's key.
    pub id: DagVersionId,
    /// Hash of the declaration.
    pub content_hash: String,
    /// The declaration.
    pub dag: Arc<Dag>,
}

/// A DAG as the storage knows it.
#[derive(Debug, Clone)]
pub struct DagRecord {
    /// The newest version.
    pub version: DagVersion,
    /// Whether its runs wait.
    pub is_paused: bool,
    /// Whether anybody still declares it.
    pub is_active: bool,
    /// Whether nobody declares it any more because its file has an import error.
    pub has_import_errors: bool,
    /// When its declaration was last read.
    pub last_parsed_time: DateTime<Utc>,
    /// When anybody last said that it exists no longer.
    pub last_expired: Option<DateTime<Utc>>,
    /// The next run of its schedule, as far as a scheduler has planned it.
    pub next_run: Option<NextRun>,
    /// Whether its schedule is held because as many runs as allowed have not ended; `next_run` is its last one then.
    pub is_held: bool,
}

impl DagRecord {
    /// The newest declaration.
    pub fn dag(&self) -> &Arc<Dag> {
        &self.version.dag
    }

    /// Its id.
    pub fn dag_id(&self) -> &DagId {
        &self.version.dag.dag_id
    }
}
