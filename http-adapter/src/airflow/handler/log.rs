//! Logs of tries.

use std::io;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use updraft_core::id::UNMAPPED;
use updraft_core::model::{TaskInstance, TaskState};
use updraft_core::python;
use updraft_core::service::{LogPage, ServiceError};

use super::task_instance::map_index;
use crate::access::{Action, Resource};
use crate::airflow::State;
use crate::airflow::call::Call;
use crate::airflow::operation::{Access, Answer, Operation, operation};
use crate::airflow::problem::Problem;
use crate::airflow::reply::Reply;

/// The most bytes of a part.
const MAX_PART: usize = 4 << 20;

/// The most bytes of an answer that is JSON.
const MAX_WHOLE: usize = 64 << 20;

pub(super) fn operations() -> Vec<Operation<State>> {
    vec![operation!(get_log, Access::DagPart(Action::Read, &[Resource::TaskLogs]), get_log)]
}

async fn get_log(call: Call) -> Answer {
    let metadata = match call.query.text("token").filter(|token| !token.is_empty()) {
        None => Value::Null,
        Some(token) => call.state.token_key.read(token).ok_or_else(|| {
            Problem::bad_request_titled("Bad Signature. Please use only the tokens provided by the API.", None)
        })?,
    };
    let index = call.query.integer("map_index").map_or(UNMAPPED, map_index);
    let (dag_id, run_id, task_id) = (call.path_text("dag_id"), call.path_text("dag_run_id"), call.path_text("task_id"));
    let instance = call.service().task_instance(dag_id, run_id, task_id, index).await;
    let instance = instance.map_err(|error| match error {
        ServiceError::NotFound(_) => Problem::not_found("TaskInstance not found", None),
        error => error.into(),
    })?;
    let is_text = call.accepts(&["text/plain", "application/json"]) == Some("text/plain");
    let try_number = call.path.integer("task_try_number").unwrap_or(0);
    if try_number < 1 {
        let text = format!("Error fetching the logs. Try number {try_number} is invalid.");
        return Ok(answer(&call, "default_host", &text, is_text, &json!({"end_of_log": true})));
    }
    let try_number = u32::try_from(try_number).unwrap_or(u32::MAX);
    if is_text {
        return text(&call, instance, try_number).await;
    }
    let position = metadata.get("log_pos").and_then(Value::as_u64);
    let is_whole = call.query.flag("full_content") == Some(true);
    let max = if is_whole { MAX_WHOLE } else { MAX_PART };
    let page = call.service().task_log(&instance, try_number, position.unwrap_or(0), max).await?;
    let text = match position {
        Some(_) => page.text.clone(),
        None => format!("{}{}", heading(&instance, try_number, &page), page.text),
    };
    let metadata = json!({"end_of_log": page.is_end, "log_pos": page.position});
    Ok(answer(&call, &instance.hostname, &text, is_text, &metadata))
}

/// The whole log, as far as it has been written: Airflow does not wait for more either. What is too long for one part is
/// sent part by part, as the caller takes it.
async fn text(call: &Call, instance: TaskInstance, try_number: u32) -> Answer {
    let first = call.service().task_log(&instance, try_number, 0, MAX_PART).await?;
    let begin = format!("{}\n{}{}", instance.hostname, heading(&instance, try_number, &first), first.text);
    if !first.has_more {
        return Ok(Reply::text(format!("{begin}\n")));
    }
    let service = call.service().clone();
    let rest = stream::try_unfold(Some(first.position), move |position| {
        let (service, instance) = (service.clone(), instance.clone());
        async move {
            let Some(position) = position else { return Ok(None) };
            let page = service.task_log(&instance, try_number, position, MAX_PART).await.map_err(io::Error::other)?;
            let (text, next) = match page.has_more {
                true => (page.text, Some(page.position)),
                false => (format!("{}\n", page.text), None),
            };
            Ok(Some((Bytes::from(text), next)))
        }
    });
    Ok(Reply::text_stream(stream::once(async { Ok(begin.into()) }).chain(rest)))
}

fn answer(call: &Call, host: &str, text: &str, is_text: bool, metadata: &Value) -> Reply {
    if is_text {
        return Reply::text(format!("{host}\n{text}\n"));
    }
    // As Python shows a list of pairs.
    let content = format!("[({}, {})]", python::str_repr(host), python::str_repr(text));
    Reply::json(&json!({"content": content, "continuation_token": call.state.token_key.sign(metadata)}))
}

/// Where the log was found, or why it was not.
fn heading(instance: &TaskInstance, try_number: u32, page: &LogPage) -> String {
    let path = path(instance, try_number);
    let waits =
        matches!(instance.state, TaskState::None | TaskState::Scheduled | TaskState::Queued | TaskState::Restarting);
    let message = if page.exists {
        format!("*** Found local files:\n***   * {path}\n")
    } else if waits {
        String::new()
    } else if instance.hostname.is_empty() {
        format!("*** Could not read served logs: Invalid URL 'http://:8793/log/{path}': No host supplied\n")
    } else {
        format!(
            "*** Log file not found on worker '{}'. This attempt may have run on a different worker whose logs are no \
             longer accessible. Consider configuring remote logging (S3, GCS, etc.) for log persistence.\n",
            instance.hostname
        )
    };
    format!(" INFO - ::group::Log message source details\n{message} INFO - ::endgroup::\n")
}

/// The log's place, relative to the folder of all logs.
fn path(instance: &TaskInstance, try_number: u32) -> String {
    let task_id = instance.task().map_or("", |task| task.task_id.as_str());
    let map_index = match instance.key.map_index {
        UNMAPPED => String::new(),
        index => format!("map_index={index}/"),
    };
    let (dag_id, run_id) = (&instance.run.dag_id, &instance.run.run_id);
    format!("dag_id={dag_id}/run_id={run_id}/task_id={task_id}/{map_index}attempt={try_number}.log")
}
