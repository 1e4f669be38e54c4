//! The requests of a client as small numbers. `operations.rs` makes operations of them.

use conclave_core::{AccountRole, AckPolicy, MemberRole, VersionRange};
use proptest::prelude::*;

use super::plan::Weather;

pub(super) const NAMES: [&str; 5] = ["ann", "Bea", "cyd", "dot", "ANN"];
pub(super) const ROOMS: [&str; 3] = ["lobby", "Den", "LOBBY"];
pub(super) const PROGRAMS: [&str; 2] = ["hook", "robot"];
pub(super) const REACTIONS: [&str; 2] = ["+1", "wave"];
pub(super) const OPERATORS: [&str; 4] = ["operator", "eva", "Max", "EVA"];

/// A request of a client.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Create(usize, u64),
    Login {
        account: u64,
        version: u64,
    },
    Try(usize, usize),
    OfferSetup,
    Admit(u8),
    Retire(u64),
    Rotate(u64, u8, bool),
    Raise(u32),
    /// Forgets what is due of a few conversations.
    Forget(u64),
    /// Posts through the webhook whose secret is this many requests old.
    Post(u64),
    Logout,
    DeleteAccount,
    ChangePassword(u64),
    Display,
    Block(usize, bool),
    EndSession(usize),
    Send(usize),
    SendIn(u64, u64),
    SendTo(usize),
    Edit((u64, u64)),
    React((u64, u64), usize, bool),
    Advance {
        conversation: u64,
        delivered: u64,
        read: u64,
    },
    Delete {
        messages: Vec<(u64, u64)>,
        for_everyone: bool,
    },
    /// Makes a request about a room, by its name.
    Room(usize, RoomCommand),
    Govern(Government),
    /// Makes an operator's request with one of a few credentials.
    Operate(u8, Operate),
    DeleteWebhook(u64),
    /// Sends a request that belongs in a session outside of one, or the other way round.
    Misplaced(bool),
}

/// A request about a room.
#[derive(Clone, Debug)]
pub(crate) enum RoomCommand {
    Create(bool),
    Join,
    Leave,
    Invite(usize),
    Kick(usize),
    Topic,
    /// Sets an age in minutes, and a number of messages; 9: as the cluster.
    Keep(u64, u64),
    Role(usize, MemberRole),
    Webhook(usize),
}

/// A request of an administrator.
#[derive(Clone, Debug)]
pub(crate) enum Government {
    Role(usize, AccountRole),
    Remove(usize),
    Suspend(usize, bool),
    EndSessions(usize),
    ResetPassword(usize),
    Bot(usize),
    Invite(u8),
    Revoke(u64),
}

/// A request of an operator, or one that replaces all operators.
#[derive(Clone, Debug)]
pub(crate) enum Operate {
    First,
    Reset,
    JoinToken(u8),
    RevokeToken(u8),
    Prefer(u64),
    Ack(AckPolicy),
    /// Sets an age in minutes and a number of messages, and whether rooms may keep more.
    Keep(u64, u64, bool),
    Add(usize),
    Remove(usize),
}

pub(super) fn what(weather: Weather) -> impl Strategy<Value = What> {
    let misplaced = if matches!(weather, Weather::Wild) {
        1
    } else {
        0
    };
    let outside = prop_oneof![
        10 => (0..NAMES.len(), 0u64..12).prop_map(|(which, grant)| What::Create(which, grant)),
        16 => (0u64..3, prop_oneof![9 => Just(1u64), 1 => 0u64..3])
            .prop_map(|(account, version)| What::Login { account, version }),
        3 => (0..NAMES.len(), 0usize..4).prop_map(|(which, place)| What::Try(which, place)),
        2 => Just(What::OfferSetup),
        1 => (0u8..4).prop_map(What::Admit),
        1 => (1u64..9).prop_map(What::Retire),
        2 => (1u64..3, 0u8..2, any::<bool>())
            .prop_map(|(generation, which, last)| What::Rotate(generation, which, last)),
        1 => (0..=VersionRange::BUILD.newest.0).prop_map(What::Raise),
        3 => (0u64..4).prop_map(What::Forget),
        2 => (0u64..4).prop_map(What::Post),
    ];
    let own = prop_oneof![
        1 => Just(What::Logout),
        2 => Just(What::DeleteAccount),
        1 => (0u64..3).prop_map(What::ChangePassword),
        1 => Just(What::Display),
        2 => (0..NAMES.len(), any::<bool>()).prop_map(|(which, on)| What::Block(which, on)),
        1 => (0usize..4).prop_map(What::EndSession),
    ];
    prop_oneof![
        16 => outside,
        7 => own,
        34 => about_messages(),
        26 => (0..ROOMS.len(), of_a_room()).prop_map(|(room, command)| What::Room(room, command)),
        5 => government().prop_map(What::Govern),
        6 => (0u8..3, operate()).prop_map(|(by, command)| What::Operate(by, command)),
        1 => (1u64..4).prop_map(What::DeleteWebhook),
        misplaced => any::<bool>().prop_map(What::Misplaced),
    ]
}

