//! Shares the threads that hash passwords: one queue for each kind of work, in it one for each
//! address, in that one for each account.
//!
//! Always true: a turn that becomes free goes to the next kind of work, there to the next address,
//! there to the next account, and there to the caller that has waited longest. A full queue refuses
//! the newest caller of the address with the most waiting callers, so a flood from one address
//! costs no other address its place.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use conclave_core::ThrottleKey;
use conclave_wire::Problem;
use tokio::{sync::oneshot, time::timeout};

use crate::base::deadline::Deadline;

/// Maximum number of waiting callers for each kind of work. At the bound: see the head of this
/// file.
const WAITING_MAX: usize = 256;
/// Number of kinds of work.
const KINDS: usize = 3;

/// Reason for which a password is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// A log-in.
    LogIn,
    /// The creation of an account, or another password instead of one that is lost.
    Create,
    /// A change in a session that asks for the password again.
    Again,
}

/// Key of a waiting caller: the address, or what is known instead of it, and the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    pub(crate) group: ThrottleKey,
    pub(crate) account: ThrottleKey,
}

/// Gives out turns. Clones share them.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Mutex<State>>);

/// Permission to hash, until dropped.
pub(crate) struct Turn(Option<Turns>);

type Waiting = oneshot::Sender<Turn>;

struct State {
    /// Number of free turns. While there are some, no caller waits.
    free: usize,
    /// Kind of work that is served first.
    next: usize,
    lines: [Line; KINDS],
}

#[derive(Default)]
struct Line {
    groups: VecDeque<Group>,
    waiting: usize,
}

struct Group {
    key: ThrottleKey,
    accounts: VecDeque<(ThrottleKey, VecDeque<Waiting>)>,
    waiting: usize,
}

impl Turns {
    /// Creates `count` turns that may be taken at once.
    pub(crate) fn new(count: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            free: count,
            next: 0,
            lines: Default::default(),
        })))
    }

    /// Waits for a turn, at most until the deadline.
    ///
    /// # Errors
    /// [`Problem::Busy`] if the queue is full or the deadline has passed.
    pub(crate) async fn take(
        &self,
        work: Work,
        asker: Asker,
        deadline: Deadline,
    ) -> Result<Turn, Problem> {
        let waiting = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Turn(Some(self.clone())));
            }
            let (sender, receiver) = oneshot::channel();
            if !state.lines[work as usize].push(asker, sender) {
                return Err(Problem::Busy);
            }
            receiver
        };
        match timeout(deadline.left(), waiting).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(Problem::Busy),
        }
    }

    fn give_back(&self) {
        let mut state = self.lock();
        state.free += 1;
        while state.free > 0 {
            let Some(next) = state.pop() else {
                return;
            };
            if let Err(mut unwanted) = next.send(Turn(Some(self.clone()))) {
                // The caller has gone. Dropping the turn as it is would give it back once more.
                unwanted.0 = None;
            } else {
                state.free -= 1;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Valid after every statement that changes it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.give_back();
        }
    }
}

impl State {
    fn pop(&mut self) -> Option<Waiting> {
        for step in 0..KINDS {
            let kind = (self.next + step) % KINDS;
            if let Some(waiting) = self.lines[kind].pop() {
                self.next = (kind + 1) % KINDS;
                return Some(waiting);
            }
        }
        None
    }
}

impl Line {
    /// Puts a caller into the queue; returns `false` if there is no place for it.
    fn push(&mut self, asker: Asker, caller: Waiting) -> bool {
        if self.waiting >= WAITING_MAX {
            self.forget_gone();
        }
        if self.waiting >= WAITING_MAX && !self.displace(asker.group) {
            return false;
        }
        let place = self
            .groups
            .iter()
            .position(|group| group.key == asker.group);
        let place = place.unwrap_or_else(|| {
            self.groups.push_back(Group {
                key: asker.group,
                accounts: VecDeque::new(),
                waiting: 0,
            });
            self.groups.len() - 1
        });
        let group = &mut self.groups[place];
        let place = group
            .accounts
            .iter()
            .position(|(key, _)| *key == asker.account);
        match place {
            Some(place) => group.accounts[place].1.push_back(caller),
            None => {
                let callers = VecDeque::from([caller]);
                group.accounts.push_back((asker.account, callers));
            }
        }
        group.waiting += 1;
        self.waiting += 1;
        true
    }

    fn pop(&mut self) -> Option<Waiting> {
        let mut group = self.groups.pop_front()?;
        let (account, mut callers) = group.accounts.pop_front()?;
        let caller = callers.pop_front();
        if !callers.is_empty() {
            group.accounts.push_back((account, callers));
        }
        group.waiting -= 1;
        self.waiting -= 1;
        if !group.accounts.is_empty() {
            self.groups.push_back(group);
        }
        caller
    }

    /// Removes callers that no longer wait.
    fn forget_gone(&mut self) {
        for group in &mut self.groups {
            for (_, callers) in &mut group.accounts {
                callers.retain(|caller| !caller.is_closed());
            }
            group.accounts.retain(|(_, callers)| !callers.is_empty());
            group.waiting = group
                .accounts
                .iter()
                .map(|(_, callers)| callers.len())
                .sum();
        }
        self.groups.retain(|group| group.waiting > 0);
        self.waiting = self.groups.iter().map(|group| group.waiting).sum();
    }

