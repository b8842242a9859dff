//! What is done for each path.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};
use updraft_core::id::{DagId, DagVersionId, InstanceKey};
use updraft_core::model::{Dag, DagRun, RunState, TaskInstance, TaskState, WORKFLOW, Workflow};
use updraft_core::service::{ServiceError, TriggerRequest};
use updraft_core::storage::{DagQuery, OrderBy, PageRequest, RunOrder, RunQuery, TaskInstanceQuery, XComQuery};

use super::answer::{Answer, Problem, reply};
use super::body::{Launch, check_payload};
use super::ground::Call;
use super::path::workflow_id;
use super::show::{self, left};
use crate::access::Action;

/// All definitions, by name.
pub(super) async fn definitions(call: &Call<'_>) -> Answer {
    let query = DagQuery { is_active: Some(true), ..dags(call).await? };
    let mut shown = BTreeMap::new();
    for record in call.service().dags(&query).await?.items {
        let fullname = record.dag_id().to_string();
        let Some(definition) = Workflow::of(record.dag()).and_then(|workflow| workflow.definition()) else { continue };
        let (project, name) = fullname.split_once('.').unwrap_or((&fullname, ""));
        let mut members = Map::new();
        members.insert("project".into(), project.into());
        members.insert("name".into(), name.into());
        // As in Director, what the definition itself says wins.
        members.extend(definition.iter().map(|(name, value)| (name.clone(), value.clone())));
        members.entry("fullname").or_insert_with(|| fullname.as_str().into());
        shown.insert(fullname, Value::from(members));
    }
    Ok(reply(StatusCode::OK, &shown.into_values().collect()))
}

/// The DAGs that are workflows, and that the caller may see.
async fn dags(call: &Call<'_>) -> Result<DagQuery, Problem> {
    let readable = call.ground.gate.authorizer.dags(&call.principal, Action::Read).await?.into_filter();
    Ok(DagQuery { tags: vec![WORKFLOW.into()], readable, ..DagQuery::default() })
}

/// A page of workflows, the newest first.
pub(super) async fn workflows(call: &Call<'_>, query: &str) -> Answer {
    let query: BTreeMap<String, String> = {
        let mut first = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            first.entry(name.into_owned()).or_insert_with(|| value.into_owned());
        }
        first
    };
    let number = |name: &str, default: i128| query.get(name).and_then(|text| integer(text)).unwrap_or(default);
    let (page, per_page) = (number("page", 1), number("per_page", i128::from(call.ground.per_page)));
    let shows_payload = query.get("with_payload").is_none_or(|text| truth(text));
    if page < 1 || per_page < 0 {
        return Err(Problem::no_such_path());
    }
    let limit = usize::try_from(per_page).unwrap_or(usize::MAX);
    let offset = page.saturating_sub(1).saturating_mul(per_page);
    let runs = match usize::try_from(offset).ok().filter(|offset| i64::try_from(*offset).is_ok() && limit > 0) {
        Some(offset) => page_of(call, PageRequest { limit, offset }).await?,
        None => Vec::new(),
    };
    if runs.is_empty() && page != 1 {
        return Err(Problem::no_such_path());
    }
    let ends = ends(call, &runs).await?;
    let shown = runs.iter().map(|run| {
        let (dag, end) = ends.get(&run.uid).map_or((None, None), |(dag, end)| (Some(dag), *end));
        let payload = || dag.and_then(|dag| Workflow::of(dag)).map_or(&run.conf, |workflow| workflow.payload(run));
        let payload = shows_payload.then(payload);
        Value::from(show::workflow(run, payload, show::status(run.state, end)))
    });
    Ok(reply(StatusCode::OK, &shown.collect()))
}

