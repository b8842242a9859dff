//! PostgreSQL's programs, and the user that they run as.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

/// Where Debian puts the programs of each version.
const DEBIAN: &str = "/usr/lib/postgresql";

const PROGRAMS: [&str; 3] = ["initdb", "pg_ctl", "postgres"];

/// Users that a server started by root runs as: PostgreSQL's own, or one without rights.
const USERS: [&str; 2] = ["postgres", "nobody"];

/// PostgreSQL's programs, and the user that they run as.
#[derive(Debug)]
pub(crate) struct Programs {
    folder: PathBuf,
    /// User and group, where this process may not run a server itself.
    pub(crate) user: Option<(u32, u32)>,
}

impl Programs {
    /// # Errors
    /// They are not there, or only root is.
    pub(crate) async fn find() -> io::Result<Self> {
        let folder = on_path().or_else(newest_of_debian).ok_or_else(|| {
            io::Error::other(format!(
                "PostgreSQL is not installed: {} are neither in a folder of PATH nor in {DEBIAN}/*/bin; \
                 on Debian: apt-get install postgresql",
                PROGRAMS.join(", ")
            ))
        })?;
        let user = if rustix::process::geteuid().is_root() { Some(another_user().await?) } else { None };
        Ok(Self { folder, user })
    }

    /// Runs one of the programs.
    ///
    /// # Errors
    /// It fails; the error holds what it printed.
    pub(crate) async fn run(&self, program: &str, options: impl FnOnce(&mut Command)) -> io::Result<()> {
        let path = self.folder.join(program);
        let mut command = Command::new(&path);
        command.env("LC_ALL", "C").env_remove("PGDATA").current_dir("/").stdin(Stdio::null());
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        options(&mut command);
        let output =
            command.output().await.map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
        if output.status.success() {
            return Ok(());
        }
        let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
        Err(io::Error::other(format!("{} ended with {}\n{out}{err}", path.display(), output.status)))
    }
}

fn has_all(folder: &Path) -> bool {
    PROGRAMS.iter().all(|program| folder.join(program).is_file())
}

fn on_path() -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).find(|folder| has_all(folder))
}

fn newest_of_debian() -> Option<PathBuf> {
    let versions = std::fs::read_dir(DEBIAN).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let with_programs = versions.filter_map(|version| {
        let folder = Path::new(DEBIAN).join(&version).join("bin");
        Some((version.parse::<u32>().ok()?, folder)).filter(|(_, folder)| has_all(folder))
    });
    with_programs.max().map(|(_, folder)| folder)
}

async fn another_user() -> io::Result<(u32, u32)> {
    for name in USERS {
        if let (Some(user), Some(group)) = (id_of(name, "-u").await, id_of(name, "-g").await) {
            return Ok((user, group));
        }
    }
    let names = USERS.join(" nor ");
    Err(io::Error::other(format!("PostgreSQL refuses to run as root, and there is neither a user {names}")))
}

async fn id_of(name: &str, which: &str) -> Option<u32> {
    let output = Command::new("id").args([which, name]).output().await.ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
