//! Makes backups by itself, at the interval and into the directory of the settings.
//!
//! Each node with a directory makes its own, whether it leads or not: a backup then needs no other
//! node, and several directories survive the loss of one. A node that is cut off makes none,
//! because its state may be an old one.
//!
//! Always true: older backups are removed only after a newer one was read back from its file.

use std::{sync::Arc, time::Duration};

use conclave_core::AuditAct;
use conclave_storage::backup::Packer;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep},
};

use super::{
    directory::BackupDirectory,
    make::{self, MakeError},
    verify::BackupError,
};
use crate::{
    base::long_work,
    config::backup::BackupSchedule,
    context::{audit::ToNote, backup_state::LastBackup, node_context::NodeContext},
};

/// How often the node looks whether a backup is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pause after a backup that could not be made.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Time between two notes of one node for the audit log, however often it makes backups: seven
/// nodes leave some 11 000 entries in the 400 days of the trail, which keeps 100 000.
const NOTE_EVERY: Duration = Duration::from_hours(6);

/// A scheduled backup was not made.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Make(#[from] MakeError),
    #[error(transparent)]
    Store(#[from] BackupError),
    #[error("the backup was stopped")]
    Stopped,
}

/// Makes backups for as long as the node runs.
pub(crate) async fn keep(shared: Arc<NodeContext>, schedule: BackupSchedule) {
    let identity = &shared.identity;
    if identity.witness {
        tracing::warn!("a witness has nothing of which a backup could be made");
        return;
    }
    let (cluster, node) = (&identity.cluster_id, identity.node);
    let directory = BackupDirectory::new(&schedule.directory, cluster, node, identity.node_first());
    let looking = directory.clone();
    // A backup that cannot be read any more is as good as none.
    let newest = tokio::task::spawn_blocking(move || looking.newest());
    let mut newest = newest.await.ok().flatten().map(|head| head.made_at_ms);
    let mut notes = Notes::default();
    loop {
        sleep(LOOK_EVERY).await;
        let now = shared.date().0;
        if !is_due(newest, now, schedule.every) || !shared.is_healthy() {
            continue;
        }
        // Another backup is under way: this one comes after it.
        let Ok(place) = shared.backups.place.clone().try_acquire_owned() else {
            continue;
        };
        match run(&shared, &directory, schedule.keep, place).await {
            Ok(made) => {
                newest = Some(made.made_at_ms);
                notes.count(&shared, &schedule, made).await;
            }
            Err(error) => {
                let error = describe(&error);
                tracing::error!(error, "failed to make a scheduled backup; retrying");
                sleep(AGAIN_AFTER.min(schedule.every)).await;
            }
        }
    }
}

/// Backups that the audit log does not have yet.
#[derive(Debug, Default)]
struct Notes {
    unnoted: u64,
    /// When the next note may be made; `None`: at once.
    next: Option<Instant>,
}

impl Notes {
    /// Counts a backup, and notes it for the audit log with those before it, if it is time. What
    /// the log does not take is noted with a later backup.
    async fn count(&mut self, shared: &NodeContext, schedule: &BackupSchedule, made: LastBackup) {
        self.unnoted += 1;
        if !self.is_due(Instant::now()) {
            return;
        }
        let (log_index, backups) = (made.log_index, self.unnoted);
        let directory = schedule.directory.display();
        let act = ToNote {
            act: AuditAct::ScheduledBackup,
            target: &format!("node {}", shared.identity.node),
            detail: &format!("log_index={log_index} backups={backups} directory={directory}"),
            problem: None,
        };
        if shared.note_own_act(act).await {
            self.noted(Instant::now());
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.next.is_none_or(|next| now >= next)
    }

    fn noted(&mut self, now: Instant) {
        (self.unnoted, self.next) = (0, Some(now + NOTE_EVERY));
    }
}

/// Returns whether a backup is due. A date before that of the last backup is one of a clock that
/// was set back: then one is due as well.
fn is_due(newest_ms: Option<u64>, now_ms: u64, every: Duration) -> bool {
    newest_ms.is_none_or(|newest_ms| match now_ms.checked_sub(newest_ms) {
        Some(age_ms) => Duration::from_millis(age_ms) >= every,
        None => true,
    })
}

async fn run(
    shared: &Arc<NodeContext>,
    directory: &BackupDirectory,
    keep: usize,
    place: OwnedSemaphorePermit,
) -> Result<LastBackup, Failed> {
    let made = make::make(shared.clone()).await?;
    let (noting, directory) = (shared.clone(), directory.clone());
    let stored = long_work::run("backup", move || {
        let (head, file) = made.into_parts();
        let bytes = head.bytes;
        let stored = directory.store(&head, &mut Packer::new(&head, file))?;
        let made = LastBackup {
            made_at_ms: head.made_at_ms,
            log_index: head.last.index,
        };
        tracing::info!(log_index = made.log_index, bytes, file = %stored.display(), "backup made");
        if let Err(error) = noting.backups.note(made) {
            tracing::warn!(%error, "failed to note the last backup");
        }
        if let Err(error) = directory.retain(keep) {
            tracing::warn!(%error, "failed to remove old backups");
        }
        drop(place);
        Ok(made)
    });
    stored.await.map_err(|_| Failed::Stopped)?
}

fn describe(error: &Failed) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    causes.fold(error.to_string(), |all, cause| format!("{all}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backups_are_noted_at_once_and_then_every_six_hours() {
        let start = Instant::now();
        let mut notes = Notes::default();
        assert!(notes.is_due(start), "the first one");
        notes.noted(start);
        assert!(!notes.is_due(start + NOTE_EVERY - Duration::from_millis(1)));
        assert!(notes.is_due(start + NOTE_EVERY));
    }

    #[test]
    fn a_backup_is_due_after_its_interval_or_a_clock_set_back() {
        let every = Duration::from_secs(10);
        for (newest, now, due) in [
            (None, 5, true),
            (Some(1_000), 1_000, false),
            (Some(1_000), 10_999, false),
            (Some(1_000), 11_000, true),
            (Some(1_000), 999, true),
        ] {
            assert_eq!(is_due(newest, now, every), due, "{newest:?} {now}");
        }
    }
}
