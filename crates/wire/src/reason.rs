//! Reasons of refusals: the one list of them, with the name, the code and the field of each.
//!
//! Always true: a reason has one name in the protocol and one gRPC status code, and
//! `docs/protocol.md` names each of them.

use conclave_core::Rejection;
use conclave_text::Fault;
use tonic::Code;

/// Makes the list from a table: a row has the name in the protocol, the status code and, where a
/// field of the request is to blame, its name.
macro_rules! reasons {
    ($($reason:ident = $name:literal, $code:ident $(, $field:literal)?;)*) => {
        /// The reason why a call did not succeed, for programs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $(#[doc = concat!("`", $name, "` in the protocol.")] $reason,)*
            /// A reason that this version does not know: the node has a newer one.
            Unknown,
        }

        impl Reason {
            /// All that have a name in the protocol.
            pub const ALL: &[Self] = &[$(Self::$reason),*];

            /// Returns the name in the protocol.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$reason => $name,)*
                    Self::Unknown => "UNKNOWN",
                }
            }

            /// Returns the gRPC status code of a refusal for this reason.
            #[must_use]
            pub fn code(self) -> Code {
                match self {
                    $(Self::$reason => Code::$code,)*
                    Self::Unknown => Code::InvalidArgument,
                }
            }

            /// Returns the field of the request that a refusal is about.
            pub(crate) fn field(self) -> Option<&'static str> {
                match self {
                    $($(Self::$reason => Some($field),)?)*
                    _ => None,
                }
            }

            /// Returns the reason with this name.
            #[must_use]
            pub fn named(name: &str) -> Self {
                match name {
                    $($name => Self::$reason,)*
                    _ => Self::Unknown,
                }
            }
        }
    };
}

