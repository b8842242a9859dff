//! What limits allow, and what is left of it for a batch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use updraft_core::id::RunId;
use updraft_core::model::Pool;
use updraft_core::storage::{Batch, Change};

use crate::sql::{Schema, sql};
use crate::version::Version;

/// The limits that a batch can meet.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    dags: BTreeSet<i32>,
    pools: BTreeSet<String>,
    /// Tasks that have a limit of their own in their DAG.
    tasks: BTreeMap<(i32, String), u32>,
    starts_runs: bool,
}

impl Needs {
    /// As far as `version_of` knows the runs.
    pub(crate) fn of(batch: &Batch, version_of: impl Fn(RunId) -> Option<Arc<Version>>) -> Self {
        let mut needs = Self::default();
        let mut last: Option<(RunId, Option<Arc<Version>>)> = None;
        for transition in &batch.transitions {
            let is_limited =
                matches!(transition.change, Change::StartRun | Change::Admit(_) | Change::PauseAfterFailures(_));
            if !is_limited {
                continue;
            }
            let (_, version) = match last.take() {
                Some(known) if known.0 == transition.run => last.insert(known),
                _ => last.insert((transition.run, version_of(transition.run))),
            };
            let Some(version) = version else { continue };
            needs.dags.insert(version.dag);
            let Change::Admit(admission) = &transition.change else {
                needs.starts_runs |= transition.change == Change::StartRun;
                continue;
            };
            let Some(task) = version.view.dag.task(admission.key.task) else { continue };
            if !needs.pools.contains(&task.pool) {
                needs.pools.insert(task.pool.clone());
            }
            if let Some(most) = task.max_active_tis_per_dag {
                needs.tasks.insert((version.dag, task.task_id.to_string()), most);
            }
        }
        needs
    }

    pub(crate) fn dags(&self) -> Vec<i32> {
        self.dags.iter().copied().collect()
    }

    pub(crate) fn pools(&self) -> Vec<&str> {
        self.pools.iter().map(String::as_str).collect()
    }
}

/// What a DAG allows, and what is left of it.
#[derive(Debug)]
pub(crate) struct DagRoom {
    pub(crate) is_paused: bool,
    pub(crate) tasks: i64,
    pub(crate) runs: i64,
}

/// What is left of limits.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    pub(crate) dags: BTreeMap<i32, DagRoom>,
    pub(crate) tasks: BTreeMap<(i32, String), i64>,
    pub(crate) pools: BTreeMap<String, i64>,
    /// Names of pools that are not without bound.
    bounded: BTreeSet<String>,
}

impl Rooms {
    /// Takes a limit that was locked: the columns are the DAG, the pool's name, whether the DAG is paused, its
    /// `max_active_runs` and `max_active_tasks`, and the pool's slots. Returns whether the row is one.
    pub(crate) fn take_limit(&mut self, row: &PgRow, columns: [usize; 6]) -> Result<bool, sqlx::Error> {
        let [dag, pool, is_paused, runs, tasks, slots] = columns;
        if let Some(dag) = row.try_get::<Option<i32>, _>(dag)? {
            let room =
                DagRoom { is_paused: row.try_get(is_paused)?, runs: row.try_get(runs)?, tasks: row.try_get(tasks)? };
            self.dags.insert(dag, room);
        } else if let Some(name) = row.try_get::<Option<String>, _>(pool)? {
            let slots: i32 = row.try_get(slots)?;
            let room = if slots == Pool::UNBOUNDED { i64::MAX } else { i64::from(slots) };
            if slots != Pool::UNBOUNDED {
                self.bounded.insert(name.clone());
            }
            self.pools.insert(name, room);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Locks what was not `predicted`, and therefore is not locked yet.
    pub(crate) async fn lock_missing(
        &mut self,
        connection: &mut PgConnection,
        schema: &Schema,
        needs: &Needs,
        predicted: &Needs,
    ) -> Result<(), sqlx::Error> {
        if needs.dags.is_subset(&predicted.dags) && needs.pools.is_subset(&predicted.pools) {
            return Ok(());
        }
        let rows = sqlx::query(schema.sql(sql!("commit/lock_limits")))
            .bind(needs.dags())
            .bind(needs.pools())
            .fetch_all(connection)
            .await?;
        for row in &rows {
            self.take_limit(row, [0, 1, 2, 3, 4, 5])?;
        }
        Ok(())
    }

    /// Counts what live attempts and running runs hold, in a statement of its own: a count in the statement of the locks
    /// would be of the time before it waited.
    pub(crate) async fn count(
        &mut self,
        connection: &mut PgConnection,
        schema: &Schema,
        needs: &Needs,
    ) -> Result<(), sqlx::Error> {
        if needs.dags.is_empty() {
            return Ok(());
        }
        let rows = sqlx::query(schema.sql(sql!("commit/count_limits")))
            .bind(needs.dags())
            .bind(needs.tasks.keys().map(|(dag, _)| *dag).collect::<Vec<_>>())
            .bind(needs.tasks.keys().map(|(_, task)| task.as_str()).collect::<Vec<_>>())
            .bind(self.bounded.iter().map(String::as_str).collect::<Vec<_>>())
            .bind(needs.starts_runs)
            .fetch_all(connection)
            .await?;
        self.tasks = needs.tasks.iter().map(|(task, most)| (task.clone(), i64::from(*most))).collect();
        for row in &rows {
            let held: i64 = row.try_get(3)?;
            let of = (row.try_get::<Option<i32>, _>(0)?, row.try_get::<Option<String>, _>(1)?);
            match (of, row.try_get::<Option<&str>, _>(2)?) {
                ((Some(dag), Some(task)), _) => {
                    if let Some(room) = self.tasks.get_mut(&(dag, task)) {
                        *room -= held;
                    }
                }
                ((Some(dag), None), _) => {
                    if let Some(room) = self.dags.get_mut(&dag) {
                        room.tasks -= held;
                        room.runs -= row.try_get::<Option<i64>, _>(4)?.unwrap_or(0);
                    }
                }
                ((None, _), Some(pool)) => {
                    if let Some(room) = self.pools.get_mut(pool) {
                        *room -= held;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}
