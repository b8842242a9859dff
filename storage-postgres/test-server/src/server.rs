//! A server that ends with its process.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use sqlx::postgres::PgConnectOptions;

use crate::program::Programs;
use crate::{Durability, url_of};

/// It waits until the pipe on its stdin ends, which happens when whoever holds the other end is gone (even by `kill -9`);
/// then it ends the server at once and removes the folder.
const KEEPER: &str = r#"
trap '' HUP INT QUIT TERM
read -r _
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ]; then
    kill -QUIT "$pid"
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        kill -0 "$pid" || break
        sleep 0.1
    done
fi
rm -rf "$1"
"#;

/// In the server's own folder, so it is free.
const PORT: u16 = 5432;

const USER: &str = "postgres";

/// Reached by a socket in its own folder only.
const SETTINGS: &str = "
listen_addresses = ''
port = 5432
max_connections = 300
log_checkpoints = off
";

const FAST: &str = "
fsync = off
full_page_writes = off
";

/// A server, by how it is reached.
#[derive(Debug)]
pub(crate) struct Server {
    options: PgConnectOptions,
    own: Option<Own>,
}

/// What belongs to a server of this process.
#[derive(Debug)]
struct Own {
    programs: Programs,
    folder: PathBuf,
    keeper: Child,
}

impl Server {
    /// A server that somebody else looks after.
    pub(crate) fn given(url: &str) -> Self {
        let options =
            url.parse().unwrap_or_else(|error| panic!("{} is no URL of a database: {error}", crate::VARIABLE));
        Self { options, own: None }
    }

    pub(crate) async fn start(durability: Durability) -> io::Result<Self> {
        let programs = Programs::find().await?;
        // Its mode lets nobody else in.
        let folder = tempfile::Builder::new().prefix("updraft-postgres-").tempdir()?;
        if let Some((user, group)) = programs.user {
            chown(folder.path(), Some(user), Some(group))?;
        }
        let keeper = Command::new("/bin/sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(folder.path())
            .process_group(0)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let own = Own { programs, folder: folder.keep(), keeper };
        let options =
            PgConnectOptions::new_without_pgpass().socket(&own.folder).port(PORT).username(USER).database("postgres");
        let server = Self { options, own: Some(own) };
        server.initialise(durability).await?;
        server.launch().await?;
        Ok(server)
    }

    async fn initialise(&self, durability: Durability) -> io::Result<()> {
        let Own { programs, folder, .. } = self.own()?;
        let data = folder.join("data");
        let arguments = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"];
        programs
            .run("initdb", |command| {
                command.args(arguments).arg(format!("--username={USER}")).arg("--pgdata").arg(&data);
            })
            .await?;
        let mut settings = fs::OpenOptions::new().append(true).open(data.join("postgresql.conf"))?;
        settings.write_all(SETTINGS.as_bytes())?;
        if durability == Durability::None {
            settings.write_all(FAST.as_bytes())?;
        }
        let socket = folder.display().to_string().replace('\'', "''");
        writeln!(settings, "unix_socket_directories = '{socket}'")
    }

    /// Starts what is initialised or was stopped, and waits until it answers.
    pub(crate) async fn launch(&self) -> io::Result<()> {
        let Own { programs, folder, .. } = self.own()?;
        let log = folder.join("log");
        let started = programs
            .run("pg_ctl", |command| {
                command.args(["start", "--wait", "--pgdata"]).arg(folder.join("data")).arg("--log").arg(&log);
            })
            .await;
        started.map_err(|error| {
            let log = fs::read_to_string(log).unwrap_or_default();
            io::Error::other(format!("{error}{log}"))
        })
    }

    /// Stops it as a crash does.
    pub(crate) async fn stop(&self) -> io::Result<()> {
        let Own { programs, folder, .. } = self.own()?;
        programs
            .run("pg_ctl", |command| {
                command.args(["stop", "--mode=immediate", "--wait", "--pgdata"]).arg(folder.join("data"));
            })
            .await
    }

    pub(crate) fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    pub(crate) fn url(&self) -> String {
        url_of(&self.options)
    }

    fn own(&self) -> io::Result<&Own> {
        self.own.as_ref().ok_or_else(|| io::Error::other("the server of the test run serves other tests, too"))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // The keeper sees the end of its stdin.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}
