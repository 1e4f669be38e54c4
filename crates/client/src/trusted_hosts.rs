//! Decides which nodes a client that trusts the authorities of the web asks, of those that other
//! nodes name.
//!
//! A node may name other nodes, which may be anywhere; an authority of the web vouches for any
//! host. Always true: the client asks a node that another node has named only if the application
//! has named its host, or its host is in a certificate of a node that the application has named.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use rustls::{
    client::verify_server_name,
    pki_types::{CertificateDer, ServerName},
    server::ParsedCertificate,
};

/// Hosts and certificates of the nodes that the application has named.
#[derive(Debug, Default)]
pub(crate) struct TrustedHosts {
    hosts: Mutex<BTreeSet<String>>,
    certificates: Mutex<Vec<CertificateDer<'static>>>,
}

/// Maximum number of certificates that are kept: each named node may have its own, and replaces it
/// now and then.
const CERTIFICATES_MAX: usize = 16;

impl TrustedHosts {
    /// Records that the application has named this `host:port`.
    pub(crate) fn name(&self, address: &str) {
        if let Some((host, _)) = address.rsplit_once(':') {
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            hosts.insert(host.to_ascii_lowercase());
        }
    }

    /// Records the certificates with which a named node has proven its identity.
    pub(crate) fn note(&self, shown: Option<&[CertificateDer<'static>]>) {
        let Some(own) = shown.and_then(|shown| shown.first()) else {
            return;
        };
        let kept = self.certificates.lock();
        let mut kept = kept.unwrap_or_else(PoisonError::into_inner);
        if kept.contains(own) {
            return;
        }
        if kept.len() >= CERTIFICATES_MAX {
            kept.remove(0);
        }
        kept.push(own.clone());
    }

    /// Returns whether the client may ask this `host:port`, no matter which node has named it.
    pub(crate) fn covers(&self, address: &str) -> bool {
        let Some((host, _)) = address.rsplit_once(':') else {
            return false;
        };
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.contains(&host.to_ascii_lowercase()) {
            return true;
        }
        let Some(name) = name_of_host(host) else {
            return false;
        };
        let kept = self.certificates.lock();
        let kept = kept.unwrap_or_else(PoisonError::into_inner);
        kept.iter().any(|certificate| {
            let parsed = ParsedCertificate::try_from(certificate);
            parsed.is_ok_and(|parsed| verify_server_name(&parsed, &name).is_ok())
        })
    }
}

/// Returns the host of an address, as a certificate names it.
pub(crate) fn name_of_host(host: &str) -> Option<ServerName<'static>> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn learned_nodes_must_be_covered_by_a_named_nodes_certificate() {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = ["chat.example", "*.nodes.example", "10.0.0.7"].map(str::to_owned);
        let wanted = rcgen::CertificateParams::new(names).unwrap();
        let certificate = wanted.self_signed(&key).unwrap().der().clone();
        let trusted_hosts = TrustedHosts::default();
        trusted_hosts.name("chat.example:7400");
        assert!(
            trusted_hosts.covers("CHAT.example:7401"),
            "another port of the same"
        );
        let elsewhere = ["a.nodes.example:1", "10.0.0.7:1"];
        for address in elsewhere {
            assert!(
                !trusted_hosts.covers(address),
                "{address} before a certificate was seen"
            );
        }
        trusted_hosts.note(Some(&[certificate]));
        for address in elsewhere {
            assert!(trusted_hosts.covers(address), "{address}");
        }
        for address in [
            "evil.example:1",
            "a.b.nodes.example:1",
            "10.0.0.8:1",
            "",
            "x",
        ] {
            assert!(!trusted_hosts.covers(address), "{address}");
        }
        for _ in 0..2 * CERTIFICATES_MAX {
            let own = rcgen::KeyPair::generate().unwrap();
            let other = rcgen::CertificateParams::new(vec!["other.example".to_owned()]);
            let other = other.unwrap().self_signed(&own).unwrap();
            trusted_hosts.note(Some(&[other.der().clone()]));
        }
        assert_eq!(
            trusted_hosts.certificates.lock().unwrap().len(),
            CERTIFICATES_MAX
        );
    }
}
