//! [`Ongoing`]: an exchange in progress, with the rules that are due in it.

use super::{
    canned::Canned,
    client::Client,
    fault::{Fault, Slow, Stall, Status, Token},
    journal::Journal,
    patience::{SILENCE, lock},
    record::Exchange,
    rule::Rule,
    side::Side,
    wake::Wake,
};
use http::Method;
use std::{
    fmt, io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Pieces per second in which a slow body passes.
const PIECES: u64 = 50;
/// Time between looks at a client of which nothing is read.
const LOOK: Duration = Duration::from_millis(50);

/// A rule that is due in an exchange.
#[derive(Clone)]
pub(super) struct Applied {
    pub(super) rule: Arc<Rule>,
    /// It has happened in this exchange.
    happened: Arc<AtomicBool>,
}

/// An exchange in progress.
#[derive(Clone)]
pub(super) struct Ongoing<'c> {
    pub(super) method: Method,
    pub(super) exchange: Arc<Mutex<Exchange>>,
    pub(super) rules: Vec<Applied>,
    /// The client has announced that the connection ends with this exchange.
    pub(super) last: bool,
    pub(super) client: &'c Client,
    pub(super) journal: &'c Journal,
    pub(super) wake: &'c Arc<Wake>,
}

/// Marks an error that ends a connection with a reset.
#[derive(Debug)]
struct Reset;

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a rule resets the connection")
    }
}

impl std::error::Error for Reset {}

/// Returns true if the error ends a connection with a reset.
pub(super) fn is_reset(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|source| source.is::<Reset>())
}

impl From<Arc<Rule>> for Applied {
    fn from(rule: Arc<Rule>) -> Self {
        Self {
            rule,
            happened: Arc::default(),
        }
    }
}

impl Ongoing<'_> {
    /// Counts one more fault; returns true if it may happen. It happens once in an exchange.
    pub(super) fn take(&self, applied: &Applied) -> bool {
        let target = || {
            let exchange = lock(&self.exchange);
            let path = exchange.target.split('?').next().unwrap_or_default();
            format!("{} {path}", exchange.method)
        };
        let taken = !applied.happened.load(Ordering::Relaxed) && applied.rule.take(target);
        if taken {
            applied.happened.store(true, Ordering::Relaxed);
        }
        taken
    }

    /// Returns it with the rules that are due if the registry asks for a login (401): the client will come again.
    pub(super) fn challenged(&self) -> Self {
        let mut challenged = self.clone();
        challenged
            .rules
            .retain(|applied| applied.rule.includes_challenges());
        challenged
    }

    /// Returns the answer that the client gets in place of the registry's.
    pub(super) fn canned(&self) -> Option<Canned> {
        self.rules.iter().find_map(|applied| match &applied.rule.fault {
            Fault::Status(status) if self.take(applied) => Some(Canned::from(status)),
            Fault::Token(Token::Fails(status)) if self.take(applied) => {
                Status::new(*status).as_ref().map(Canned::from)
            }
            _ => None,
        })
    }

    /// Applies the rules at `position` of a body before its next `most` bytes (0: before its head). Returns the number
    /// of bytes that may pass before the next rule applies.
    pub(super) fn before(&self, side: Side, position: u64, most: usize) -> io::Result<usize> {
        let mut allowed = most;
        let mut rate = None;
        let is_head = most == 0;
        for applied in &self.rules {
            let fault = &applied.rule.fault;
            let (at, after) = match fault {
                Fault::Cut { side, after } | Fault::Reset { side, after } => (*side, *after),
                Fault::Stall(stall) => (stall.side, stall.after),
                Fault::Refuse => (Side::Request, 0),
                Fault::LostAnswer => (Side::Response, 0),
                Fault::Slow(slow) if !is_head => {
                    if applied.happened.load(Ordering::Relaxed) || self.take(applied) {
                        rate = Some(*slow);
                    }
                    continue;
                }
                Fault::Token(Token::Expire) => (Side::Request, 0),
                _ => continue,
            };
            let Some(distance) = after.checked_sub(position).filter(|_| at == side) else {
                continue;
            };
            if distance > 0 {
                allowed = usize::try_from(distance).map_or(allowed, |distance| allowed.min(distance));
            } else if (is_head || position > 0) && self.take(applied) {
                self.happen(side, fault)?;
            }
        }
        match rate {
            Some(rate) => self.slow_down(side, rate, allowed),
            None => Ok(allowed),
        }
    }

    fn happen(&self, side: Side, fault: &Fault) -> io::Result<()> {
        match fault {
            Fault::Stall(stall) if self.stalled(side, stall) => Ok(()),
            Fault::Token(_) => {
                if let Some(expire) = self.journal.expire.get() {
                    expire();
                }
                Ok(())
            }
            Fault::Reset { .. } | Fault::Refuse => {
                self.end(side, io::Error::new(io::ErrorKind::ConnectionAborted, Reset))
            }
            _ => self.end(side, io::ErrorKind::ConnectionAborted.into()),
        }
    }

    fn end(&self, side: Side, error: io::Error) -> io::Result<()> {
        lock(&self.exchange).cut = Some(side);
        Err(error)
    }

    /// Waits at the gate; returns true if it has opened.
    fn stalled(&self, side: Side, stall: &Stall) -> bool {
        stall.gate.reach();
        if side == Side::Response || stall.until {
            return stall.gate.opens_within(SILENCE, self.wake, !stall.until);
        }
        // The thread that waits is the one that would read from the client.
        let begun = Instant::now();
        while begun.elapsed() < SILENCE && !self.wake.is_closed() && !self.client.has_left() {
            if stall.gate.opens_within(LOOK, self.wake, false) {
                return true;
            }
        }
        false
    }

    /// Waits for as long as the next bytes take; returns their number.
    fn slow_down(&self, side: Side, Slow(rate): Slow, allowed: usize) -> io::Result<usize> {
        let piece = usize::try_from(rate.get() / PIECES).unwrap_or(usize::MAX).max(1);
        let allowed = allowed.min(piece);
        let nanoseconds = (allowed as u64).saturating_mul(1_000_000_000) / rate.get();
        if self
            .wake
            .wait(Duration::from_nanos(nanoseconds), |ending| ending.closed)
        {
            self.end(side, io::ErrorKind::ConnectionAborted.into())?;
        }
        Ok(allowed)
    }
}
