//! [`Times`]: the times on which replicas and collections rely.

use crate::bucket::MARGIN;
use std::time::Duration;

/// Times of a bucket, the same for all its processes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// Age from which on a view is read again.
    pub(super) refresh: Duration,
    /// Age that a view may have.
    pub(super) fresh: Duration,
    /// Time from a view to the last write that rests on it.
    pub(super) publish: Duration,
    /// Time after its validity until which a request may still take effect.
    pub(crate) lateness: Duration,
    /// Time by which the clocks of the store's nodes may differ, and a listing that a collection uses may be older than its
    /// use.
    pub(crate) margin: Duration,
    /// Validity of the requests of a batch of removals.
    pub(crate) removal: Duration,
    /// Age of its last sign from which on a collection counts as dead.
    pub(crate) dead: Duration,
}

impl Times {
    /// Returns the usual times, on a store that acts on requests within `lateness`.
    pub(crate) const fn usual(lateness: Duration) -> Self {
        Self {
            refresh: Duration::from_secs(10),
            fresh: Duration::from_secs(30),
            publish: Duration::from_secs(5 * 60),
            lateness,
            margin: MARGIN,
            removal: Duration::from_secs(30),
            dead: Duration::from_secs(4 * 60),
        }
    }

    /// Shortens all times by one factor, so that an announcement lasts as long as this. Longer times stay as they are.
    ///
    /// The removals of a batch are sent one after the other, so their time is not shortened below half an announcement.
    pub(crate) fn shortened_to(self, announcement: Duration) -> Self {
        let factor = announcement.as_secs_f64() / self.announcement().as_secs_f64();
        if factor >= 1.0 {
            return self;
        }
        let short = |time: Duration| time.mul_f64(factor);
        Self {
            refresh: short(self.refresh),
            fresh: short(self.fresh),
            publish: short(self.publish),
            lateness: short(self.lateness),
            margin: short(self.margin),
            removal: self.removal.min(announcement / 2),
            dead: short(self.dead),
        }
    }

    /// Returns the time from the announcement of a removal to the removal at least: then no section goes on that does not
    /// know of it, and no write of one is on its way.
    pub(super) fn announcement(&self) -> Duration {
        self.publish_until() + self.lateness + self.margin
    }

    /// Returns the time for which the writes of a section are valid, from its view on.
    pub(crate) fn publish_until(&self) -> Duration {
        self.fresh + self.publish
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shorter_times_keep_their_order() {
        let usual = Times::usual(Duration::from_secs(120));
        let short = usual.shortened_to(Duration::from_secs(40));

        let difference = short.announcement().abs_diff(Duration::from_secs(40));
        assert!(difference < Duration::from_millis(1), "{difference:?}");
        assert!(short.announcement() > short.publish_until() + short.lateness);
        assert!(short.refresh < short.fresh);
        assert_eq!(short.removal, Duration::from_secs(20));
        let same = usual.shortened_to(Duration::from_secs(24 * 60 * 60));
        assert_eq!(same.announcement(), usual.announcement());
    }
}
