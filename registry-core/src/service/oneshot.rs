//! Channel for one value. The core has no runtime that provides one.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

enum State<T> {
    /// Not sent yet; the waker is that of a waiting receiver.
    Waiting(Option<Waker>),
    Sent(T),
    /// The sender was dropped, or the value was received.
    Closed,
}

struct Shared<T>(Mutex<State<T>>);

impl<T> Shared<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        // No code that can panic runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, state: State<T>) {
        let before = std::mem::replace(&mut *self.state(), state);
        if let State::Waiting(Some(waker)) = before {
            waker.wake();
        }
    }
}

/// Sends a value. If it is dropped before, the receiver resolves to `None`.
pub(super) struct Sender<T>(Option<Arc<Shared<T>>>);

/// Resolves to the value, or to `None` if the sender was dropped.
pub(super) struct Receiver<T>(Arc<Shared<T>>);

pub(super) fn oneshot<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared(Mutex::new(State::Waiting(None))));
    (Sender(Some(Arc::clone(&shared))), Receiver(shared))
}

impl<T> Sender<T> {
    pub(super) fn send(mut self, value: T) {
        if let Some(shared) = self.0.take() {
            shared.set(State::Sent(value));
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            shared.set(State::Closed);
        }
    }
}

impl<T> Future for Receiver<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.0.state();
        match std::mem::replace(&mut *state, State::Closed) {
            State::Waiting(_) => {
                *state = State::Waiting(Some(context.waker().clone()));
                Poll::Pending
            }
            State::Sent(value) => Poll::Ready(Some(value)),
            State::Closed => Poll::Ready(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_value_arrives_before_and_after_somebody_waits() {
        let (sender, receiver) = oneshot();
        sender.send(1);
        assert_eq!(receiver.await, Some(1));

        let (sender, receiver) = oneshot();
        let waiting = tokio::spawn(receiver);
        tokio::task::yield_now().await;
        sender.send(2);
        assert_eq!(waiting.await.unwrap(), Some(2));
    }

    #[tokio::test]
    async fn a_sender_that_is_dropped_ends_the_wait() {
        let (sender, receiver) = oneshot::<()>();
        let waiting = tokio::spawn(receiver);
        tokio::task::yield_now().await;
        drop(sender);
        assert_eq!(waiting.await.unwrap(), None);
    }

    #[test]
    fn a_receiver_that_is_gone_does_not_matter() {
        let (sender, receiver) = oneshot();
        drop(receiver);
        sender.send(1);
    }
}
