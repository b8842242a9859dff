//! Making DAGs known.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Row};
use updraft_core::id::{DagId, DagVersionId};
use updraft_core::model::{Dag, DagVersion, Task};
use updraft_core::storage::{DagRegistration, Result, StorageError};

use crate::PostgresStorage;
use crate::code::int;
use crate::dataset::enter_datasets;
use crate::error::{storage_error, unreadable};
use crate::hint::News;
use crate::role::sync_access;
use crate::sql::{Schema, sql};
use crate::version::Version;

/// Definitions that a statement takes, in bytes.
const DEFINITIONS: usize = 32 << 20;

/// Tasks that a statement takes.
const TASKS: usize = 20_000;

impl PostgresStorage {
    /// Makes DAGs known. Rows of DAGs are locked first, in one order; what follows takes no other lock that somebody with a
    /// DAG's row could wait for.
    pub(crate) async fn register(&self, now: DateTime<Utc>, dags: Vec<DagRegistration>) -> Result<Vec<DagVersion>> {
        let schema = &self.inner.schema;
        let mut tx = self.begin().await?;
        let mut registered: Vec<Option<Version>> = dags.iter().map(|_| None).collect();
        let (mut renewed, mut changed) = (Vec::new(), Vec::new());
        for round in rounds(&dags) {
            for (place, version, is_new) in register_round(&mut tx, schema, now, &dags, &round).await? {
                if is_new {
                    renewed.push(version.dag);
                    changed.push(Arc::clone(&version.view.dag));
                }
                registered[place] = Some(version);
            }
        }
        put_sources(&mut tx, schema, &dags).await?;
        sync_access(&mut tx, schema, changed.iter().map(AsRef::as_ref)).await?;
        let forgotten = forget_versions(&mut tx, schema, &renewed).await?;
        tx.commit().await.map_err(storage_error)?;

        let versions = &self.inner.versions;
        let registered = registered.into_iter().map(|version| {
            let version = version.ok_or_else(|| unreadable("a DAG that was registered has no version"))?;
            let known = versions.known(version.view.id).unwrap_or_else(|| versions.remember(version));
            Ok(known.view.clone())
        });
        let registered = registered.collect();
        versions.forget(&forgotten);
        self.announce(News::VERSIONS.and(News::ACCESS));
        registered
    }
}

/// Places of registrations; in each round a DAG occurs once at most.
fn rounds(dags: &[DagRegistration]) -> Vec<Vec<usize>> {
    let mut rounds: Vec<Vec<usize>> = Vec::new();
    let mut occurrences: BTreeMap<&DagId, usize> = BTreeMap::new();
    for (place, registration) in dags.iter().enumerate() {
        let occurrence = occurrences.entry(&registration.dag.dag_id).or_default();
        match rounds.get_mut(*occurrence) {
            Some(round) => round.push(place),
            None => rounds.push(vec![place]),
        }
        *occurrence += 1;
    }
    rounds
}

/// Registers different DAGs. Gives place, version and whether that is new.
async fn register_round(
    connection: &mut PgConnection,
    schema: &Schema,
    now: DateTime<Utc>,
    dags: &[DagRegistration],
    round: &[usize],
) -> Result<Vec<(usize, Version, bool)>> {
    let locked = lock(connection, schema, now, round.iter().map(|&place| &dags[place])).await?;
    let rows = sqlx::query(schema.sql(sql!("dag/newest_hashes")))
        .bind(locked)
        .fetch_all(&mut *connection)
        .await
        .map_err(storage_error)?;
    let mut newest: BTreeMap<String, Newest> = BTreeMap::new();
    for row in rows {
        let read = || {
            let newest = Newest {
                dag: row.try_get("dag")?,
                version: row.try_get("version")?,
                hash: row.try_get("content_hash")?,
                datasets: row.try_get("datasets_version")?,
            };
            Ok((row.try_get("dag_id")?, newest))
        };
        newest.extend([read().map_err(storage_error)?]);
    }
    let mut versions = Vec::new();
    let mut changed = Vec::new();
    // Of DAGs that were registered before datasets were kept.
    let mut without_datasets = Vec::new();
    for &place in round {
        let DagRegistration { dag, content_hash, .. } = &dags[place];
        let Some(known) = newest.remove(dag.dag_id.as_str()) else {
            return Err(unreadable(format!("the row of the DAG '{}' is missing", dag.dag_id)));
        };
        match known.version {
            Some(id) if known.hash.as_ref() == Some(content_hash) => {
                if known.datasets != known.version {
                    without_datasets.push(versions.len());
                }
                versions.push((place, version_of(id, known.dag, &dags[place]), false));
            }
            _ => changed.push((place, known.dag)),
        }
    }
    let seen: Vec<i32> = versions.iter().map(|(_, version, _)| version.dag).collect();
    if !seen.is_empty() {
        sqlx::query(schema.sql(sql!("dag/seen")))
            .bind(now)
            .bind(seen)
            .execute(&mut *connection)
            .await
            .map_err(storage_error)?;
    }
    if !changed.is_empty() {
        let new: Vec<(usize, Version)> = insert_versions(connection, schema, dags, &changed).await?;
        insert_tasks(connection, schema, &new).await?;
        renew(connection, schema, now, &new).await?;
        without_datasets.extend(versions.len()..versions.len() + new.len());
        versions.extend(new.into_iter().map(|(place, version)| (place, version, true)));
    }
    let without_datasets: Vec<&Version> = without_datasets.into_iter().map(|at| &versions[at].1).collect();
    enter_datasets(connection, schema, now, &without_datasets).await?;
    Ok(versions)
}

