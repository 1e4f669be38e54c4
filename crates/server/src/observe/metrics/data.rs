//! Metrics of what is on the disk: log, database, search index, room.

use std::fmt;

use super::OfStarted;
use crate::observe::page::Page;

impl OfStarted<'_> {
    pub(super) fn log(&self, page: &mut Page<'_>) -> fmt::Result {
        let (log, syncs) = (&self.figures.log, self.figures.syncs);
        page.latencies(
            "conclave_log_sync_duration_seconds",
            "Time in which what waited was written to the log and synced, in seconds.",
            [([], syncs)],
        )?;
        page.counter(
            "conclave_log_written_bytes_total",
            "Bytes written to the log.",
            log.bytes,
        )?;
        page.counter(
            "conclave_log_entries_total",
            "Entries written to the log.",
            log.entries,
        )?;
        page.gauge(
            "conclave_log_segments",
            "Segment files of the log.",
            log.segments,
        )
    }

    pub(super) fn state(&self, page: &mut Page<'_>) -> fmt::Result {
        let (figures, applied) = (&self.figures, self.status.applied_index);
        let not_written = figures.decided_index.saturating_sub(applied);
        page.counter(
            "conclave_commands_decided_total",
            "Commands that were decided, those included that were decided again from the log.",
            figures.counts.commands,
        )?;
        page.latencies(
            "conclave_state_write_duration_seconds",
            "Time of a transaction that writes decided entries to the database, in seconds.",
            [([], figures.counts.writes)],
        )?;
        page.latencies(
            "conclave_state_vacuum_duration_seconds",
            "Time of a step that gives free pages of the database back, in seconds.",
            [([], figures.counts.vacuums)],
        )?;
        for (name, help, value) in [
            (
                "conclave_state_applied_index",
                "Index of the last entry that is in the database.",
                applied,
            ),
            (
                "conclave_state_unwritten_entries",
                "Entries that are decided and not in the database yet.",
                not_written,
            ),
            (
                "conclave_state_behind_entries",
                "Entries that are committed, as far as the node knows, and not in its database.",
                self.status.commit_index.saturating_sub(applied),
            ),
            (
                "conclave_state_database_bytes",
                "Length of the database file, in bytes.",
                figures.database_bytes,
            ),
            (
                "conclave_state_wal_bytes",
                "Length of the write-ahead log of the database, in bytes.",
                figures.database_wal_bytes,
            ),
            (
                "conclave_state_free_bytes",
                "Bytes inside the database file that hold nothing.",
                figures.counts.free_bytes,
            ),
            (
                "conclave_state_messages",
                "Messages in the database, deleted ones included.",
                figures.counts.messages,
            ),
            (
                "conclave_search_bytes",
                "Length of the search index, in bytes.",
                figures.search_bytes,
            ),
            (
                "conclave_search_behind_entries",
                "Entries that are in the database and not in the search index.",
                applied.saturating_sub(figures.search_index),
            ),
        ] {
            page.gauge(name, help, value)?;
        }
        Ok(())
    }

    pub(super) fn backups(&self, page: &mut Page<'_>) -> fmt::Result {
        let last = self.node.backups.last();
        page.gauges(
            "conclave_last_backup_timestamp_seconds",
            "When the last good backup of the state of this node was made, in seconds since 1970.",
            last.map(|last| ([], last.made_at_ms / 1000)),
        )
    }

    pub(super) fn disk(&self, page: &mut Page<'_>) -> fmt::Result {
        let space = &self.node.space;
        let free = Some(space.free()).filter(|free| *free < u64::MAX);
        page.gauges(
            "conclave_disk_free_bytes",
            "Bytes that are free for the node on the disk of its data.",
            free.map(|free| ([], free)),
        )?;
        page.gauge(
            "conclave_disk_low",
            "Whether that is less than min_free_bytes, or too little to make the reserve again.",
            space.is_low(),
        )?;
        page.gauge(
            "conclave_disk_full",
            "Whether there is no room for entries of the leader.",
            space.is_full(),
        )?;
        page.gauge(
            "conclave_growth_refused",
            "Whether the cluster refuses what needs space (NO_SPACE), as this node knows it.",
            space.refuses(),
        )
    }
}
