//! Groups of processes that end with the scheduler that started them.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// The leader of each group: it waits until the pipe on its stdin ends, which happens when whoever holds the other end
/// is gone (even by `kill -9`), and then kills the whole group, itself included.
const LEADER: &str = "trap '' HUP INT QUIT TERM; read -r _; kill -KILL 0";

/// A group of processes. Dropping it kills them all.
#[derive(Debug)]
pub(crate) struct ProcessGroup {
    /// Not waited for before the group is dropped, so that its id cannot become another's.
    leader: Child,
    id: Pid,
}

impl ProcessGroup {
    /// A group with its leader alone.
    pub(crate) fn new() -> io::Result<Self> {
        let leader = Command::new("/bin/sh")
            .args(["-c", LEADER])
            .process_group(0)
            .current_dir("/")
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let id = leader.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let id = id.ok_or_else(|| io::Error::other("a new process has no id"))?;
        Ok(Self { leader, id })
    }

    /// Starts a process in the group.
    pub(crate) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        command.process_group(self.id.as_raw_nonzero().get()).spawn()
    }

    /// Asks all to end.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends all, and waits for the leader's end.
    pub(crate) async fn kill(mut self) {
        self.signal(Signal::KILL);
        // Nothing but a kill ends it, and that has been sent.
        let _ = self.leader.wait().await;
    }

    fn signal(&self, signal: Signal) {
        // Once the leader was waited for, the id may be another's.
        if self.leader.id().is_some() {
            // It fails only if none is left.
            let _ = kill_process_group(self.id, signal);
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Where a program is, as `which` finds it.
pub(crate) fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The scheduler's environment as tasks inherit it. The server's own settings may hold passwords, and are left out.
pub(crate) fn inherited_env() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| !name.as_encoded_bytes().starts_with(b"UPDRAFT_"))
}
