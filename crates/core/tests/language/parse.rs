//! Parses a line into a command.

use conclave_core::{
    AccessOperation, AccountId, AccountLimit, AccountName, AccountOperation, AccountRole,
    AckPolicy, AdminOperation, AuthorityId, ClusterOperation, ClusterVersion, Command,
    ConversationId, Digest, DisplayName, Grant, InviteId, JoinCredential, JoinTokenId, LoginKeys,
    MemberRole, MessageOperation, NodeId, OnceId, Operation, OperatorName, OperatorRequest, Origin,
    Progress, Reaction, Recipient, RetentionChange, RoomName, RoomOperation, RoomRetention,
    Sequence, SessionId, SessionLabel, ThrottleKey, TokenHash, Topic, WebhookId,
};

use super::{
    Request, World,
    line::{Fault, Line, filled, number, refs, repeated, time, words},
    opens_session,
};

/// Returns the command of a line, or the reason why the line is none.
pub(super) fn request(world: &mut World, line: &str) -> Result<Request, Fault> {
    let words = words(line)?;
    let first = words.first().ok_or("an empty line")?;
    let (origin, words) = if let Some(key) = first.strip_prefix("once:") {
        (Origin::Once(OnceId(filled(key)?)), &words[1..])
    } else if let Some((session, number_word)) = first.split_once('#') {
        let session = session_id(world, session)?;
        let number = number(number_word)?;
        (Origin::Session { session, number }, &words[1..])
    } else {
        world.once_given += 1;
        let key = format!("auto-{}", world.once_given);
        (Origin::Once(OnceId(filled(&key)?)), &words[..])
    };
    let operation = operation(world, &Line(words))?;
    let mut pairs = words.iter().zip(words.iter().skip(1));
    let name = pairs.find(|(word, _)| *word == "as").map(|(_, name)| name);
    let session_name = name.cloned().filter(|_| opens_session(&operation));
    Ok(Request {
        command: Command {
            origin,
            digest: digest(words),
            operation,
        },
        session_name,
    })
}

fn operation(world: &World, line: &Line<'_>) -> Result<Operation, Fault> {
    match line.word(0)? {
        "create" | "login" | "try" | "setup" | "hook-post" | "admit" | "retire" | "rotate"
        | "raise" | "forget" => outside(world, line),
        "send" | "edit" | "react" | "unreact" | "advance" | "delete" => about_messages(line),
        "room-create" | "join" | "leave" | "invite" | "kick" | "topic" | "room-keep" | "role"
        | "webhook" | "webhook-delete" => about_rooms(line),
        "admin" | "suspend" | "reactivate" | "end-sessions" | "reset-password"
        | "remove-account" | "bot" | "invite-make" | "invite-revoke" | "limit" => governing(line),
        "operator-first" | "operator-reset" | "operate" => operating(line),
        _ => of_oneself(world, line),
    }
}

fn outside(world: &World, line: &Line<'_>) -> Result<Operation, Fault> {
    Ok(match line.word(0)? {
        "create" => Operation::Access(AccessOperation::CreateAccount {
            name: line.name(1)?,
            password_hash: line.hash()?,
            grant: grant(world, line.option("grant").unwrap_or("open"))?,
        }),
        "login" => Operation::Access(AccessOperation::OpenSession {
            account: account_id(world, line.word(1)?)?,
            password_version: line.number("version", "1")?,
            token: line.token()?,
            label: SessionLabel::new(line.option("label").unwrap_or_default())?,
            keys: login_keys(line)?,
            renewed_hash: line.option("renewed").map(str::to_owned),
        }),
        "try" => Operation::Access(AccessOperation::TryPassword {
            keys: login_keys(line)?,
        }),
        "setup" => Operation::Access(AccessOperation::OfferSetup {
            token: TokenHash(filled(line.word(1)?)?),
        }),
        "admit" => Operation::Cluster(ClusterOperation::AdmitNode {
            credential: match line.option("token") {
                Some(token) => JoinCredential::Token(TokenHash(filled(token)?)),
                None => JoinCredential::Secret {
                    voter: !line.has("learner"),
                },
            },
            known_last: NodeId(line.number("known", "0")?),
            newest: line.option("newest").map(version).transpose()?,
        }),
        "raise" => Operation::Cluster(ClusterOperation::RaiseVersion {
            to: version(line.word(1)?)?,
            asked: (1..=line.number("asked", "0")?).map(NodeId).collect(),
        }),
        "forget" => Operation::Cluster(ClusterOperation::ForgetMessages {
            conversations: line.0[1..]
                .iter()
                .map(|id| number(id).map(ConversationId))
                .collect::<Result<_, _>>()?,
        }),
        "retire" => Operation::Cluster(ClusterOperation::RetireNode {
            node: NodeId(number(line.word(1)?)?),
        }),
        "rotate" => Operation::Cluster(ClusterOperation::RotateAuthority {
            generation: number(line.word(1)?)?,
            authority: AuthorityId(filled(line.word(2)?)?),
            is_final: line.has("final"),
        }),
        _ => Operation::Access(AccessOperation::PostByWebhook {
            token: line.token()?,
            text: line.text(1)?,
            keyed: true,
        }),
    })
}

