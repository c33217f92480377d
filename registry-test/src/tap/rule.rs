//! [`Rule`]: a [`Fault`], the exchanges that it happens to, and the record of what has happened.

use super::{
    detour::is_link,
    fault::{Fault, Token},
    gate::Gate,
    on::{Fit, On, Times, on_any},
    patience::lock,
    record::Exchange,
};
use crate::kind::Kind;
use http::header;
use std::{
    collections::HashSet,
    fmt,
    panic::{RefUnwindSafe, UnwindSafe},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

/// Maximum number of requests that a report names.
const NEAREST: usize = 5;

/// A fault, and the exchanges that it happens to.
///
/// ```
/// use registry_test::{fault::{PATCH, cut, on}, tap::{Rule, Side::Request}};
///
/// // Cut the first two chunks of a push after 100 000 bytes.
/// let rule = Rule::from((on(PATCH).upload().first(2), cut(Request).after(100_000)));
/// assert_eq!(rule.to_string(), "fault(on(PATCH).upload().first(2), cut(Request).after(100000))");
/// ```
#[must_use]
pub struct Rule {
    on: On,
    pub(super) fault: Fault,
    /// Text of the rule in messages, in place of the call that makes it.
    label: Option<String>,
    cleared: AtomicBool,
    account: Mutex<Account>,
}

/// Record of what has happened by a rule.
#[derive(Default)]
struct Account {
    /// Number of requests that satisfied the conditions.
    met: usize,
    fired: usize,
    targets: HashSet<String>,
    /// The requests that satisfied most conditions, best first.
    nearest: Vec<Near>,
}

/// A request to which the fault has not happened.
struct Near {
    score: usize,
    /// Its number among those that satisfied the conditions.
    number: Option<usize>,
    exchange: Arc<Mutex<Exchange>>,
}

impl Rule {
    /// Returns a rule with a fault for every exchange, each time.
    pub fn new(fault: impl Into<Fault>) -> Self {
        Self::from((on_any().always(), fault))
    }

    /// Restricts the rule to exchanges that satisfy a condition: see [`On::when`].
    pub fn when(mut self, condition: impl Fn(&Exchange) -> bool + Send + Sync + 'static) -> Self {
        self.on = self.on.when(condition);
        self
    }

    /// Limits how many times the fault happens: see [`On::first`].
    pub const fn times(mut self, times: usize) -> Self {
        self.on.times = Times::First(times);
        self
    }

    /// Sets the text of the rule in messages.
    #[cfg(feature = "serve")]
    pub(crate) fn labelled(self, label: impl Into<String>) -> Self {
        Self {
            label: Some(label.into()),
            ..self
        }
    }

    /// Compares an exchange that begins with the conditions.
    pub(super) fn fit(&self, exchange: &Exchange) -> Fit {
        if self.cleared.load(Ordering::Relaxed) {
            return Fit { all: false, score: 0 };
        }
        let fit = self.on.fit(exchange);
        Fit {
            all: fit.all && self.concerns(exchange),
            ..fit
        }
    }

    /// Returns true if the fault can happen to a request of this kind.
    fn concerns(&self, exchange: &Exchange) -> bool {
        match self.fault {
            Fault::Redirect(_) => !is_link(&exchange.target),
            Fault::Token(fault) => {
                let of_endpoint = matches!(
                    fault,
                    Token::NoExpiresIn | Token::AccessTokenOnly | Token::Fails(_)
                );
                of_endpoint == (Kind::of(exchange) == Some(Kind::Token))
            }
            _ => true,
        }
    }

    /// Returns true if the fault happens to an answer that only asks for a login (401).
    pub(super) fn includes_challenges(&self) -> bool {
        match &self.fault {
            Fault::Token(_) => true,
            Fault::SetHeader(name, _) | Fault::RemoveHeader(name) if *name == header::WWW_AUTHENTICATE => {
                true
            }
            _ => self.on.includes_challenges(),
        }
    }

    /// Counts an exchange; returns true if the fault is due in it.
    pub(super) fn count(&self, fit: Fit, exchange: &Arc<Mutex<Exchange>>) -> bool {
        let mut account = lock(&self.account);
        account.met += usize::from(fit.all);
        let number = fit.all.then_some(account.met);
        if account.fired == 0 {
            account.note(fit, number, exchange);
        }
        match self.on.times {
            Times::Nth(wanted) => number == Some(wanted),
            Times::First(_) | Times::EachFirst | Times::Always => fit.all,
        }
    }

    /// Counts one more fault; returns true if it may happen.
    pub(super) fn take(&self, target: impl FnOnce() -> String) -> bool {
        let mut account = lock(&self.account);
        let due = !self.cleared.load(Ordering::Relaxed)
            && match self.on.times {
                Times::Nth(_) => account.fired == 0,
                Times::First(times) => account.fired < times,
                Times::EachFirst => account.targets.insert(target()),
                Times::Always => true,
            };
        if due {
            account.fired += 1;
            account.nearest.clear();
        }
        due
    }

    /// Explains that the fault has not happened although it had to.
    fn complaint(&self) -> Option<String> {
        let account = lock(&self.account);
        if account.fired > 0 || self.on.optional || self.cleared.load(Ordering::Relaxed) {
            return None;
        }
        let mut text = format!("{self} never happened");
        if account.nearest.is_empty() {
            text.push_str("; no request was similar");
            return Some(text);
        }
        text.push_str("; the nearest requests:");
        for near in &account.nearest {
            text.push_str("\n  ");
            text.push_str(&lock(&near.exchange).line());
            if let Some(number) = near.number {
                text.push_str(&self.reason(number));
            }
        }
        Some(text)
    }

    /// Explains that the fault has not happened to a request that satisfied the conditions.
    fn reason(&self, number: usize) -> String {
        match self.on.times {
            Times::Nth(wanted) if wanted != number => format!(" (matches as number {number} of {wanted})"),
            _ => " (matches, and had nothing that the fault can change)".to_owned(),
        }
    }
}

impl Account {
    /// Keeps a request if it is one of the nearest.
    fn note(&mut self, fit: Fit, number: Option<usize>, exchange: &Arc<Mutex<Exchange>>) {
        if fit.score == 0 && !fit.all {
            return;
        }
        let score = if fit.all { usize::MAX } else { fit.score };
        let place = self.nearest.partition_point(|near| near.score >= score);
        self.nearest.insert(
            place,
            Near {
                score,
                number,
                exchange: Arc::clone(exchange),
            },
        );
        self.nearest.truncate(NEAREST);
    }
}

impl<F: Into<Fault>> From<(On, F)> for Rule {
    fn from((on, fault): (On, F)) -> Self {
        Self {
            on,
            fault: fault.into(),
            label: None,
            cleared: AtomicBool::new(false),
            account: Mutex::default(),
        }
    }
}

/// Prints the call that makes it.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(label) = &self.label {
            return f.write_str(label);
        }
        write!(f, "fault({}, {})", self.on, self.fault)
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A rule that was added. Clones are the same rule.
#[derive(Clone)]
pub struct Handle(pub(super) Arc<Rule>);

