//! The one writer: decides entries in an open transaction, and commits many of them at once.
//!
//! The log has every entry on disk before it comes here, so the database may lag behind what is
//! decided: rules see the rows of the open transaction, readers see the last commit.
//!
//! Always true: after an error nothing since the last commit is in the database, no cache
//! remembers anything of it, and the same entries are decided again before anything else is. As
//! deciding is deterministic, they get the same answers.

mod checkpoint;

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    sync::Arc,
};

use blake3::Hasher;
use conclave_core::{
    AccountLimits, AckPolicy, Batch, ClusterVersion, Now, Origin, Position, Remember, answer,
    decide,
};
use rusqlite::Connection;

use self::checkpoint::Missed;
pub(crate) use self::checkpoint::checkpoint;
use super::{cache::Caches, checkpointer::Checkpointer, witness};
use crate::{
    fault::Fault,
    log::LogId,
    state::{
        Applied, ApplyError, Entry, EntryResult, OpenError, Options, Payload, Reader, database,
        integrity::{chain, points},
        mark,
        meta::{self, Meta},
        read::{
            allowances::{self, Changed},
            dates,
            pool::Pool,
        },
    },
};

/// The name of the database in a node's directory.
pub(crate) const FILE: &str = "state.db";

/// The state of a node, as the thread sees it that applies the log.
pub struct State {
    /// First, so that it ends before the writer's connection is closed.
    pub(crate) checkpointer: Checkpointer,
    /// `None` only if the database could not be opened again after an exchange.
    pub(crate) writer: Option<Writer>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) path: PathBuf,
    pub(crate) options: Options,
    /// What is decided.
    pub(crate) applied: Applied,
    /// Entries that are decided and not yet committed, in case that the transaction is lost.
    pub(crate) unwritten: Vec<Entry>,
    pub(crate) synced_through: Option<LogId>,
    missed: Missed,
}

/// The open database and what is kept of it in memory.
pub(crate) struct Writer {
    pub(crate) connection: Connection,
    pub(crate) caches: RefCell<Caches>,
    pub(crate) meta: Meta,
    /// What this transaction has changed of what accounts have used.
    pub(crate) allowances: Changed,
    pub(crate) limits: AccountLimits,
    /// What the last commit left of `meta` and `limits`.
    committed: (Meta, AccountLimits),
    rows_max: usize,
    pub(super) witness: bool,
}

impl State {
    /// Opens the state in `directory`, and makes an empty one if there is none.
    ///
    /// # Errors
    /// See [`OpenError`]. A file of another program or version is left as it is.
    pub fn open(directory: &Path, options: Options) -> Result<Self, OpenError> {
        let path = directory.join(FILE);
        database::clean_up(&path).map_err(|source| OpenError::Io {
            path: path.clone(),
            source,
        })?;
        let (writer, applied) = open(&path, &options).map_err(|error| error.settled(&path))?;
        let pool = Arc::new(Pool::new(path.clone(), options.clone()));
        let noting = pool.clone();
        let failed = move |fault, why| noting.note_failure(fault, why);
        let checkpointer = Checkpointer::start(path.clone(), failed);
        let checkpointer = checkpointer.map_err(|source| OpenError::Io {
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            checkpointer,
            writer: Some(writer),
            pool,
            path,
            options,
            applied,
            unwritten: Vec::new(),
            synced_through: None,
            missed: Missed::default(),
        })
    }

    /// Returns how far the state has come: what is decided, written or not.
    #[must_use]
    pub fn applied(&self) -> Applied {
        self.applied.clone()
    }

    /// Returns how many entries are decided and wait for [`Self::write`].
    #[must_use]
    pub fn entries_unwritten(&self) -> usize {
        self.unwritten.len()
    }

