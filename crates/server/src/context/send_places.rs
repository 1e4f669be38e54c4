//! Places of the streams in which clients send messages, and the memory of all of them.
//!
//! Always true: one account has a bounded number of streams on a node, and all streams together a
//! bounded number of bytes of messages without a result.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use conclave_core::AccountId;
use conclave_wire::Problem;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Maximum number of streams on one node. At the bound another is refused as busy.
const STREAMS_MAX: usize = 1024;
/// Maximum number of these streams of one account: one for each of its sessions.
const STREAMS_OF_ONE_MAX: usize = 32;
/// Maximum number of bytes of messages of all streams that have no result yet. At the bound the
/// stream whose request does not fit is refused as busy.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// Places of the streams of one node.
pub(crate) struct SendPlaces {
    streams: Mutex<Streams>,
    bytes: Arc<Semaphore>,
}

#[derive(Default)]
struct Streams {
    all: usize,
    of: HashMap<AccountId, usize>,
}

impl Default for SendPlaces {
    fn default() -> Self {
        Self {
            streams: Mutex::default(),
            bytes: Arc::new(Semaphore::new(BYTES_MAX)),
        }
    }
}

/// Place of one stream, until dropped.
pub(crate) struct SendPlace {
    places: Arc<SendPlaces>,
    account: AccountId,
}

impl SendPlaces {
    /// Takes a place for a stream of an account.
    pub(crate) fn enter(self: &Arc<Self>, account: AccountId) -> Result<SendPlace, Problem> {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let own = streams.of.get(&account).copied().unwrap_or(0);
        if streams.all >= STREAMS_MAX || own >= STREAMS_OF_ONE_MAX {
            return Err(Problem::Busy);
        }
        streams.all += 1;
        streams.of.insert(account, own + 1);
        Ok(SendPlace {
            places: self.clone(),
            account,
        })
    }

    /// Reserves memory for messages of a stream.
    pub(crate) fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let bytes = u32::try_from(bytes).map_err(|_| Problem::Busy)?;
        let reserved = self.bytes.clone().try_acquire_many_owned(bytes);
        reserved.map_err(|_| Problem::Busy)
    }
}

impl Drop for SendPlace {
    fn drop(&mut self) {
        let streams = &self.places.streams;
        let mut streams = streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.all -= 1;
        match streams.of.get_mut(&self.account) {
            Some(own) if *own > 1 => *own -= 1,
            Some(_) | None => drop(streams.of.remove(&self.account)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_one_account_and_of_all_are_bounded() {
        let places = Arc::new(SendPlaces::default());
        let mut all = Vec::new();
        for account in 1..=32 {
            for _ in 0..STREAMS_OF_ONE_MAX {
                all.push(places.enter(AccountId(account)).unwrap());
            }
            assert!(places.enter(AccountId(account)).is_err());
        }
        assert!(places.enter(AccountId(99)).is_err(), "all places are taken");
        all.pop();
        assert!(places.enter(AccountId(99)).is_ok());
        all.clear();
        assert!(places.streams.lock().unwrap().of.is_empty());
    }

    #[test]
    fn the_memory_of_all_streams_is_bounded() {
        let places = SendPlaces::default();
        let most = places.reserve(BYTES_MAX).unwrap();
        assert!(places.reserve(1).is_err());
        drop(most);
        assert!(places.reserve(1).is_ok());
        assert!(places.reserve(usize::MAX).is_err());
    }
}