fn about_messages() -> impl Strategy<Value = What> {
    let conversation = || prop_oneof![3 => Just(0u64), 2 => Just(1u64), 1 => 2u64..4];
    let sequence = || prop_oneof![6 => Just(1u64), 4 => 2u64..4, 1 => 0u64..9];
    let message = move || (conversation(), sequence());
    let messages = prop_oneof![
        5 => prop::collection::vec(message(), 1..=1),
        1 => prop::collection::vec(message(), 0..3),
    ];
    prop_oneof![
        12 => (0..NAMES.len()).prop_map(What::Send),
        6 => message().prop_map(|(conversation, reply)| What::SendIn(conversation, reply)),
        6 => (0..ROOMS.len()).prop_map(What::SendTo),
        7 => message().prop_map(What::Edit),
        7 => (message(), 0..REACTIONS.len(), any::<bool>())
            .prop_map(|(message, which, there)| What::React(message, which, there)),
        6 => (conversation(), 0u64..4, 0u64..4).prop_map(
            |(conversation, delivered, read)| What::Advance { conversation, delivered, read }
        ),
        9 => (messages, any::<bool>()).prop_map(
            |(messages, for_everyone)| What::Delete { messages, for_everyone }
        ),
    ]
}

fn of_a_room() -> impl Strategy<Value = RoomCommand> {
    let role = prop::sample::select(vec![
        MemberRole::Member,
        MemberRole::Moderator,
        MemberRole::Owner,
    ]);
    let who = || 0..NAMES.len() + PROGRAMS.len();
    prop_oneof![
        3 => any::<bool>().prop_map(RoomCommand::Create),
        8 => Just(RoomCommand::Join),
        2 => Just(RoomCommand::Leave),
        4 => who().prop_map(RoomCommand::Invite),
        2 => who().prop_map(RoomCommand::Kick),
        1 => Just(RoomCommand::Topic),
        1 => (prop_oneof![Just(9u64), 0u64..4], prop_oneof![Just(9u64), 0u64..4])
            .prop_map(|(age, messages)| RoomCommand::Keep(age, messages)),
        3 => (who(), role).prop_map(|(who, role)| RoomCommand::Role(who, role)),
        3 => (0..PROGRAMS.len()).prop_map(RoomCommand::Webhook),
    ]
}

fn government() -> impl Strategy<Value = Government> {
    let role = prop::sample::select(vec![
        AccountRole::User,
        AccountRole::Admin,
        AccountRole::Bot,
    ]);
    let who = || 0..NAMES.len() + PROGRAMS.len();
    prop_oneof![
        2 => (who(), role).prop_map(|(who, role)| Government::Role(who, role)),
        1 => who().prop_map(Government::Remove),
        3 => (who(), any::<bool>()).prop_map(|(who, on)| Government::Suspend(who, on)),
        1 => who().prop_map(Government::EndSessions),
        1 => who().prop_map(Government::ResetPassword),
        2 => (0..PROGRAMS.len()).prop_map(Government::Bot),
        2 => (0u8..3).prop_map(Government::Invite),
        1 => (1u64..4).prop_map(Government::Revoke),
    ]
}

fn operate() -> impl Strategy<Value = Operate> {
    let who = || 0..OPERATORS.len();
    prop_oneof![
        3 => Just(Operate::First),
        1 => Just(Operate::Reset),
        4 => (0u8..3).prop_map(Operate::JoinToken),
        1 => (0u8..3).prop_map(Operate::RevokeToken),
        2 => (0u64..3).prop_map(Operate::Prefer),
        1 => prop::sample::select(vec![AckPolicy::Majority, AckPolicy::All])
            .prop_map(Operate::Ack),
        2 => (0u64..3, 0u64..4, any::<bool>())
            .prop_map(|(age, messages, more)| Operate::Keep(age, messages, more)),
        3 => who().prop_map(Operate::Add),
        3 => who().prop_map(Operate::Remove),
    ]
}

impl What {
    /// Returns whether the request belongs in a session (or, misplaced, is made in one).
    pub(super) fn is_inside(&self) -> bool {
        match self {
            Self::Create(..)
            | Self::Login { .. }
            | Self::Try(..)
            | Self::OfferSetup
            | Self::Admit(_)
            | Self::Retire(_)
            | Self::Rotate(..)
            | Self::Raise(_)
            | Self::Forget(_)
            | Self::Operate(..)
            | Self::Post(_) => false,
            Self::Misplaced(inside) => *inside,
            _ => true,
        }
    }
}
