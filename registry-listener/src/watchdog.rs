//! [`Watchdog`]: one timer for a deadline that moves often.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::time::{Instant, Sleep, sleep_until};

/// A timer for a deadline that usually moves into the future. Such a move costs nothing: the timer fires early, and is set
/// again.
#[derive(Debug)]
pub(super) struct Watchdog {
    timer: Pin<Box<Sleep>>,
}

impl Watchdog {
    pub(super) fn new(until: Instant) -> Self {
        Self {
            timer: Box::pin(sleep_until(until)),
        }
    }

    /// Returns ready, with the time, when the deadline has passed. Each poll may give another deadline.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, deadline: Option<Instant>) -> Poll<Instant> {
        let Some(deadline) = deadline else {
            return Poll::Pending;
        };
        if deadline < self.timer.deadline() {
            self.timer.as_mut().reset(deadline);
        }
        while self.timer.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            if deadline <= now {
                return Poll::Ready(now);
            }
            self.timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::poll_fn, time::Duration};

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_fires_at_the_deadline_of_the_last_poll() {
        let begun = Instant::now();
        let after = |seconds| Some(begun + Duration::from_secs(seconds));
        let mut watchdog = Watchdog::new(begun + Duration::from_secs(300));

        let fired = poll_fn(|context| watchdog.poll(context, after(30))).await;
        assert_eq!(fired, begun + Duration::from_secs(30));

        // Set to the past, and moved on.
        let fired = poll_fn(|context| watchdog.poll(context, after(900))).await;
        assert_eq!(fired, begun + Duration::from_secs(900));
    }
}