reasons! {
    AccountLimitInvalid = "ACCOUNT_LIMIT_INVALID", InvalidArgument, "limits";
    AckPolicyMissing = "ACK_POLICY_MISSING", InvalidArgument, "policy";
    AddressInvalid = "ADDRESS_INVALID", InvalidArgument;
    BodyInvalid = "BODY_INVALID", InvalidArgument;
    BodyTooLong = "BODY_TOO_LONG", InvalidArgument;
    CertificatesInvalid = "CERTIFICATES_INVALID", InvalidArgument;
    ChangeMissing = "CHANGE_MISSING", InvalidArgument;
    CharsetInvalid = "CHARSET_INVALID", InvalidArgument;
    CodeInvalid = "CODE_INVALID", InvalidArgument, "code";
    ContentEncodingInvalid = "CONTENT_ENCODING_INVALID", InvalidArgument;
    ContentTypeInvalid = "CONTENT_TYPE_INVALID", InvalidArgument;
    ConversationMissing = "CONVERSATION_MISSING", InvalidArgument, "conversation";
    DeviceInvalid = "DEVICE_INVALID", InvalidArgument;
    RotationInvalid = "ROTATION_INVALID", InvalidArgument;
    ExchangeMissed = "EXCHANGE_MISSED", InvalidArgument;
    HttpVersionInvalid = "HTTP_VERSION_INVALID", InvalidArgument;
    IdempotencyKeyInvalid = "IDEMPOTENCY_KEY_INVALID", InvalidArgument;
    InviteOutOfRange = "INVITE_OUT_OF_RANGE", InvalidArgument;
    JoinTokenOutOfRange = "JOIN_TOKEN_OUT_OF_RANGE", InvalidArgument;
    KeyInvalid = "KEY_INVALID", InvalidArgument;
    LogFilterInvalid = "LOG_FILTER_INVALID", InvalidArgument, "filter";
    LineInvalid = "LINE_INVALID", InvalidArgument;
    ListEmpty = "LIST_EMPTY", InvalidArgument, "messages";
    ListTooLong = "LIST_TOO_LONG", InvalidArgument, "messages";
    MembersUnreachable = "MEMBERS_UNREACHABLE", InvalidArgument;
    MessageMissing = "MESSAGE_MISSING", InvalidArgument, "message";
    MethodNotAllowed = "METHOD_NOT_ALLOWED", InvalidArgument;
    NameCharacter = "NAME_CHARACTER", InvalidArgument, "name";
    NameEmpty = "NAME_EMPTY", InvalidArgument, "name";
    NameTooLong = "NAME_TOO_LONG", InvalidArgument, "name";
    NodeNumberInvalid = "NODE_NUMBER_INVALID", InvalidArgument;
    NodeNumberTooFar = "NODE_NUMBER_TOO_FAR", InvalidArgument;
    NoSuchPath = "NO_SUCH_PATH", InvalidArgument;
    Oneself = "ONESELF", InvalidArgument;
    PageTokenInvalid = "PAGE_TOKEN_INVALID", InvalidArgument, "page_token";
    PasswordCharacter = "PASSWORD_CHARACTER", InvalidArgument, "password";
    PasswordHashInvalid = "PASSWORD_HASH_INVALID", InvalidArgument;
    PasswordTooLong = "PASSWORD_TOO_LONG", InvalidArgument, "password";
    PasswordTooShort = "PASSWORD_TOO_SHORT", InvalidArgument, "password";
    PatternInvalid = "PATTERN_INVALID", InvalidArgument, "pattern";
    QueryInvalid = "QUERY_INVALID", InvalidArgument, "query";
    ReactionInvalid = "REACTION_INVALID", InvalidArgument, "reaction";
    RecipientMissing = "RECIPIENT_MISSING", InvalidArgument, "to";
    RequestIdInvalid = "REQUEST_ID_INVALID", InvalidArgument, "request_id";
    RequestMissing = "REQUEST_MISSING", InvalidArgument, "request";
    RequestOutOfRange = "REQUEST_OUT_OF_RANGE", InvalidArgument, "request.number";
    RequestReused = "REQUEST_REUSED", InvalidArgument, "request.number";
    ResumeTokenInvalid = "RESUME_TOKEN_INVALID", InvalidArgument, "resume_token";
    RetentionOutOfRange = "RETENTION_OUT_OF_RANGE", InvalidArgument, "retention";
    RoleMissing = "ROLE_MISSING", InvalidArgument, "role";
    SessionMisplaced = "SESSION_MISPLACED", InvalidArgument;
    TextEmpty = "TEXT_EMPTY", InvalidArgument, "text";
    TextTooLong = "TEXT_TOO_LONG", InvalidArgument, "text";
    TokenIdInvalid = "TOKEN_ID_INVALID", InvalidArgument;
    TokenInvalid = "TOKEN_INVALID", InvalidArgument, "token";
    NoSuchAccount = "NO_SUCH_ACCOUNT", NotFound;
    NoSuchCheck = "NO_SUCH_CHECK", NotFound;
    NoSuchConversation = "NO_SUCH_CONVERSATION", NotFound;
    NoSuchMessage = "NO_SUCH_MESSAGE", NotFound;
    NoSuchNode = "NO_SUCH_NODE", NotFound;
    NoSuchSession = "NO_SUCH_SESSION", NotFound;
    NoSuchWebhook = "NO_SUCH_WEBHOOK", NotFound;
    AddressTaken = "ADDRESS_TAKEN", AlreadyExists;
    NameAlike = "NAME_ALIKE", AlreadyExists;
    NameTaken = "NAME_TAKEN", AlreadyExists;
    NodeNumberTaken = "NODE_NUMBER_TAKEN", AlreadyExists;
    TokenInUse = "TOKEN_IN_USE", AlreadyExists;
    NotAPeer = "NOT_A_PEER", Unauthenticated;
    SessionExpired = "SESSION_EXPIRED", Unauthenticated;
    WrongCredentials = "WRONG_CREDENTIALS", Unauthenticated;
    AccountSuspended = "ACCOUNT_SUSPENDED", PermissionDenied;
    Blocked = "BLOCKED", PermissionDenied;
    InviteInvalid = "INVITE_INVALID", PermissionDenied;
    JoinRefused = "JOIN_REFUSED", PermissionDenied;
    JoinTokenInvalid = "JOIN_TOKEN_INVALID", PermissionDenied;
    NotAllowed = "NOT_ALLOWED", PermissionDenied;
    NotAnOperator = "NOT_AN_OPERATOR", PermissionDenied;
    NotYourMessage = "NOT_YOUR_MESSAGE", PermissionDenied;
    OriginRefused = "ORIGIN_REFUSED", PermissionDenied;
    PeerRole = "PEER_ROLE", PermissionDenied;
    RegistrationClosed = "REGISTRATION_CLOSED", PermissionDenied;
    SetupTokenInvalid = "SETUP_TOKEN_INVALID", PermissionDenied;
    TicketInvalid = "TICKET_INVALID", PermissionDenied;
    LastOfItsKind = "LAST_OF_ITS_KIND", FailedPrecondition;
    LastOperator = "LAST_OPERATOR", FailedPrecondition;
    LastVoter = "LAST_VOTER", FailedPrecondition;
    LearnerBehind = "LEARNER_BEHIND", FailedPrecondition;
    NodeIsWitness = "NODE_IS_WITNESS", FailedPrecondition;
    TooFewFullNodes = "TOO_FEW_FULL_NODES", FailedPrecondition;
    MemberNotAsked = "MEMBER_NOT_ASKED", FailedPrecondition;
    MessageGone = "MESSAGE_GONE", FailedPrecondition;
    NodeRetired = "NODE_RETIRED", FailedPrecondition;
    NodeSuperseded = "NODE_SUPERSEDED", FailedPrecondition;
    NodeUnreachable = "NODE_UNREACHABLE", FailedPrecondition;
    NotAMember = "NOT_A_MEMBER", FailedPrecondition;
    NotTakenOver = "NOT_TAKEN_OVER", FailedPrecondition;
    NoAuthorityKey = "NO_AUTHORITY_KEY", FailedPrecondition;
    NoStream = "NO_STREAM", FailedPrecondition;
    RecipientGone = "RECIPIENT_GONE", FailedPrecondition;
    RetentionTooLong = "RETENTION_TOO_LONG", FailedPrecondition;
    VersionTooLow = "VERSION_TOO_LOW", FailedPrecondition;
    VersionUnsupported = "VERSION_UNSUPPORTED", FailedPrecondition;
    WouldLoseAuthority = "WOULD_LOSE_AUTHORITY", FailedPrecondition;
    WouldLoseQuorum = "WOULD_LOSE_QUORUM", FailedPrecondition;
    WrongCluster = "WRONG_CLUSTER", FailedPrecondition;
    WrongNode = "WRONG_NODE", FailedPrecondition;
    WrongPort = "WRONG_PORT", FailedPrecondition;
    RequestTooOld = "REQUEST_TOO_OLD", OutOfRange;
    Busy = "BUSY", ResourceExhausted;
    LoginThrottled = "LOGIN_THROTTLED", ResourceExhausted;
    NoSpace = "NO_SPACE", ResourceExhausted;
    QuotaExceeded = "QUOTA_EXCEEDED", ResourceExhausted;
    RateLimited = "RATE_LIMITED", ResourceExhausted;
    RequestTooLong = "REQUEST_TOO_LONG", ResourceExhausted;
    TooMany = "TOO_MANY", ResourceExhausted;
    TooManyAccounts = "TOO_MANY_ACCOUNTS", ResourceExhausted;
    TooManyMembers = "TOO_MANY_MEMBERS", ResourceExhausted;
    TooManyVoters = "TOO_MANY_VOTERS", ResourceExhausted;
    Behind = "BEHIND", Unavailable;
    CutOff = "CUT_OFF", Unavailable;
    GoingAway = "GOING_AWAY", Unavailable;
    NodeBroken = "NODE_BROKEN", Unavailable;
    NoLeader = "NO_LEADER", Unavailable;
    OutcomeUnknown = "OUTCOME_UNKNOWN", DeadlineExceeded;
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl From<&Rejection> for Reason {
    fn from(rejection: &Rejection) -> Self {
        match rejection {
            Rejection::NameEmpty => Self::NameEmpty,
            Rejection::NameTooLong { .. } => Self::NameTooLong,
            Rejection::NameCharacter { .. } => Self::NameCharacter,
            Rejection::NameTaken => Self::NameTaken,
            Rejection::NameAlike => Self::NameAlike,
            Rejection::TooManyAccounts => Self::TooManyAccounts,
            Rejection::PatternInvalid => Self::PatternInvalid,
            Rejection::PasswordHashInvalid => Self::PasswordHashInvalid,
            Rejection::WrongCredentials => Self::WrongCredentials,
            Rejection::LoginThrottled { .. } => Self::LoginThrottled,
            Rejection::AccountSuspended => Self::AccountSuspended,
            Rejection::SessionExpired => Self::SessionExpired,
            Rejection::TokenInUse => Self::TokenInUse,
            Rejection::RequestReused { .. } => Self::RequestReused,
            Rejection::RequestTooOld { .. } => Self::RequestTooOld,
            Rejection::RequestOutOfRange { .. } => Self::RequestOutOfRange,
            Rejection::SessionMisplaced { .. } => Self::SessionMisplaced,
            Rejection::TextEmpty => Self::TextEmpty,
            Rejection::TextTooLong { .. } => Self::TextTooLong,
            Rejection::NoSuchAccount => Self::NoSuchAccount,
            Rejection::RecipientGone => Self::RecipientGone,
            Rejection::NoSuchConversation => Self::NoSuchConversation,
            Rejection::NoSuchMessage { .. } => Self::NoSuchMessage,
            Rejection::NotYourMessage { .. } => Self::NotYourMessage,
            Rejection::LineInvalid { .. } => Self::LineInvalid,
            Rejection::Blocked => Self::Blocked,
            Rejection::Oneself => Self::Oneself,
            Rejection::NotAllowed => Self::NotAllowed,
            Rejection::LastOfItsKind { .. } => Self::LastOfItsKind,
            Rejection::NotAMember => Self::NotAMember,
            Rejection::TooMany { .. } => Self::TooMany,
            Rejection::MessageGone { .. } => Self::MessageGone,
            Rejection::RegistrationClosed => Self::RegistrationClosed,
            Rejection::InviteInvalid => Self::InviteInvalid,
            Rejection::SetupTokenInvalid => Self::SetupTokenInvalid,
            Rejection::NoSuchWebhook => Self::NoSuchWebhook,
            Rejection::NoSuchSession => Self::NoSuchSession,
            Rejection::InviteOutOfRange => Self::InviteOutOfRange,
            Rejection::JoinTokenInvalid => Self::JoinTokenInvalid,
            Rejection::JoinTokenOutOfRange => Self::JoinTokenOutOfRange,
            Rejection::RateLimited { .. } => Self::RateLimited,
            Rejection::QuotaExceeded { .. } => Self::QuotaExceeded,
            Rejection::AccountLimitInvalid { .. } => Self::AccountLimitInvalid,
            Rejection::NotAnOperator => Self::NotAnOperator,
            Rejection::LastOperator => Self::LastOperator,
            Rejection::NoSuchNode { .. } => Self::NoSuchNode,
            Rejection::ListEmpty => Self::ListEmpty,
            Rejection::ListTooLong => Self::ListTooLong,
            Rejection::VersionTooLow { .. } => Self::VersionTooLow,
            Rejection::VersionUnsupported { .. } => Self::VersionUnsupported,
            Rejection::MemberNotAsked { .. } => Self::MemberNotAsked,
            Rejection::RetentionOutOfRange => Self::RetentionOutOfRange,
            Rejection::RetentionTooLong => Self::RetentionTooLong,
        }
    }
}

impl From<Fault> for Reason {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::LineInvalid => Self::LineInvalid,
            Fault::ReactionInvalid => Self::ReactionInvalid,
            Fault::PasswordCharacter => Self::PasswordCharacter,
            Fault::PasswordTooLong => Self::PasswordTooLong,
            Fault::PasswordTooShort => Self::PasswordTooShort,
        }
    }
}
