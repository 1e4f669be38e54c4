//! Changes what a node proves and trusts while the secret of the cluster is exchanged.
//!
//! A node that is prepared has certificates of two authorities and trusts both. It presents the
//! newer one where the other side says that it trusts it (TLS 1.3 has a field for that on both
//! sides), so nodes that are prepared and nodes that are not can connect to each other. Always
//! true: after the exchange has ended here, a certificate of the previous authority proves nothing,
//! also on connections that were made with it.

use std::sync::{Arc, PoisonError, atomic::Ordering};

use conclave_core::AuthorityId;

use super::{
    Belief, IssueError, Issued, Keeper, PeerNames, PublicKey, Root, Signed, Tls, answers, asks,
    authority,
};
use crate::identity::secret::ClusterSecret;

/// What a node gets before an exchange ends.
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

    /// Returns the number of exchanges including this one.
    pub(crate) fn generation(&self) -> u64 {
        match self {
            Self::Secret(secret) => secret.generation(),
            Self::Issued(issued) => issued.generation,
        }
    }
}

impl Issued {
    pub(super) fn root(&self) -> Root {
        Root {
            generation: self.generation,
            certificate: self.authority(),
        }
    }
}

impl Tls {
    /// Returns how often the secret was exchanged, as far as this node has taken part.
    pub(crate) fn exchanges(&self) -> u64 {
        self.belief().root.generation
    }

    /// Returns the authority that this node is prepared for.
    pub(crate) fn prepared(&self) -> Option<AuthorityId> {
        let (root, _) = self.belief().next?;
        Some(authority::id_of(&root.certificate))
    }

    /// Returns the secret that this node is prepared for, if it has got it.
    pub(crate) fn next_secret(&self) -> Option<ClusterSecret> {
        let (_, keeper) = self.belief().next?;
        Some(keeper?.secret.clone())
    }

    /// Returns whether a certificate that this authority has signed is trusted.
    pub(crate) fn believes(&self, generation: u64) -> bool {
        let belief = self.belief.read().unwrap_or_else(PoisonError::into_inner);
        let next = belief.next.as_ref();
        generation == belief.root.generation
            || next.is_some_and(|(root, _)| root.generation == generation)
    }

    /// Trusts another authority beside the present one, and gets certificates that it has signed.
    ///
    /// # Errors
    /// If the certificates cannot be made, or cannot be used.
    pub(crate) fn prepare(&self, next: &Next) -> Result<(), IssueError> {
        let next = match next {
            Next::Secret(secret) => {
                let keeper = Keeper::of(secret.clone());
                self.certificates.make_next(&keeper.authority)?;
                (keeper.root(), Some(Arc::new(keeper)))
            }
            Next::Issued(issued) => {
                self.certificates.set_next(Some(issued.certificates()?));
                (issued.root(), None)
            }
        };
        self.change(|belief| belief.next = Some(next));
        Ok(())
    }

    /// Returns to the present authority alone, because the exchange was begun again.
    pub(crate) fn forget_next(&self) {
        self.certificates.set_next(None);
        self.change(|belief| belief.next = None);
    }

    /// Trusts the next authority alone, if this node is prepared.
    pub(crate) fn go_on_with_next(&self) {
        self.certificates.go_on_with_next();
        self.change(|belief| {
            if let Some((root, keeper)) = belief.next.take() {
                (belief.root, belief.keeper) = (root, keeper);
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
        let (_, keeper) = self.belief().next?;
        Some(self.sign_by(&*keeper?, key, of, client_address))
    }

    /// Changes what this node proves and trusts; connections are made again.
    pub(super) fn change(&self, change: impl FnOnce(&mut Belief)) {
        let mut belief = self.belief.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut belief);
        let roots = belief.roots();
        let asking = asks(&roots, &self.certificates);
        *self.asks.write().unwrap_or_else(PoisonError::into_inner) = asking;
        let answering = answers(roots, &self.certificates);
        let mut place = self
            .answers_peers
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *place = answering;
        drop((place, belief));
        self.connect_anew();
    }
}
