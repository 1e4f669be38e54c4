//! Files that commands write where the user has named a place.

pub(crate) mod draft;