fn age(word: &str) -> Result<u64, Fault> {
    Ok(time(word)?.0)
}

fn version(word: &str) -> Result<ClusterVersion, Fault> {
    Ok(ClusterVersion(number(word)?))
}

fn grant(world: &World, word: &str) -> Result<Grant, Fault> {
    Ok(match word.split_once(':').unwrap_or((word, "")) {
        ("open", "") => Grant::Open,
        ("invite", code) => Grant::Invite(TokenHash(filled(code)?)),
        ("setup", token) => Grant::Setup(TokenHash(filled(token)?)),
        ("admin", session) => Grant::Admin(session_id(world, session)?),
        _ => return Err(format!("which grant is {word}?").into()),
    })
}

fn login_keys(line: &Line<'_>) -> Result<LoginKeys, Fault> {
    let name = line.word(1)?.to_ascii_lowercase();
    let address = line.option("from").unwrap_or("home");
    Ok(LoginKeys {
        account: throttle(&name)?,
        address: throttle(address)?,
        pair: throttle(
            &format!("{address}/{name}")
                .chars()
                .take(16)
                .collect::<String>(),
        )?,
        device: line.option("device").map(throttle).transpose()?,
        session: line.option("session").map(throttle).transpose()?,
    })
}

fn throttle(word: &str) -> Result<ThrottleKey, Fault> {
    Ok(ThrottleKey(filled(word)?))
}

fn of_oneself(world: &World, line: &Line<'_>) -> Result<Operation, Fault> {
    Ok(match line.word(0)? {
        "logout" => Operation::Account(AccountOperation::CloseSession),
        "delete-account" => Operation::Account(AccountOperation::DeleteAccount {
            password_version: line.number("version", "1")?,
        }),
        "passwd" => Operation::Account(AccountOperation::ChangePassword {
            password_version: line.number("version", "1")?,
            password_hash: line.hash()?,
        }),
        "display" => Operation::Account(AccountOperation::SetDisplayName {
            display_name: DisplayName::new(repeated(line.word(1)?)?)?,
        }),
        verb @ ("block" | "unblock") => Operation::Account(AccountOperation::SetBlock {
            name: line.name(1)?,
            blocked: verb == "block",
        }),
        "end-session" => Operation::Account(AccountOperation::EndSession {
            session: session_id(world, line.word(1)?)?,
        }),
        other => return Err(format!("there is no verb {other:?}").into()),
    })
}

