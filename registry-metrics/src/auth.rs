//! [`AuthMetrics`]: duration and failures of authentication.

use crate::{
    buckets,
    cells::{Cells, Key, label},
};
use async_trait::async_trait;
use prometheus_client::{encoding::EncodeLabelSet, metrics::histogram::Histogram, registry::Registry};
use registry_core::{
    Authenticator, Identity,
    auth::{Access, AuthError, AuthRequest, Challenge},
};
use std::time::Instant;

/// Times an authenticator, by outcome.
///
/// ```
/// use registry_core::{Authenticator, Registry, storage::MemoryStorage};
/// use registry_metrics::{AuthMetrics, prometheus_client};
///
/// fn registry(users: impl Authenticator, instruments: &mut prometheus_client::registry::Registry) -> Registry {
///     let users = AuthMetrics::register(instruments).wrap(users);
///     Registry::builder(MemoryStorage::new()).authenticator(users).build()
/// }
/// ```
#[derive(Clone, Debug)]
pub struct AuthMetrics {
    seconds: Cells<ByOutcome, Histogram>,
}

impl AuthMetrics {
    /// Registers the instruments. Call it once per `registry`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        Self {
            seconds: Cells::register(
                registry,
                "registry_auth_duration_seconds",
                "Duration of authentication, by result",
                buckets::operation_seconds,
            )
            .showing(Outcome::ALL.map(|outcome| ByOutcome { outcome })),
        }
    }

    /// Wraps an authenticator to measure it.
    pub const fn wrap<A: Authenticator>(self, authenticator: A) -> MeasuredAuthenticator<A> {
        MeasuredAuthenticator {
            inner: authenticator,
            metrics: self,
        }
    }
}

/// A measured authenticator, made by [`AuthMetrics::wrap`].
#[derive(Debug)]
pub struct MeasuredAuthenticator<A> {
    inner: A,
    metrics: AuthMetrics,
}

#[async_trait]
impl<A: Authenticator> Authenticator for MeasuredAuthenticator<A> {
    async fn authenticate(&self, request: AuthRequest<'_>) -> Result<Option<Identity>, AuthError> {
        let started = Instant::now();
        let answer = self.inner.authenticate(request).await;
        let outcome = Outcome::of(&answer);
        self.metrics.seconds.with(ByOutcome { outcome }, |seconds| {
            seconds.observe(started.elapsed().as_secs_f64());
        });
        answer
    }

    fn challenges(&self, request: Option<AuthRequest<'_>>, needed: &[Access]) -> Vec<Challenge> {
        self.inner.challenges(request, needed)
    }
}

label! {
    /// Outcome of an authentication.
    Outcome {
        Anonymous: "anonymous",
        Identified: "identified",
        Rejected: "rejected",
        Throttled: "throttled",
        Failed: "failed",
    }
}

impl Outcome {
    const fn of(answer: &Result<Option<Identity>, AuthError>) -> Self {
        match answer {
            Ok(None) => Self::Anonymous,
            Ok(Some(_)) => Self::Identified,
            Err(AuthError::Rejected) => Self::Rejected,
            Err(AuthError::Throttled { .. }) => Self::Throttled,
            Err(_) => Self::Failed,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: Outcome,
}

impl Key for ByOutcome {
    const COUNT: usize = Outcome::ALL.len();

    fn index(self) -> usize {
        self.outcome as usize
    }
}
