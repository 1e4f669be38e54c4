//! Commands outside a session. The cluster recognises them by an id of their own.

use std::net::IpAddr;

use blake3::Hasher;
use conclave_core::{
    AccessOperation, AccountId, AccountName, ActNote, AuthorityId, ClusterOperation,
    ClusterVersion, Command, ConversationId, Digest, Grant, JoinCredential, LoginKeys, MessageText,
    NodeId, OnceId, Operation, Origin, SessionId, SessionLabel, ThrottleKey, TokenHash,
};

use super::digest;

/// Kind of a request that creates an account, in its digest.
const CREATE_ACCOUNT: &str = "create_account";

fn once(id: OnceId, kind: &str, parts: &[&[u8]], operation: Operation) -> Command {
    Command {
        origin: Origin::Once(id),
        digest: digest(0, kind, parts),
        operation,
    }
}

/// Returns a command that creates an account. The digest leaves the password out: a fast hash of it
/// must not be stored.
#[must_use]
pub fn create_account(
    id: OnceId,
    name: AccountName,
    password_hash: String,
    grant: Grant,
) -> Command {
    let parts = account_parts(&name, &grant);
    let operation = Operation::Access(AccessOperation::CreateAccount {
        name,
        password_hash,
        grant,
    });
    once(
        id,
        CREATE_ACCOUNT,
        &parts.each_ref().map(|part| &part[..]),
        operation,
    )
}

/// Returns the digest of a command that creates an account.
#[must_use]
pub fn create_account_digest(name: &AccountName, grant: &Grant) -> Digest {
    let parts = account_parts(name, grant);
    digest(0, CREATE_ACCOUNT, &parts.each_ref().map(|part| &part[..]))
}

fn account_parts(name: &AccountName, grant: &Grant) -> [Vec<u8>; 3] {
    let (kind, shown) = match grant {
        Grant::Open => (0, Vec::new()),
        Grant::Invite(code) => (1, code.0.to_vec()),
        Grant::Setup(token) => (2, token.0.to_vec()),
        Grant::Admin(session) => (3, session.0.to_le_bytes().to_vec()),
    };
    [name.key().into_bytes(), vec![kind], shown]
}

/// Returns a command that opens a session for an account whose password was verified. The keys are
/// those under which the attempt was counted.
#[must_use]
pub fn open_session(
    id: OnceId,
    account: AccountId,
    password_version: u64,
    token: TokenHash,
    label: SessionLabel,
    keys: LoginKeys,
    renewed_hash: Option<String>,
) -> Command {
    let number = account.0.to_le_bytes();
    let operation = Operation::Access(AccessOperation::OpenSession {
        account,
        password_version,
        token,
        label,
        keys,
        renewed_hash,
    });
    once(id, "open_session", &[&number, &token.0], operation)
}

/// Returns a command that counts an attempt with a password before it is verified.
#[must_use]
pub fn try_password(id: OnceId, keys: LoginKeys) -> Command {
    let parts = [&keys.account.0[..], &keys.address.0];
    once(
        id,
        "try_password",
        &parts,
        Operation::Access(AccessOperation::TryPassword { keys }),
    )
}

/// Returns a command that offers the role of an administrator to the person who shows a token.
#[must_use]
pub fn offer_setup(id: OnceId, token: TokenHash) -> Command {
    let operation = Operation::Access(AccessOperation::OfferSetup { token });
    once(id, "offer_setup", &[&token.0], operation)
}

/// Returns a command that gives a machine its number. A retry may know of more nodes than the first
/// attempt did, or say its `newest` version only then: it is the same request all the same. With
/// another key it is another request.
#[must_use]
pub fn admit_node(
    id: OnceId,
    credential: JoinCredential,
    known_last: NodeId,
    newest: Option<ClusterVersion>,
    public_key: &[u8],
) -> Command {
    let shown = match credential {
        JoinCredential::Token(token) => token.0.to_vec(),
        JoinCredential::Secret { voter } => vec![u8::from(voter)],
    };
    let operation = Operation::Cluster(ClusterOperation::AdmitNode {
        credential,
        known_last,
        newest,
    });
    once(id, "admit_node", &[&shown, public_key], operation)
}

