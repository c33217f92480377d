//! The slow part of a login: a bounded number of threads that hash passwords, and the queue for them.
//!
//! A limit of failures per user does not slow down a client that uses a new name for each try. So networks take turns,
//! and in a full queue the network with the most logins makes room for those with fewer. Large networks take turns
//! first, then the small ones in each: a client with many small networks gets no more turns than others.

use crate::{
    origin::Path,
    queue::{Group, Waiting},
    thread,
};
use std::{
    io,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::oneshot;

/// Limits on hashing, and the queue for it.
#[derive(Debug)]
pub(crate) struct Hashing {
    queue: Mutex<Queue>,
    longest: usize,
    done: AtomicU64,
}

#[derive(Debug)]
struct Queue {
    /// Number of idle threads.
    idle: usize,
    /// Number of logins that have waited so far, from which each gets its number.
    numbers: u64,
    /// Logins that wait for a turn.
    waiting: Group<oneshot::Sender<Turn>>,
}

/// The right to hash one password now.
#[derive(Debug)]
pub(crate) struct Turn {
    /// `None` after the turn has been passed on.
    hashing: Option<Arc<Hashing>>,
}

impl Hashing {
    /// Makes a queue of at most `longest` waiting logins, for so many threads.
    pub(crate) fn new(threads: NonZeroUsize, longest: usize) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::new(Queue {
                idle: threads.get(),
                numbers: 0,
                waiting: Group::default(),
            }),
            longest,
            done: AtomicU64::new(0),
        })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of passwords hashed so far.
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Waits for a turn; `None` if the queue is full, or if this login had to make room for one of a smaller group.
    pub(crate) async fn turn(self: &Arc<Self>, path: Path) -> Option<Turn> {
        let (slot, turn) = {
            let mut queue = self.queue();
            if let Some(idle) = queue.idle.checked_sub(1) {
                queue.idle = idle;
                return Some(Turn::of(self));
            }
            if queue.waiting.len() >= self.longest && !queue.waiting.make_room(&path) {
                return None;
            }
            let (turn, waits) = oneshot::channel();
            let number = queue.numbers;
            queue.numbers += 1;
            queue.waiting.enter(&path, Waiting { number, turn });
            let slot = QueueSlot {
                hashing: self,
                path,
                number,
            };
            (slot, waits)
        };
        let turn = turn.await.ok();
        drop(slot);
        turn
    }

    /// Gives a turn to the next login in the queue.
    fn pass_on(self: &Arc<Self>) {
        loop {
            let next = {
                let mut queue = self.queue();
                let Some(next) = queue.waiting.next() else {
                    queue.idle += 1;
                    return;
                };
                next
            };
            match next.turn.send(Turn::of(self)) {
                Ok(()) => return,
                // That login has stopped waiting.
                Err(mut turn) => turn.hashing = None,
            }
        }
    }
}

/// A place in the queue, given up on drop.
struct QueueSlot<'a> {
    hashing: &'a Hashing,
    path: Path,
    number: u64,
}

impl Drop for QueueSlot<'_> {
    fn drop(&mut self) {
        self.hashing.queue().waiting.leave(&self.path, self.number);
    }
}

impl Turn {
    fn of(hashing: &Arc<Hashing>) -> Self {
        Self {
            hashing: Some(Arc::clone(hashing)),
        }
    }