async fn page_of(call: &Call<'_>, page: PageRequest) -> Result<Vec<DagRun>, Problem> {
    // Workflows whose definition is gone are listed, too.
    let dags = call.service().dags(&dags(call).await?).await?.items;
    let workflows = dags.iter().filter(|record| Workflow::of(record.dag()).is_some());
    let dag_ids: BTreeSet<DagId> = workflows.map(|record| record.dag_id().clone()).collect();
    if dag_ids.is_empty() {
        return Ok(Vec::new());
    }
    let query = RunQuery {
        dag_ids: Some(dag_ids),
        order_by: Some(OrderBy { field: RunOrder::Id, descending: true }),
        without_total: true,
        page,
        ..RunQuery::default()
    };
    let mut runs = call.service().dag_runs(&query).await?.items;
    // Of those that were launched at the same time, another order may have been stored.
    runs.sort_by_key(|run| std::cmp::Reverse(show::created(run)));
    Ok(runs)
}

type Ends = BTreeMap<uuid::Uuid, (Arc<Dag>, Option<TaskState>)>;

/// The declarations of runs, and where the tasks stand that end them; for those of which the run itself does not tell all.
async fn ends(call: &Call<'_>, runs: &[DagRun]) -> Result<Ends, Problem> {
    let storage = call.service().storage();
    let mut versions: BTreeMap<DagVersionId, Arc<Dag>> = BTreeMap::new();
    let (mut ends, mut asked, mut places) = (Ends::new(), Vec::new(), Vec::new());
    for run in runs {
        let is_told = matches!(run.state, RunState::Queued | RunState::Success);
        if is_told && run.external_trigger {
            continue;
        }
        let dag = match versions.get(&run.dag_version) {
            Some(dag) => Arc::clone(dag),
            None => {
                let version = storage.dag_version(run.dag_version).await.map_err(ServiceError::from)?;
                versions.insert(run.dag_version, Arc::clone(&version.dag));
                version.dag
            }
        };
        if let Some(end) = Workflow::of(&dag).and_then(|workflow| workflow.end()).filter(|_| !is_told) {
            asked.push(run.uid);
            places.push((run.id, InstanceKey::unmapped(end)));
        }
        ends.insert(run.uid, (dag, None));
    }
    let states = storage.instance_states(&places).await.map_err(ServiceError::from)?;
    for (uid, state) in asked.into_iter().zip(states) {
        if let Some(found) = ends.get_mut(&uid) {
            found.1 = state;
        }
    }
    Ok(ends)
}

/// Python's `int()` of a text.
fn integer(text: &str) -> Option<i128> {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number = digits.split('_').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    if !is_number {
        return None;
    }
    let most = if text.starts_with('-') { i128::from(i64::MIN) } else { i128::from(i64::MAX) };
    Some(text.replace('_', "").parse().unwrap_or(most))
}

/// Python's `strtobool`; what it does not know is true.
fn truth(text: &str) -> bool {
    !matches!(text.to_ascii_lowercase().as_str(), "n" | "no" | "f" | "false" | "off" | "0")
}

/// Launches a workflow.
pub(super) async fn launch(call: &Call<'_>, headers: &HeaderMap, bytes: &[u8]) -> Answer {
    let launch = Launch::read(headers, bytes, &call.ground.launch)?;
    execute(call, launch).await
}

async fn execute(call: &Call<'_>, launch: Launch) -> Answer {
    let service = call.service();
    let fullname = launch.fullname();
    let unknown = || Problem::no_such_workflow(&fullname);
    let dag = service.dag_to_trigger(&fullname).await.map_err(|error| match error {
        ServiceError::NotFound(_) | ServiceError::Conflict(..) => unknown(),
        error => error.into(),
    })?;
    let workflow = Workflow::of(dag.dag()).ok_or_else(unknown)?;
    if !call.may(Action::Edit, &fullname).await? {
        return Err(Problem::forbidden());
    }
    if let Some(schema) = workflow.schema() {
        check_payload(schema, &launch.payload)?;
    }
    let run_id = match launch.project.contains('.') {
        true => Some(show::run_id(&launch.project, service.now().await?)),
        false => None,
    };
    let request = TriggerRequest { run_id, conf: launch.payload, note: launch.comment, ..TriggerRequest::default() };
    let run = service.trigger(&dag, request, &call.actor()).await?;
    Ok(reply(StatusCode::CREATED, &show::workflow(&run, Some(&run.conf), show::status(run.state, None)).into()))
}

