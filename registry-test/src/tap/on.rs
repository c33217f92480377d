//! [`On`]: the exchanges that a fault happens to.

use super::record::Exchange;
use crate::kind::Kind;
use http::Method;
use registry_core::{Digest, Reference, RepositoryName, Tag, protocol::Request};
use std::{fmt, sync::Arc};

/// The exchanges that a fault happens to, and how often, created by [`on`] and [`on_any`].
///
/// Without a number, the fault happens once. A [`TestRegistry`](crate::TestRegistry) checks when it is dropped that
/// each fault has happened.
///
/// ```
/// use registry_test::fault::{GET, PUT, cut, on, status};
/// use registry_test::{TestRegistry, tap::Side::Response};
///
/// let registry = TestRegistry::start();
/// registry.fault(on(PUT).manifest().repository("team/app").first(2), status(429).retry_after(1));
/// registry.fault(on(GET).blob().each_first(), cut(Response).after(1000).reset());
/// # registry.clear_faults();
/// ```
#[derive(Clone)]
#[must_use]
pub struct On {
    method: Option<Method>,
    kind: Option<Kind>,
    repository: Option<RepositoryName>,
    digest: Option<Digest>,
    tag: Option<Tag>,
    when: Option<Arc<Condition>>,
    pub(super) times: Times,
    pub(super) optional: bool,
}

type Condition = dyn Fn(&Exchange) -> bool + Send + Sync;

/// The exchanges, among those that satisfy the conditions of an [`On`], that a fault happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Times {
    /// The request with this number, counted from 1.
    Nth(usize),
    /// So many times, as soon as it can happen.
    First(usize),
    /// Once for each method and path.
    EachFirst,
    /// Each time.
    Always,
}

/// The conditions of an [`On`] that an exchange satisfies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fit {
    /// All of them.
    pub(super) all: bool,
    /// Their number.
    pub(super) score: usize,
}

/// Selects requests with this method.
pub const fn on(method: Method) -> On {
    selecting(Some(method))
}

/// Selects requests with any method.
pub const fn on_any() -> On {
    selecting(None)
}

const fn selecting(method: Option<Method>) -> On {
    On {
        method,
        kind: None,
        repository: None,
        digest: None,
        tag: None,
        when: None,
        times: Times::First(1),
        optional: false,
    }
}

impl On {
    /// Selects requests for blobs by their digests.
    pub const fn blob(self) -> Self {
        self.kind(Kind::Blob)
    }

    /// Selects requests of upload sessions, including the one that opens a session and mounts.
    pub const fn upload(self) -> Self {
        self.kind(Kind::Upload)
    }

    /// Selects requests for manifests.
    pub const fn manifest(self) -> Self {
        self.kind(Kind::Manifest)
    }

    /// Selects requests for lists of tags.
    pub const fn tags(self) -> Self {
        self.kind(Kind::Tags)
    }

    /// Selects requests for lists of referrers.
    pub const fn referrers(self) -> Self {
        self.kind(Kind::Referrers)
    }

    /// Selects requests for tokens.
    pub const fn token(self) -> Self {
        self.kind(Kind::Token)
    }

    /// Selects requests of `/v2/`.
    pub const fn ping(self) -> Self {
        self.kind(Kind::Ping)
    }

    /// Selects requests for the catalog.
    pub const fn catalog(self) -> Self {
        self.kind(Kind::Catalog)
    }