/// What is known of a DAG.
struct Newest {
    dag: i32,
    version: Option<i64>,
    hash: Option<String>,
    /// The version whose datasets are entered.
    datasets: Option<i64>,
}

fn version_of(id: i64, dag: i32, registration: &DagRegistration) -> Version {
    let DagRegistration { dag: declared, content_hash, .. } = registration;
    let view = DagVersion { id: DagVersionId(id), content_hash: content_hash.clone(), dag: Arc::clone(declared) };
    Version { view, dag }
}

/// Locks the rows of DAGs, which are made if they are missing.
async fn lock(
    connection: &mut PgConnection,
    schema: &Schema,
    now: DateTime<Utc>,
    dags: impl Iterator<Item = &DagRegistration>,
) -> Result<Vec<i32>> {
    let (ids, paused): (Vec<&str>, Vec<bool>) =
        dags.map(|registration| (registration.dag.dag_id.as_str(), registration.paused_upon_creation)).unzip();
    loop {
        sqlx::query(schema.sql(sql!("dag/insert_missing")))
            .bind(&ids)
            .bind(&paused)
            .bind(now)
            .execute(&mut *connection)
            .await
            .map_err(storage_error)?;
        let locked: Vec<i32> = sqlx::query_scalar(schema.sql(sql!("dag/lock")))
            .bind(&ids)
            .fetch_all(&mut *connection)
            .await
            .map_err(storage_error)?;
        // One that was just being deleted is made anew.
        if locked.len() == ids.len() {
            return Ok(locked);
        }
    }
}

async fn insert_versions(
    connection: &mut PgConnection,
    schema: &Schema,
    dags: &[DagRegistration],
    changed: &[(usize, i32)],
) -> Result<Vec<(usize, Version)>> {
    sqlx::query(schema.sql(sql!("dag/lock_versions"))).execute(&mut *connection).await.map_err(storage_error)?;
    let mut ids: BTreeMap<i32, i64> = BTreeMap::new();
    let mut rest = changed.iter().peekable();
    while rest.peek().is_some() {
        let (mut keys, mut hashes, mut definitions) = (Vec::new(), Vec::new(), Vec::new());
        let mut size = 0;
        while size < DEFINITIONS
            && let Some(&(place, key)) = rest.next()
        {
            let definition = serde_json::to_string(dags[place].dag.as_ref());
            let definition = definition.map_err(|error| StorageError::Internal(Box::new(error)))?;
            size += definition.len();
            keys.push(key);
            hashes.push(dags[place].content_hash.as_str());
            definitions.push(definition);
        }
        let inserted: Vec<(i64, i32)> = sqlx::query_as(schema.sql(sql!("dag/insert_versions")))
            .bind(keys)
            .bind(hashes)
            .bind(definitions)
            .fetch_all(&mut *connection)
            .await
            .map_err(storage_error)?;
        ids.extend(inserted.into_iter().map(|(id, key)| (key, id)));
    }
    let versions = changed.iter().filter_map(|&(place, key)| {
        let id = ids.get(&key)?;
        Some((place, version_of(*id, key, &dags[place])))
    });
    Ok(versions.collect())
}

