//! Servers under measurement: processes that end with this one, and their directory.
//!
//! Each server listens on loopback. All are killed by their ids when the value is dropped, also
//! after an error, and the kernel kills them when this process dies in another way.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tempfile::TempDir;

/// Longest time until servers are ready.
pub(crate) const READY_LIMIT: Duration = Duration::from_secs(60);
/// Interval between two looks at a condition.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Bytes of a server's log that an error shows.
const LOG_SHOWN: usize = 2000;

/// Servers of one system.
pub(crate) struct Servers {
    children: Vec<(Child, PathBuf)>,
    directory: TempDir,
}

impl Servers {
    /// Makes a directory for servers; there are none yet.
    pub(crate) fn new(name: &str, directory: &Path) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix(&format!("peers-{name}-"))
            .tempdir_in(directory)?;
        Ok(Self {
            children: Vec::new(),
            directory,
        })
    }

    /// Returns a directory for one of the servers, which exists.
    pub(crate) fn directory(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.directory.path().join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Starts a server.
    pub(crate) fn start(
        &mut self,
        program: &Path,
        adapt: impl FnOnce(&mut Command),
    ) -> anyhow::Result<()> {
        let log = self
            .directory
            .path()
            .join(format!("{}.log", self.children.len() + 1));
        // The program takes the place of `setpriv`, so the id is its own.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program);
        adapt(&mut command);
        let (out, errors) = (
            File::create(&log)?,
            File::options().append(true).open(&log)?,
        );
        command.stdin(Stdio::null()).stdout(out).stderr(errors);
        let child = command
            .spawn()
            .context("failed to start `setpriv` (util-linux)")?;
        self.children.push((child, log));
        Ok(())
    }

    /// Returns the ids of the servers, in the order in which they were started.
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.children.iter().map(|(child, _)| child.id()).collect()
    }

    /// Kills one of the servers.
    pub(crate) fn kill(&mut self, number: usize) -> anyhow::Result<()> {
        let server = self.children.get_mut(number);
        let (child, _) = server.context("there is no such server")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Waits for a condition.
    ///
    /// # Errors
    /// If a server ends meanwhile, or it takes too long; with the end of the server's log.
    pub(crate) async fn wait_for<T, Is>(
        &mut self,
        what: &str,
        mut condition: impl FnMut() -> Is,
    ) -> anyhow::Result<T>
    where
        Is: Future<Output = anyhow::Result<T>>,
    {
        let began = Instant::now();
        loop {
            let limit = READY_LIMIT.saturating_sub(began.elapsed());
            let outcome = tokio::time::timeout(limit, condition()).await;
            let last = match outcome {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => error,
                Err(_) => anyhow::anyhow!("no answer"),
            };
            for (child, log) in &mut self.children {
                if let Some(status) = child.try_wait()? {
                    bail!("a server ended ({status}) before {what}:\n{}", end_of(log));
                }
            }
            if began.elapsed() >= READY_LIMIT {
                let logs = self.children.iter().map(|(_, log)| end_of(log));
                let logs: Vec<String> = logs.collect();
                bail!(
                    "{what}: not within {READY_LIMIT:?}: {last:#}\n{}",
                    logs.join("\n")
                );
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for (child, _) in &mut self.children {
            // It may have ended by itself.
            let _ = child.kill();
        }
        for (child, _) in &mut self.children {
            let _ = child.wait();
        }
    }
}

fn end_of(log: &Path) -> String {
    let log = fs::read(log).unwrap_or_default();
    let begin = log.len().saturating_sub(LOG_SHOWN);
    String::from_utf8_lossy(&log[begin..]).into_owned()
}

/// Finds ports of loopback that are free now.
pub(crate) fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    let listeners: Result<Vec<TcpListener>, _> = (0..count)
        .map(|_| TcpListener::bind(("127.0.0.1", 0)))
        .collect();
    let ports = listeners?
        .into_iter()
        .map(|listener| Ok(listener.local_addr()?.port()));
    ports.collect()
}

/// Finds a program where packages install it.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.push("/usr/sbin".into());
    folders
        .into_iter()
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// Runs a program to its end and returns what it printed.
pub(crate) fn output(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let path = find(program).with_context(|| format!("there is no `{program}`"))?;
    let output = Command::new(path)
        .args(arguments)
        .stdin(Stdio::null())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() {
        true => Ok(text),
        false => bail!(
            "`{program}` failed: {}",
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn servers_end_with_their_value_and_leave_nothing() {
        let mut servers = Servers::new("test", &std::env::temp_dir()).unwrap();
        let directory = servers.directory("1").unwrap();
        let sleep = find("sleep").unwrap();
        servers
            .start(&sleep, |command| {
                command.arg("60");
            })
            .unwrap();
        let id = servers.ids()[0];
        assert!(Path::new(&format!("/proc/{id}")).exists());
        drop(servers);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
        assert!(!directory.exists());
    }

    #[tokio::test]
    async fn a_server_that_ends_early_is_reported_with_its_log() {
        let mut servers = Servers::new("test", &std::env::temp_dir()).unwrap();
        let shell = find("sh").unwrap();
        servers
            .start(&shell, |command| {
                command.args(["-c", "echo why; exit 3"]);
            })
            .unwrap();
        let never = servers.wait_for("it is ready", || async { bail!("not yet") });
        let error: anyhow::Result<()> = never.await;
        let text = format!("{:#}", error.unwrap_err());
        assert!(text.contains("why") && text.contains('3'), "{text}");
    }

    #[test]
    fn free_ports_differ() {
        let ports = free_ports(9).unwrap();
        let different: std::collections::BTreeSet<u16> = ports.iter().copied().collect();
        assert_eq!(different.len(), 9);
    }
}
