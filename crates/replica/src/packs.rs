//! Cuts what waits into entries of bounded size.

use conclave_core::{
    AccessOperation, AccountOperation, AdminOperation, ClusterOperation, Command, MessageOperation,
    Operation,
    limits::{AUDIT_TEXT_BYTES_MAX, BATCH_BYTES_MAX, BATCH_COMMANDS_MAX},
};

/// Bytes of a command besides its texts: an upper estimate that needs no encoding.
const COMMAND_BYTES: usize = 128;
/// Bytes of the names and lines of a command that has no long text: two names, a hash, a topic.
const SHORT_BYTES_MAX: usize = 512;

/// Cuts a list into parts of at most [`BATCH_COMMANDS_MAX`] and [`BATCH_BYTES_MAX`], by the number
/// of commands and of bytes of each item.
pub(crate) fn cut<T>(
    items: impl IntoIterator<Item = T>,
    size: impl Fn(&T) -> (usize, usize),
) -> Vec<Vec<T>> {
    let items = items.into_iter();
    let mut parts = Vec::with_capacity(1);
    let mut part = Vec::with_capacity(items.size_hint().0);
    let (mut commands, mut bytes) = (0, 0);
    for item in items {
        let (count, more) = size(&item);
        let is_full = commands + count > BATCH_COMMANDS_MAX || bytes + more > BATCH_BYTES_MAX;
        if is_full && !part.is_empty() {
            parts.push(std::mem::take(&mut part));
            (commands, bytes) = (0, 0);
        }
        commands += count;
        bytes += more;
        part.push(item);
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

/// Returns an upper estimate of the bytes of a command in an entry.
pub(crate) fn bytes_of(command: &Command) -> usize {
    COMMAND_BYTES
        + match &command.operation {
            Operation::Message(MessageOperation::SendMessage { text, .. })
            | Operation::Message(MessageOperation::EditMessage { text, .. })
            | Operation::Access(AccessOperation::PostByWebhook { text, .. }) => text.as_str().len(),
            Operation::Access(AccessOperation::CreateAccount { password_hash, .. })
            | Operation::Admin(AdminOperation::ResetPassword { password_hash, .. })
            | Operation::Access(AccessOperation::OpenSession {
                renewed_hash: Some(password_hash),
                ..
            })
            | Operation::Account(AccountOperation::ChangePassword { password_hash, .. }) => {
                SHORT_BYTES_MAX + password_hash.len()
            }
            // Numbers of at most ten bytes each.
            Operation::Message(MessageOperation::DeleteMessages { messages, .. }) => {
                20 * messages.len()
            }
            Operation::Message(MessageOperation::AdvancePositions { positions }) => {
                30 * positions.len()
            }
            Operation::Cluster(ClusterOperation::RaiseVersion { asked, .. }) => 10 * asked.len(),
            Operation::Cluster(ClusterOperation::ForgetMessages { conversations }) => {
                10 * conversations.len()
            }
            Operation::Cluster(ClusterOperation::NoteAct { .. }) => 4 * AUDIT_TEXT_BYTES_MAX,
            // Names, hashes and lines, which all have small bounds.
            _ => SHORT_BYTES_MAX,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_stay_whole_and_entries_within_their_bounds() {
        let group = |commands, bytes| (commands, bytes);
        let size = |group: &(usize, usize)| *group;
        let max = BATCH_COMMANDS_MAX;
        let groups = [
            group(max - 10, 100),
            group(10, 100),
            // One command too many.
            group(1, 100),
            group(1, BATCH_BYTES_MAX - 100),
            // One byte too many.
            group(1, 1),
            // Longer than an entry by itself: it has one for itself.
            group(1, 2 * BATCH_BYTES_MAX),
            group(1, 1),
        ];
        let entries = cut(groups, size);
        let lengths: Vec<usize> = entries.iter().map(Vec::len).collect();
        assert_eq!(lengths, [2, 2, 1, 1, 1]);
        assert_eq!(entries.concat(), groups);
        assert!(cut([], size).is_empty());
    }
}
