//! Files of DAGs that are to be read again.

use crate::access::{Action, Resource};
use crate::airflow::State;
use crate::airflow::call::Call;
use crate::airflow::file_token::file_of;
use crate::airflow::operation::{Access, Answer, Operation, operation};
use crate::airflow::problem::Problem;
use crate::airflow::reply::Reply;

pub(super) fn operations() -> Vec<Operation<State>> {
    vec![operation!(reparse_dag_file, Access::Dag(Action::Edit), reparse_dag_file)]
}

async fn reparse_dag_file(call: Call) -> Answer {
    let not_found = || Problem::not_found("File not found", None);
    let fileloc = file_of(call.path_text("file_token")).ok_or_else(not_found)?;
    let dag_ids = call.service().dags_of_file(&fileloc).await?;
    if dag_ids.is_empty() {
        return Err(not_found());
    }
    for dag_id in &dag_ids {
        let dag = Some(dag_id.as_str());
        if !call.authorizer.permits(&call.principal, Action::Edit, Resource::Dags, dag).await? {
            return Err(Problem::forbidden(None));
        }
    }
    let is_new = call.service().request_parsing(&fileloc).await?;
    Ok(Reply::created(if is_new { "" } else { "Duplicate request" }))
}
