//! [`RunRequests`]: runs of a schedule that are due before its interval has passed.

use super::report::CollectReport;
use std::time::Duration;

/// A request for a run of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::maintenance) struct RunRequest(u64);

/// The requests for runs of a schedule, in their order, and the runs that they got.
#[derive(Debug, Default)]
pub(super) struct RunRequests {
    last: u64,
    /// The last request before the begin of a run.
    begun: u64,
    /// A request after which the first run has left content for later, and the time until all of that is due.
    left: Option<(u64, Duration)>,
    /// The last request after which everything was removed that nothing referred to.
    met: u64,
}

impl RunRequests {
    pub(super) const fn add(&mut self) -> RunRequest {
        self.last += 1;
        RunRequest(self.last)
    }

    /// Returns true if no run has begun since the last request.
    pub(super) const fn is_waiting(&self) -> bool {
        self.begun < self.last
    }

    /// Begins a run. Returns the last request before it.
    pub(super) const fn begin(&mut self) -> RunRequest {
        self.begun = self.last;
        RunRequest(self.last)
    }

    /// Ends a run that began after a request.
    ///
    /// A run can leave content that was used recently. A run that begins when that is due removes it. What that one
    /// leaves was used again since.
    pub(super) fn end(&mut self, RunRequest(request): RunRequest, report: &CollectReport) {
        if report.dry_run || report.stopped.is_some() {
            return;
        }
        let left = self.left.filter(|(left, _)| *left == request);
        if report.later.items == 0 || left.is_some_and(|(_, rest)| rest.is_zero()) {
            self.met = request;
        } else if left.is_none() {
            self.left = Some((request, report.later.last.unwrap_or_default()));
        }
    }

    /// Notes that this time has passed between two runs.
    pub(super) const fn wait(&mut self, time: Duration) {
        if let Some((_, rest)) = &mut self.left {
            *rest = rest.saturating_sub(time);
        }
    }

    /// Returns true if runs since a request have removed everything that nothing referred to.
    pub(super) const fn is_met(&self, request: RunRequest) -> bool {
        request.0 <= self.met
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maintenance::collect::{Later, Stopped};

    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn leaving(items: u64) -> CollectReport {
        CollectReport {
            later: Later {
                items,
                last: Some(3 * HOUR),
                ..Later::default()
            },
            ..CollectReport::default()
        }
    }

    #[test]
    fn only_a_run_that_begins_after_a_request_meets_it() {
        let mut requests = RunRequests::default();
        let before = requests.begin();
        let request = requests.add();

        requests.end(before, &leaving(0));
        assert!(requests.is_waiting() && !requests.is_met(request));
        let after = requests.begin();
        assert!(!requests.is_waiting() && !requests.is_met(request));
        requests.end(after, &leaving(0));
        assert!(requests.is_met(request));
    }

    #[test]
    fn a_run_that_leaves_content_for_later_needs_one_when_that_is_due() {
        let mut requests = RunRequests::default();
        // A run before it that has left content, too.
        let before = requests.begin();
        requests.end(before, &leaving(1));
        requests.wait(3 * HOUR);
        let request = requests.add();
        for is_met in [false, false, false, true] {
            let run = requests.begin();
            requests.end(run, &leaving(1));
            assert_eq!(requests.is_met(request), is_met);
            requests.wait(HOUR);
        }
    }

    #[test]
    fn a_run_that_removes_nothing_meets_no_request() {
        let mut requests = RunRequests::default();
        let request = requests.add();
        let dry_run = CollectReport {
            dry_run: true,
            ..CollectReport::default()
        };
        let stopped = CollectReport {
            stopped: Some(Stopped::TooMuch { bytes: 2, of: 3 }),
            ..CollectReport::default()
        };
        for report in [dry_run, stopped] {
            let run = requests.begin();
            requests.end(run, &report);
            assert!(!requests.is_met(request), "{report:?}");
        }
    }
}
