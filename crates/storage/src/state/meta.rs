//! The one row that says where in the log the state stands, and its counters.

use bytes::Bytes;
use conclave_core::{
    AccountId, AckPolicy, AuthorityId, ClusterRetention, ClusterVersion, ConversationId, InviteId,
    NodeId, Now, Position, Retention, SessionId, Timestamp, TokenHash, WebhookId,
    lookup::PeerAuthority,
};
use rusqlite::{Connection, OptionalExtension as _, Result, Row, params};

use super::{
    Applied,
    column::{bits, from_bits, number, number_or_none, stored},
    migrations,
};
use crate::log::LogId;

/// The row. Cheap to copy: a transaction works on it and keeps the old one to go back to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meta {
    pub(super) applied: Option<LogId>,
    pub(super) now: Now,
    pub(super) account_last: AccountId,
    pub(super) accounts: u64,
    pub(super) messages: u64,
    pub(super) session_last: SessionId,
    pub(super) conversation_last: ConversationId,
    pub(super) once_last: u64,
    pub(super) orphan_last: u64,
    pub(super) orphans: u64,
    pub(super) admins: u64,
    pub(super) rooms: u64,
    pub(super) invite_last: InviteId,
    pub(super) invites: u64,
    pub(super) webhook_last: WebhookId,
    pub(super) throttles: u64,
    pub(super) changes: u64,
    pub(super) changes_after: Position,
    pub(super) setup_token: Option<TokenHash>,
    pub(super) node_last: NodeId,
    pub(super) preferred_leader: Option<NodeId>,
    pub(super) authority: PeerAuthority,
    pub(super) cluster_version: Option<ClusterVersion>,
    pub(super) ack_policy: AckPolicy,
    pub(super) retention: ClusterRetention,
    /// Log time of the entry since which messages have the log time of theirs.
    pub(super) aged_since: Option<Timestamp>,
    /// Number of the last entry of the audit log.
    pub(super) audit_last: u64,
    /// Number of its entries, and of refused acts among them.
    pub(super) audit_entries: u64,
    pub(super) audit_refusals: u64,
    pub(super) chain: [u8; 32],
}

impl Meta {
    pub(super) fn load(connection: &Connection) -> Result<Self> {
        let sql = "SELECT applied_term, applied_node, applied_index, log_time, account_last,
                accounts, session_last, conversation_last, once_last, orphan_last,
                orphans, chain, admins, rooms, invite_last, invites, webhook_last, throttles,
                changes, changes_after, setup_token, node_last, preferred_leader, date,
                authority_generation, authority_next, messages, cluster_version, ack_all,
                keep_ms, keep_messages, rooms_may_exceed, aged_since, keep_total,
                audit_last, audit_entries, audit_refusals
            FROM meta WHERE id = 1";
        connection
            .prepare_cached(sql)?
            .query_row([], Self::from_row)
    }

    fn from_row(row: &Row<'_>) -> Result<Self> {
        let applied = match number_or_none(row, 2)? {
            Some(index) => Some(LogId {
                term: from_bits(row, 0)?,
                node: from_bits(row, 1)?,
                index,
            }),
            None => None,
        };
        Ok(Self {
            applied,
            now: Now {
                log_time: Timestamp(number(row, 3)?),
                date: Timestamp(number(row, 23)?),
            },
            account_last: AccountId(number(row, 4)?),
            accounts: number(row, 5)?,
            messages: number(row, 26)?,
            session_last: SessionId(number(row, 6)?),
            conversation_last: ConversationId(number(row, 7)?),
            once_last: number(row, 8)?,
            orphan_last: number(row, 9)?,
            orphans: number(row, 10)?,
            chain: row.get(11)?,
            admins: number(row, 12)?,
            rooms: number(row, 13)?,
            invite_last: InviteId(number(row, 14)?),
            invites: number(row, 15)?,
            webhook_last: WebhookId(number(row, 16)?),
            throttles: number(row, 17)?,
            changes: number(row, 18)?,
            changes_after: Position(number(row, 19)?),
            setup_token: row.get::<_, Option<[u8; 32]>>(20)?.map(TokenHash),
            node_last: NodeId(number(row, 21)?),
            preferred_leader: number_or_none(row, 22)?.map(NodeId),
            authority: PeerAuthority {
                generation: number(row, 24)?,
                next: row.get::<_, Option<[u8; 32]>>(25)?.map(AuthorityId),
            },
            cluster_version: row.get::<_, Option<u32>>(27)?.map(ClusterVersion),
            ack_policy: match row.get::<_, Option<u32>>(28)? {
                None => AckPolicy::Majority,
                Some(_) => AckPolicy::All,
            },
            retention: ClusterRetention {
                each: Retention {
                    age_ms: number(row, 29)?,
                    messages: number(row, 30)?,
                },
                rooms_may_exceed: row.get(31)?,
                total_messages: number(row, 33)?,
            },
            aged_since: number_or_none(row, 32)?.map(Timestamp),
            audit_last: number(row, 34)?,
            audit_entries: number(row, 35)?,
            audit_refusals: number(row, 36)?,
        })
    }

