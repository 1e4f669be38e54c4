//! The credential of a client, on its way from the node that the client called to the leader.
//!
//! The leader does not trust a node without a vote that an administrator or the owner of a session
//! asks: the client's credential travels along, and the leader checks it itself. Always true:
//! `Debug` does not show it.

use std::fmt;

use tonic::metadata::{Ascii, MetadataMap, MetadataValue};

/// Header that carries the credential.
const SHOWN: &str = "authorization";

/// Credential that the client of a node has sent; nothing, if the node calls for itself.
#[derive(Clone, Default)]
pub(crate) struct OnBehalf(Option<MetadataValue<Ascii>>);

impl fmt::Debug for OnBehalf {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OnBehalf(…)")
    }
}

impl OnBehalf {
    /// Takes the credential from a request.
    pub(crate) fn of(metadata: &MetadataMap) -> Self {
        Self(metadata.get(SHOWN).cloned())
    }

    /// Puts the credential into another request.
    pub(crate) fn put_into(&self, metadata: &mut MetadataMap) {
        if let Some(shown) = &self.0 {
            let mut shown = shown.clone();
            shown.set_sensitive(true);
            metadata.insert(SHOWN, shown);
        }
    }
}
