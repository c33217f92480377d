//! The operations, each on the same content.

use super::super::*;
use crate::{faults::fail, support::collections::Late};
use registry_core::{
    Registry, Repository, UploadId,
    maintenance::{
        CollectOptions,
        retention::{Keep, RepositoryPattern, Retain as RetainOptions, Rule, Rules},
    },
    service::{Restore as RestoreOptions, RestoreError},
    storage::{Checked, Mount as MountOf, StorageError, StorageRepair as _, StorageTrash as _, TagExpect},
};
use rustix::io::Errno;
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    HeadBlob,
    HeadChild,
    Mount,
    Commit,
    /// A commit that goes on with data that is published already.
    ResumeCommit,
    PutChild,
    PutIndex,
    /// A manifest that has the index as its subject.
    PutReferrer,
    /// A mount and a put of the child in another repository.
    PutElsewhere,
    Retag,
    DeleteTag,
    DeleteIndex,
    DeleteChild,
    DeleteBlob,
    Restore,
    /// The records of all deletions are forgotten.
    Forget,
    /// A rule of retention drops the tag.
    Retain,
    /// A check and, if the blob is corrupt, its quarantine.
    Quarantine,
    Collect,
}

use Operation::*;

pub(super) const OPERATIONS: [Operation; 19] = [
    HeadBlob,
    HeadChild,
    Mount,
    Commit,
    ResumeCommit,
    PutChild,
    PutIndex,
    PutReferrer,
    PutElsewhere,
    Retag,
    DeleteTag,
    DeleteIndex,
    DeleteChild,
    DeleteBlob,
    Restore,
    Forget,
    Retain,
    Quarantine,
    Collect,
];

impl Operation {
    /// Returns true if the operation may take content away that was not released: a request asks for it, or it is damaged.
    pub(super) const fn breaks_images(self) -> bool {
        matches!(self, DeleteChild | DeleteBlob | Quarantine)
    }

    pub(super) const fn moves_tag(self) -> bool {
        matches!(
            self,
            PutIndex | Retag | DeleteTag | DeleteIndex | DeleteChild | Restore | Retain
        )
    }
}

/// An index of one image of one blob, and other manifests beside it.
pub(super) struct Content {
    pub(super) layer: Bytes,
    pub(super) blob: Needed,
    pub(super) child: Verified<Bytes>,
    pub(super) index: Verified<Bytes>,
    pub(super) other: Verified<Bytes>,
    pub(super) referrer: Verified<Bytes>,
}

impl Content {
    pub(super) fn new() -> Self {
        let layer = support::content(100);
        let blob = blob(&layer);
        let first = image_of(&blob, "child", "");
        let both = index(&[child(&first)], "index");
        let (media_type, digest, size) = (MediaType::OCI_INDEX, both.digest(), both.size());
        let subject =
            format!(r#","subject":{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#);
        Self {
            index: both,
            other: image_of(&blob, "other", ""),
            referrer: image_of(&blob, "referrer", &subject),
            child: first,
            blob,
            layer,
        }
    }

    async fn put_referrer(&self, storage: &FsStorage) -> bool {
        let document = &self.referrer;
        let media_type = Manifest::sniff_media_type(document.bytes());
        let manifest = Manifest::parse_stored(document.bytes(), &media_type).unwrap();
        let mut put = PutManifest::new(document.clone(), media_type);
        put.referrer = manifest.referrer(*document.digest(), document.size());
        assert!(put.referrer.is_some());
        put.needs = vec![self.blob];
        is_put(writer(storage).put_manifest(&name("a"), put).await)
    }

    async fn put_elsewhere(&self, storage: &FsStorage) -> bool {
        let (a, b) = (name("a"), name("b"));
        let mount = MountOf::new(&a, &self.blob.digest);
        if writer(storage).mount(&b, mount).await.unwrap().is_none() {
            return false;
        }
        is_put(put(storage, &b, &self.child, &[self.blob], &["v1"]).await)
    }

    pub(super) async fn has(&self, storage: &FsStorage, manifest: &Verified<Bytes>) -> bool {
        let digest = (*manifest.digest()).into();
        storage.manifest(&name("a"), &digest).await.unwrap().is_some()
    }

    pub(super) async fn has_blob(&self, storage: &FsStorage, repository: &str) -> bool {
        let found = support::read(storage, &name(repository), &self.blob.digest).await;
        found.as_ref() == Some(&self.layer)
    }
}

/// Returns an image whose config is a blob, with more fields. A restore needs the config.
fn image_of(config: &Needed, seed: &str, fields: &str) -> Verified<Bytes> {
    let Needed { digest, size, .. } = config;
    let media_type = MediaType::OCI_MANIFEST;
    let document = format!(
        r#"{{"schemaVersion":2,"mediaType":"{media_type}","config":{{"mediaType":"application/octet-stream","digest":"{digest}","size":{size}}},"layers":[],"annotations":{{"seed":"{seed}"}}{fields}}}"#
    );
    Verified::of(Algorithm::Sha256, document.into())
}

/// A storage with some of the content.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) storage: FsStorage,
    pub(super) content: std::sync::Arc<Content>,
    /// Session whose commit has failed after its data was published.
    pub(super) session: Option<UploadId>,
    /// True if one of the operations breaks images, so that a restore may be refused.
    pub(super) may_be_gone: bool,
}

