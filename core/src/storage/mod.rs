//! Where state is kept: one trait a noun, together [`Storage`].
//!
//! Each method is one atomic step: when it returns `Ok`, its whole effect is durable and visible to every reader; when it
//! returns an error other than [`StorageError::Unavailable`], it had no effect. After `Unavailable` the effect is either
//! wholly there or wholly absent. Methods that write or compare a time that users see take it as `now`. An
//! [`AuditEntry`] that a method takes is written in the same step.
//!
//! The `conformance` feature has the test suite that every storage passes.

mod dag;
mod dag_warning;
mod dataset;
mod error;
mod event_log;
mod import_error;
mod page;
mod parsing_request;
mod pool;
mod role;
mod run;
mod schedule;
mod scheduler;
mod secret;
mod task_instance;
mod token;
mod user;
mod xcom;

#[cfg(feature = "conformance")]
pub mod conformance;

use std::any::Any;
use std::fmt::Debug;

pub use dag::{DagOrder, DagQuery, DagRegistration, DagStorage, UNREPORTED};
pub use dag_warning::{DagWarningOrder, DagWarningQuery, DagWarningStorage};
pub use dataset::{
    DatasetEventOrder, DatasetEventQuery, DatasetOrder, DatasetQuery, DatasetStorage, NewDatasetEvent, NewDatasetRun,
    QueuedDatasetEventQuery, WaitingConsumer,
};
pub use error::{StorageError, Subject};
pub use event_log::{EventLogOrder, EventLogQuery, EventLogStorage};
pub use import_error::{ImportErrorOrder, ImportErrorStorage};
pub use page::{OrderBy, Page, PageRequest, Range};
pub use parsing_request::ParsingRequestStorage;
pub use pool::{PoolOrder, PoolStorage, PoolUpdate};
pub use role::{RoleOrder, RoleStorage, RoleUpdate};
pub use run::{Amendment, InstanceAmendment, NewRun, RunOrder, RunQuery, RunStorage};
pub use schedule::{DueSchedule, DueSchedules, ScheduleStep, ScheduleStorage, ScheduleVerdict, ScheduledRun};
pub use scheduler::{
    Admission, Batch, Change, Ended, InstanceSnapshot, Limit, PastQuery, PastTask, PreviousRun, RunSnapshot,
    SchedulerSession, SchedulerStorage, Stop, Transition, Verdict,
};
pub use secret::{
    ConnectionOrder, ConnectionStorage, ConnectionUpdate, VariableOrder, VariableStorage, VariableUpdate,
};
pub use task_instance::{TaskInstanceQuery, TaskInstanceStorage};
pub use token::TokenStorage;
pub use user::{UserOrder, UserStorage, UserUpdate};
pub use xcom::{XComEntry, XComQuery, XComStorage};

#[allow(unused_imports, reason = "for the docs")]
use crate::model::AuditEntry;

/// A result of a storage.
pub type Result<T, E = StorageError> = std::result::Result<T, E>;

/// Everything that is kept. [`Any`] tells what it is kept in.
pub trait Storage:
    DagStorage
    + DagWarningStorage
    + RunStorage
    + TaskInstanceStorage
    + XComStorage
    + ParsingRequestStorage
    + PoolStorage
    + DatasetStorage
    + VariableStorage
    + ConnectionStorage
    + EventLogStorage
    + ImportErrorStorage
    + UserStorage
    + RoleStorage
    + TokenStorage
    + SchedulerStorage
    + Debug
    + Send
    + Sync
    + Any
{
}

impl<T> Storage for T where
    T: DagStorage
        + DagWarningStorage
        + RunStorage
        + TaskInstanceStorage
        + XComStorage
        + ParsingRequestStorage
        + PoolStorage
        + DatasetStorage
        + VariableStorage
        + ConnectionStorage
        + EventLogStorage
        + ImportErrorStorage
        + UserStorage
        + RoleStorage
        + TokenStorage
        + SchedulerStorage
        + Debug
        + Send
        + Sync
        + 'static
{
}
