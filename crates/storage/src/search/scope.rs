//! Where a search looks: the conversations of the searching account, and what the query narrows.
//!
//! A scope makes a search fast, not right: what may be seen is decided when the rows are read.

use conclave_core::{AccountId, ConversationId};
use conclave_words::{
    SearchQuery,
    query::{ConversationFilter, Exclusion},
};

use crate::state::{MessageRow, ReadError, Reader};

/// Conversations that a search names to the index at most: as many as an account has rooms. So the
/// time that it takes discloses nothing of other conversations. With more, rows are sorted out
/// afterwards.
const CONVERSATIONS_NAMED_MAX: usize = 256;

/// Where a search looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scope {
    /// In these; `None`: in all.
    pub(super) conversations: Option<Vec<ConversationId>>,
    /// Only messages that this account sent; `None`: of all accounts.
    pub(super) by: Option<AccountId>,
    /// Not in these.
    pub(super) not_in: Vec<ConversationId>,
    /// Not what these sent.
    pub(super) not_by: Vec<AccountId>,
}

impl Scope {
    /// Returns the scope of a query; `None`: nothing can be found there.
    pub(super) fn of(
        reader: &Reader,
        account: AccountId,
        query: &SearchQuery,
    ) -> Result<Option<Self>, ReadError> {
        let mut scope = Self::default();
        if let Some(name) = query.from() {
            let Some(found) = reader.account_by_key(&name.key())? else {
                return Ok(None);
            };
            scope.by = Some(found.id);
        }
        scope.conversations = match query.place() {
            Some(place) => place_of(reader, account, place)?.map(|id| vec![id]),
            None => own(reader, account, query.is_unread())?,
        };
        if let Some([]) = scope.conversations.as_deref() {
            return Ok(None);
        }
        if query.place().is_some() && scope.conversations.is_none() {
            return Ok(None);
        }
        for exclusion in query.excluded() {
            match exclusion {
                Exclusion::From(name) => {
                    let found = reader.account_by_key(&name.key())?;
                    scope.not_by.extend(found.map(|found| found.id));
                }
                Exclusion::In(place) => scope.not_in.extend(place_of(reader, account, place)?),
                Exclusion::Says(_) | Exclusion::Link | Exclusion::Unread => {}
            }
        }
        Ok(Some(scope))
    }

    /// Returns whether a message is of the senders and conversations that are asked for.
    pub(super) fn has(&self, row: &MessageRow) -> bool {
        self.by.is_none_or(|by| by == row.by)
            && !self.not_by.contains(&row.by)
            && !self.not_in.contains(&row.conversation)
    }
}

fn place_of(
    reader: &Reader,
    account: AccountId,
    place: &ConversationFilter,
) -> Result<Option<ConversationId>, ReadError> {
    match place {
        ConversationFilter::Room(name) => {
            let room = reader.room_by_key(account, &name.key())?;
            Ok(room.filter(|room| room.role.is_some()).map(|room| room.id))
        }
        ConversationFilter::Direct(name) => reader.direct_with(account, &name.key()),
        // A conversation that the account is not in has nothing that it may see: rows are checked
        // when they are read, and here so that the time discloses nothing.
        ConversationFilter::Number(id) => Ok(reader.member_role(*id, account)?.map(|_| *id)),
    }
}

/// Returns the account's conversations; `None`: more than are named.
fn own(
    reader: &Reader,
    account: AccountId,
    is_unread: bool,
) -> Result<Option<Vec<ConversationId>>, ReadError> {
    let ids = reader.conversation_ids(account, CONVERSATIONS_NAMED_MAX + 1)?;
    if ids.len() > CONVERSATIONS_NAMED_MAX || !is_unread {
        return Ok((ids.len() <= CONVERSATIONS_NAMED_MAX).then_some(ids));
    }
    // What is counted as unread leaves out what is deleted; so does a search.
    let rows = reader.conversations(account, None, CONVERSATIONS_NAMED_MAX)?;
    let unread = rows.into_iter().filter(|row| row.unread > 0);
    Ok(Some(unread.map(|row| row.id).collect()))
}
