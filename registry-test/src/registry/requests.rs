//! [`Requests`]: the recorded requests of a test registry.

use crate::{kind::Kind, tap::Exchange};
use std::{fmt, ops::Deref};

/// Recorded requests, with their answers, in the order in which they began. Each filter returns those that satisfy it.
///
/// ```
/// use registry_test::TestRegistry;
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/exchange.rs"));
/// # fn main() {
///
/// let registry = TestRegistry::start();
/// client(registry.addr()).unwrap();
///
/// assert_eq!(registry.requests().ping().status(200).count(), 1);
/// assert_eq!(registry.requests().method("PUT").manifest().repository("team/app").count(), 0);
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Requests(Vec<Exchange>);

impl Requests {
    pub(super) const fn new(exchanges: Vec<Exchange>) -> Self {
        Self(exchanges)
    }

    /// Returns the requests that satisfy a condition.
    #[must_use]
    pub fn when(self, condition: impl Fn(&Exchange) -> bool) -> Self {
        Self(
            self.0
                .into_iter()
                .filter(|exchange| condition(exchange))
                .collect(),
        )
    }

    /// Returns the requests with this method.
    #[must_use]
    pub fn method(self, method: impl AsRef<str>) -> Self {
        self.when(|exchange| exchange.method.as_str().eq_ignore_ascii_case(method.as_ref()))
    }

    /// Returns the requests of this kind.
    #[must_use]
    pub fn kind(self, kind: Kind) -> Self {
        self.when(|exchange| Kind::of(exchange) == Some(kind))
    }

    /// Returns the requests for manifests.
    #[must_use]
    pub fn manifest(self) -> Self {
        self.kind(Kind::Manifest)
    }

    /// Returns the requests for blobs by their digests.
    #[must_use]
    pub fn blob(self) -> Self {
        self.kind(Kind::Blob)
    }

    /// Returns the requests of upload sessions, including mounts.
    #[must_use]
    pub fn upload(self) -> Self {
        self.kind(Kind::Upload)
    }

    /// Returns the requests for lists of tags.
    #[must_use]
    pub fn tags(self) -> Self {
        self.kind(Kind::Tags)
    }

    /// Returns the requests for lists of referrers.
    #[must_use]
    pub fn referrers(self) -> Self {
        self.kind(Kind::Referrers)
    }

    /// Returns the requests for tokens.
    #[must_use]
    pub fn token(self) -> Self {
        self.kind(Kind::Token)
    }

    /// Returns the requests of `/v2/`.
    #[must_use]
    pub fn ping(self) -> Self {
        self.kind(Kind::Ping)
    }

    /// Returns the requests in a repository.
    #[must_use]
    pub fn repository(self, repository: &str) -> Self {
        self.when(|exchange| {
            exchange
                .repository()
                .is_some_and(|name| name.as_str() == repository)
        })
    }

    /// Returns the requests that were answered with this status.
    #[must_use]
    pub fn status(self, status: u16) -> Self {
        self.when(|exchange| exchange.status() == Some(status))
    }

    /// Returns the number of requests.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.0.len()
    }
}

impl Deref for Requests {
    type Target = [Exchange];

    fn deref(&self) -> &[Exchange] {
        &self.0
    }
}

impl IntoIterator for Requests {
    type Item = Exchange;
    type IntoIter = std::vec::IntoIter<Exchange>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Requests {
    type Item = &'a Exchange;
    type IntoIter = std::slice::Iter<'a, Exchange>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Prints one line per request, and none of their headers, which hold credentials.
impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no requests");
        }
        for (number, exchange) in self.0.iter().enumerate() {
            let start = if number == 0 { "" } else { "\n" };
            write!(f, "{start}{}", exchange.line())?;
        }
        Ok(())
    }
}
