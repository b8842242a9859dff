//! Whether the API is there, and of which Airflow.

use serde_json::json;

use crate::access::Access;
use crate::airflow::VERSION;
use crate::airflow_experimental::reply::{Answer, Reply};
use crate::airflow_experimental::route::{Call, Route, route};

pub(super) fn routes() -> Vec<Route> {
    vec![route!(GET "/test", Access::Known, test), route!(GET "/info", Access::Known, info)]
}

async fn test(_: Call) -> Answer {
    Ok(Reply::json(&json!({"status": "OK"})))
}

async fn info(_: Call) -> Answer {
    Ok(Reply::json(&json!({"version": VERSION})))
}
