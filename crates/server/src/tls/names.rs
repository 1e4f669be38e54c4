//! The names that stand in certificates. They are in no DNS: who connects knows an address from
//! elsewhere, and checks with the name whom it has reached.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// Any node, for clients, which do not know the cluster before.
pub(crate) const ANY_NODE: &str = conclave_wire::trust::NODES_NAME;
/// What all of them end with.
pub(crate) const INTERNAL: &str = ".conclave.internal";
/// Any peer, for machines that do not belong to the cluster yet.
pub(crate) const ANY_PEER: &str = "peers.conclave.internal";

/// The nodes of one cluster, for clients.
pub(crate) fn nodes_of(cluster_id: &str) -> String {
    format!("nodes.{cluster_id}.conclave.internal")
}

/// One node, for its peers.
pub(crate) fn peer(node: u64, cluster_id: &str) -> String {
    format!("node-{node}.peer.{cluster_id}.conclave.internal")
}

/// For which node of the cluster a certificate is; `None` if for none. Whether it is to be
/// believed must have been checked before.
pub(crate) fn peer_in(certificate: &CertificateDer<'_>, cluster_id: &str) -> Option<u64> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let suffix = format!(".peer.{cluster_id}.conclave.internal");
    certificate.valid_dns_names().find_map(|name| {
        let node = name.strip_prefix("node-")?.strip_suffix(&suffix)?;
        node.parse()
            .ok()
            .filter(|node| peer(*node, cluster_id) == name)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        secret::ClusterSecret,
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
        assert_eq!(node_in(&peer(3, "c")), Some(3));
        for other in [
            &peer(3, "d"),
            "node-03.peer.c.conclave.internal",
            "node-x.peer.c.conclave.internal",
            "node-3.peer.c.conclave.internal.example",
            &nodes_of("c"),
        ] {
            assert_eq!(node_in(other), None, "{other}");
        }
    }
}
