//! A PostgreSQL of its own in a temporary folder, run as the user `postgres`, with its defaults.

use std::path::Path;
use std::process::Command;

pub struct Server {
    dir: tempfile::TempDir,
    bin: String,
}

fn run(command: &str, arguments: &[&str]) {
    let output = Command::new("runuser").args(["-u", "postgres", "--", command]).args(arguments).output();
    let output = output.expect("runuser can be started");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Server {
    pub fn start() -> Self {
        let bin = std::env::var("PG_BIN").unwrap_or_else(|_| "/usr/lib/postgresql/15/bin".into());
        let dir = tempfile::Builder::new().prefix("updraft-proof-").tempdir().expect("a temporary folder");
        let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        let chown = Command::new("chown").arg("postgres").arg(dir.path()).status();
        assert!(chown.is_ok_and(|status| status.success()), "the folder can be given to postgres");
        run(&format!("{bin}/initdb"), &["-D", &path("data"), "-A", "trust", "-U", "postgres"]);
        let options = format!("-c listen_addresses='' -c unix_socket_directories={}", dir.path().display());
        run(&format!("{bin}/pg_ctl"), &["-D", &path("data"), "-l", &path("log"), "-o", &options, "-w", "start"]);
        Self { dir, bin }
    }

    pub fn socket(&self) -> &Path {
        self.dir.path()
    }

    /// Processor time of the server, ended processes included, in clock ticks of 10 ms.
    pub fn cpu_ticks(&self) -> u64 {
        let pid = std::fs::read_to_string(self.dir.path().join("data/postmaster.pid")).unwrap_or_default();
        let parent = pid.lines().next().unwrap_or_default().to_owned();
        let stats = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let used = stats.filter_map(|process| {
            let stat = std::fs::read_to_string(process.path().join("stat")).ok()?;
            let (head, rest) = stat.rsplit_once(')')?;
            let fields: Vec<&str> = rest.split_whitespace().collect();
            let pid = head.split_whitespace().next()?;
            let is_ours = pid == parent || *fields.get(1)? == parent;
            let ticks = |i: usize| fields.get(i)?.parse::<u64>().ok();
            is_ours.then_some(ticks(11)? + ticks(12)?)
        });
        used.sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.dir.path().join("data").to_string_lossy().into_owned();
        run(&format!("{}/pg_ctl", self.bin), &["-D", &data, "-m", "immediate", "stop"]);
    }
}