    pub(crate) const fn kind(mut self, kind: Kind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Selects requests in this repository.
    ///
    /// # Panics
    ///
    /// If it is not the name of a repository.
    #[track_caller]
    pub fn repository(self, repository: &str) -> Self {
        match RepositoryName::parse(repository) {
            Ok(name) => self.in_repository(name),
            Err(error) => panic!("{repository:?} is not the name of a repository: {error}"),
        }
    }

    pub(crate) fn in_repository(mut self, repository: RepositoryName) -> Self {
        self.repository = Some(repository);
        self
    }

    /// Selects requests that name this digest: a blob, a manifest by its digest, the end of an upload, a mount, a
    /// subject.
    pub fn digest(mut self, digest: &Digest) -> Self {
        self.digest = Some(*digest);
        self
    }

    /// Selects requests for the manifest with this tag.
    ///
    /// # Panics
    ///
    /// If it is not a tag.
    #[track_caller]
    pub fn tag(self, tag: &str) -> Self {
        match Tag::parse(tag) {
            Ok(tag) => self.tagged(tag),
            Err(error) => panic!("{tag:?} is not a tag: {error}"),
        }
    }

    pub(crate) fn tagged(mut self, tag: Tag) -> Self {
        self.tag = Some(tag);
        self
    }

    /// Selects requests that satisfy a condition of your own. It is called when the head of the request has arrived,
    /// so the exchange has neither a body nor an answer yet. It may use the registry, and even
    /// [restart](crate::TestRegistry::restart) it, which ends the connection of the request, too.
    pub fn when(mut self, condition: impl Fn(&Exchange) -> bool + Send + Sync + 'static) -> Self {
        self.when = Some(Arc::new(condition));
        self
    }

    /// Selects only the request with this number among those that satisfy the conditions, counted from 1.
    ///
    /// # Panics
    ///
    /// If the number is 0.
    #[track_caller]
    pub const fn nth(mut self, number: usize) -> Self {
        assert!(number > 0, "`nth` counts from 1: the first request is `nth(1)`");
        self.times = Times::Nth(number);
        self
    }

    /// Lets the fault happen so many times. A request to which it cannot happen, such as one whose body is too short,
    /// does not count.
    ///
    /// # Panics
    ///
    /// If the number is 0.
    #[track_caller]
    pub const fn first(mut self, times: usize) -> Self {
        assert!(
            times > 0,
            "`first(0)` never happens: leave out the fault, or use `first(1)`"
        );
        self.times = Times::First(times);
        self
    }

    /// Lets the fault happen once for each target, which is a method with a path: each blob, each manifest, each
    /// upload session. The order in which parallel requests arrive makes no difference.
    pub const fn each_first(mut self) -> Self {
        self.times = Times::EachFirst;
        self
    }

    /// Lets the fault happen each time.
    pub const fn always(mut self) -> Self {
        self.times = Times::Always;
        self
    }

    /// Accepts that the fault never happens.
    pub const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Returns true if an exchange satisfies the conditions, whatever the number.
    #[must_use]
    pub fn matches(&self, exchange: &Exchange) -> bool {
        self.fit(exchange).all
    }

    /// Returns true if a challenge (401) is an answer like any other: the requests are those of the login, or the
    /// fault happens each time.
    pub(super) const fn includes_challenges(&self) -> bool {
        matches!(self.times, Times::Always) || matches!(self.kind, Some(Kind::Ping | Kind::Token))
    }

    pub(super) fn fit(&self, exchange: &Exchange) -> Fit {
        let conditions = [
            self.method.as_ref().map(|method| *method == exchange.method),
            self.kind.map(|kind| Kind::of(exchange) == Some(kind)),
            self.repository
                .as_ref()
                .map(|name| exchange.repository().as_ref() == Some(name)),
            self.digest.as_ref().map(|digest| names(exchange, digest)),
            self.tag.as_ref().map(|tag| tag_of(exchange) == Some(tag)),
        ];
        let asked = conditions.iter().flatten().count();
        let score = conditions.iter().flatten().filter(|met| **met).count();
        let all = score == asked && self.when.as_ref().is_none_or(|when| when(exchange));
        Fit { all, score }
    }
}

fn names(exchange: &Exchange, wanted: &Digest) -> bool {
    let Some(
        Request::Blob { digest, .. }
        | Request::DeleteBlob { digest, .. }
        | Request::PushBlob { digest, .. }
        | Request::Mount { digest, .. }
        | Request::Close { digest, .. }
        | Request::Referrers { subject: digest, .. }
        | Request::Manifest {
            reference: Reference::Digest(digest),
            ..
        }
        | Request::PutManifest {
            reference: Reference::Digest(digest),
            ..
        }
        | Request::DeleteManifest {
            reference: Reference::Digest(digest),
            ..
        },
    ) = &exchange.operation
    else {
        return false;
    };
    digest == wanted
}

fn tag_of(exchange: &Exchange) -> Option<&Tag> {
    match &exchange.operation {
        Some(
            Request::Manifest {
                reference: Reference::Tag(tag),
                ..
            }
            | Request::PutManifest {
                reference: Reference::Tag(tag),
                ..
            }
            | Request::DeleteManifest {
                reference: Reference::Tag(tag),
                ..
            },
        ) => Some(tag),
        _ => None,
    }
}

/// Prints the calls that make it.
impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.method {
            Some(method) => write!(f, "on({method})")?,
            None => f.write_str("on_any()")?,
        }
        if let Some(kind) = self.kind {
            write!(f, ".{kind}()")?;
        }
        if let Some(repository) = &self.repository {
            write!(f, ".repository({:?})", repository.as_str())?;
        }
        if let Some(digest) = &self.digest {
            write!(f, ".digest({digest})")?;
        }
        if let Some(tag) = &self.tag {
            write!(f, ".tag({:?})", tag.as_str())?;
        }
        if self.when.is_some() {
            f.write_str(".when(…)")?;
        }
        match self.times {
            Times::Nth(number) => write!(f, ".nth({number})")?,
            Times::First(1) => {}
            Times::First(times) => write!(f, ".first({times})")?,
            Times::EachFirst => f.write_str(".each_first()")?,
            Times::Always => f.write_str(".always()")?,
        }
        f.write_str(if self.optional { ".optional()" } else { "" })
    }
}

impl fmt::Debug for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
