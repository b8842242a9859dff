//! Health and version.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::{self, Either};
use serde_json::{Value, json};

use crate::airflow::State;
use crate::airflow::VERSION;
use crate::airflow::call::Call;
use crate::airflow::date;
use crate::airflow::operation::{Access, Answer, Operation, operation};
use crate::airflow::reply::Reply;

/// A scheduler that was silent for longer is not healthy, as in Airflow.
const SILENCE: TimeDelta = TimeDelta::seconds(30);

/// A storage that has not answered by then is not healthy.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) fn operations() -> Vec<Operation<State>> {
    vec![operation!(get_health, Access::Open, get_health), operation!(get_version, Access::Open, get_version)]
}

async fn get_health(call: Call) -> Answer {
    let now = std::pin::pin!(call.state.service.now());
    let now = match future::select(now, call.state.clock.sleep(PATIENCE)).await {
        Either::Left((now, _)) => now.ok(),
        Either::Right(_) => None,
    };
    let scheduler = call.state.scheduler.as_ref();
    let heartbeat = scheduler.and_then(|status| status.latest_heartbeat());
    Ok(Reply::json(&health(now, heartbeat)))
}

/// `now` is none if the storage does not answer.
fn health(now: Option<DateTime<Utc>>, heartbeat: Option<DateTime<Utc>>) -> Value {
    let alive = now.zip(heartbeat).is_some_and(|(now, at)| now - at <= SILENCE);
    let word = |healthy| if healthy { "healthy" } else { "unhealthy" };
    json!({
        "metadatabase": {"status": word(now.is_some())},
        "scheduler": {
            "status": word(alive),
            "latest_scheduler_heartbeat": date::show_option(heartbeat),
        },
        // Both work inside the scheduler here, as in an Airflow that runs neither on its own.
        "triggerer": {"status": null, "latest_triggerer_heartbeat": null},
        "dag_processor": {"status": null, "latest_dag_processor_heartbeat": null},
    })
}

async fn get_version(_: Call) -> Answer {
    Ok(Reply::json(&json!({"git_version": "", "version": VERSION})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_scheduler_is_not_healthy() {
        let at: DateTime<Utc> = "2024-01-01T00:00:00Z".parse().unwrap();
        let status = |seconds| health(Some(at + TimeDelta::seconds(seconds)), Some(at))["scheduler"]["status"].clone();
        assert_eq!(status(30), "healthy");
        assert_eq!(status(31), "unhealthy");
        assert_eq!(health(Some(at), None)["scheduler"]["status"], "unhealthy");
        assert_eq!(health(None, None)["metadatabase"]["status"], "unhealthy");
        assert_eq!(health(Some(at), Some(at))["scheduler"]["latest_scheduler_heartbeat"], "2024-01-01T00:00:00+00:00");
    }
}