fn governing(line: &Line<'_>) -> Result<Operation, Fault> {
    Ok(match line.word(0)? {
        "admin" => Operation::Admin(AdminOperation::SetAccountRole {
            name: line.name(1)?,
            role: match line.word(2)? {
                "yes" => AccountRole::Admin,
                "no" => AccountRole::User,
                "bot" => AccountRole::Bot,
                other => return Err(format!("an administrator, {other}?").into()),
            },
        }),
        verb @ ("suspend" | "reactivate") => Operation::Admin(AdminOperation::SetSuspended {
            name: line.name(1)?,
            suspended: verb == "suspend",
        }),
        "end-sessions" => Operation::Admin(AdminOperation::EndSessions {
            name: line.name(1)?,
        }),
        "reset-password" => Operation::Admin(AdminOperation::ResetPassword {
            name: line.name(1)?,
            password_hash: line.hash()?,
        }),
        "remove-account" => Operation::Admin(AdminOperation::RemoveAccount {
            name: line.name(1)?,
        }),
        "bot" => Operation::Admin(AdminOperation::CreateBot {
            name: line.name(1)?,
            token: line.token()?,
        }),
        "invite-make" => Operation::Admin(AdminOperation::CreateInvite {
            code: TokenHash(filled(line.word(1)?)?),
            ttl_ms: time(line.option("ttl").unwrap_or("1h"))?.0,
            uses: line.number("uses", "1")?,
        }),
        "limit" => Operation::Admin(AdminOperation::SetAccountLimits {
            values: vec![(
                AccountLimit::named(line.word(1)?).ok_or("there is no such limit")?,
                number(line.word(2)?)?,
            )],
        }),
        _ => Operation::Admin(AdminOperation::RevokeInvite {
            invite: InviteId(number(line.word(1)?)?),
        }),
    })
}

fn operating(line: &Line<'_>) -> Result<Operation, Fault> {
    let hash = |at| Ok::<_, Fault>(TokenHash(filled(line.word(at)?)?));
    let request = match line.word(0)? {
        "operator-first" => {
            return Ok(Operation::Cluster(ClusterOperation::MakeFirstOperator {
                token: hash(1)?,
            }));
        }
        "operator-reset" => {
            return Ok(Operation::Cluster(ClusterOperation::ResetOperators {
                token: hash(1)?,
            }));
        }
        _ => match line.word(2)? {
            "token-make" => OperatorRequest::CreateJoinToken {
                token: hash(3)?,
                ttl_ms: time(line.option("ttl").unwrap_or("1h"))?.0,
                voter: !line.has("learner"),
            },
            "token-revoke" => OperatorRequest::RevokeJoinToken {
                id: JoinTokenId::of(&hash(3)?),
            },
            "prefer" => OperatorRequest::PreferLeader {
                node: match line.word(3)? {
                    "none" => None,
                    node => Some(NodeId(number(node)?)),
                },
            },
            "ack" => OperatorRequest::SetAckPolicy {
                policy: match line.word(3)? {
                    "all" => AckPolicy::All,
                    "majority" => AckPolicy::Majority,
                    other => return Err(format!("no policy {other}").into()),
                },
            },
            "keep" => OperatorRequest::SetRetention {
                change: RetentionChange {
                    age_ms: line.option("age").map(age).transpose()?,
                    messages: line.option("messages").map(number).transpose()?,
                    rooms_may_exceed: line.option("rooms").map(|may| may == "longer"),
                    total_messages: line.option("total").map(number).transpose()?,
                },
            },
            "add" => OperatorRequest::CreateOperator {
                name: OperatorName::new(line.word(3)?)?,
                token: hash(4)?,
            },
            "revoke" => OperatorRequest::RevokeOperator {
                name: OperatorName::new(line.word(3)?)?,
            },
            other => return Err(format!("operators do not {other}").into()),
        },
    };
    let credential = hash(1)?;
    Ok(Operation::Cluster(ClusterOperation::ByOperator {
        credential,
        request,
    }))
}