    /// Runs `work`, which hashes, on a thread of its own. It runs to its end even if the caller is gone.
    pub(crate) async fn hash<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let done = thread::start("htpasswd-hash", move || {
            let done = work();
            if let Some(hashing) = &self.hashing {
                hashing.done.fetch_add(1, Ordering::Relaxed);
            }
            drop(self);
            done
        })?;
        done.await
            .map_err(|_gone| io::Error::other("the thread that hashed a password has panicked"))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(hashing) = self.hashing.take() {
            hashing.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Origin;
    use std::{
        net::Ipv4Addr,
        pin::Pin,
        sync::atomic::AtomicUsize,
        task::{Context, Poll, Waker},
    };

    /// Returns the path of an IPv4 address.
    fn at(end: u8) -> Path {
        Origin::new(Some(Ipv4Addr::new(192, 0, 2, end).into())).path()
    }

    fn hashing(threads: usize, longest: usize) -> Arc<Hashing> {
        Hashing::new(NonZeroUsize::new(threads).unwrap(), longest)
    }

    type Waits<'a> = Pin<Box<dyn Future<Output = Option<Turn>> + 'a>>;

    fn poll(waits: &mut Waits<'_>) -> Poll<Option<Turn>> {
        waits.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Makes a login that waits, and has entered the queue.
    fn waits(hashing: &Arc<Hashing>, path: Path) -> Waits<'_> {
        let mut waits: Waits<'_> = Box::pin(hashing.turn(path));
        assert!(poll(&mut waits).is_pending());
        waits
    }

    #[tokio::test]
    async fn the_queue_holds_those_who_wait_and_no_more() {
        let hashing = hashing(1, 2);
        let turn = hashing.turn(at(1)).await.unwrap();

        let first = waits(&hashing, at(1));
        let second = waits(&hashing, at(1));
        assert!(hashing.turn(at(1)).await.is_none());
        drop(second);
        let third = waits(&hashing, at(1));

        drop(turn);
        first.await.unwrap();
        third.await.unwrap();
        let queue = hashing.queue();
        assert_eq!((queue.waiting.len(), queue.idle), (0, 1));
    }

    #[tokio::test]
    async fn networks_take_turns_and_those_of_one_in_order() {
        let hashing = hashing(1, 10);
        let mut turn = hashing.turn(at(1)).await.unwrap();
        let mut waiting =
            [at(1), at(1), at(1), at(2), Origin::new(None).path(), at(2)].map(|path| waits(&hashing, path));

        for next in [0, 3, 4, 1, 5, 2] {
            drop(turn);
            let Poll::Ready(Some(given)) = poll(&mut waiting[next]) else {
                panic!("it is the turn of {next}");
            };
            turn = given;
        }
    }

    /// Returns the waiting paths in the order of their turns.
    async fn order<const N: usize>(paths: [Path; N]) -> Vec<usize> {
        let hashing = hashing(1, N);
        let mut turn = hashing.turn(at(1)).await.unwrap();
        let mut waiting = paths.map(|path| waits(&hashing, path));
        let mut order = Vec::new();
        while order.len() < N {
            drop(turn);
            let next = waiting.iter_mut().enumerate();
            let next = next.filter(|(number, _)| !order.contains(number));
            let mut given = next.filter_map(|(number, waits)| match poll(waits) {
                Poll::Ready(turn) => Some((number, turn.unwrap())),
                Poll::Pending => None,
            });
            let (number, given) = given.next().unwrap();
            order.push(number);
            turn = given;
        }
        order
    }

    #[tokio::test]
    async fn whoever_claims_many_addresses_has_the_turns_of_one() {
        let claimed = |end: u8| Origin::new(Some(Ipv4Addr::new(198, 51, 100, end).into()));
        let own = Ipv4Addr::new(10, 0, 0, 9).into();
        let [first, second, third] = [1, 2, 3].map(|end| claimed(end).behind(own).path());
        assert_eq!(order([first, second, third, at(2), at(2)]).await, [0, 3, 1, 4, 2]);
    }

    #[tokio::test]
    async fn whoever_has_many_networks_of_ipv6_has_the_turns_of_one() {
        let within = |third: u16, fourth: u16| {
            let address = std::net::Ipv6Addr::new(0x2001, 0xdb8, third, fourth, 0, 0, 0, 1);
            Origin::new(Some(address.into())).path()
        };
        let [first, second, third] = [0x100, 0x200, 0x201].map(|fourth| within(1, fourth));
        assert_eq!(
            order([first, second, third, within(2, 0), within(2, 0)]).await,
            [0, 3, 1, 4, 2]
        );
    }

    #[tokio::test]
    async fn a_full_queue_has_room_for_networks_that_have_fewer_in_it() {
        let hashing = hashing(1, 4);
        let _turn = hashing.turn(at(1)).await.unwrap();
        let mut of_a: Vec<_> = (0..4).map(|_| waits(&hashing, at(1))).collect();
        assert!(hashing.turn(at(1)).await.is_none());

        let _first = waits(&hashing, at(2));
        let _second = waits(&hashing, at(2));

        // Each network has half of the queue, and keeps it.
        assert!(hashing.turn(at(2)).await.is_none());
        assert!(hashing.turn(at(1)).await.is_none());
        let sent_away = of_a
            .iter_mut()
            .map(poll)
            .filter(|waits| matches!(waits, Poll::Ready(None)));
        assert_eq!(sent_away.count(), 2);
        assert_eq!(hashing.queue().waiting.len(), 4);
    }

    #[tokio::test]
    async fn a_turn_that_nobody_takes_is_passed_on() {
        let hashing = hashing(1, 4);
        let turn = hashing.turn(at(1)).await.unwrap();
        let given = waits(&hashing, at(1));
        let next = waits(&hashing, at(2));

        drop(turn);
        drop(given);

        next.await.unwrap();
    }

    #[tokio::test]
    async fn no_more_passwords_are_hashed_at_once_than_there_are_threads() {
        let hashing = hashing(2, 100);
        let running = Arc::new(AtomicUsize::new(0));
        let hash = || async {
            let running = Arc::clone(&running);
            let turn = hashing.turn(at(1)).await.unwrap();
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

        let turn = hashing.turn(at(1)).await.unwrap();
        let failed = turn.hash(|| panic!("as a test")).await;

        assert!(failed.is_err());
        hashing.turn(at(1)).await.unwrap();
    }
}
