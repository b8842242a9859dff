//! The nouns, as plain data.

mod attempt;
mod connection;
mod dag;
mod dag_run;
mod dag_warning;
mod dataset;
mod event_log;
mod host;
mod import_error;
mod permission;
mod pool;
mod schedule;
mod state;
mod task;
mod task_instance;
mod token;
mod trigger_rule;
mod user;
mod variable;
mod weight_rule;
mod workflow;
mod xcom;

pub use attempt::{AttemptPhase, LiveAttempt};
pub use connection::Connection;
pub use dag::{Dag, DagRecord, DagVersion, Param, TaskGroup};
pub use dag_run::{DagRun, Note, RunType};
pub use dag_warning::DagWarning;
pub use dataset::{
    Dataset, DatasetConsumer, DatasetEvent, DatasetEventSource, DatasetProducer, DatasetRecord, OutletEvent,
    QueuedDatasetEvent, normal_uri,
};
pub use event_log::{AuditEntry, EventLogEntry, TaskEventLog};
pub use host::Host;
pub use import_error::ImportError;
pub use permission::{Action, DAG_PREFIX, DAG_RUN_PREFIX, Resource};
pub use pool::{DEFAULT_POOL, Pool, PoolUsage};
pub use schedule::{DataInterval, DatasetCondition, DatasetNode, NextRun, Schedule};
pub use state::{RunState, StateSet, TaskState, UnknownState};
pub use task::{OperatorRef, Task};
pub use task_instance::{TaskInstance, TaskInstanceTry};
pub use token::Token;
pub use trigger_rule::{TriggerRule, UnknownTriggerRule};
pub use user::{Role, User};
pub use variable::Variable;
pub use weight_rule::{UnknownWeightRule, WeightRule};
pub use workflow::{WORKFLOW, WORKFLOW_ERROR, WORKFLOW_FUNCTION, Workflow, WorkflowTask};
pub use xcom::{RETURN_VALUE, SKIPMIXIN_KEY, XCom};