    /// Refuses the newest caller of the largest group, if a caller of `group` has a better right to
    /// the place.
    fn displace(&mut self, group: ThrottleKey) -> bool {
        let own = self.groups.iter().find(|known| known.key == group);
        let own = own.map_or(0, |known| known.waiting);
        let Some(largest) = self.groups.iter_mut().max_by_key(|group| group.waiting) else {
            return false;
        };
        if largest.waiting <= own + 1 {
            return false;
        }
        let busiest = largest.accounts.iter_mut();
        let Some((_, callers)) = busiest.max_by_key(|(_, callers)| callers.len()) else {
            return false;
        };
        callers.pop_back();
        largest.accounts.retain(|(_, callers)| !callers.is_empty());
        largest.waiting -= 1;
        self.waiting -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> ThrottleKey {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&number.to_le_bytes());
        ThrottleKey(key)
    }

    fn asker(group: usize, account: usize) -> Asker {
        Asker {
            group: key(group),
            account: key(account),
        }
    }

    fn push(line: &mut Line, group: usize, account: usize) -> Option<oneshot::Receiver<Turn>> {
        let (sender, receiver) = oneshot::channel();
        line.push(asker(group, account), sender).then_some(receiver)
    }

    #[tokio::test]
    async fn a_flood_of_one_address_queues_behind_other_addresses() {
        let turns = Turns::new(1);
        let usual = Deadline::usual;
        let first = turns.take(Work::LogIn, asker(1, 1), usual()).await.unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        let wait = |work, group, account| {
            let (turns, order) = (turns.clone(), order.clone());
            let taken = turns
                .lock()
                .lines
                .iter()
                .map(|line| line.waiting)
                .sum::<usize>();
            let waits = tokio::spawn(async move {
                let turn = turns
                    .take(work, asker(group, account), usual())
                    .await
                    .unwrap();
                order.lock().unwrap().push((work, group, account));
                drop(turn);
            });
            (waits, taken + 1)
        };
        let mut all = Vec::new();
        for (work, group, account) in [
            (Work::LogIn, 1, 1),
            (Work::LogIn, 1, 1),
            (Work::LogIn, 1, 2),
            (Work::LogIn, 2, 3),
            (Work::Create, 1, 1),
            (Work::Again, 1, 1),
        ] {
            let (waits, expected) = wait(work, group, account);
            all.push(waits);
            while turns
                .lock()
                .lines
                .iter()
                .map(|line| line.waiting)
                .sum::<usize>()
                < expected
            {
                tokio::task::yield_now().await;
            }
        }
        drop(first);
        for waits in all {
            waits.await.unwrap();
        }
        let expected = [
            (Work::LogIn, 1, 1),
            (Work::Create, 1, 1),
            (Work::Again, 1, 1),
            (Work::LogIn, 2, 3),
            (Work::LogIn, 1, 2),
            (Work::LogIn, 1, 1),
        ];
        assert_eq!(*order.lock().unwrap(), expected);
        let state = turns.lock();
        assert_eq!(state.free, 1);
        assert!(state.lines.iter().all(|line| line.groups.is_empty()));
    }

    #[test]
    fn a_full_queue_drops_the_address_with_the_most_entries() {
        let mut line = Line::default();
        let mut flood: Vec<_> = (0..WAITING_MAX)
            .map(|account| push(&mut line, 1, account % 4).unwrap())
            .collect();
        assert!(push(&mut line, 1, 9).is_none(), "the flood itself");
        let honest = push(&mut line, 2, 9).expect("another address has a place");
        let gone = |flood: &mut Vec<oneshot::Receiver<Turn>>| {
            let gone = flood.iter_mut().map(oneshot::Receiver::try_recv);
            gone.filter(|end| matches!(end, Err(oneshot::error::TryRecvError::Closed)))
                .count()
        };
        assert_eq!((gone(&mut flood), line.waiting), (1, WAITING_MAX));
        // Callers that hung up make room first.
        drop(honest);
        assert!(push(&mut line, 1, 9).is_some());
        assert_eq!((gone(&mut flood), line.waiting), (1, WAITING_MAX));
    }

    #[tokio::test]
    async fn the_turn_of_a_disconnected_caller_goes_to_the_next() {
        let turns = Turns::new(1);
        let first = turns
            .take(Work::LogIn, asker(1, 1), Deadline::usual())
            .await
            .unwrap();
        let mut gone = Box::pin(turns.take(Work::LogIn, asker(2, 2), Deadline::usual()));
        assert!(futures::poll!(gone.as_mut()).is_pending());
        let mut given = Box::pin(turns.take(Work::LogIn, asker(3, 3), Deadline::usual()));
        assert!(futures::poll!(given.as_mut()).is_pending());
        let mut last = Box::pin(turns.take(Work::Create, asker(4, 4), Deadline::usual()));
        assert!(futures::poll!(last.as_mut()).is_pending());
        drop(gone);
        drop(first);
        // The turn was given but its caller never looks at it: the next caller gets it.
        drop(given);
        assert!(last.await.is_ok());
        assert_eq!(turns.lock().free, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_queued_caller_waits_no_longer_than_its_deadline() {
        let turns = Turns::new(1);
        let held = turns
            .take(Work::LogIn, asker(1, 1), Deadline::usual())
            .await;
        let late = turns
            .take(Work::LogIn, asker(2, 2), Deadline::usual())
            .await;
        assert!(matches!(late, Err(Problem::Busy)));
        drop(held);
        assert_eq!(turns.lock().free, 1);
    }
}
