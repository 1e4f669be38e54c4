//! The names that stand in certificates. They are in no DNS: who connects knows an address from
//! elsewhere, and checks with the name whom it has reached.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// Any node, for clients, which do not know the cluster before.
pub(crate) const ANY_NODE: &str = conclave_wire::trust::NODES_NAME;
/// What all of them end with.
pub(crate) const INTERNAL: &str = ".conclave.internal";
/// Any peer.
pub(crate) const ANY_PEER: &str = "peers.conclave.internal";
/// Any node that has the key of the cluster's authority: machines that want to join show their
/// pass to no other.
pub(crate) const ANY_KEEPER: &str = "keepers.conclave.internal";
/// A node that was admitted with the right to become a voter.
const MAY_VOTE: &str = "may-vote.conclave.internal";
/// Names of a certificate that are looked at: one of this cluster has fewer.
const NAMES_MAX: usize = 64;

/// What the certificate of a peer says of it. The authority has signed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PeerNames {
    /// Its number.
    pub(crate) node: u64,
    /// Whether it has the key of the authority: it has signed the certificate itself.
    pub(crate) keeper: bool,
    /// Whether it may become a voter without an administrator.
    pub(crate) may_vote: bool,
    /// The member whose place it may take without an administrator; 0 if none.
    pub(crate) takes: u64,
    /// Which authority has signed it: how often the secret had been exchanged. It follows from
    /// the connection, and stands in no name.
    pub(crate) generation: u64,
}

impl PeerNames {
    /// Returns the names that say so.
    pub(crate) fn to_names(self, cluster_id: &str) -> Vec<String> {
        let mut names = vec![ANY_PEER.to_owned()];
        if self.node != 0 {
            names.push(peer(self.node, cluster_id));
        }
        if self.keeper {
            names.push(ANY_KEEPER.to_owned());
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

/// A node that was admitted in the place of this one.
fn takes(node: u64) -> String {
    format!("takes-{node}.conclave.internal")
}

/// The nodes of one cluster, for clients.
pub(crate) fn nodes_of(cluster_id: &str) -> String {
    format!("nodes.{cluster_id}.conclave.internal")
}

/// One node, for its peers.
pub(crate) fn peer(node: u64, cluster_id: &str) -> String {
    format!("node-{node}.peer.{cluster_id}.conclave.internal")
}

/// Returns for which node of the cluster a certificate is; `None` if for none. Whether it is to be
/// believed must have been checked before.
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
        found.keeper |= name == ANY_KEEPER;
        found.may_vote |= name == MAY_VOTE;
    }
    (found.node != 0).then_some(found)
}

/// The number between the two, if it is written as `name_of` writes it.
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
    fn a_certificate_says_which_node_of_which_cluster_it_is_for() {
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
        for (keeper, may_vote, takes) in [(true, false, 0), (false, true, 7), (false, false, 0)] {
            let said = PeerNames {
                keeper,
                may_vote,
                takes,
                ..three
            };
            let issued = authority.issue(&said.to_names("c"), Use::Peer, valid);
            assert_eq!(peer_in(&issued.unwrap().cert[0], "c"), Some(said));
        }
    }
}
