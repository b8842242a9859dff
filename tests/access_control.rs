//! DAGs that say who may access them.

use std::time::Duration;

use updraft::Updraft;
use updraft::dag::DagBuilder;
use updraft::model::{Action, Resource};
use updraft::operators::OperatorsConfig;
use updraft::storage::{PageRequest, StorageError};

const TEXT: &str = "
guarded:
  default_args: {start_date: 2026-01-01}
  access_control: {team: {DAGs: [can_read], DAG Runs: [can_create]}}
  tasks: {one: {operator: airflow.operators.empty.EmptyOperator}}
open:
  default_args: {start_date: 2026-01-01}
  tasks: {one: {operator: airflow.operators.empty.EmptyOperator}}
";

/// A DAG that names a role which does not exist is an import error of its file, and is taken over once the role is made.
#[tokio::test]
async fn a_file_that_names_an_unknown_role_waits_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("dags.yaml"), TEXT).expect("a file");
    let builder = Updraft::builder().builtin_operators(OperatorsConfig::default()).dag_folder(folder.path());
    let updraft = builder.build().expect("an orchestrator");
    let running = updraft.start().await.expect("a start");
    let service = updraft.service();
    let errors = async || service.import_errors(None, None, PageRequest::ALL).await.expect("import errors").items;
    let found = errors().await;
    assert_eq!(found.len(), 1);
    let text =
        "The access_control mapping for DAG 'guarded' includes a role named 'team', but that role does not exist";
    assert_eq!(found[0].stack_trace, text);
    assert!(service.dag("open").await.is_ok(), "the file's other DAGs can be read");
    assert!(service.dag("guarded").await.is_err());
    service.create_role("team".into(), Vec::new()).await.expect("a role");
    let taken_over = async {
        while !errors().await.is_empty() {
            updraft.clock().sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), taken_over).await.expect("the error ends");
    assert!(service.dag("guarded").await.is_ok());
    let permission = |action: &str, on: &str| (action.to_owned(), on.to_owned());
    let expected = [permission("can_create", "DAG Run:guarded"), permission("can_read", "DAG:guarded")];
    assert_eq!(service.role("team").await.expect("the role").permissions, expected);
    running.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_dag_in_code_says_who_may_access_it() {
    let dag = || DagBuilder::new("d").access("team", Resource::Dags, &[Action::Read, Action::Edit]);
    let updraft = Updraft::builder().dag(dag()).build().expect("an orchestrator");
    let error = updraft.start().await.expect_err("there is no such role").to_string();
    assert!(error.contains("'team'"), "{error}");
    updraft.service().create_role("team".into(), Vec::new()).await.expect("a role");
    let running = updraft.start().await.expect("a start");
    assert_eq!(updraft.service().role("team").await.expect("the role").permissions.len(), 2);
    running.shutdown(Duration::from_secs(5)).await;
    let wrong = Updraft::builder().dag(DagBuilder::new("d").access("team", Resource::Pools, &[Action::Read])).build();
    assert!(wrong.expect_err("DAGs give nothing on pools").to_string().contains("Pools"));
}

#[tokio::test]
async fn a_removed_default_role_stays_away() {
    let updraft = Updraft::builder().build().expect("an orchestrator");
    assert!(updraft.service().role("Viewer").await.is_ok());
    updraft.service().delete_role("Viewer").await.expect("it is removed");
    let again = Updraft::builder().storage(updraft.storage().clone()).build().expect("another on the same storage");
    assert!(again.service().role("Op").await.is_ok());
    assert!(again.service().role("Viewer").await.is_err());
    assert!(matches!(updraft.storage().role("Viewer").await, Err(StorageError::NotFound(_))));
}
