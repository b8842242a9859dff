//! The first process of a PostgreSQL server on this machine: what its processes have used.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use sqlx::PgConnection;

/// The first process of a server, whose children serve the connections.
#[derive(Debug, Clone, Copy)]
pub struct Postmaster(u32);

impl Postmaster {
    /// That of the server at the other end.
    ///
    /// # Panics
    /// The server does not answer, or runs on another machine.
    pub async fn of(connection: &mut PgConnection) -> Self {
        let query = sqlx::query_scalar("SELECT pg_backend_pid()");
        let backend: i32 = query.fetch_one(connection).await.expect("the server answers");
        let stat = Stat::read(u32::try_from(backend).unwrap_or(0)).expect("the server runs on this machine");
        Self(stat.parent)
    }

    /// Processor time of all processes of the server, ended ones included.
    pub fn cpu_time(self) -> Duration {
        let mut time = Duration::ZERO;
        for process in processes() {
            let Some(stat) = Stat::read(process) else { continue };
            if process == self.0 {
                time += stat.cpu_of_children;
            }
            if process == self.0 || stat.parent == self.0 {
                time += stat.cpu;
            }
        }
        time
    }
}

fn processes() -> BTreeSet<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// What Linux tells of a process.
struct Stat {
    parent: u32,
    cpu: Duration,
    cpu_of_children: Duration,
}

impl Stat {
    fn read(process: u32) -> Option<Self> {
        let folder = Path::new("/proc").join(process.to_string());
        let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
        // The name may hold spaces and brackets.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |index: usize| fields.get(index)?.parse::<u64>().ok();
        let ticks = |index| field(index).map(|ticks| Duration::from_millis(ticks * 10));
        // To the nanosecond, for a process of one thread.
        let exact = std::fs::read_to_string(folder.join("schedstat")).ok();
        let exact = exact.and_then(|text| text.split_whitespace().next()?.parse().ok()).map(Duration::from_nanos);
        Some(Self {
            parent: u32::try_from(field(1)?).ok()?,
            cpu: exact.unwrap_or(ticks(11)? + ticks(12)?),
            cpu_of_children: ticks(13)? + ticks(14)?,
        })
    }
}