/// Returns a command that retires the number of a node.
#[must_use]
pub fn retire_node(id: OnceId, node: NodeId) -> Command {
    let number = node.0.to_le_bytes();
    let operation = Operation::Cluster(ClusterOperation::RetireNode { node });
    once(id, "retire_node", &[&number], operation)
}

/// Returns a command that raises the cluster version, naming the members that can apply it.
#[must_use]
pub fn raise_version(id: OnceId, to: ClusterVersion, asked: Vec<NodeId>) -> Command {
    let number = to.0.to_le_bytes();
    let operation = Operation::Cluster(ClusterOperation::RaiseVersion { to, asked });
    once(id, "raise_version", &[&number], operation)
}

/// Returns a command that forgets what is due of these conversations; of none: the oldest of all.
#[must_use]
pub fn forget_messages(id: OnceId, conversations: Vec<ConversationId>) -> Command {
    let numbers: Vec<u8> = conversations
        .iter()
        .flat_map(|id| id.0.to_le_bytes())
        .collect();
    let operation = Operation::Cluster(ClusterOperation::ForgetMessages { conversations });
    once(id, "forget_messages", &[&numbers], operation)
}

/// Returns a command that records an act that the log does not carry out: of the operator with this
/// credential, or of the node itself.
#[must_use]
pub fn note_act(id: OnceId, by: Option<TokenHash>, note: ActNote) -> Command {
    let shown = by.map_or_else(Vec::new, |by| by.0.to_vec());
    let node = note.node.0.to_le_bytes();
    let texts = [&note.act, &note.target, &note.detail, &note.refusal];
    let texts = texts.map(|text| text.as_str().as_bytes());
    let parts = [&[&shown[..], &node], &texts[..]].concat();
    let digest = digest(0, "note_act", &parts);
    let operation = Operation::Cluster(ClusterOperation::NoteAct { by, note });
    Command {
        origin: Origin::Once(id),
        digest,
        operation,
    }
}

/// Returns a command that announces another authority of the peers, or puts it in the place of the
/// one before.
#[must_use]
pub fn rotate_authority(
    id: OnceId,
    generation: u64,
    authority: AuthorityId,
    is_final: bool,
) -> Command {
    let (number, last) = (generation.to_le_bytes(), [u8::from(is_final)]);
    let operation = Operation::Cluster(ClusterOperation::RotateAuthority {
        generation,
        authority,
        is_final,
    });
    let parts = [&number[..], &authority.0, &last];
    once(id, "rotate_authority", &parts, operation)
}

/// Makes the command that posts a message through a webhook. `keyed`: the id follows from an
/// idempotency key, so a program may ask again much later. `received` is what the program has
/// sent: its body, and the headers that say what the body means.
///
/// The digest is of what was received and not of the text: two bodies may make one text, and
/// another version of the server may make another text of one body.
#[must_use]
pub fn post_by_webhook(
    id: OnceId,
    token: TokenHash,
    text: MessageText,
    received: &[&[u8]],
    keyed: bool,
) -> Command {
    let parts = [&[&token.0[..]], received].concat();
    let operation = Operation::Access(AccessOperation::PostByWebhook { token, text, keyed });
    once(id, "post_by_webhook", &parts, operation)
}

/// Returns the name of a webhook's request that carries an idempotency key: the same for the same
/// key at the same address, on every node.
#[must_use]
pub fn once_of_webhook(token: &TokenHash, idempotency_key: &str) -> OnceId {
    let key = [&token.0[..], idempotency_key.as_bytes()];
    OnceId(derived("conclave webhook request", &key))
}

/// Returns the key under which failed log-ins with a name are counted. `name_key` is the name in
/// lower case.
#[must_use]
pub fn throttle_key_of_account(name_key: &str) -> ThrottleKey {
    ThrottleKey(derived(
        "conclave throttled account",
        &[name_key.as_bytes()],
    ))
}

/// Returns the key under which failed log-ins from an address are counted. An attacker with an IPv6
/// address has 2^64 of them, so the network counts.
#[must_use]
pub fn throttle_key_of_address(address: IpAddr) -> ThrottleKey {
    let bytes = match address.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets()[..8].to_vec(),
    };
    ThrottleKey(derived("conclave throttled address", &[&bytes]))
}

/// Returns the key under which attempts on an account from one address are counted.
#[must_use]
pub fn throttle_key_of_pair(account: ThrottleKey, address: ThrottleKey) -> ThrottleKey {
    let parts = [&account.0[..], &address.0];
    ThrottleKey(derived("conclave throttled account and address", &parts))
}

