//! Celery Director's projects: a folder with `workflows.yml`, its schemas and its tasks.
//!
//! A definition becomes a DAG of its name, `project.NAME`. Each element of its `tasks` is a stage: all of a stage has
//! succeeded before anything of the next starts. Where a stage of several tasks comes before another such stage, a task
//! without work joins the two, so that a thousand tasks before a thousand others are two thousand edges; another one, `end`,
//! ends each run. These two kinds have no [`WorkflowTask`](updraft_core::model::WorkflowTask).
//!
//! As in Director, any mapping in the outermost list is a group, whatever its `type`. Beyond Director, groups may hold
//! further mappings, `type: chain` or `type: group`, nested up to 16 deep.
//!
//! Director starts with wrong definitions and fails when they are launched; here they are problems of the file, and others
//! are not held back. What is checked: names (`PROJECT.NAME`, of letters, digits, `_`, `-` and `.`), that every task and hook
//! exists, the shape of groups, queues, hooks, retention and schedules, and that schemas are there and are schemas.
//!
//! What the definition says of its schedule is the DAG's. Queues are those of the tasks;
//! without any, `celery`.

mod definition;
mod env;
mod periodic;
mod project;
mod shape;

pub use project::{FoundTasks, Project, ProjectTasks};