impl Site {
    /// Leaves a session whose commit has failed after its data was published.
    pub(super) async fn interrupt_commit(&mut self) {
        let (a, content) = (name("a"), &self.content);
        let opened = support::open_upload(&self.storage, &a).await;
        let state = support::append(&self.storage, &a, opened, &content.layer).await;
        let (state, proof) = support::prove(&self.storage, &a, state.unwrap()).await;
        let link = self.storage.store().layout.layer(&a, &content.blob.digest);
        let fault = fail(&link, Errno::IO);
        self.session = Some(state.id);
        let failed = writer(&self.storage).commit(&a, state, proof).await;
        assert!(failed.is_err());
        drop(fault);
    }

    /// Changes the bytes of the blob.
    pub(super) fn damage(&self) {
        let data = self.storage.store().layout.blob(&self.content.blob.digest);
        let mut bytes = std::fs::read(&data).unwrap();
        bytes[0] ^= 1;
        std::fs::write(&data, bytes).unwrap();
    }

    fn registry(&self) -> Registry {
        Registry::builder(self.storage.clone()).build()
    }

    fn repository(&self) -> Repository {
        self.registry().repository("a").unwrap()
    }

    /// Performs an operation. Returns true if it was acknowledged, and found what it looked for.
    pub(super) async fn perform(&self, operation: Operation) -> bool {
        let (a, v1, storage, content) = (name("a"), tag("v1"), &self.storage, &*self.content);
        let write = writer(storage);
        match operation {
            HeadBlob => storage.blob(&a, &content.blob.digest).await.unwrap().is_some(),
            HeadChild => content.has(storage, &content.child).await,
            Mount => {
                let mount = MountOf::new(&a, &content.blob.digest);
                write.mount(&name("b"), mount).await.unwrap().is_some()
            }
            Commit => {
                push(storage, &a, &content.layer).await;
                true
            }
            ResumeCommit => self.resume_commit().await,
            PutChild => is_put(put(storage, &a, &content.child, &[content.blob], &[]).await),
            PutIndex => {
                let needs = [child(&content.child)];
                is_put(put(storage, &a, &content.index, &needs, &["v1"]).await)
            }
            PutReferrer => content.put_referrer(storage).await,
            PutElsewhere => content.put_elsewhere(storage).await,
            Retag => is_put(put(storage, &a, &content.other, &[content.blob], &["v1"]).await),
            DeleteTag => {
                let deleted = write.delete_tag(&a, &v1, TagExpect::Any, Deletion::new());
                deleted.await.unwrap().is_some()
            }
            DeleteIndex => self.delete(&content.index).await,
            DeleteChild => self.delete(&content.child).await,
            DeleteBlob => {
                let deleted = write.delete_blob(&a, &content.blob.digest, Deletion::new());
                deleted.await.unwrap()
            }
            Restore => self.restore().await,
            Forget => self.forget().await,
            Retain => self.retain().await,
            Quarantine => match storage.check(&content.blob.digest).await.unwrap() {
                Checked::Corrupt(evidence) => storage.quarantine(evidence).await.unwrap(),
                _ => false,
            },
            Collect => self.collect(false).await,
        }
    }

    async fn delete(&self, manifest: &Verified<Bytes>) -> bool {
        let (a, write) = (name("a"), writer(&self.storage));
        let deleted = write.delete_manifest(&a, manifest.digest(), Deletion::new());
        deleted.await.unwrap().is_some()
    }

    async fn resume_commit(&self) -> bool {
        let (a, write) = (name("a"), writer(&self.storage));
        let Some(id) = self.session else {
            return false;
        };
        // The state of a commit that has begun can still be proved.
        let Some(state) = write.upload(&a, &id).await.unwrap() else {
            return false;
        };
        let (state, proof) = support::prove(&self.storage, &a, state).await;
        match write.commit(&a, state, proof).await {
            Ok(_) => true,
            // Another commit of the session runs, or has ended.
            Err(StorageError::UploadConflict { .. } | StorageError::UploadUnknown) => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// Undoes the deletion of the tag, or of the index with the tag.
    pub(super) async fn restore(&self) -> bool {
        match self.repository().restore(RestoreOptions::new(tag("v1"))).await {
            Ok(_) => true,
            Err(RestoreError::NotDeleted { .. } | RestoreError::TagMoved { .. }) => false,
            Err(RestoreError::Gone(_)) if self.may_be_gone => false,
            Err(error) => panic!("{error}"),
        }
    }

    async fn forget(&self) -> bool {
        let records = self.storage.deleted(&name("a"), all()).await.unwrap().items;
        let mut forgotten = false;
        for record in records {
            forgotten |= self.storage.forget(&name("a"), &whole(record).id).await.unwrap();
        }
        forgotten
    }

    async fn retain(&self) -> bool {
        let here = RepositoryPattern::parse("a").unwrap();
        let rules = Rules::new([Rule::new([here], Keep::Younger(DAY))]);
        let retain = RetainOptions::new(&rules, Some(SystemTime::now() + 10 * DAY)).force(true);
        match self.registry().retain(&retain).await {
            Ok(report) => report.tags > 0,
            Err(StorageError::Busy { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// Removes what no tag and, unless these are forgotten first, no record refers to.
    pub(super) async fn collect(&self, empties_trash: bool) -> bool {
        let options = CollectOptions::new()
            .grace(Duration::ZERO)
            .uploading(Duration::ZERO)
            .untagged(true)
            .empty_trash(empties_trash)
            .force(true);
        match self.registry().collect(&options, &Late, &|_| {}).await {
            Ok(report) => {
                assert!(report.stopped.is_none(), "{:?}", report.stopped);
                true
            }
            Err(StorageError::Busy { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Returns true if a put was acknowledged; false if something that it needs is missing.
fn is_put(put: Result<PutOutcome>) -> bool {
    match put {
        Ok(outcome) => outcome.failed.is_none(),
        Err(StorageError::MissingReferences(_)) => false,
        Err(error) => panic!("{error}"),
    }
}
