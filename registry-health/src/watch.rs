//! [`Watch`]: a slow check, run repeatedly by a future that the host drives.

use std::{
    convert::Infallible,
    error::Error as StdError,
    fmt::Write as _,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Runs a probe at intervals, and stores its latest result.
///
/// A probe that panics counts as failed. A probe without a result when the next one is due does, too, once per period. No other probe starts before it
/// ends, so that a dead disk or mount blocks one operation only.
///
/// ```
/// use registry_health::Watch;
/// use std::{io, time::Duration};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let watch = Watch::new(Duration::from_secs(10), 2);
/// let verdict = watch.verdict();
/// let run = watch.run(|| async { Err(io::Error::other("the disk is gone")) });
/// # let run = tokio::time::timeout(Duration::from_secs(15), run);
/// # let nine_seconds = Duration::from_secs(9);
///
/// // In a task beside the server. It fails at once, and again after 10 seconds.
/// let running = tokio::spawn(run);
///
/// tokio::time::sleep(nine_seconds).await;
/// assert_eq!(verdict(), Ok(()));
/// tokio::time::sleep(nine_seconds).await;
/// assert_eq!(verdict(), Err("the disk is gone".to_owned()));
/// # let _ = running.await;
/// # }
/// ```
#[derive(Debug)]
pub struct Watch {
    period: Duration,
    threshold: u32,
    verdict: Verdict,
}

type Verdict = Arc<Mutex<Result<(), String>>>;

impl Watch {
    /// Runs the probe every `period`, at least a millisecond. The check fails after `threshold` failures in a row, at
    /// least one, and passes again at the first success. It passes until then.
    #[must_use]
    pub fn new(period: Duration, threshold: u32) -> Self {
        Self {
            period: period.max(Duration::from_millis(1)),
            threshold: threshold.max(1),
            verdict: Arc::new(Mutex::new(Ok(()))),
        }
    }

    /// Returns the latest result, for [`Health::register`](crate::Health::register).
    pub fn verdict(&self) -> impl Fn() -> Result<(), String> + Send + Sync + use<> {
        let verdict = Arc::clone(&self.verdict);
        move || verdict.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs the probe until the future is dropped.
    ///
    /// # Cancel safety
    ///
    /// Safe: dropping the future ends the probes, and the last result stays.
    pub async fn run<E: StdError, F: Future<Output = Result<(), E>>>(
        self,
        mut probe: impl FnMut() -> F,
    ) -> Infallible {
        let mut failures = 0;
        let mut ticks = interval(self.period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let mut answer = pin!(caught(async { probe().await }));
            let answer = loop {
                match timeout(self.period, answer.as_mut()).await {
                    Ok(answer) => break answer,
                    Err(_) => self.failed(&mut failures, || {
                        format!("no answer within {} seconds", self.period.as_secs_f64())
                    }),
                }
            };
            match answer {
                Err(Panicked) => self.failed(&mut failures, || "the check panicked".to_owned()),
                Ok(Ok(())) => {
                    failures = 0;
                    self.say(Ok(()));
                }
                Ok(Err(error)) => self.failed(&mut failures, || with_causes(&error)),
            }
        }
    }

    fn failed(&self, failures: &mut u32, why: impl FnOnce() -> String) {
        *failures = failures.saturating_add(1);
        let why = why();
        tracing::warn!(
            failures,
            threshold = self.threshold,
            "a health check failed: {why}"
        );
        if *failures >= self.threshold {
            self.say(Err(why));
        }
    }

    fn say(&self, verdict: Result<(), String>) {
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = verdict;
    }
}

/// Panic of a probe, whose message the panic hook has.
struct Panicked;

/// Runs a probe, which ends with its panic.
async fn caught<F: Future>(probe: F) -> Result<F::Output, Panicked> {
    let mut probe = pin!(probe);
    // A probe that panicked is not polled again.
    poll_fn(
        |context| match catch_unwind(AssertUnwindSafe(|| probe.as_mut().poll(context))) {
            Ok(polled) => polled.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked)),
        },
    )
    .await
}

fn with_causes(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string does not fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::pending, io};
    use tokio::{sync::mpsc, time::sleep};

    const PERIOD: Duration = Duration::from_secs(10);

    /// Returns a sender for the probe's results, and the verdict of a watch over them.
    async fn watching(
        threshold: u32,
    ) -> (
        mpsc::Sender<Result<(), io::Error>>,
        impl Fn() -> Result<(), String>,
    ) {
        let watch = Watch::new(PERIOD, threshold);
        let verdict = watch.verdict();
        let (answers, questions) = mpsc::channel::<Result<(), io::Error>>(1);
        let questions = Arc::new(tokio::sync::Mutex::new(questions));
        tokio::spawn(watch.run(move || {
            let questions = Arc::clone(&questions);
            async move {
                match questions.lock().await.recv().await {
                    Some(answer) => answer,
                    None => pending().await,
                }
            }
        }));
        (answers, verdict)
    }

    /// Waits for so many periods, and half of one more.
    async fn periods(count: u32) {
        sleep(PERIOD * count + PERIOD / 2).await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_fails_at_the_threshold_and_recovers_at_once() {
        let (answers, verdict) = watching(2).await;
        let broken = || Err(io::Error::other("broken"));

        answers.send(broken()).await.unwrap();
        sleep(PERIOD / 2).await;
        assert_eq!(verdict(), Ok(()), "one failure is not two");
        answers.send(broken()).await.unwrap();
        sleep(PERIOD).await;
        assert_eq!(verdict(), Err("broken".to_owned()));
        answers.send(Ok(())).await.unwrap();
        sleep(PERIOD).await;
        assert_eq!(verdict(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_hangs_fails_once_per_period_and_is_waited_for() {
        let (answers, verdict) = watching(2).await;

        periods(1).await;
        assert_eq!(verdict(), Ok(()));
        periods(1).await;
        assert_eq!(verdict(), Err("no answer within 10 seconds".to_owned()));
        // The same probe gets the late answer, not a new one.
        answers.send(Ok(())).await.unwrap();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(verdict(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_panics_fails_and_is_made_again() {
        let watch = Watch::new(PERIOD, 1);
        let verdict = watch.verdict();
        let mut probes = 0;
        tokio::spawn(watch.run(move || {
            probes += 1;
            let is_first = probes == 1;
            async move {
                assert!(!is_first, "by intention");
                Ok::<(), io::Error>(())
            }
        }));

        periods(0).await;
        assert_eq!(verdict(), Err("the check panicked".to_owned()));
        periods(1).await;
        assert_eq!(verdict(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn causes_are_told() {
        #[derive(Debug)]
        struct Outer(io::Error);
        impl std::fmt::Display for Outer {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("cannot write")
            }
        }
        impl StdError for Outer {
            fn source(&self) -> Option<&(dyn StdError + 'static)> {
                Some(&self.0)
            }
        }
        let watch = Watch::new(PERIOD, 1);
        let verdict = watch.verdict();

        tokio::spawn(watch.run(|| async { Err(Outer(io::Error::other("read-only"))) }));
        sleep(Duration::from_millis(1)).await;

        assert_eq!(verdict(), Err("cannot write: read-only".to_owned()));
    }
}
