//! [`Stops`]: a store that stops to answer after a number of requests, as a process that is killed sees it, or that leaves
//! keys out of its listings, or that fails to replace some objects.

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, memory::InMemory, path::Path,
};
use std::{
    fmt,
    future::{pending, ready},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::Notify;

/// Number of requests that are answered.
#[derive(Clone, Debug)]
pub(crate) struct Stops {
    left: Arc<AtomicU64>,
    stopped: Arc<Notify>,
    /// A part of the keys that no listing shows.
    omitted: Option<&'static str>,
    /// A part of the keys whose objects cannot be replaced.
    fixed: Option<&'static str>,
}

impl Stops {
    pub(super) fn after(requests: u64) -> Self {
        Self {
            left: Arc::new(AtomicU64::new(requests)),
            stopped: Arc::default(),
            omitted: None,
            fixed: None,
        }
    }

    pub(crate) fn never() -> Self {
        Self::after(u64::MAX)
    }

    /// Returns a store that always answers, and leaves the keys with this part out of its listings.
    pub(crate) fn omitting(part: &'static str) -> Self {
        Self {
            omitted: Some(part),
            ..Self::never()
        }
    }

    /// Returns a store that fails to replace the objects whose keys have this part.
    pub(crate) fn fixing(part: &'static str) -> Self {
        Self {
            fixed: Some(part),
            ..Self::never()
        }
    }

    /// Returns the number of requests that a store has answered which never stops.
    pub(crate) fn answered(&self) -> u64 {
        u64::MAX - self.left.load(Ordering::SeqCst)
    }

    pub(super) fn around(&self, memory: &Arc<InMemory>) -> Stopping {
        Stopping {
            inner: Arc::clone(memory),
            stops: self.clone(),
        }
    }

    /// Waits until a request has no answer.
    pub(super) async fn stopped(&self) {
        self.stopped.notified().await;
    }

    async fn request(self) {
        let left = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_err() {
            self.stopped.notify_one();
            pending::<()>().await;
        }
    }
}

/// A bucket in memory that stops to answer.
#[derive(Debug)]
pub(super) struct Stopping {
    inner: Arc<InMemory>,
    stops: Stops,
}

impl fmt::Display for Stopping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for Stopping {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.stops.clone().request().await;
        let is_fixed = self.stops.fixed.is_some_and(|part| path.as_ref().contains(part));
        if is_fixed && options.mode == PutMode::Overwrite {
            return Err(object_store::Error::Generic {
                store: "memory",
                source: "its answer is lost".into(),
            });
        }
        self.inner.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.stops.clone().request().await;
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let stops = self.stops.clone();
        let paths = paths.then(move |path| {
            let stops = stops.clone();
            async move {
                stops.request().await;
                path
            }
        });
        self.inner.delete_stream(paths.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (stops, inner, prefix) = (self.stops.clone(), Arc::clone(&self.inner), prefix.cloned());
        let omitted = stops.omitted;
        let listed = async move {
            stops.request().await;
            inner.list(prefix.as_ref())
        };
        let listed = futures_util::stream::once(listed).flatten();
        let is_shown = move |found: &Result<ObjectMeta>| {
            let is_omitted =
                |meta: &ObjectMeta| omitted.is_some_and(|part| meta.location.as_ref().contains(part));
            !found.as_ref().is_ok_and(is_omitted)
        };
        listed.filter(move |found| ready(is_shown(found))).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.stops.clone().request().await;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.stops.clone().request().await;
        self.inner.copy_opts(from, to, options).await
    }
}
