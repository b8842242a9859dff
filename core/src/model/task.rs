//! A task of a DAG.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{DEFAULT_POOL, TriggerRule, WeightRule};
use crate::id::{TaskId, TaskIx};

/// The kind of work that a task does, by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OperatorRef {
    /// The class as Airflow names it, for example `BashOperator`.
    pub class_name: String,
    /// The module as Airflow names it, for example `airflow.operators.bash`.
    pub module_path: String,
}

impl OperatorRef {
    /// Splits an import path at its last dot.
    pub fn from_path(path: &str) -> Self {
        let (module_path, class_name) = path.rsplit_once('.').unwrap_or(("", path));
        Self { class_name: class_name.into(), module_path: module_path.into() }
    }

    /// The import path.
    pub fn path(&self) -> String {
        if self.module_path.is_empty() {
            self.class_name.clone()
        } else {
            format!("{}.{}", self.module_path, self.class_name)
        }
    }
}

/// A task: what is done, after what, and within which limits. It does not change during a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Unique within the DAG; the prefixes of its groups included.
    pub task_id: TaskId,
    /// Shown in place of the id.
    pub display_name: Option<String>,
    /// What runs.
    pub operator: OperatorRef,
    /// Whether it is done by code that was registered with the DAG rather than by an operator found by name.
    pub is_code: bool,
    /// Whether nothing has to run: it succeeds as soon as it may start, without an attempt.
    pub is_empty: bool,
    /// The operator's own arguments, not rendered yet.
    pub arguments: Map<String, Value>,
    /// Which arguments are templates.
    pub template_fields: Vec<String>,
    /// Tasks that come directly before this one, sorted.
    pub upstream: Vec<TaskIx>,
    /// The group that it belongs to, as an index of [`Dag::groups`](super::Dag::groups).
    pub group: Option<u32>,
    /// When it may start.
    pub trigger_rule: TriggerRule,
    /// Who answers for it.
    pub owner: String,
    /// Further tries after a failed one.
    pub retries: u32,
    /// Pause before the next try.
    pub retry_delay: Duration,
    /// Whether the pause doubles with each try.
    pub retry_exponential_backoff: bool,
    /// The longest pause.
    pub max_retry_delay: Option<Duration>,
    /// The pool whose slots it takes.
    pub pool: String,
    /// How many slots; at least one.
    pub pool_slots: u32,
    /// The queue of workers.
    pub queue: String,
    /// Its own weight.
    pub priority_weight: i32,
    /// How the effective weight follows from the weights in the DAG.
    pub weight_rule: WeightRule,
    /// The effective weight; set when the DAG is built.
    pub effective_priority: i32,
    /// The longest time of one try.
    pub execution_timeout: Option<Duration>,
    /// Whether the same task of the previous run must have ended well.
    pub depends_on_past: bool,
    /// Whether the tasks directly after it in the previous run must have ended well, too.
    pub wait_for_downstream: bool,
    /// Whether the first run has no past to wait for.
    pub ignore_first_depends_on_past: bool,
    /// Most instances at a time over all runs of the DAG.
    pub max_active_tis_per_dag: Option<u32>,
    /// Most instances at a time within a run.
    pub max_active_tis_per_dagrun: Option<u32>,
    /// Earliest logical date.
    pub start_date: Option<DateTime<Utc>>,
    /// Latest logical date.
    pub end_date: Option<DateTime<Utc>>,
    /// Documentation, in Markdown.
    pub doc_md: Option<String>,
    /// Whether the result is stored as an XCom.
    pub do_xcom_push: bool,
    /// Expected time to success after the interval's end.
    pub sla: Option<Duration>,
    /// Parameters of the task alone, as [`Dag::params`](super::Dag::params).
    pub params: Vec<super::Param>,
    /// Named executor.
    pub executor: Option<String>,
    /// Whether it prepares resources that a teardown releases.
    pub is_setup: bool,
    /// Whether it releases what a setup prepared.
    pub is_teardown: bool,
    /// Whether the run fails if this teardown does.
    pub on_failure_fail_dagrun: bool,
    /// How it is mapped (`expand`, `expand_kwargs`, `partial`), as declared; kept until mapping runs.
    pub mapping: Option<Value>,
    /// Names the mapped instances.
    pub map_index_template: Option<String>,
    /// Datasets read, as declared.
    pub inlets: Vec<Value>,
    /// Datasets written, as declared.
    pub outlets: Vec<Value>,
    /// Callbacks and other settings that are kept but not acted on yet.
    pub extra: Map<String, Value>,
    /// Background colour in a graph.
    pub ui_color: String,
    /// Text colour in a graph.
    pub ui_fgcolor: String,
}

impl Task {
    /// A task with Airflow's defaults.
    pub fn new(task_id: impl Into<TaskId>, operator: OperatorRef) -> Self {
        Self {
            task_id: task_id.into(),
            display_name: None,
            operator,
            is_code: false,
            is_empty: false,
            arguments: Map::new(),
            template_fields: Vec::new(),
            upstream: Vec::new(),
            group: None,
            trigger_rule: TriggerRule::default(),
            owner: "airflow".into(),
            retries: 0,
            retry_delay: Duration::from_secs(300),
            retry_exponential_backoff: false,
            max_retry_delay: None,
            pool: DEFAULT_POOL.into(),
            pool_slots: 1,
            queue: "default".into(),
            priority_weight: 1,
            weight_rule: WeightRule::default(),
            effective_priority: 1,
            execution_timeout: None,
            depends_on_past: false,
            wait_for_downstream: false,
            ignore_first_depends_on_past: true,
            max_active_tis_per_dag: None,
            max_active_tis_per_dagrun: None,
            start_date: None,
            end_date: None,
            doc_md: None,
            do_xcom_push: true,
            sla: None,
            params: Vec::new(),
            executor: None,
            is_setup: false,
            is_teardown: false,
            on_failure_fail_dagrun: false,
            mapping: None,
            map_index_template: None,
            inlets: Vec::new(),
            outlets: Vec::new(),
            extra: Map::new(),
            ui_color: "#fff".into(),
            ui_fgcolor: "#000".into(),
        }
    }

    /// The name to show.
    pub fn display_name(&self) -> &str {
        self.display_name.as_deref().unwrap_or(self.task_id.as_str())
    }

    /// Whether it is declared as mapped.
    pub fn is_mapped(&self) -> bool {
        self.mapping.is_some()
    }
}
