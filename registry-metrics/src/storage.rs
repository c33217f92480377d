//! [`StorageMetrics`]: a storage whose operations are timed one by one, and whose failures are counted by kind.
//!
//! All planes are forwarded: the measured storage has the same planes as the storage inside.

use crate::{
    buckets,
    cells::{Cells, Key, label},
};
use async_trait::async_trait;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, histogram::Histogram},
    registry::Registry,
};
use registry_core::{
    Digest, RepositoryName, forward_storage,
    storage::{
        BlobBody, BlobRead, Content, ContentStream, PutManifest, PutOutcome, ReadBlob, Result, Storage,
        StorageCollect, StorageError, StorageExpire, StorageHealth, StorageInspect, StorageRepair,
        StorageTrash, StorageWrite,
    },
};
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

/// Times the operations of a storage, and counts its errors.
///
/// ```
/// use registry_core::storage::MemoryStorage;
/// use registry_metrics::{StorageMetrics, prometheus_client::registry::Registry, text};
///
/// let mut instruments = Registry::default();
/// let storage = StorageMetrics::register(&mut instruments, "inmemory").wrap(MemoryStorage::new());
///
/// assert!(text::encode(&instruments).contains(r#"registry_storage_errors_total{driver="inmemory""#));
/// # drop(storage);
/// ```
#[derive(Clone, Debug)]
pub struct StorageMetrics {
    seconds: Cells<ByAction, Histogram>,
    errors: Cells<ByKind, Counter>,
}

impl StorageMetrics {
    /// Registers the instruments, labelled with `driver`: registry:2's are called `filesystem` and `inmemory`. Call it
    /// once per `registry`.
    #[must_use]
    pub fn register(registry: &mut Registry, driver: &'static str) -> Self {
        let registry = registry.sub_registry_with_label(("driver".into(), driver.into()));
        Self {
            seconds: Cells::register(
                registry,
                "registry_storage_action_seconds",
                "Duration of an operation of the storage; append includes the time in which the client sends",
                buckets::operation_seconds,
            ),
            errors: Cells::register(
                registry,
                "registry_storage_errors",
                "Operations of the storage that failed or were refused, by reason",
                Counter::default,
            )
            .showing(Kind::ALL.map(|kind| ByKind { kind })),
        }
    }

    /// Wraps a storage to measure it.
    pub const fn wrap<S: Storage>(self, storage: S) -> MeasuredStorage<S> {
        MeasuredStorage {
            inner: storage,
            metrics: self,
        }
    }

    async fn measure<T>(
        &self,
        action: Action,
        operation: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let started = Instant::now();
        let outcome = operation.await;
        self.seconds.with(ByAction { action }, |seconds| {
            seconds.observe(started.elapsed().as_secs_f64());
        });
        if let Err(error) = &outcome {
            self.count(error);
        }
        outcome
    }

    fn count(&self, error: &StorageError) {
        let kind = Kind::of(error);
        self.errors.with(ByKind { kind }, |errors| {
            errors.inc();
        });
    }
}

/// A measured storage, made by [`StorageMetrics::wrap`].
#[derive(Debug)]
pub struct MeasuredStorage<S> {
    inner: S,
    metrics: StorageMetrics,
}

impl<S: Storage> MeasuredStorage<S> {
    async fn measured<T: Send>(
        &self,
        call: &'static str,
        operation: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        self.metrics.measure(Action::of(call), operation).await
    }

    /// Returns the same blob, with failures of reading it counted as well.
    fn watched(&self, read: BlobRead) -> BlobRead {
        let BlobBody::Content(content) = read.body else {
            return read;
        };
        let file = content.file().cloned();
        let stream = Content::stream(Box::pin(WatchedStream {
            inner: content.into_stream(),
            metrics: self.metrics.clone(),
        }));
        let content = match file {
            Some(file) => {
                let metrics = self.metrics.clone();
                stream.with_file(file.watched(move |error| metrics.count(error)))
            }
            None => stream,
        };
        BlobRead::new(read.info, read.range, BlobBody::Content(content))
    }
}

/// Bytes of a blob, with failures counted.
struct WatchedStream {
    inner: ContentStream,
    metrics: StorageMetrics,
}

