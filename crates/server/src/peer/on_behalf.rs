//! What a client has shown, on its way from the node that it asked to the leader.
//!
//! A node without a vote is not believed that an administrator or the owner of a session asks: what
//! the client has shown travels along, and the leader looks at it itself. Always true: `Debug` does
//! not tell it.

use std::fmt;

use tonic::metadata::{Ascii, MetadataMap, MetadataValue};

/// Under which name a caller shows who it is.
const SHOWN: &str = "authorization";

/// What the client of a node has shown; nothing, if the node asks for itself.
#[derive(Clone, Default)]
pub(crate) struct OnBehalf(Option<MetadataValue<Ascii>>);

impl fmt::Debug for OnBehalf {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OnBehalf(…)")
    }
}

impl OnBehalf {
    /// Takes what the caller of a request has shown.
    pub(crate) fn of(metadata: &MetadataMap) -> Self {
        Self(metadata.get(SHOWN).cloned())
    }

    /// Shows it in another request.
    pub(crate) fn put_into(&self, metadata: &mut MetadataMap) {
        if let Some(shown) = &self.0 {
            let mut shown = shown.clone();
            shown.set_sensitive(true);
            metadata.insert(SHOWN, shown);
        }
    }
}
