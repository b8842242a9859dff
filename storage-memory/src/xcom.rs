//! XComs.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::Value;
use updraft_core::id::AttemptToken;
use updraft_core::model::XCom;
use updraft_core::storage::{Page, Result, XComEntry, XComQuery, XComStorage};

use crate::MemoryStorage;
use crate::instance::key_at;
use crate::list::{among, may_read, page};
use crate::run::Run;
use crate::state::State;

impl State {
    fn list_xcoms(&self, query: &XComQuery) -> Page<XComEntry> {
        let runs: Vec<&Run> = match (&query.dag_id, &query.run_id) {
            (Some(dag), Some(run)) => self.find_run(dag, run).into_iter().collect(),
            (Some(dag), None) => {
                self.dag(dag).into_iter().flat_map(|dag| &dag.runs).filter_map(|&id| self.run(id)).collect()
            }
            _ => self.runs.iter().flatten().map(Box::as_ref).collect(),
        };
        let mut found = Vec::new();
        for run in runs {
            let record = &run.record;
            if !may_read(query.readable.as_ref(), &record.dag_id)
                || query.run_id.as_ref().is_some_and(|run_id| *run_id != record.run_id)
            {
                continue;
            }
            let visit = |place: usize| {
                let (Some(cold), key) = (&run.instances[place].cold, key_at(place)) else {
                    return;
                };
                let Some(task) = run.version.dag.task(key.task) else {
                    return;
                };
                if !among(query.task_ids.as_ref(), task.task_id.as_str())
                    || query.map_index.is_some_and(|index| index != key.map_index)
                {
                    return;
                }
                for (name, (value, time)) in &cold.xcoms {
                    if query.key.as_ref().is_none_or(|key| key == name) {
                        found.push((&record.dag_id, &task.task_id, run, key, name, value, *time));
                    }
                }
            };
            match &query.task_ids {
                Some(ids) => {
                    let tasks = ids.iter().filter_map(|id| run.version.find_task(id));
                    tasks.map(|ix| ix.index()).for_each(visit);
                }
                None => (0..run.instances.len()).for_each(visit),
            }
        }
        found.sort_by_key(|&(dag, task, run, key, name, ..)| (dag, task, &run.record.run_id, key.map_index, name));
        page(found.into_iter(), query.page).map(|(_, task, run, key, name, value, timestamp)| XComEntry {
            run: Arc::clone(&run.record),
            task_id: task.to_string(),
            xcom: XCom { run: run.record.id, instance: key, key: name.clone(), value: value.clone(), timestamp },
        })
    }
}

#[async_trait]
impl XComStorage for MemoryStorage {
    async fn xcoms(&self, query: &XComQuery) -> Result<Page<XComEntry>> {
        Ok(self.lock().list_xcoms(query))
    }

    async fn set_xcom(&self, now: DateTime<Utc>, token: AttemptToken, key: &str, value: Value) -> Result<()> {
        let mut state = self.lock();
        state.current_instance(token)?.cold_mut().xcoms.insert(key.into(), (value, now));
        Ok(())
    }
}
