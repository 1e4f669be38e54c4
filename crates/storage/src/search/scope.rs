//! Where a search looks: the conversations of the one who asks, and what the query narrows.
//!
//! A scope makes a search fast, not right: what may be seen is decided when the rows are read.

use conclave_core::{AccountId, ConversationId, SearchQuery, query::Place};

use crate::state::{ReadError, Reader};

/// Conversations that a search names to the index at most: as many as an account has rooms. With
/// more, rows are sorted out afterwards.
const CONVERSATIONS_NAMED_MAX: usize = 256;

/// Up to so many conversations are named at once. Naming more takes time that is wasted if what
/// is looked for is everywhere, so it is tried without first.
const CONVERSATIONS_FEW_MAX: usize = 64;

/// Where a search looks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scope {
    /// In these; `None`: in all.
    pub(super) conversations: Option<Vec<ConversationId>>,
    /// What this account sent; `None`: everybody.
    pub(super) by: Option<AccountId>,
}

impl Scope {
    /// The same without the conversations, if that is to be tried first.
    pub(super) fn wider(&self) -> Option<Self> {
        let conversations = self.conversations.as_ref()?;
        (conversations.len() > CONVERSATIONS_FEW_MAX).then_some(Self {
            conversations: None,
            by: self.by,
        })
    }

    /// `None`: nothing can be found there.
    pub(super) fn of(
        reader: &Reader,
        account: AccountId,
        query: &SearchQuery,
    ) -> Result<Option<Self>, ReadError> {
        let mut by = None;
        if let Some(name) = query.from() {
            let Some(found) = reader.account_by_key(&name.key())? else {
                return Ok(None);
            };
            by = Some(found.id);
        }
        let conversations = match query.place() {
            Some(place) => place_of(reader, account, place)?.map(|id| vec![id]),
            None => own(reader, account)?,
        };
        if let Some([]) = conversations.as_deref() {
            return Ok(None);
        }
        if query.place().is_some() && conversations.is_none() {
            return Ok(None);
        }
        Ok(Some(Self { conversations, by }))
    }
}

fn place_of(
    reader: &Reader,
    account: AccountId,
    place: &Place,
) -> Result<Option<ConversationId>, ReadError> {
    match place {
        Place::Room(name) => {
            let room = reader.room_by_key(account, &name.key())?;
            Ok(room.filter(|room| room.role.is_some()).map(|room| room.id))
        }
        Place::Direct(name) => reader.direct_with(account, &name.key()),
    }
}

/// `None`: more than are named.
fn own(reader: &Reader, account: AccountId) -> Result<Option<Vec<ConversationId>>, ReadError> {
    let rows = reader.conversations(account, None, CONVERSATIONS_NAMED_MAX + 1)?;
    if rows.len() > CONVERSATIONS_NAMED_MAX {
        return Ok(None);
    }
    Ok(Some(rows.into_iter().map(|row| row.id).collect()))
}
