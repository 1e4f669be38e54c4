//! Changes what a node proves and trusts while the secret of the cluster is rotated.
//!
//! A node that is prepared has certificates of two authorities and trusts both. It presents the
//! newer one where the other side says that it trusts it (TLS 1.3 has a field for that on both
//! sides), so nodes that are prepared and nodes that are not can connect to each other. Always
//! true: after the rotation has ended here, a certificate of the previous authority proves nothing,
//! also on connections that were made with it.

use std::sync::{Arc, PoisonError, atomic::Ordering};

use conclave_core::AuthorityId;

use super::{
    IssueError, Issued, KeyHolder, PeerNames, PublicKey, Root, Signed, Tls, TrustState,
    accept_config, client_config,
};
use crate::identity::secret::ClusterSecret;

/// What a node gets before a rotation ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The secret, for a voter.
    Secret(ClusterSecret),
    /// Certificates for its own key, for any other node.
    Issued(Issued),
}

impl Next {
    /// Returns the identity of the authority that will be trusted.
    pub(crate) fn authority_id(&self) -> AuthorityId {
        match self {
            Self::Secret(secret) => secret.authority_id(),
            Self::Issued(issued) => issued.authority_id(),
        }
    }

    /// Returns the name of the cluster.
    pub(crate) fn cluster_id(&self) -> String {
        match self {
            Self::Secret(secret) => secret.cluster_id(),
            Self::Issued(issued) => issued.cluster_id.clone(),
        }
    }

    /// Returns the number of rotations including this one.
    pub(crate) fn generation(&self) -> u64 {
        match self {
            Self::Secret(secret) => secret.generation(),
            Self::Issued(issued) => issued.generation,
        }
    }
}

impl Issued {
    pub(super) fn root(&self) -> Root {
        Root::new(self.generation, self.authority())
    }
}

impl Tls {
    /// Returns how often the secret was rotated, as far as this node has taken part.
    pub(crate) fn rotations(&self) -> u64 {
        self.trust_state().root.generation
    }

    /// Returns the authority that this node is prepared for.
    pub(crate) fn prepared(&self) -> Option<AuthorityId> {
        let (root, _) = self.trust_state().next?;
        Some(root.id)
    }

    /// Returns the secret that this node is prepared for, if it has got it.
    pub(crate) fn next_secret(&self) -> Option<ClusterSecret> {
        let (_, key_holder) = self.trust_state().next?;
        Some(key_holder?.secret.clone())
    }

    /// Returns whether a certificate that this authority has signed is trusted. Two authorities of
    /// the same rotation are not the same: the first may have been given up because a machine that
    /// was removed has its secret.
    pub(crate) fn trusts(&self, signed_by: Option<AuthorityId>) -> bool {
        let trust_state = self
            .trust_state
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let next = trust_state.next.iter().map(|(root, _)| root);
        let mut trusted = std::iter::once(&trust_state.root).chain(next);
        signed_by.is_some_and(|id| trusted.any(|root| root.id == id))
    }

    /// Trusts another authority beside the present one, and gets certificates that it has signed.
    ///
    /// # Errors
    /// If the certificates cannot be made, or cannot be used.
    pub(crate) fn prepare(&self, next: &Next) -> Result<(), IssueError> {
        let next = match next {
            Next::Secret(secret) => {
                let key_holder = KeyHolder::of(secret.clone());
                self.certificates.make_next(&key_holder.authority)?;
                (key_holder.root(), Some(Arc::new(key_holder)))
            }
            Next::Issued(issued) => {
                self.certificates.set_next(Some(issued.certificates()?));
                (issued.root(), None)
            }
        };
        self.change(|trust_state| trust_state.next = Some(next));
        Ok(())
    }

    /// Returns to the present authority alone, because the rotation was begun again.
    pub(crate) fn forget_next(&self) {
        self.certificates.set_next(None);
        self.change(|trust_state| trust_state.next = None);
    }

    /// Trusts the next authority alone, if this node is prepared.
    pub(crate) fn go_on_with_next(&self) {
        self.certificates.go_on_with_next();
        self.change(|trust_state| {
            if let Some((root, key_holder)) = trust_state.next.take() {
                (trust_state.root, trust_state.key_holder) = (root, key_holder);
            }
        });
    }

    /// Makes the connections to the peers again, so that they prove as much as this node can.
    pub(crate) fn connect_anew(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Signs certificates by the next authority for the key of another machine; `None` if this node
    /// does not have its key.
    pub(crate) fn sign_next_for(
        &self,
        key: &PublicKey,
        of: PeerNames,
        client_address: &str,
    ) -> Option<Result<Signed, IssueError>> {
        let (_, key_holder) = self.trust_state().next?;
        Some(self.sign_by(&*key_holder?, key, of, client_address))
    }

    /// Changes what this node proves and trusts; connections are made again.
    pub(super) fn change(&self, change: impl FnOnce(&mut TrustState)) {
        let mut trust_state = self
            .trust_state
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        change(&mut trust_state);
        let roots = trust_state.roots();
        let asking = client_config(&roots, &self.certificates);
        *self
            .client_config
            .write()
            .unwrap_or_else(PoisonError::into_inner) = asking;
        let answering = accept_config(roots, &self.certificates);
        let mut place = self
            .accept_peers
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *place = answering;
        drop((place, trust_state));
        self.connect_anew();
    }
}