/// Returns the key under which attempts on an account from a device are counted that shows this
/// secret.
#[must_use]
pub fn throttle_key_of_device(account: ThrottleKey, secret: &[u8]) -> ThrottleKey {
    let parts = [&account.0[..], secret];
    ThrottleKey(derived("conclave throttled device", &parts))
}

/// Returns the key under which passwords are counted that are asked for again in a session.
#[must_use]
pub fn throttle_key_of_session(session: SessionId) -> ThrottleKey {
    let number = session.0.to_le_bytes();
    ThrottleKey(derived("conclave throttled session", &[&number]))
}

/// Derives 128 bits from parts, which carry their length. A context keeps its bits apart from those
/// of all others.
fn derived(context: &str, parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let hash = hasher.finalize();
    let (first, _) = hash
        .as_bytes()
        .split_first_chunk()
        .expect("a hash has 32 bytes");
    *first
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn addresses_of_one_ipv6_network_share_a_throttle_key() {
        let key = |address: &str| throttle_key_of_address(address.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    }

    #[test]
    fn an_idempotency_key_is_valid_only_at_its_webhook() {
        let (a, b) = (TokenHash([1; 32]), TokenHash([2; 32]));
        assert_eq!(once_of_webhook(&a, "k"), once_of_webhook(&a, "k"));
        assert_ne!(once_of_webhook(&a, "k"), once_of_webhook(&b, "k"));
        assert_ne!(once_of_webhook(&a, "k"), once_of_webhook(&a, "l"));
    }

    #[test]
    fn another_grant_makes_another_request() {
        let asked = |grant, hash: &str| {
            let name = AccountName::new("bob").unwrap();
            create_account(OnceId([1; 16]), name, hash.to_owned(), grant)
        };
        let grants = [
            Grant::Open,
            Grant::Invite(TokenHash([1; 32])),
            Grant::Invite(TokenHash([2; 32])),
            Grant::Setup(TokenHash([1; 32])),
            Grant::Admin(SessionId(1)),
            Grant::Admin(SessionId(2)),
        ];
        let digests: BTreeSet<_> = grants.map(|grant| asked(grant, "$a").digest).into();
        assert_eq!(digests.len(), grants.len());
        // The hash is salted: each attempt has another one.
        let again = asked(Grant::Open, "$b").digest;
        assert_eq!(again, asked(Grant::Open, "$a").digest);
    }

    #[test]
    fn a_changed_secret_or_text_changes_the_request_digest() {
        let (id, a, b) = (OnceId([1; 16]), TokenHash([1; 32]), TokenHash([2; 32]));
        let text = |text: &str| MessageText::new(text).unwrap();
        let posted =
            |hook, received: &[&[u8]]| post_by_webhook(id, hook, text("hi"), received, true);
        let key = |byte| ThrottleKey([byte; 16]);
        let tried = |account, address| {
            let keys = LoginKeys {
                account: key(account),
                address: key(address),
                ..LoginKeys::default()
            };
            try_password(id, keys)
        };
        let open = |account, token, version| {
            let label = SessionLabel::default();
            let keys = LoginKeys::default();
            open_session(id, AccountId(account), version, token, label, keys, None)
        };
        let commands = [
            offer_setup(id, a),
            offer_setup(id, b),
            posted(a, &[b"hi", b""]),
            posted(a, &[b"ho", b""]),
            posted(a, &[b"hi", b"push"]),
            posted(b, &[b"hi", b""]),
            tried(1, 2),
            tried(2, 1),
            open(1, a, 1),
            open(1, b, 1),
            open(2, a, 1),
        ];
        let digests: BTreeSet<_> = commands.iter().map(|command| command.digest).collect();
        assert_eq!(digests.len(), commands.len());
        assert!(
            commands
                .iter()
                .all(|command| command.origin == Origin::Once(id))
        );
        // Another version makes another text of the same body.
        let (body, retold) = ([&b"hi"[..], b""], text("hi!"));
        assert_eq!(
            post_by_webhook(id, a, retold, &body, true).digest,
            posted(a, &body).digest
        );
        // A password that was changed in between makes a retry no other request.
        assert_eq!(open(1, a, 2).digest, open(1, a, 1).digest);
    }
}
