//! [`Observed`]: the clock of the store, as its answers tell it.

use super::patient::{patience, patient, silent};
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
    },
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Time by the store's clock, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StoreTime(u64);

impl StoreTime {
    pub(crate) fn of(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
    }

    pub(crate) fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs()))
    }

    pub(crate) fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration.as_secs()))
    }

    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }

    pub(crate) fn time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.0)
    }
}

/// Information from the answers of the store.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// Seconds of the newest `Date`.
    date: AtomicU64,
}

impl Observed {
    /// Returns the latest time that the store has told, or `None` before its first answer.
    pub(crate) fn latest(&self) -> Option<StoreTime> {
        match self.date.load(Ordering::Acquire) {
            0 => None,
            seconds => Some(StoreTime(seconds)),
        }
    }

    /// Notes the date of an answer, and returns it.
    pub(super) fn answer(&self, headers: &http::HeaderMap) -> Option<StoreTime> {
        let text = headers.get(http::header::DATE)?.to_str().ok()?;
        let date = StoreTime::of(httpdate::parse_http_date(text).ok()?);
        self.date.fetch_max(date.0, Ordering::AcqRel);
        Some(date)
    }
}

/// A connector whose clients tell [`Observed`] about every answer of the store.
#[derive(Clone, Debug)]
pub(crate) struct Observing {
    observed: Arc<Observed>,
    /// Host of the store. Services that give credentials have clocks of their own.
    host: Option<Arc<str>>,
}

impl Observing {
    /// Observes the requests to a host, or all if there is none.
    pub(crate) fn of(observed: Arc<Observed>, host: Option<String>) -> Self {
        Self {
            observed,
            host: host.map(Arc::from),
        }
    }
}

impl HttpConnector for Observing {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Service {
            inner,
            observing: self.clone(),
        }))
    }
}

#[derive(Debug)]
struct Service {
    inner: HttpClient,
    observing: Observing,
}

#[async_trait::async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let Observing { observed, host } = &self.observing;
        if host.is_some() && request.uri().host() != host.as_deref() {
            return self.inner.execute(request).await;
        }
        let patience = patience(&request);
        let response = tokio::time::timeout(patience, self.inner.execute(request))
            .await
            .unwrap_or_else(|_| Err(silent(patience)))?;
        observed.answer(response.headers());
        Ok(response.map(patient))
    }
}