/// The run with an id, if it is a workflow's; the caller must be allowed to do this to its DAG.
async fn find(call: &Call<'_>, id: &str, action: Action) -> Result<DagRun, Problem> {
    let unknown = || Problem::no_such_workflow(id);
    let uid = workflow_id(id).ok_or_else(unknown)?;
    let run = call.service().dag_run_by_uid(uid).await.map_err(|error| match error {
        ServiceError::NotFound(_) => unknown(),
        error => error.into(),
    })?;
    let version = call.service().storage().dag_version(run.dag_version).await.map_err(ServiceError::from)?;
    if Workflow::of(&version.dag).is_none() {
        return Err(unknown());
    }
    if !call.may(action, run.dag_id.as_str()).await? {
        return Err(Problem::forbidden());
    }
    Ok(run)
}

async fn instances(call: &Call<'_>, run: &DagRun) -> Result<Vec<TaskInstance>, Problem> {
    let query = TaskInstanceQuery {
        dag_ids: Some(BTreeSet::from([DagId::clone(&run.dag_id)])),
        run_ids: Some(BTreeSet::from([run.run_id.clone()])),
        ..TaskInstanceQuery::default()
    };
    Ok(call.service().task_instances(&query).await?.items)
}

/// A workflow with its tasks.
pub(super) async fn workflow(call: &Call<'_>, id: &str) -> Answer {
    let run = find(call, id, Action::Read).await?;
    let instances = instances(call, &run).await?;
    // After the instances: what has ended by then has left its result.
    let query =
        XComQuery { dag_id: Some(run.dag_id.to_string()), run_id: Some(run.run_id.clone()), ..XComQuery::default() };
    let left = left(call.service().xcoms(&query).await?.items);
    Ok(reply(StatusCode::OK, &show::whole(&run, &instances, &left)))
}

/// Launches a workflow again, as a new one, with the same payload and the definition of today.
pub(super) async fn relaunch(call: &Call<'_>, id: &str) -> Answer {
    let run = find(call, id, Action::Edit).await?;
    let version = call.service().storage().dag_version(run.dag_version).await.map_err(ServiceError::from)?;
    let payload = Workflow::of(&version.dag).map_or(&run.conf, |workflow| workflow.payload(&run));
    let (project, name) = show::split(&run);
    let launch = Launch {
        project: project.to_owned(),
        name: name.to_owned(),
        payload: payload.as_object().cloned().unwrap_or_default(),
        comment: run.note.as_ref().map(|note| note.content.clone()),
    };
    execute(call, launch).await
}

/// Ends a workflow.
pub(super) async fn cancel(call: &Call<'_>, id: &str) -> Answer {
    let mut run = find(call, id, Action::Edit).await?;
    let is_canceled = |ends: Ends, run: &DagRun| {
        let end = ends.get(&run.uid).and_then(|(_, end)| *end);
        show::status(run.state, end) == "canceled"
    };
    if !is_canceled(ends(call, std::slice::from_ref(&run)).await?, &run) {
        run = call.service().cancel_run(run.dag_id.as_str(), &run.run_id, &call.actor()).await?;
    }
    let version = call.service().storage().dag_version(run.dag_version).await.map_err(ServiceError::from)?;
    let payload = Workflow::of(&version.dag).map_or(&run.conf, |workflow| workflow.payload(&run));
    Ok(reply(StatusCode::CREATED, &show::workflow(&run, Some(payload), "canceled").into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_in_python() {
        for (text, expected) in [
            ("3", Some(3)),
            (" +3 ", Some(3)),
            ("-1", Some(-1)),
            ("1_000", Some(1000)),
            ("99999999999999999999999999999999999999999999", Some(i128::from(i64::MAX))),
            ("", None),
            ("1.5", None),
            ("abc", None),
            ("1__0", None),
            ("_1", None),
        ] {
            assert_eq!(integer(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_false_is_true() {
        for (text, expected) in [("no", false), ("False", false), ("OFF", false), ("0", false), ("", true), ("x", true)]
        {
            assert_eq!(truth(text), expected, "{text}");
        }
    }
}