    /// Returns the number of messages, deleted ones included; 0 for a witness, which has none.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.writer
            .as_ref()
            .map_or(0, |writer| writer.meta.messages)
    }

    /// Returns a reader beside this writer; it stays usable when a snapshot is installed.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(self.pool.clone())
    }

    /// Decides and writes entries that follow the last applied one, all in one transaction.
    ///
    /// # Errors
    /// See [`Self::decide`] and [`Self::write`].
    ///
    /// # Panics
    /// If the entries do not follow the last applied one without a gap.
    pub fn apply(&mut self, entries: &[Entry]) -> Result<Vec<EntryResult>, ApplyError> {
        let results = self.decide(entries)?;
        self.write()?;
        Ok(results)
    }

    /// Decides entries that follow the last applied one. Their rows stay in the open transaction,
    /// where the rules see them and readers do not, until [`Self::write`] is called; a process that
    /// ends before finds the entries in the log.
    ///
    /// # Errors
    /// See [`ApplyError`]. None of the entries is decided. After [`ApplyError::Full`] the call may
    /// be repeated; after any other error the node must stop.
    ///
    /// # Panics
    /// If the entries do not follow the last applied one without a gap.
    pub fn decide(&mut self, entries: &[Entry]) -> Result<Vec<EntryResult>, ApplyError> {
        let Some(last) = entries.last() else {
            return Ok(Vec::new());
        };
        if let Some(failure) = self.checkpointer.take_failure() {
            return Err(failure.into());
        }
        let results = self.decide_again().and_then(|()| {
            let writer = self.writer.as_mut().ok_or(ApplyError::Closed)?;
            let results = writer.decide(entries)?;
            self.applied.log_time = writer.meta.now.log_time;
            self.applied.date = writer.meta.now.date;
            Ok(results)
        });
        let results = results.map_err(|error| self.judged(error))?;
        self.applied.last = Some(last.id);
        for entry in entries {
            if let Payload::Membership { bytes, .. } = &entry.payload {
                self.applied.membership = Some((Some(entry.id), bytes.clone()));
            }
        }
        self.unwritten.extend_from_slice(entries);
        Ok(results)
    }

    /// Commits what is decided, so that readers see it.
    ///
    /// # Errors
    /// See [`ApplyError`]. After [`ApplyError::Full`] the call may be repeated: nothing of what was
    /// decided is forgotten. After any other error the node must stop.
    pub fn write(&mut self) -> Result<(), ApplyError> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        let written = self.decide_again().and_then(|()| {
            let writer = self.writer.as_mut().ok_or(ApplyError::Closed)?;
            writer.commit()
        });
        written.map_err(|error| self.judged(error))?;
        self.unwritten.clear();
        Ok(())
    }

    /// Decides again what a lost transaction had; it has been answered already.
    fn decide_again(&mut self) -> Result<(), ApplyError> {
        let writer = self.writer.as_mut().ok_or(ApplyError::Closed)?;
        if !self.unwritten.is_empty() && writer.connection.is_autocommit() {
            writer.decide(&self.unwritten)?;
        }
        Ok(())
    }

    /// Remembers what an error says of the disk.
    pub(super) fn judged(&self, error: ApplyError) -> ApplyError {
        let (fault, why) = error.judge(&self.path);
        if fault == Fault::Full {
            return ApplyError::Full(why);
        }
        self.pool.remember(fault, why);
        error
    }

    /// Returns the cluster version after what is decided; `None` if the log has said none.
    #[must_use]
    pub fn cluster_version(&self) -> Option<ClusterVersion> {
        self.writer.as_ref()?.meta.cluster_version
    }

    /// Returns which voters acknowledgements wait for after what is decided.
    #[must_use]
    pub fn ack_policy(&self) -> AckPolicy {
        let writer = self.writer.as_ref();
        writer.map_or_else(AckPolicy::default, |writer| writer.meta.ack_policy)
    }

    /// Returns the times of the last batch.
    #[must_use]
    pub fn now(&self) -> Now {
        Now {
            log_time: self.applied.log_time,
            date: self.applied.date,
        }
    }
}

/// Opens the database and finds out how far it has come.
fn open(path: &Path, options: &Options) -> Result<(Writer, Applied), OpenError> {
    let writer = Writer::open(path, options).map_err(|error| match error {
        OpenError::NotOurs { found } if matches!(mark::read(path), Ok(Some(_))) => {
            OpenError::NotOursAnyMore { found }
        }
        error => error,
    })?;
    let applied = meta::load_applied(&writer.connection)?;
    check_mark(path, &applied)?;
    Ok((writer, applied))
}

/// Refuses a database that has lost what it had.
fn check_mark(path: &Path, applied: &Applied) -> Result<(), OpenError> {
    let io = |source| OpenError::Io {
        path: path.to_owned(),
        source,
    };
    let applied = applied.last.map_or(0, |last| last.index);
    match mark::read(path).map_err(io)? {
        Some(marked) if marked > applied => Err(OpenError::Behind { applied, marked }),
        _ => Ok(()),
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.pool.close();
    }
}

impl Writer {
    pub(crate) fn open(path: &Path, options: &Options) -> Result<Self, OpenError> {
        let mut connection = database::open_writer(path, options)?;
        if options.witness {
            witness::strip(&mut connection)?;
        }
        let meta = Meta::load(&connection)?;
        let limits = allowances::load_limits(&connection)?;
        Ok(Self {
            connection,
            caches: RefCell::new(Caches::new(options.cached_rows_max)),
            meta,
            allowances: Changed::new(),
            limits,
            committed: (meta, limits),
            rows_max: options.cached_rows_max,
            witness: options.witness,
        })
    }

