//! The slow part: how many passwords are hashed at once, and how many wait for it.

use crate::thread;
use std::{
    io,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bounds for hashing.
#[derive(Debug)]
pub(crate) struct Hashing {
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    longest: usize,
    done: Arc<AtomicU64>,
}

/// A place in the queue, given up on drop.
#[derive(Debug)]
pub(crate) struct Place<'a>(&'a Hashing);

/// The right to hash one password now.
#[derive(Debug)]
pub(crate) struct Turn {
    permit: OwnedSemaphorePermit,
    done: Arc<AtomicU64>,
}

impl Hashing {
    /// Hashing on so many threads at once, with so many logins that wait for their turn at most.
    pub(crate) fn new(threads: NonZeroUsize, longest: usize) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(threads.get().min(Semaphore::MAX_PERMITS))),
            waiting: AtomicUsize::new(0),
            longest,
            done: Arc::default(),
        }
    }

    /// How many passwords were hashed so far.
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// A place in the queue, if it is not full.
    pub(crate) fn queue(&self) -> Option<Place<'_>> {
        let grown = |waiting: usize| (waiting < self.longest).then(|| waiting + 1);
        self.waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown)
            .ok()
            .map(|_| Place(self))
    }
}

impl Place<'_> {
    /// Waits for the turn.
    pub(crate) async fn turn(self) -> Turn {
        let permit = Arc::clone(&self.0.turns).acquire_owned().await;
        Turn {
            permit: permit.expect("the semaphore is never closed"),
            done: Arc::clone(&self.0.done),
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Turn {
    /// Hashes: runs `work` on a thread of its own, to its end even if the caller is gone by then.
    pub(crate) async fn hash<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let done = thread::start("htpasswd-hash", move || {
            let done = work();
            self.done.fetch_add(1, Ordering::Relaxed);
            drop(self.permit);
            done
        })?;
        done.await
            .map_err(|_gone| io::Error::other("the thread that hashed a password has panicked"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashing(threads: usize, longest: usize) -> Hashing {
        Hashing::new(NonZeroUsize::new(threads).unwrap(), longest)
    }

    #[tokio::test]
    async fn the_queue_holds_those_who_wait_and_no_more() {
        let hashing = hashing(1, 2);
        let turn = hashing.queue().unwrap().turn().await;

        let first = hashing.queue().unwrap();
        let second = hashing.queue().unwrap();
        assert!(hashing.queue().is_none());
        drop(second);
        assert!(hashing.queue().is_some());

        drop(turn);
        first.turn().await;
        assert_eq!(hashing.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn no_more_passwords_are_hashed_at_once_than_there_are_threads() {
        let hashing = hashing(2, 100);
        let running = Arc::new(AtomicUsize::new(0));
        let hash = || async {
            let running = Arc::clone(&running);
            let turn = hashing.queue().unwrap().turn().await;
            let work = move || {
                assert!(running.fetch_add(1, Ordering::SeqCst) < 2);
                std::thread::yield_now();
                running.fetch_sub(1, Ordering::SeqCst);
            };
            turn.hash(work).await.unwrap();
        };

        tokio::join!(hash(), hash(), hash(), hash(), hash(), hash(), hash(), hash());

        assert_eq!(hashing.done(), 8);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_gives_the_turn_back() {
        let hashing = hashing(1, 1);

        let turn = hashing.queue().unwrap().turn().await;
        let failed = turn.hash(|| panic!("as a test")).await;

        assert!(failed.is_err());
        hashing.queue().unwrap().turn().await;
    }
}