    pub(super) fn save(&self, connection: &Connection) -> Result<()> {
        let sql = "UPDATE meta SET applied_term = ?1, applied_node = ?2, applied_index = ?3,
                log_time = ?4, account_last = ?5, accounts = ?6, session_last = ?7,
                conversation_last = ?8, once_last = ?9, orphan_last = ?10,
                orphans = ?11, chain = ?12, admins = ?13, rooms = ?14, invite_last = ?15,
                invites = ?16, webhook_last = ?17, throttles = ?18, changes = ?19,
                changes_after = ?20, setup_token = ?21, node_last = ?22, preferred_leader = ?23,
                date = ?24, authority_generation = ?25, authority_next = ?26,
                messages = ?27, cluster_version = ?28, ack_all = ?29, keep_ms = ?30,
                keep_messages = ?31, rooms_may_exceed = ?32, aged_since = ?33,
                keep_total = ?34,
                audit_last = ?35, audit_entries = ?36, audit_refusals = ?37
            WHERE id = 1";
        connection.prepare_cached(sql)?.execute(params![
            self.applied.map(|id| bits(id.term)),
            self.applied.map(|id| bits(id.node)),
            self.applied.map(|id| stored(id.index)),
            stored(self.now.log_time.0),
            stored(self.account_last.0),
            stored(self.accounts),
            stored(self.session_last.0),
            stored(self.conversation_last.0),
            stored(self.once_last),
            stored(self.orphan_last),
            stored(self.orphans),
            self.chain,
            stored(self.admins),
            stored(self.rooms),
            stored(self.invite_last.0),
            stored(self.invites),
            stored(self.webhook_last.0),
            stored(self.throttles),
            stored(self.changes),
            stored(self.changes_after.0),
            self.setup_token.map(|token| token.0),
            stored(self.node_last.0),
            self.preferred_leader.map(|node| stored(node.0)),
            stored(self.now.date.0),
            stored(self.authority.generation),
            self.authority.next.map(|next| next.0),
            stored(self.messages),
            self.cluster_version.map(|version| version.0),
            (self.ack_policy == AckPolicy::All).then_some(1),
            stored(self.retention.each.age_ms),
            stored(self.retention.each.messages),
            self.retention.rooms_may_exceed,
            self.aged_since.map(|since| stored(since.0)),
            stored(self.retention.total_messages),
            stored(self.audit_last),
            stored(self.audit_entries),
            stored(self.audit_refusals),
        ])?;
        Ok(())
    }
}

/// Returns the cluster version of a file whose tables may be of an earlier build.
pub(super) fn cluster_version_of(connection: &Connection) -> Result<ClusterVersion> {
    if !migrations::has_cluster_version(connection)? {
        return Ok(ClusterVersion::FIRST);
    }
    let sql = "SELECT cluster_version FROM meta WHERE id = 1";
    let said: Option<u32> = connection.query_row(sql, [], |row| row.get(0))?;
    Ok(said.map_or(ClusterVersion::FIRST, ClusterVersion))
}

/// Returns whether a file has an entry. Its tables may be of an earlier build.
pub(super) fn has_entries(connection: &Connection) -> Result<bool> {
    let sql = "SELECT applied_index IS NOT NULL FROM meta WHERE id = 1";
    connection.query_row(sql, [], |row| row.get(0))
}

/// The members of the cluster, and the entry that made them.
pub(super) type Membership = Option<(Option<LogId>, Bytes)>;

pub(super) fn load_membership(connection: &Connection) -> Result<Membership> {
    let sql = "SELECT term, node, log_index, bytes FROM membership WHERE id = 1";
    let read = |row: &Row<'_>| {
        let id = LogId {
            term: from_bits(row, 0)?,
            node: from_bits(row, 1)?,
            index: number(row, 2)?,
        };
        Ok((Some(id), Bytes::from(row.get::<_, Vec<u8>>(3)?)))
    };
    connection
        .prepare_cached(sql)?
        .query_row([], read)
        .optional()
}

pub(super) fn save_membership(connection: &Connection, id: LogId, bytes: &[u8]) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO membership (id, term, node, log_index, bytes)
        VALUES (1, ?1, ?2, ?3, ?4)";
    connection.prepare_cached(sql)?.execute(params![
        bits(id.term),
        bits(id.node),
        stored(id.index),
        bytes
    ])?;
    Ok(())
}

/// Returns where the state stands, read from the tables.
pub(super) fn load_applied(connection: &Connection) -> Result<Applied> {
    let meta = Meta::load(connection)?;
    Ok(Applied {
        last: meta.applied,
        membership: load_membership(connection)?,
        log_time: meta.now.log_time,
        date: meta.now.date,
    })
}