impl Body for WatchedStream {
    type Data = Bytes;
    type Error = StorageError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StorageError>>> {
        let frame = self.inner.as_mut().poll_frame(context);
        if let Poll::Ready(Some(Err(error))) = &frame {
            self.metrics.count(error);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Storage> Storage for MeasuredStorage<S> {
    forward_storage! { Storage: self => &self.inner; around measured; except open_blob }

    async fn open_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        how: ReadBlob,
    ) -> Result<Option<BlobRead>> {
        let operation = self.inner.open_blob(repository, digest, how);
        let read = self.metrics.measure(Action::OpenBlob, operation).await?;
        Ok(read.map(|read| self.watched(read)))
    }

    fn write(&self) -> Option<&dyn StorageWrite> {
        self.inner.write().map(|_| self as &dyn StorageWrite)
    }

    fn inspect(&self) -> Option<&dyn StorageInspect> {
        self.inner.inspect().map(|_| self as &dyn StorageInspect)
    }

    fn expire(&self) -> Option<&dyn StorageExpire> {
        self.inner.expire().map(|_| self as &dyn StorageExpire)
    }

    fn collect(&self) -> Option<&dyn StorageCollect> {
        self.inner.collect().map(|_| self as &dyn StorageCollect)
    }

    fn repair(&self) -> Option<&dyn StorageRepair> {
        self.inner.repair().map(|_| self as &dyn StorageRepair)
    }

    fn health(&self) -> Option<&dyn StorageHealth> {
        self.inner.health().map(|_| self as &dyn StorageHealth)
    }

    fn trash(&self) -> Option<&dyn StorageTrash> {
        self.inner.trash().map(|_| self as &dyn StorageTrash)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Storage> StorageWrite for MeasuredStorage<S> {
    forward_storage! { StorageWrite: self => self.inner.write(); around measured; except put_manifest }

    async fn put_manifest(&self, repository: &RepositoryName, put: PutManifest) -> Result<PutOutcome> {
        let write = self
            .inner
            .write()
            .ok_or(StorageError::Unsupported("be written"))?;
        let operation = write.put_manifest(repository, put);
        let outcome = self.metrics.measure(Action::PutManifest, operation).await?;
        if let Some((_, error)) = &outcome.failed {
            self.metrics.count(error);
        }
        Ok(outcome)
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Storage> StorageInspect for MeasuredStorage<S> {
    forward_storage! { StorageInspect: self => self.inner.inspect(); around measured }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Storage> StorageExpire for MeasuredStorage<S> {
    forward_storage! { StorageExpire: self => self.inner.expire(); around measured }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Storage> StorageCollect for MeasuredStorage<S> {
    forward_storage! { StorageCollect: self => self.inner.collect(); around measured }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Storage> StorageRepair for MeasuredStorage<S> {
    forward_storage! { StorageRepair: self => self.inner.repair(); around measured }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Storage> StorageHealth for MeasuredStorage<S> {
    forward_storage! { StorageHealth: self => self.inner.health(); around measured }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Storage> StorageTrash for MeasuredStorage<S> {
    forward_storage! { StorageTrash: self => self.inner.trash(); around measured }
}

label! {
    /// Operation, by its name in the contract.
    Action {
        Blob: "blob",
        OpenBlob: "open_blob",
        Manifest: "manifest",
        Tags: "tags",
        Referrers: "referrers",
        Repositories: "repositories",
        Holders: "holders",
        OpenUpload: "open_upload",
        Upload: "upload",
        Append: "append",
        Rehash: "rehash",
        Commit: "commit",
        Cancel: "cancel",
        Mount: "mount",
        PutManifest: "put_manifest",
        DeleteTag: "delete_tag",
        DeleteManifest: "delete_manifest",
        DeleteBlob: "delete_blob",
        AllRepositories: "all_repositories",
        AllBlobs: "blobs",
        HeldBlobs: "held_blobs",
        AllManifests: "manifests",
        Document: "document",
        TagTargets: "tag_targets",
        TagsOf: "tags_of",
        Uploads: "uploads",
        Uploading: "uploading",
        ExpireUpload: "expire_upload",
        ExpectedManifests: "expected_manifests",
        Begin: "begin",
        Due: "due",
        Released: "released",
        Condemn: "condemn",
        Reclaim: "reclaim",
        End: "end",
        Suspects: "suspects",
        Check: "check",
        Quarantine: "quarantine",
        Quarantined: "quarantined",
        RemoveQuarantined: "remove_quarantined",
        Faults: "faults",
        Fault: "fault",
        Mend: "mend",
        SavedProgress: "saved_progress",
        SaveProgress: "save_progress",
        Probe: "probe",
        Space: "space",
        AcceptsUploads: "accepts_uploads",
        WithDeleted: "with_deleted",
        Deleted: "deleted",
        DeletedDocument: "deleted_document",
        Forget: "forget",
        WithHistories: "with_histories",
        ForgetHistory: "forget_history",
        WithHistory: "with_history",
        History: "history",
        LostTags: "lost_tags",
        Other: "other",
    }
}

impl Action {
    /// Returns the operation of that name, or [`Other`](Self::Other) for one that has no label yet.
    fn of(call: &str) -> Self {
        let known = Self::ALL.into_iter().find(|action| action.text() == call);
        known.unwrap_or(Self::Other)
    }
}

label! {
    /// Reason why an operation failed: a variant of [`StorageError`].
    Kind {
        UploadUnknown: "upload_unknown",
        UploadConflict: "upload_conflict",
        TagConflict: "tag_conflict",
        MissingReferences: "missing_references",
        SizeMismatch: "size_mismatch",
        Range: "range",
        Body: "body",
        NameTooLong: "name_too_long",
        Unsupported: "unsupported",
        ReadOnly: "read_only",
        Unavailable: "unavailable",
        Busy: "busy",
        Full: "full",
        Denied: "denied",
        Internal: "internal",
    }
}

impl Kind {
    const fn of(error: &StorageError) -> Self {
        match error {
            StorageError::UploadUnknown => Self::UploadUnknown,
            StorageError::UploadConflict { .. } => Self::UploadConflict,
            StorageError::TagConflict { .. } => Self::TagConflict,
            StorageError::MissingReferences(_) => Self::MissingReferences,
            StorageError::SizeMismatch { .. } => Self::SizeMismatch,
            StorageError::RangeUnsatisfiable { .. } => Self::Range,
            StorageError::Body(_) => Self::Body,
            StorageError::NameTooLong { .. } => Self::NameTooLong,
            StorageError::Unsupported(_) => Self::Unsupported,
            StorageError::ReadOnly => Self::ReadOnly,
            StorageError::Unavailable { .. } => Self::Unavailable,
            StorageError::Busy { .. } => Self::Busy,
            StorageError::Full { .. } => Self::Full,
            StorageError::Denied { .. } => Self::Denied,
            // Internal errors, and variants that the contract adds until they get a name here.
            _ => Self::Internal,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByAction {
    action: Action,
}

impl Key for ByAction {
    const COUNT: usize = Action::ALL.len();

    fn index(self) -> usize {
        self.action as usize
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByKind {
    kind: Kind,
}

impl Key for ByKind {
    const COUNT: usize = Kind::ALL.len();

    fn index(self) -> usize {
        self.kind as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Calls that answer at once.
    const UNMEASURED: [&str; 2] = ["abilities", "is_own"];

    /// The macro that forwards calls has a line for each: `(blob [blob $($others:ident)*] …`.
    #[test]
    fn every_call_of_the_contract_has_a_label_and_no_other() {
        let calls = include_str!("../../registry-core/src/storage/forward.rs").lines();
        let calls = calls.filter_map(|line| line.trim().strip_prefix('(')?.split_once(" ["));
        let calls: BTreeSet<&str> = calls
            .filter(|(name, rest)| rest.starts_with(&format!("{name} $(")))
            .map(|(name, _)| name)
            .filter(|name| !UNMEASURED.contains(name))
            .collect();
        assert!(calls.contains("held_blobs"));

        let mut labels: BTreeSet<&str> = Action::ALL.into_iter().map(Action::text).collect();
        labels.remove("other");

        assert_eq!(
            labels.symmetric_difference(&calls).collect::<Vec<_>>(),
            Vec::<&&str>::new()
        );
    }
}