    /// Decides entries in the open transaction, and opens one if there is none.
    fn decide(&mut self, entries: &[Entry]) -> Result<Vec<EntryResult>, ApplyError> {
        if self.connection.is_autocommit() {
            self.connection
                .prepare_cached("BEGIN IMMEDIATE")?
                .execute([])?;
        }
        let results: Result<_, _> = entries
            .iter()
            .map(|entry| self.apply_entry(entry))
            .collect();
        results.inspect_err(|_| self.roll_back())
    }

    /// Commits the open transaction.
    fn commit(&mut self) -> Result<(), ApplyError> {
        let committed = self.commit_all();
        match committed {
            Ok(()) => self.committed = (self.meta, self.limits),
            Err(_) => self.roll_back(),
        }
        committed
    }

    fn commit_all(&mut self) -> Result<(), ApplyError> {
        self.save_allowances()?;
        self.meta.save(&self.connection)?;
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }

    /// Forgets what the open transaction has.
    pub(crate) fn roll_back(&mut self) {
        (self.meta, self.limits) = self.committed;
        self.allowances = Changed::new();
        self.caches = RefCell::new(Caches::new(self.rows_max));
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "failed to roll back a transaction");
        }
    }

    fn apply_entry(&mut self, entry: &Entry) -> Result<EntryResult, ApplyError> {
        match self.meta.applied {
            Some(last) => assert_eq!(entry.id.index, last.index + 1, "the log would have a gap"),
            None => assert!(entry.id.index <= 1, "the log would have a gap"),
        }
        let mut hasher = Hasher::new();
        hasher.update(&self.meta.chain);
        hasher.update(&entry.id.index.to_le_bytes());
        let result = match &entry.payload {
            Payload::Blank => EntryResult::nothing(),
            Payload::Membership { bytes, nodes } => {
                chain::bytes(&mut hasher, bytes);
                meta::save_membership(&self.connection, entry.id, bytes)?;
                let before = self.member_numbers()?;
                self.write_members(nodes)?;
                self.audit_members(entry.id.index, &before, nodes)?;
                EntryResult::nothing()
            }
            Payload::Commands(batch) => self.apply_batch(entry.id.index, batch, &mut hasher)?,
        };
        self.sweep()?;
        self.trim_changes()?;
        self.age_audit(entry.id.index)?;
        self.meta.chain = hasher.finalize().into();
        self.meta.applied = Some(entry.id);
        points::note(&self.connection, entry.id.index, &self.meta.chain)?;
        Ok(result)
    }

    fn apply_batch(
        &mut self,
        index: u64,
        batch: &Batch,
        hasher: &mut Hasher,
    ) -> Result<EntryResult, ApplyError> {
        let now = self.meta.now.next(batch);
        if now.date < self.meta.now.date {
            dates::note_step(&self.connection, index)?;
        }
        self.meta.now = now;
        let mut answer_bytes = Vec::new();
        let mut answers = Vec::with_capacity(batch.commands.len());
        let mut decided_in = Vec::with_capacity(batch.commands.len());
        let mut events = Vec::with_capacity(batch.commands.len());
        for command in &batch.commands {
            if self.witness && !witness::decides(command) {
                continue;
            }
            let written = events.len() as u64;
            let position_of = |event| Position::new(index, written + event);
            if matches!(command.origin, Origin::Once(_)) {
                self.forget_once_answers()?;
            }
            let mut decision = decide(self, self.meta.now, position_of, command)?;
            let audited = self.audited(command, &decision)?;
            // Before the events, which count what is kept.
            if let Some((account, allowance)) = decision.spent {
                self.set_allowance(account, allowance);
                chain::allowance(hasher, account, &allowance);
            }
            for event in std::mem::take(&mut decision.events) {
                let position = Position::new(index, events.len() as u64);
                self.write(position, &event)?;
                chain::event(hasher, position, &event);
                events.push((position, event));
            }
            answer_bytes.clear();
            answer::encode(&decision.answer, &mut answer_bytes);
            chain::answer(hasher, &answer_bytes);
            if decision.remember == Remember::Yes {
                self.remember(index, command, &decision, &answer_bytes)?;
            }
            if let Some(audited) = audited {
                let refusal = decision.answer.is_err().then_some(&answer_bytes[..]);
                self.write_audited(index, &audited, refusal)?;
            }
            decided_in.push(decision.decided_in.unwrap_or(index));
            answers.push(decision.answer);
        }
        Ok(EntryResult {
            answers,
            decided_in,
            events,
        })
    }
}

impl EntryResult {
    fn nothing() -> Self {
        Self {
            answers: Vec::new(),
            decided_in: Vec::new(),
            events: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
