//! The names in certificates. They are in no DNS: the connecting machine knows an address from
//! another source, and verifies by the name which node it has reached.

use conclave_core::AuthorityId;
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// Name of any node, for clients that do not know the cluster yet.
pub(crate) const ANY_NODE: &str = conclave_tls::NODES_NAME;
/// Suffix of all names.
pub(crate) const INTERNAL: &str = ".conclave.internal";
/// Name of any peer.
pub(crate) const ANY_PEER: &str = "peers.conclave.internal";
/// Name of any node with the key of the cluster's authority: a machine that wants to join sends its
/// pass to no other node.
pub(crate) const ANY_KEY_HOLDER: &str = "key-holders.conclave.internal";
/// Name of a node that was admitted with the right to become a voter.
const MAY_VOTE: &str = "may-vote.conclave.internal";
/// Maximum number of names of a certificate that are read: a certificate of this cluster has fewer.
const NAMES_MAX: usize = 64;

/// What the certificate of a peer says of it. The authority has signed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PeerNames {
    /// Number of the node.
    pub(crate) node: u64,
    /// Whether the node has the key of the authority: it has signed the certificate itself.
    pub(crate) key_holder: bool,
    /// Whether the node may become a voter without an administrator.
    pub(crate) may_vote: bool,
    /// Number of the member whose place it may take without an administrator; 0 if none.
    pub(crate) takes: u64,
    /// Authority that has signed the certificate. It follows from the connection, and is in no
    /// name; `None` apart from a connection.
    pub(crate) signed_by: Option<AuthorityId>,
}

impl PeerNames {
    /// Returns the names that express this.
    pub(crate) fn to_names(self, cluster_id: &str) -> Vec<String> {
        let mut names = vec![ANY_PEER.to_owned()];
        if self.node != 0 {
            names.push(peer(self.node, cluster_id));
        }
        if self.key_holder {
            names.push(ANY_KEY_HOLDER.to_owned());
        }
        if self.may_vote {
            names.push(MAY_VOTE.to_owned());
        }
        if self.takes != 0 {
            names.push(takes(self.takes));
        }
        names
    }
}

/// Returns the name of a node that was admitted in the place of this one.
fn takes(node: u64) -> String {
    format!("takes-{node}.conclave.internal")
}

/// Returns the name of the nodes of one cluster, for clients.
pub(crate) fn nodes_of(cluster_id: &str) -> String {
    format!("nodes.{cluster_id}.conclave.internal")
}

/// Returns the name of one node, for its peers.
pub(crate) fn peer(node: u64, cluster_id: &str) -> String {
    format!("node-{node}.peer.{cluster_id}.conclave.internal")
}

/// Returns what a certificate says of a node of the cluster; `None` if it is for no node. The
/// caller must have verified the certificate before.
pub(crate) fn peer_in(certificate: &CertificateDer<'_>, cluster_id: &str) -> Option<PeerNames> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let suffix = format!(".peer.{cluster_id}.conclave.internal");
    let mut found = PeerNames::default();
    for name in certificate.valid_dns_names().take(NAMES_MAX) {
        if let Some(node) = number_in(name, "node-", &suffix, |node| peer(node, cluster_id)) {
            found.node = node;
        }
        if let Some(node) = number_in(name, "takes-", INTERNAL, takes) {
            found.takes = node;
        }
        found.key_holder |= name == ANY_KEY_HOLDER;
        found.may_vote |= name == MAY_VOTE;
    }
    (found.node != 0).then_some(found)
}

/// Returns the number between the two, if it is written as `name_of` writes it.
fn number_in(
    name: &str,
    prefix: &str,
    suffix: &str,
    name_of: impl Fn(u64) -> String,
) -> Option<u64> {
    let number = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
    let number = number.parse().ok()?;
    (name_of(number) == name).then_some(number)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        identity::secret::ClusterSecret,
        tls::authority::{Authority, Use, Validity},
    };

    #[test]
    fn a_certificate_names_its_node_and_cluster() {
        let authority = Authority::of(&ClusterSecret::from_bytes(&[7; 32]).unwrap());
        let valid = Validity {
            from: Duration::ZERO,
            until: Duration::from_secs(60),
        };
        let node_in = |name: &str| {
            let names = [ANY_PEER.to_owned(), name.to_owned()];
            let issued = authority.issue(&names, Use::Peer, valid).unwrap();
            peer_in(&issued.cert[0], "c")
        };
        let three = PeerNames {
            node: 3,
            ..PeerNames::default()
        };
        assert_eq!(node_in(&peer(3, "c")), Some(three));
        for other in [
            &peer(3, "d"),
            "node-03.peer.c.conclave.internal",
            "node-x.peer.c.conclave.internal",
            "node-3.peer.c.conclave.internal.example",
            &nodes_of("c"),
        ] {
            assert_eq!(node_in(other), None, "{other}");
        }
        for (key_holder, may_vote, takes) in [(true, false, 0), (false, true, 7), (false, false, 0)]
        {
            let said = PeerNames {
                key_holder,
                may_vote,
                takes,
                ..three
            };
            let issued = authority.issue(&said.to_names("c"), Use::Peer, valid);
            assert_eq!(peer_in(&issued.unwrap().cert[0], "c"), Some(said));
        }
    }
}
