//! Celery Director's projects: what finds their functions, and how many of their runs are kept.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Days, Utc};
use tokio::sync::watch;
use updraft_authoring::director::{FoundTasks, ProjectTasks};
use updraft_core::clock::Clock;
use updraft_core::model::{WORKFLOW, Workflow};
use updraft_core::service::{Actor, Service, ServiceError};
use updraft_core::storage::{DagQuery, OrderBy, PageRequest, RunOrder, RunQuery};
use updraft_operators::director::DirectorWorkers;

/// How many runs are looked at in one step.
const AT_A_TIME: usize = 1000;
/// The longest sleep: clocks are set.
const LOOK: Duration = Duration::from_secs(600);

/// Finds the functions of projects with the processes that run them.
#[derive(Debug)]
pub(crate) struct Functions(pub(crate) DirectorWorkers);

impl ProjectTasks for Functions {
    fn find(&self, project: &Path) -> Result<FoundTasks, String> {
        let found = self.0.find(project)?;
        Ok(FoundTasks { names: found.names.into_iter().collect(), problems: found.problems })
    }
}

/// Deletes, each night at 00:00 UTC, what workflows have beyond the runs that they keep, until it is told to stop.
pub(crate) async fn keep_to_retention(
    service: Service,
    clock: Arc<dyn Clock>,
    mut stopped: watch::Receiver<Option<Duration>>,
) -> Result<(), ServiceError> {
    let mut due = next_midnight(clock.now());
    loop {
        let left = (due - clock.now()).to_std().unwrap_or_default();
        tokio::select! {
            // Told to stop, or the handle is gone.
            _ = stopped.wait_for(Option::is_some) => return Ok(()),
            () = clock.sleep(left.min(LOOK)) => {}
        }
        if clock.now() < due {
            continue;
        }
        match clean(&service).await {
            Err(error) if error.is_retryable() => tracing::warn!(%error, "old workflows have to stay for now"),
            result => {
                result?;
                due = next_midnight(clock.now());
            }
        }
    }
}

fn next_midnight(now: DateTime<Utc>) -> DateTime<Utc> {
    let tomorrow = now.date_naive().checked_add_days(Days::new(1)).unwrap_or(now.date_naive());
    tomorrow.and_time(chrono::NaiveTime::MIN).and_utc()
}

/// Deletes the ended runs of each workflow beyond the newest that it keeps.
async fn clean(service: &Service) -> Result<(), ServiceError> {
    let query = DagQuery { tags: vec![WORKFLOW.into()], ..DagQuery::default() };
    for record in service.dags(&query).await?.items {
        let Some(kept) = Workflow::of(record.dag()).and_then(|workflow| workflow.retention()) else { continue };
        let mut offset = usize::try_from(kept).unwrap_or(usize::MAX);
        loop {
            let query = RunQuery {
                dag_ids: Some(BTreeSet::from([record.dag_id().clone()])),
                order_by: Some(OrderBy { field: RunOrder::Id, descending: true }),
                without_total: true,
                page: PageRequest { limit: AT_A_TIME, offset },
                ..RunQuery::default()
            };
            let runs = service.dag_runs(&query).await?.items;
            if runs.is_empty() {
                break;
            }
            for run in runs {
                if !run.state.is_finished() {
                    offset += 1;
                    continue;
                }
                match service.delete_run(run.dag_id.as_str(), &run.run_id, &Actor::default()).await {
                    // Another process does the same.
                    Ok(()) | Err(ServiceError::NotFound(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_ends_at_midnight() {
        let at = |text: &str| -> DateTime<Utc> { text.parse().expect("a date") };
        assert_eq!(next_midnight(at("2026-12-31T23:59:59Z")), at("2027-01-01T00:00:00Z"));
        assert_eq!(next_midnight(at("2026-01-01T00:00:00Z")), at("2026-01-02T00:00:00Z"));
    }
}
