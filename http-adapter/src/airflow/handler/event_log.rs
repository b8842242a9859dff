//! The event log.

use serde::Serialize;
use updraft_core::model::EventLogEntry;
use updraft_core::service::ServiceError;
use updraft_core::storage::{EventLogOrder, EventLogQuery};

use crate::access::{Action, Resource};
use crate::airflow::State;
use crate::airflow::call::Call;
use crate::airflow::date::Shown;
use crate::airflow::operation::{Access, Answer, Operation, operation};
use crate::airflow::problem::Problem;
use crate::airflow::reply::Reply;

/// What one may sort by.
const ORDERS: [(&str, EventLogOrder); 9] = [
    ("event_log_id", EventLogOrder::Id),
    ("when", EventLogOrder::When),
    ("dag_id", EventLogOrder::DagId),
    ("task_id", EventLogOrder::TaskId),
    ("run_id", EventLogOrder::RunId),
    ("event", EventLogOrder::Event),
    ("execution_date", EventLogOrder::LogicalDate),
    ("owner", EventLogOrder::Owner),
    ("extra", EventLogOrder::Extra),
];

pub(super) fn operations() -> Vec<Operation<State>> {
    let access = Access::DagPart(Action::Read, &[Resource::AuditLogs]);
    vec![operation!(get_event_logs, access, get_event_logs), operation!(get_event_log, access, get_event_log)]
}

async fn get_event_logs(call: Call) -> Answer {
    let page = call.query.page()?;
    let order_by = call.query.order_by(&ORDERS)?;
    // An empty text filters nothing, nor does 0, as in Airflow.
    let text = |name| call.query.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
    let number = |name| call.query.integer(name).filter(|number| *number != 0);
    let list = |name| text(name).map(|text| text.split(',').map(str::to_owned).collect());
    let query = EventLogQuery {
        dag_id: text("dag_id"),
        task_id: text("task_id"),
        run_id: text("run_id"),
        map_index: number("map_index").map(fit),
        // Numbers that no try has find nothing.
        try_number: number("try_number").map(|number| u32::try_from(number).unwrap_or(u32::MAX)),
        event: text("event"),
        owner: text("owner"),
        before: call.query.date("before"),
        after: call.query.date("after"),
        included_events: list("included_events"),
        excluded_events: list("excluded_events"),
        readable: call.readable().await?,
        order_by,
        page,
    };
    let events = call.service().events(&query).await?;
    let event_logs = events.items.iter().map(ShownEntry::new).collect();
    Ok(Reply::ordered(&ShownEntries { event_logs, total_entries: events.total }))
}

async fn get_event_log(call: Call) -> Answer {
    let not_found = || Problem::not_found("Event Log not found", None);
    let id = call.path.integer("event_log_id").ok_or_else(not_found)?;
    let found = call.service().event(id).await;
    let entry = found.map_err(|error| match error {
        ServiceError::NotFound(_) => not_found(),
        error => error.into(),
    })?;
    if let Some(dag_id) = &entry.dag_id
        && !call.may_read(dag_id.as_str()).await?
    {
        return Err(not_found());
    }
    Ok(Reply::ordered(&ShownEntry::new(&entry)))
}

/// No instance has an index at the ends of the range.
fn fit(index: i64) -> i32 {
    i32::try_from(index).unwrap_or(i32::MIN)
}

/// A page of entries; the members are in order.
#[derive(Serialize)]
struct ShownEntries<'a> {
    event_logs: Vec<ShownEntry<'a>>,
    total_entries: u64,
}

/// An entry as clients see it; the members are in order.
#[derive(Serialize)]
struct ShownEntry<'a> {
    dag_id: Option<&'a str>,
    event: &'a str,
    event_log_id: i64,
    execution_date: Option<Shown>,
    extra: Option<&'a str>,
    map_index: Option<i32>,
    owner: Option<&'a str>,
    run_id: Option<&'a str>,
    task_id: Option<&'a str>,
    try_number: Option<u32>,
    when: Shown,
}

impl<'a> ShownEntry<'a> {
    fn new(entry: &'a EventLogEntry) -> Self {
        Self {
            dag_id: entry.dag_id.as_ref().map(|id| id.as_str()),
            event: &entry.event,
            event_log_id: entry.id,
            execution_date: entry.logical_date.map(Shown),
            extra: entry.extra.as_deref(),
            map_index: entry.map_index,
            owner: entry.owner.as_deref(),
            run_id: entry.run_id.as_deref(),
            task_id: entry.task_id.as_deref(),
            try_number: entry.try_number,
            when: Shown(entry.when),
        }
    }
}
