//! What a source has said, in the words of Conclave: accounts and conversations in memory, messages
//! in a pile on the disk, in the order in which they will be decided.
//!
//! Always true: messages come in the order of their dates; where sequences are kept, those of a
//! conversation in the order in which they were added, whatever their dates are. Memory does not
//! grow with messages.

use std::collections::HashMap;

use conclave_core::{AccountName, DisplayName, MemberRole, RoomName, Topic};
use conclave_storage::pile::Pile;
use serde::{Deserialize, Serialize};

use crate::{
    error::ImportError,
    names::Names,
    report::{Report, What},
};

/// Number of a person in the plan.
pub(crate) type PersonId = u32;
/// Number of a conversation in the plan.
pub(crate) type PlaceId = u32;

/// What an account may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Role {
    #[default]
    User,
    Admin,
    Bot,
}

/// What a source says of an account.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    /// How the source calls it, for the report.
    pub(crate) source: String,
    pub(crate) name: String,
    pub(crate) display_name: String,
    pub(crate) role: Role,
    pub(crate) created_at: Option<u64>,
    pub(crate) suspended: bool,
    /// Whether it is gone, and only its messages are left.
    pub(crate) deleted: bool,
}

/// An account that will be made.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) source: String,
    pub(crate) name: AccountName,
    pub(crate) display_name: Option<DisplayName>,
    pub(crate) role: Role,
    pub(crate) created_at: Option<u64>,
    pub(crate) suspended: bool,
    pub(crate) deleted: bool,
    pub(crate) blocks: Vec<PersonId>,
}

/// A member of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) person: PersonId,
    pub(crate) role: MemberRole,
    /// What was delivered and read; `None`: everything.
    pub(crate) progress: Option<(u64, u64)>,
}

impl Member {
    pub(crate) fn plain(person: PersonId) -> Self {
        Self {
            person,
            role: MemberRole::Member,
            progress: None,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Room {
        name: RoomName,
        topic: Topic,
        public: bool,
    },
    Direct(PersonId, PersonId),
}

/// A conversation that will be made.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) source: String,
    pub(crate) kind: Kind,
    pub(crate) created_at: Option<u64>,
    /// The account that made the room.
    pub(crate) owner: Option<PersonId>,
    pub(crate) members: Vec<Member>,
    /// Invited accounts, each with the account that invited it.
    pub(crate) invited: Vec<(PersonId, PersonId)>,
}

/// What will be done at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Act {
    Send(Message),
    Edit {
        place: PlaceId,
        id: u64,
        by: PersonId,
        at: u64,
        text: String,
    },
    Delete {
        place: PlaceId,
        id: u64,
        by: PersonId,
        at: u64,
    },
}

/// A message that will be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) place: PlaceId,
    /// What other messages of the conversation call it.
    pub(crate) id: u64,
    /// Whether something may call it so.
    pub(crate) is_named: bool,
    /// Where it stands in the source, for the report.
    pub(crate) source: String,
    pub(crate) author: PersonId,
    pub(crate) at: u64,
    pub(crate) text: String,
    pub(crate) action: bool,
    pub(crate) reply_to: Option<u64>,
    /// Accounts that it is known to mention, which may have left since.
    pub(crate) mentions: Vec<PersonId>,
    pub(crate) reactions: Vec<(String, Vec<PersonId>)>,
    pub(crate) hidden_from: Vec<PersonId>,
    pub(crate) edited_at: Option<u64>,
    pub(crate) deleted_at: Option<u64>,
}

/// What will be built.
pub(crate) struct Plan<'a, 'r> {
    pub(crate) people: Vec<Person>,
    pub(crate) places: Vec<Place>,
    pub(crate) pile: Pile,
    pub(crate) report: &'a mut Report<'r>,
    /// Whether messages are called by the sequences that they will have.
    pub(crate) keeps_sequences: bool,
    /// The first date that the source names.
    pub(crate) earliest: Option<u64>,
    pub(crate) messages: u64,
    names: Names,
    /// The latest time of a message of each conversation, where sequences are kept.
    latest: HashMap<PlaceId, u64>,
}

impl<'a, 'r> Plan<'a, 'r> {
    pub(crate) fn new(pile: Pile, report: &'a mut Report<'r>) -> Self {
        Self {
            people: Vec::new(),
            places: Vec::new(),
            pile,
            report,
            keeps_sequences: false,
            earliest: None,
            messages: 0,
            names: Names::default(),
            latest: HashMap::new(),
        }
    }

