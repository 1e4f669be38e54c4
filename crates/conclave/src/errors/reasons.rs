//! The exit code and the hint of each reason of a refusal.
//!
//! Always true: the table has no default, so a new reason does not compile without a row.

use conclave_client::Reason;

use super::{
    EXIT_CONFLICT, EXIT_NOT_FOUND, EXIT_PERMISSION, EXIT_TEMPORARY, EXIT_UNAVAILABLE, EXIT_USAGE,
    OPERATOR_HINT,
};

/// Returns the exit code and the hint for a refusal.
#[expect(clippy::too_many_lines, reason = "a table: each reason once")]
pub(crate) fn of_reason(reason: Reason) -> (u8, &'static str) {
    match reason {
        Reason::NoSuchAccount => (
            EXIT_NOT_FOUND,
            "list the accounts with: conclave account list",
        ),
        Reason::NoSuchConversation => (
            EXIT_NOT_FOUND,
            "list yours with: conclave conversations, and rooms with: conclave room list",
        ),
        Reason::NoSuchWebhook => (
            EXIT_NOT_FOUND,
            "list a room's webhooks with: conclave webhook list ROOM",
        ),
        Reason::NoSuchSession => (EXIT_NOT_FOUND, "list your sessions with: conclave sessions"),
        Reason::NotAllowed => (
            EXIT_PERMISSION,
            "ask the owner of the room, or an administrator",
        ),
        Reason::Blocked => (
            EXIT_PERMISSION,
            "if you have blocked this account, unblock it with: conclave account unblock NAME",
        ),
        Reason::RegistrationClosed => (
            EXIT_PERMISSION,
            "ask an administrator for an invite, and use it with --invite CODE",
        ),
        Reason::InviteInvalid => (EXIT_PERMISSION, "ask an administrator for another invite"),
        Reason::SetupTokenInvalid => (
            EXIT_PERMISSION,
            "use the token that the server printed last, and only while there is no administrator",
        ),
        Reason::LoginThrottled => (
            EXIT_TEMPORARY,
            "too many log-ins with this name or from here failed: wait as long as it says",
        ),
        Reason::NotAPeer => (
            EXIT_PERMISSION,
            "this is the peer port: name the client port",
        ),
        Reason::LastOfItsKind => (EXIT_CONFLICT, "give the role to another account first"),
        Reason::NotAMember => (
            EXIT_CONFLICT,
            "list the members with: conclave room members ROOM",
        ),
        Reason::MessageGone => (EXIT_CONFLICT, "a deleted message stays deleted"),
        Reason::NoSuchNode => (EXIT_NOT_FOUND, "conclave cluster status lists the nodes"),
        Reason::NoSuchCheck => (EXIT_TEMPORARY, "the node has restarted: check again"),
        Reason::NodeNumberTaken => (
            EXIT_CONFLICT,
            "choose a number that no node has had before; start a node that has moved with \
             its data at its new addresses: it announces them",
        ),
        Reason::NodeNumberTooFar => (EXIT_USAGE, "take the next number, or join with a token"),
        Reason::NodeUnreachable => (
            EXIT_CONFLICT,
            "check that it runs (conclave cluster status), or choose another node",
        ),
        Reason::NotTakenOver => (
            EXIT_CONFLICT,
            "see what its log says, and repeat the command",
        ),
        Reason::JoinTokenInvalid => (
            EXIT_PERMISSION,
            "one machine can join with a token, once and in time: make another with: \
             conclave token create",
        ),
        Reason::NotAnOperator => (EXIT_PERMISSION, OPERATOR_HINT),
        Reason::LastOperator => (
            EXIT_CONFLICT,
            "add another first with: conclave operator create NAME",
        ),
        Reason::TokenIdInvalid => (EXIT_USAGE, "conclave token list shows them"),
        Reason::JoinRefused => (EXIT_PERMISSION, "give all nodes the same --secret-file"),
        Reason::JoinTokenOutOfRange => (EXIT_USAGE, "a token is valid for at most 7 days"),
        Reason::NoAuthorityKey => (
            EXIT_CONFLICT,
            "name the addresses of voters in --join: no machine can join through a learner",
        ),
        Reason::WouldLoseAuthority => (
            EXIT_CONFLICT,
            "a new voter gets the key within seconds: ask again, after `conclave cluster promote` \
             if no other voter is left",
        ),
        Reason::PeerRole => (EXIT_PERMISSION, "ask a node that votes"),
        Reason::AddressTaken => (
            EXIT_CONFLICT,
            "remove the node that has it first, or correct it",
        ),
        Reason::AddressInvalid => (EXIT_USAGE, "write it as HOST:PORT"),
        Reason::LastVoter => (EXIT_CONFLICT, "give another node a vote first"),
        Reason::NodeIsWitness => (EXIT_CONFLICT, "name a full node: conclave cluster status"),
        Reason::TooFewFullNodes => (
            EXIT_CONFLICT,
            "give a full node a vote first, or remove a witness first: after the failures that the \
             cluster tolerates a full node must be left",
        ),
        Reason::MembersUnreachable => (
            EXIT_UNAVAILABLE,
            "start the nodes that do not answer, or remove them (conclave cluster remove): such a \
             machine joins again with an empty directory and a new token",
        ),
        Reason::WouldLoseQuorum => (
            EXIT_CONFLICT,
            "start the nodes that are down first (conclave cluster status), or use --force",
        ),
        Reason::VersionTooLow => (
            EXIT_CONFLICT,
            "finish the upgrade first: conclave cluster upgrade-check, then upgrade finalize",
        ),
        Reason::VersionUnsupported => (
            EXIT_CONFLICT,
            "install the version that the cluster runs (conclave cluster status) on that machine",
        ),
        Reason::RetentionOutOfRange => (
            EXIT_USAGE,
            "write an age such as 90d (1m to 36525d), a number, or `forever`",
        ),
        Reason::RetentionTooLong => (
            EXIT_CONFLICT,
            "set less than the cluster keeps (conclave cluster retention), or ask an operator for \
             rooms=longer",
        ),
        Reason::MemberNotAsked => (EXIT_TEMPORARY, "a node has just joined: repeat the command"),
        Reason::LearnerBehind => (EXIT_CONFLICT, "check that it runs, and repeat the command"),
        Reason::TooManyVoters | Reason::TooManyMembers => (EXIT_CONFLICT, "remove a node first"),
        Reason::TooMany => (EXIT_CONFLICT, "remove some that are no longer needed"),
        Reason::QuotaExceeded => (
            EXIT_CONFLICT,
            "delete something, or ask an administrator: conclave cluster limits",
        ),
        Reason::LogFilterInvalid => (EXIT_USAGE, "use a level such as info, or target=level"),
        Reason::AccountLimitInvalid => (EXIT_USAGE, "conclave cluster limits shows all of them"),
        Reason::Oneself => (EXIT_USAGE, "name another account"),
        Reason::QueryInvalid => (
            EXIT_USAGE,
            "write words, \"a phrase\", word*, from:NAME, in:#ROOM, before: and after:YYYY-MM-DD",
        ),
        Reason::NoSuchMessage => (EXIT_NOT_FOUND, "conclave read shows the IDs of messages"),
        Reason::WrongCredentials => (
            EXIT_PERMISSION,
            "check name and password; create an account with: conclave account create NAME",
        ),
        Reason::NotYourMessage => (
            EXIT_PERMISSION,
            "leave --everyone out to delete it for yourself alone",
        ),
        Reason::NameTaken => (EXIT_CONFLICT, "choose another name"),
        Reason::NameAlike => (
            EXIT_CONFLICT,
            "choose a name that does not look like that of another account",
        ),
        Reason::AccountSuspended => (EXIT_PERMISSION, "ask an administrator"),
        Reason::TooManyAccounts => (EXIT_CONFLICT, "delete accounts that are no longer needed"),
        Reason::RecipientGone => (
            EXIT_CONFLICT,
            "the conversation can be read but not continued",
        ),
        Reason::PasswordCharacter => (
            EXIT_USAGE,
            "choose a password of letters, digits, signs and spaces",
        ),
        Reason::PasswordTooShort | Reason::PasswordTooLong => (
            EXIT_USAGE,
            "choose a password of at least 8 characters and at most 256 bytes",
        ),
        Reason::TextEmpty => (EXIT_USAGE, "send visible characters"),
        Reason::TextTooLong => (EXIT_USAGE, "send at most 16 KiB of text"),
        Reason::LineInvalid => (EXIT_USAGE, "leave out the named characters, or write less"),
        Reason::ReactionInvalid => (
            EXIT_USAGE,
            "react with one emoji, or with a word such as +1",
        ),
        Reason::NameEmpty | Reason::NameTooLong | Reason::NameCharacter => (
            EXIT_USAGE,
            "a name has 1 to 32 letters, digits, '.', '_' or '-'",
        ),
        Reason::PatternInvalid => (EXIT_USAGE, "quote the pattern: conclave account list 'al*'"),
        Reason::ListTooLong => (EXIT_USAGE, "name fewer at once"),
        Reason::RequestTooLong => (EXIT_USAGE, "send less at once"),
        Reason::Behind
        | Reason::BodyInvalid
        | Reason::BodyTooLong
        | Reason::Busy
        | Reason::CertificatesInvalid
        | Reason::ChangeMissing
        | Reason::CharsetInvalid
        | Reason::CodeInvalid
        | Reason::ContentEncodingInvalid
        | Reason::ContentTypeInvalid
        | Reason::ConversationMissing
        | Reason::CutOff
        | Reason::DeviceInvalid
        | Reason::RotationInvalid
        | Reason::ExchangeMissed
        | Reason::GoingAway
        | Reason::HttpVersionInvalid
        | Reason::IdempotencyKeyInvalid
        | Reason::InviteOutOfRange
        | Reason::KeyInvalid
        | Reason::ListEmpty
        | Reason::MessageMissing
        | Reason::MethodNotAllowed
        | Reason::NodeBroken
        | Reason::NodeNumberInvalid
        | Reason::NodeRetired
        | Reason::NodeSuperseded
        | Reason::NoLeader
        | Reason::NoSpace
        | Reason::NoStream
        | Reason::NoSuchPath
        | Reason::OriginRefused
        | Reason::OutcomeUnknown
        | Reason::PageTokenInvalid
        | Reason::PasswordHashInvalid
        | Reason::RateLimited
        | Reason::RecipientMissing
        | Reason::RequestIdInvalid
        | Reason::RequestMissing
        | Reason::RequestOutOfRange
        | Reason::RequestReused
        | Reason::RequestTooOld
        | Reason::ResumeTokenInvalid
        | Reason::RoleMissing
        | Reason::AckPolicyMissing
        | Reason::SessionExpired
        | Reason::SessionMisplaced
        | Reason::TicketInvalid
        | Reason::TokenInvalid
        | Reason::TokenInUse
        | Reason::WrongCluster
        | Reason::WrongNode
        | Reason::WrongPort
        | Reason::Unknown => (
            EXIT_USAGE,
            "run the command with --help to see what it takes",
        ),
    }
}
