//! The acts that the audit log records: one list of words, and the note of an act outside the log.
//!
//! Always true: a word that a release has had keeps its meaning; a text of a record is short and
//! harmless.

use crate::{NodeId, limits::AUDIT_TEXT_BYTES_MAX};

/// Makes the list of acts from a table: a row has the words for people and the act in the log.
macro_rules! acts {
    ($($(#[$doc:meta])* $act:ident = $word:literal;)*) => {
        /// An act that the audit log records. A word that a release has had keeps its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum AuditAct {
            $($(#[$doc])* $act,)*
        }

        impl AuditAct {
            /// All acts.
            pub const ALL: &[Self] = &[$(Self::$act),*];

            /// Returns the word of the act, as it is stored and shown.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$act => $word,)*
                }
            }
        }
    };
}

acts! {
    /// An account was created by an administrator.
    CreateAccount = "create_account";
    /// The first administrator was created, with the setup token.
    CreateFirstAdmin = "create_first_admin";
    /// The role of an account was set.
    SetAccountRole = "set_account_role";
    /// An account was suspended.
    SuspendAccount = "suspend_account";
    /// An account was reactivated.
    ReactivateAccount = "reactivate_account";
    /// All sessions of an account were ended.
    EndSessions = "end_sessions";
    /// An account got another password.
    ResetPassword = "reset_password";
    /// An account was deleted by an administrator.
    RemoveAccount = "remove_account";
    /// An account for a program was created.
    CreateBot = "create_bot";
    /// An invite was created.
    CreateInvite = "create_invite";
    /// An invite was revoked.
    RevokeInvite = "revoke_invite";
    /// Limits of accounts were set.
    SetAccountLimits = "set_account_limits";
    /// A webhook was created by an administrator.
    CreateWebhook = "create_webhook";
    /// A webhook was deleted by an administrator.
    DeleteWebhook = "delete_webhook";
    /// An administrator set what a room keeps.
    SetRoomRetention = "set_room_retention";
    /// What the cluster keeps was set.
    SetRetention = "set_retention";
    /// The voters that acknowledgements wait for were set.
    SetAckPolicy = "set_ack_policy";
    /// The preferred leader was set.
    PreferLeader = "prefer_leader";
    /// A join token was created.
    CreateJoinToken = "create_join_token";
    /// A join token was revoked.
    RevokeJoinToken = "revoke_join_token";
    /// A machine was given a number, with a join token or the cluster's secret.
    AdmitNode = "admit_node";
    /// The number of a node was retired by a command.
    RetireNode = "retire_node";
    /// A node became a member, as the entry of the membership says.
    AddMember = "add_member";
    /// A node is no member any more, as the entry of the membership says.
    RemoveMember = "remove_member";
    /// An operator was added.
    CreateOperator = "create_operator";
    /// An operator was removed.
    RevokeOperator = "revoke_operator";
    /// The cluster got its first operator.
    CreateFirstOperator = "create_first_operator";
    /// All operators were replaced by one.
    ResetOperators = "reset_operators";
    /// The cluster version was raised.
    RaiseVersion = "raise_version";
    /// The key of the authority that nodes trust was rotated, one step of two.
    RotateAuthority = "rotate_authority";
    /// Noted: an operator changed the members.
    ChangeMembers = "change_members";
    /// Noted: an operator transferred leadership.
    TransferLeader = "transfer_leader";
    /// Noted: an operator began to drain a node.
    DrainNode = "drain_node";
    /// Noted: an operator ended that.
    UndrainNode = "undrain_node";
    /// Noted: an operator began a rotation of the secret.
    RotateSecret = "rotate_secret";
    /// Noted: an operator raised the cluster version.
    FinalizeUpgrade = "finalize_upgrade";
    /// Noted: an operator changed what a node logs.
    ChangeLogFilter = "change_log_filter";
    /// Noted: an operator began a check of the cluster.
    CheckCluster = "check_cluster";
    /// Noted: an operator took a backup.
    TakeBackup = "take_backup";
    /// Noted: a node made backups by itself, as its settings say.
    ScheduledBackup = "scheduled_backup";
    /// Noted: the cluster was made of a backup.
    Restore = "restore";
    /// Noted: the cluster was made of an export.
    Import = "import";
    /// Noted: a survivor was recovered as a cluster of its own.
    Recover = "recover";
}

/// A short text of a record: at most [`AUDIT_TEXT_BYTES_MAX`] bytes, without control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditText(String);

impl AuditText {
    /// Takes a text as far as it fits; control characters are left out.
    #[must_use]
    pub fn cut(text: &str) -> Self {
        let is_kept = |c: &char| !matches!(c, '\0'..='\x1f' | '\x7f'..='\u{9f}');
        let mut kept = String::new();
        for character in text.chars().filter(is_kept) {
            if kept.len() + character.len_utf8() > AUDIT_TEXT_BYTES_MAX {
                break;
            }
            kept.push(character);
        }
        Self(kept)
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An act outside the log, as the node says that carried it out or refused it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActNote {
    /// The node that says so.
    pub node: NodeId,
    /// Word of the act. An act that a later build adds needs no other cluster version.
    pub act: AuditText,
    /// What the act is about.
    pub target: AuditText,
    /// How it was done.
    pub detail: AuditText,
    /// Reason of the refusal; empty if the act was carried out.
    pub refusal: AuditText,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_act_has_a_word_of_its_own_that_fits() {
        let words: BTreeSet<&str> = AuditAct::ALL.iter().map(|act| act.word()).collect();
        assert_eq!(words.len(), AuditAct::ALL.len());
        for word in words {
            let is_snake = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(!word.is_empty() && word.chars().all(is_snake), "{word}");
            assert_eq!(AuditText::cut(word).as_str(), word);
        }
    }

    #[test]
    fn a_text_is_cut_between_characters_and_has_no_controls() {
        let cut = |text: &str| AuditText::cut(text).as_str().to_owned();
        assert_eq!(cut("node 3"), "node 3");
        assert_eq!(cut("a\x1b[31m\nb\u{85}"), "a[31mb");
        let long = "é".repeat(AUDIT_TEXT_BYTES_MAX);
        assert_eq!(cut(&long).len(), AUDIT_TEXT_BYTES_MAX);
        assert_eq!(cut(&format!("a{long}")).len(), AUDIT_TEXT_BYTES_MAX - 1);
    }
}
