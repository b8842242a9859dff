//! Runs a command with a PostgreSQL server beside it, for all tests of a run:
//!
//!     cargo run --package updraft-test-postgres -- cargo test
//!
//! The server is gone when the command has ended, or this program.

use std::process::ExitCode;

use tokio::process::Command;
use updraft_test_postgres::{Cluster, Durability, VARIABLE};

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        eprintln!("a command is expected");
        return ExitCode::from(2);
    };
    let cluster = match Cluster::start(Durability::None).await {
        Ok(cluster) => cluster,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let status = Command::new(&program).args(arguments).env(VARIABLE, cluster.url()).status().await;
    match status {
        Ok(status) => status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from),
        Err(error) => {
            eprintln!("{}: {error}", program.display());
            ExitCode::from(127)
        }
    }
}
