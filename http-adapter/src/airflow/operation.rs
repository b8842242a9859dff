//! Operations: what each demands of its caller, and who answers it.

use futures_util::future::BoxFuture;

use super::call::Call;
use super::problem::Problem;
use super::reply::Reply;
use crate::access::{Action, Resource};

/// What a handler gives back.
pub(crate) type Answer = Result<Reply, Problem>;

/// What answers a call.
pub(crate) type Handler<S> = fn(Call<S>) -> BoxFuture<'static, Answer>;

/// One operation of the document, by its id.
pub(crate) struct Operation<S> {
    pub(crate) id: &'static str,
    pub(crate) access: Access,
    pub(crate) handler: Handler<S>,
}

/// Names an operation, what it demands, and the async function that answers it.
macro_rules! operation {
    ($id:ident, $access:expr, $handler:path) => {
        $crate::airflow::operation::Operation {
            id: stringify!($id),
            access: $access,
            handler: |call| Box::pin($handler(call)),
        }
    };
}
pub(crate) use operation;

/// An operation that the event log tells of under a name, also where it is refused.
macro_rules! logged {
    ($id:ident, $event:literal, $access:expr, $handler:path) => {
        $crate::airflow::operation::Operation {
            id: stringify!($id),
            access: $access,
            handler: |call| Box::pin($crate::airflow::audit::log_refusal($event, call, $handler)),
        }
    };
}
pub(crate) use logged;

/// What an operation demands of its caller.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Access {
    /// Nothing, not even credentials.
    Open,
    /// A permission on something that belongs to no DAG.
    Plain(Action, Resource),
    /// A permission on the DAG that the request names.
    Dag(Action),
    /// A permission on parts of the DAG that the request names: reading them needs to read the DAG, all else needs to
    /// edit it. Where the request names no DAG (or `~`), the parts alone count.
    DagPart(Action, &'static [Resource]),
    /// A permission on something that belongs to no DAG, and to read the DAG that the request names.
    WithDag(Action, Resource),
}

impl Access {
    /// The permissions that are needed, each with the DAG it is about.
    pub(crate) fn needs<'a>(&self, dag: Option<&'a str>) -> Vec<(Action, Resource, Option<&'a str>)> {
        match self {
            Access::Open => Vec::new(),
            Access::Plain(action, resource) => vec![(*action, *resource, None)],
            Access::WithDag(action, resource) => {
                vec![(*action, *resource, None), (Action::Read, Resource::Dags, dag)]
            }
            Access::Dag(action) => vec![(*action, Resource::Dags, dag)],
            Access::DagPart(action, parts) => {
                let on_dag = if *action == Action::Read { Action::Read } else { Action::Edit };
                let named = dag.is_some().then_some((on_dag, Resource::Dags, dag));
                named.into_iter().chain(parts.iter().map(|part| (*action, *part, dag))).collect()
            }
        }
    }
}
