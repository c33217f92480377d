//! [`LogQueue`]: lines of the log on their way to a thread that writes them.
//!
//! Standard error may be a pipe that nobody reads, and no request waits for that. Lines beyond the bound are dropped, and
//! a line tells their number when writing succeeds again.

use std::{
    io::{self, Write},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// Maximum number of lines that wait to be written.
const WAITING: usize = 16_384;

/// Maximum time to write the last lines.
const LAST: Duration = Duration::from_millis(500);

/// Bounded queue of lines. Clones are of the same queue.
#[derive(Clone, Debug)]
pub(crate) struct LogQueue {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Told after each change that somebody may wait for.
    changed: Condvar,
    bound: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<String>,
    lost: u64,
    is_writing: bool,
}

impl LogQueue {
    /// Starts a thread that writes to `out`. `lost` makes the line about a number of lost lines.
    pub(crate) fn start(
        out: impl Write + Send + 'static,
        lost: impl Fn(u64) -> String + Send + 'static,
    ) -> io::Result<Self> {
        Self::with_bound(WAITING, out, lost)
    }

    fn with_bound(
        bound: usize,
        mut out: impl Write + Send + 'static,
        lost: impl Fn(u64) -> String + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            bound,
        });
        let queue = Self {
            shared: Arc::clone(&shared),
        };
        thread::Builder::new().name("log".into()).spawn(move || {
            loop {
                let (mut lines, lost_lines) = shared.next();
                if lost_lines > 0 {
                    lines.push(lost(lost_lines));
                }
                // In one write, so that lines never mix; nobody is left to tell if standard error is gone.
                _ = out
                    .write_all(lines.concat().as_bytes())
                    .and_then(|()| out.flush());
            }
        })?;
        Ok(queue)
    }

    /// Adds a line, which ends with a line feed. Does not wait.
    pub(crate) fn push(&self, line: String) {
        let mut state = self.shared.state();
        if state.waiting.len() < self.shared.bound {
            state.waiting.push(line);
        } else {
            state.lost += 1;
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Waits until all lines are written, at most for a short time.
    pub(crate) fn flush(&self) {
        let is_unfinished = |state: &mut State| !state.waiting.is_empty() || state.is_writing;
        let state = self.shared.state();
        let waited = self.shared.changed.wait_timeout_while(state, LAST, is_unfinished);
        drop(waited);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // No line is half added, whatever panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for lines. Returns them, and the number of those that were lost. What was returned before is written.
    fn next(&self) -> (Vec<String>, u64) {
        let mut state = self.state();
        state.is_writing = false;
        self.changed.notify_all();
        let mut state = self
            .changed
            .wait_while(state, |state| state.waiting.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        state.is_writing = true;
        (mem::take(&mut state.waiting), mem::take(&mut state.lost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// Output that tells what it is given, and takes it when it is allowed to.
    struct Slow {
        given: Sender<String>,
        allowed: Receiver<()>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            self.given.send(text).unwrap();
            // The test may have ended.
            _ = self.allowed.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_cannot_be_written_are_dropped_and_counted() {
        let (given, written) = channel();
        let (allow, allowed) = channel();
        let out = Slow { given, allowed };
        let queue = LogQueue::with_bound(2, out, |lost| format!("{lost} lost\n")).unwrap();

        queue.push("a\n".into());
        assert_eq!(written.recv().unwrap(), "a\n");
        for line in ["b\n", "c\n", "d\n", "e\n", "f\n"] {
            queue.push(line.into());
        }
        allow.send(()).unwrap();

        assert_eq!(written.recv().unwrap(), "b\nc\n3 lost\n");
    }

    #[test]
    fn flushing_waits_for_the_last_line() {
        let (given, written) = channel();
        let (allow, allowed) = channel();
        allow.send(()).unwrap();
        let queue = LogQueue::start(Slow { given, allowed }, |_| String::new()).unwrap();

        queue.push("last\n".into());
        queue.flush();

        assert_eq!(written.try_recv().unwrap(), "last\n");
    }
}