// A test may catch a panic of its own. No condition of a rule can leave its counts half-changed.
impl UnwindSafe for Handle {}
impl RefUnwindSafe for Handle {}

impl Handle {
    /// Returns the number of times that the fault has happened.
    #[must_use]
    pub fn fired(&self) -> usize {
        lock(&self.0.account).fired
    }

    /// Ends the rule. It need not happen any more. Exchanges that are held or cut already stay so.
    pub fn clear(&self) {
        self.0.cleared.store(true, Ordering::Relaxed);
    }

    /// Returns the gate at which a [`stall`](super::fault::stall) waits.
    ///
    /// # Panics
    ///
    /// If the fault is another one.
    #[must_use]
    #[track_caller]
    pub fn gate(&self) -> &Gate {
        match &self.0.fault {
            Fault::Stall(stall) => &stall.gate,
            fault => panic!("`{fault}` has no gate: only `stall(…)` waits at one"),
        }
    }

    /// Explains that the fault has not happened, and names the nearest requests. `None` if it has happened, was
    /// cleared, or is optional.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        self.0.complaint()
    }

    pub(super) fn is_cleared(&self) -> bool {
        self.0.cleared.load(Ordering::Relaxed)
    }
}

/// Prints the call that makes the rule.
impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("rule", &self.0)
            .field("fired", &self.fired())
            .finish()
    }
}