fn about_rooms(line: &Line<'_>) -> Result<Operation, Fault> {
    if line.word(0)? == "webhook-delete" {
        let webhook = WebhookId(number(line.word(1)?)?);
        return Ok(Operation::Room(RoomOperation::DeleteWebhook { webhook }));
    }
    let name = line.room(1)?;
    Ok(match line.word(0)? {
        "room-create" => Operation::Room(RoomOperation::CreateRoom {
            name,
            topic: Topic::new(line.option("topic").unwrap_or_default())?,
            public: !line.has("private"),
        }),
        "join" => Operation::Room(RoomOperation::JoinRoom { name }),
        "leave" => Operation::Room(RoomOperation::LeaveRoom { name }),
        "invite" => Operation::Room(RoomOperation::InviteToRoom {
            name,
            account: line.name(2)?,
        }),
        "kick" => Operation::Room(RoomOperation::KickFromRoom {
            name,
            account: line.name(2)?,
        }),
        "topic" => Operation::Room(RoomOperation::SetTopic {
            name,
            topic: Topic::new(repeated(line.word(2)?)?)?,
        }),
        "room-keep" => Operation::Room(RoomOperation::SetRoomRetention {
            name,
            retention: RoomRetention {
                age_ms: line.option("age").map(age).transpose()?,
                messages: line.option("messages").map(number).transpose()?,
            },
        }),
        "role" => Operation::Room(RoomOperation::SetMemberRole {
            name,
            account: line.name(2)?,
            role: match line.word(3)? {
                "member" => MemberRole::Member,
                "moderator" => MemberRole::Moderator,
                "owner" => MemberRole::Owner,
                other => return Err(format!("which role is {other}?").into()),
            },
        }),
        _ => Operation::Room(RoomOperation::CreateWebhook {
            name,
            account: line.name(2)?,
            token: line.token()?,
        }),
    })
}

fn about_messages(line: &Line<'_>) -> Result<Operation, Fault> {
    Ok(match line.word(0)? {
        "send" => Operation::Message(MessageOperation::SendMessage {
            to: recipient(line.word(1)?)?,
            text: line.text(2)?,
            reply_to: match line.option("reply") {
                Some(sequence) => Some(Sequence(number(sequence)?)),
                None => None,
            },
            action: line.has("action"),
        }),
        "edit" => Operation::Message(MessageOperation::EditMessage {
            message: line.message(1)?,
            text: line.text(2)?,
        }),
        verb @ ("react" | "unreact") => Operation::Message(MessageOperation::SetReaction {
            message: line.message(1)?,
            reaction: Reaction::new(repeated(line.word(2)?)?)?,
            present: verb == "react",
        }),
        "advance" => {
            let each = line.0[1..].split(|word| word == "and");
            let positions = each.map(|words| position(&Line(words)));
            Operation::Message(MessageOperation::AdvancePositions {
                positions: positions.collect::<Result<_, Fault>>()?,
            })
        }
        _ => {
            let (scope, items) = line.0[1..]
                .split_last()
                .ok_or("delete for which members?")?;
            let for_everyone = match scope.as_str() {
                "everyone" => true,
                "me" => false,
                other => return Err(format!("delete for {other:?}?").into()),
            };
            let lists: Result<Vec<_>, String> = items.iter().map(|item| refs(item)).collect();
            Operation::Message(MessageOperation::DeleteMessages {
                messages: lists?.concat(),
                for_everyone,
            })
        }
    })
}

/// Returns the recipient: `#lobby` is a room, `conversation:1` a conversation, anything else a
/// person.
fn recipient(word: &str) -> Result<Recipient, Fault> {
    if let Some(id) = word.strip_prefix("conversation:") {
        return Ok(Recipient::Conversation(ConversationId(number(id)?)));
    }
    Ok(match word.strip_prefix('#') {
        Some(room) => Recipient::Room(RoomName::new(room)?),
        None => Recipient::Account(AccountName::new(word)?),
    })
}

fn position(line: &Line<'_>) -> Result<(ConversationId, Progress), Fault> {
    let progress = Progress {
        delivered: Sequence(line.number("delivered", "0")?),
        read: Sequence(line.number("read", "0")?),
    };
    Ok((ConversationId(number(line.word(0)?)?), progress))
}

fn account_id(world: &World, word: &str) -> Result<AccountId, String> {
    if let Some(id) = word.strip_prefix("account:") {
        return Ok(AccountId(number(id)?));
    }
    let known = world.accounts.get(&word.to_ascii_lowercase()).copied();
    known.ok_or(format!("no account was ever called {word}"))
}

fn session_id(world: &World, word: &str) -> Result<SessionId, String> {
    if let Some(id) = word.strip_prefix("session:") {
        return Ok(SessionId(number(id)?));
    }
    let known = world.sessions.get(word).copied();
    known.ok_or(format!("no session is called {word}"))
}

/// Returns the FNV-1a digest of everything but the origin: the same request has the same digest.
fn digest(words: &[String]) -> Digest {
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    Digest(words.join(" ").bytes().fold(0xcbf2_9ce4_8422_2325, step))
}