async fn insert_tasks(connection: &mut PgConnection, schema: &Schema, new: &[(usize, Version)]) -> Result<()> {
    let tasks: Vec<(i64, i32, &Task)> = new
        .iter()
        .flat_map(|(_, version)| version.view.dag.tasks().map(|(ix, task)| (version.view.id.0, int(ix.0), task)))
        .collect();
    for part in tasks.chunks(TASKS) {
        fn column<'a, T>(part: &[(i64, i32, &'a Task)], of: impl Fn(&'a Task) -> T) -> Vec<T> {
            part.iter().map(|(_, _, task)| of(task)).collect()
        }
        sqlx::query(schema.sql(sql!("dag/insert_tasks")))
            .bind(part.iter().map(|(version, ..)| *version).collect::<Vec<_>>())
            .bind(part.iter().map(|(_, ix, _)| *ix).collect::<Vec<_>>())
            .bind(column(part, |task| task.task_id.as_str()))
            .bind(column(part, |task| task.owner.as_str()))
            .bind(column(part, |task| task.pool.as_str()))
            .bind(column(part, |task| i64::from(task.pool_slots.max(1))))
            .bind(column(part, |task| task.queue.as_str()))
            .bind(column(part, |task| task.executor.as_deref()))
            .bind(column(part, |task| i64::from(task.retries)))
            .execute(&mut *connection)
            .await
            .map_err(storage_error)?;
    }
    Ok(())
}

/// Points DAGs at their new versions, and copies what lists and limits ask of these.
async fn renew(
    connection: &mut PgConnection,
    schema: &Schema,
    now: DateTime<Utc>,
    new: &[(usize, Version)],
) -> Result<()> {
    fn column<'a, T>(new: &'a [(usize, Version)], of: impl Fn(&'a Dag) -> T) -> Vec<T> {
        new.iter().map(|(_, version)| of(&version.view.dag)).collect()
    }
    let tags =
        new.iter().map(|(_, version)| serde_json::to_string(&version.view.dag.tags)).collect::<Result<Vec<_>, _>>();
    sqlx::query(schema.sql(sql!("dag/renew")))
        .bind(now)
        .bind(new.iter().map(|(_, version)| version.dag).collect::<Vec<_>>())
        .bind(new.iter().map(|(_, version)| version.view.id.0).collect::<Vec<_>>())
        .bind(column(new, |dag| dag.fileloc.as_str()))
        .bind(column(new, |dag| dag.description.as_deref()))
        .bind(column(new, |dag| dag.owners().join(", ")))
        .bind(tags.map_err(|error| StorageError::Internal(Box::new(error)))?)
        .bind(column(new, |dag| i64::from(dag.max_active_runs)))
        .bind(column(new, |dag| i64::from(dag.max_active_tasks)))
        .bind(column(new, |dag| dag.schedule.is_timed()))
        .execute(connection)
        .await
        .map_err(storage_error)?;
    Ok(())
}

/// Keeps the texts of files, the last one of each.
async fn put_sources(connection: &mut PgConnection, schema: &Schema, dags: &[DagRegistration]) -> Result<()> {
    let sources: BTreeMap<&str, &str> = dags
        .iter()
        .filter_map(|registration| Some((registration.dag.fileloc.as_str(), registration.source.as_deref()?)))
        .collect();
    if sources.is_empty() {
        return Ok(());
    }
    let (files, texts): (Vec<&str>, Vec<&str>) = sources.into_iter().unzip();
    sqlx::query(schema.sql(sql!("dag/put_sources")))
        .bind(files)
        .bind(texts)
        .execute(connection)
        .await
        .map_err(storage_error)?;
    Ok(())
}

/// Drops versions that no run has. The last two stay: somebody may just have read one, in order to make a run of it.
async fn forget_versions(connection: &mut PgConnection, schema: &Schema, dags: &[i32]) -> Result<Vec<i64>> {
    if dags.is_empty() {
        return Ok(Vec::new());
    }
    let unused: Vec<i64> = sqlx::query_scalar(schema.sql(sql!("dag/lock_unused_versions")))
        .bind(dags)
        .fetch_all(&mut *connection)
        .await
        .map_err(storage_error)?;
    if unused.is_empty() {
        return Ok(unused);
    }
    let deleted: Vec<i64> = sqlx::query_scalar(schema.sql(sql!("dag/delete_unused_versions")))
        .bind(unused)
        .fetch_all(&mut *connection)
        .await
        .map_err(storage_error)?;
    sqlx::query(schema.sql(sql!("dag/delete_tasks")))
        .bind(&deleted)
        .execute(connection)
        .await
        .map_err(storage_error)?;
    Ok(deleted)
}
