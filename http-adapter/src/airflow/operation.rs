//! Operations: what each demands of its caller, and who answers it.

use futures_util::future::BoxFuture;

use super::call::Call;
use super::problem::Problem;
use super::reply::Reply;
pub(crate) use crate::access::Access;

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