    /// Adds an account, and gives it its name.
    pub(crate) fn person(&mut self, wish: Wish) -> Result<PersonId, ImportError> {
        let name = self.names.account(&wish.name);
        if !wish.deleted {
            self.report
                .say(What::Account, &wish.source, name.as_str())?;
        }
        let display_name = self.display_name(&wish)?;
        let id = u32::try_from(self.people.len()).map_err(|_| too_many("accounts"))?;
        if let Some(at) = wish.created_at {
            self.note_date(at);
        }
        self.people.push(Person {
            source: wish.source,
            name,
            display_name,
            role: wish.role,
            created_at: wish.created_at,
            suspended: wish.suspended,
            deleted: wish.deleted,
            blocks: Vec::new(),
        });
        Ok(id)
    }

    fn display_name(&mut self, wish: &Wish) -> Result<Option<DisplayName>, ImportError> {
        let text = wish.display_name.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let fitted = fit(text, |text| conclave_text::display_name(text).ok());
        match &fitted {
            Some((_, false)) => {}
            Some((_, true)) => self
                .report
                .say(What::LineCut, &wish.source, "display name")?,
            None => self.report.say(
                What::SettingLost,
                &wish.source,
                "the display name has what a line cannot have",
            )?,
        }
        Ok(fitted.map(|(display_name, _)| display_name))
    }

    /// Returns the account with this name.
    pub(crate) fn person_named(&self, name: &AccountName) -> Option<PersonId> {
        let key = name.key();
        let found = self
            .people
            .iter()
            .position(|person| person.name.key() == key);
        found.and_then(|place| u32::try_from(place).ok())
    }

    /// Returns the room name that is as near to `wish` as can be, and no other room has.
    pub(crate) fn room_name(&mut self, source: &str, wish: &str) -> Result<RoomName, ImportError> {
        let name = self.names.room(wish);
        self.report.say(What::Room, source, name.as_str())?;
        Ok(name)
    }

    /// Returns the topic of a room, cut if it is too long.
    pub(crate) fn topic(&mut self, source: &str, text: &str) -> Result<Topic, ImportError> {
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (topic, is_cut) = fit(&line, |text| conclave_text::topic(text).ok())
            .or_else(|| Some((conclave_text::topic("").ok()?, true)))
            .ok_or_else(|| too_many("characters"))?;
        if is_cut {
            self.report.say(What::LineCut, source, "topic")?;
        }
        Ok(topic)
    }

    /// Adds a conversation.
    pub(crate) fn place(&mut self, place: Place) -> Result<PlaceId, ImportError> {
        let id = u32::try_from(self.places.len()).map_err(|_| too_many("conversations"))?;
        if let Some(at) = place.created_at {
            self.note_date(at);
        }
        self.places.push(place);
        Ok(id)
    }

    /// Adds a message with its edit and its deletion.
    pub(crate) fn message(&mut self, message: Message) -> Result<(), ImportError> {
        self.note_date(message.at);
        self.messages += 1;
        let (place, id, by) = (message.place, message.id, message.author);
        let mut later = Vec::new();
        if let Some(at) = message.edited_at {
            let text = message.text.clone();
            later.push(Act::Edit {
                place,
                id,
                by,
                at,
                text,
            });
        }
        if let Some(at) = message.deleted_at {
            later.push(Act::Delete { place, id, by, at });
        }
        let mut when = message.at;
        if self.keeps_sequences {
            let latest = self.latest.entry(place).or_default();
            *latest = when.max(*latest);
            when = *latest;
        }
        self.push(when, &Act::Send(message))?;
        for act in later {
            let (Act::Edit { at, .. } | Act::Delete { at, .. }) = &act else {
                continue;
            };
            when = when.max(*at);
            self.push(when, &act)?;
        }
        Ok(())
    }

    fn push(&mut self, at: u64, act: &Act) -> Result<(), ImportError> {
        let bytes = serde_json::to_vec(act);
        let bytes = bytes.map_err(|error| ImportError::malformed("", 0, error.to_string()))?;
        Ok(self.pile.push(at, &bytes)?)
    }

    fn note_date(&mut self, at: u64) {
        let earliest = self.earliest.get_or_insert(at);
        *earliest = at.min(*earliest);
    }
}

fn too_many(what: &str) -> ImportError {
    ImportError::Archive(format!("it has too many {what}"))
}

/// Returns the longest beginning of a text that `make` takes, and whether something is missing.
fn fit<T>(text: &str, make: impl Fn(&str) -> Option<T>) -> Option<(T, bool)> {
    if let Some(whole) = make(text) {
        return Some((whole, false));
    }
    // Nothing of a kind has more characters than its bytes.
    let mut cut = text.floor_char_boundary(text.len().min(768));
    while cut > 0 {
        if let Some(part) = make(text[..cut].trim_end()) {
            return Some((part, true));
        }
        cut = text.floor_char_boundary(cut - 1);
    }
    None
}
