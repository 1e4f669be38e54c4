//! Runs work that keeps a core busy for long and that can wait, such as searches.
//!
//! Each piece runs on a thread of its own with a lower priority than the threads that answer calls,
//! so that a message which arrives meanwhile does not wait for a slice of time. A new thread takes
//! some tens of microseconds and such work tens of milliseconds; callers bound how much of it runs
//! at once. Hashes of passwords run here only for accounts that log in often: on a busy machine
//! they would outlast the patience of the people who log in.
//!
//! Always true: no other thread is slowed down, and the thread ends with its work.

use std::thread;

use tokio::{runtime::Handle, sync::oneshot};

/// Niceness above that of the other threads of the node: with a core for both, this work gets about
/// a quarter of it.
const NICENESS: i32 = 5;

/// Error: the work panicked, or no thread could be made.
#[derive(Debug)]
pub(crate) struct Stopped;

/// Runs `work` and waits for its end; `name` is the name of the thread, of at most 15 bytes. The
/// work goes on if the caller goes away.
pub(crate) async fn run<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Stopped> {
    let (tell, told) = oneshot::channel();
    let thread = thread::Builder::new().name(name.to_owned());
    // What the work drops may start tasks: a turn of reading that rests does.
    let runtime = Handle::current();
    let begun = thread.spawn(move || {
        let _entered = runtime.enter();
        give_way();
        // The caller may have gone.
        let _ = tell.send(work());
    });
    begun.map_err(|error| {
        tracing::error!(%error, "failed to start a thread");
        Stopped
    })?;
    told.await.map_err(|_| Stopped)
}

/// Lowers the priority of this thread; on systems other than Linux that would lower the process's.
#[cfg(target_os = "linux")]
fn give_way() {
    // If this fails, the work is done all the same.
    let nice = rustix::process::getpriority_process(None).unwrap_or(0) + NICENESS;
    if let Err(error) = rustix::process::setpriority_process(None, nice) {
        tracing::debug!(%error, "failed to lower the priority of a thread");
    }
}

#[cfg(not(target_os = "linux"))]
fn give_way() {
    let _ = NICENESS;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn long_work_runs_on_its_own_thread_and_returns_its_result() {
        let here = thread::current().id();
        let (there, name) = run("long-work", || {
            let thread = thread::current();
            (thread.id(), thread.name().map(str::to_owned))
        })
        .await
        .unwrap();
        assert_ne!(there, here);
        assert_eq!(name.as_deref(), Some("long-work"));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn only_the_worker_thread_lowers_its_priority() {
        let priority = || rustix::process::getpriority_process(None).unwrap();
        let before = priority();
        let during = run("long-work", priority).await.unwrap();
        assert_eq!(during, (before + NICENESS).min(19));
        assert_eq!(priority(), before);
    }

    #[tokio::test]
    async fn a_panic_in_long_work_is_an_error_for_its_caller() {
        assert!(run("long-work", || panic!("on purpose")).await.is_err());
    }

    #[tokio::test]
    async fn long_work_runs_within_the_tokio_runtime() {
        let started = run("long-work", || Handle::try_current().is_ok()).await;
        assert!(started.unwrap());
    }
}
