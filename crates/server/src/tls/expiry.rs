//! When the certificates of a node expire, for monitoring.

use std::sync::PoisonError;

use rustls::sign::CertifiedKey;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use super::Tls;

impl Tls {
    /// Returns what each certificate of this node is for, and when it expires, in seconds since
    /// 1970: `peer` and `client` are the cluster's own, which the node renews, and `operator` is
    /// the operator's own, if there is one.
    pub(crate) fn expiries(&self) -> Vec<(&'static str, i64)> {
        let [peer, clients] = self.certificates.both();
        let own = self.own.read().unwrap_or_else(PoisonError::into_inner);
        let own = own.as_ref().map(|own| ("operator", own.clone()));
        let all = [("peer", peer), ("client", clients)].into_iter().chain(own);
        all.filter_map(|(name, pair)| Some((name, expires_at(&pair)?)))
            .collect()
    }

    /// Returns when the first of them expires, in milliseconds since 1970; `None` if none can be
    /// read.
    pub(crate) fn first_expiry_ms(&self) -> Option<u64> {
        let first = self.expiries().into_iter().map(|(_, at)| at).min()?;
        u64::try_from(first).ok()?.checked_mul(1000)
    }
}

/// Returns when a certificate expires; `None` if it cannot be read.
fn expires_at(pair: &CertifiedKey) -> Option<i64> {
    let leaf = pair.cert.first()?;
    let (_, leaf) = X509Certificate::from_der(leaf).ok()?;
    Some(leaf.validity().not_after.timestamp())
}
