//! Means of the tests of several modules.

use crate::{Gcs, Kept, Location, ObjectOptions, ObjectStorage, Probe, store::Store};
use object_stores::{GcsFake, HostileProxy};
use registry_core::{
    Algorithm, Digest, MediaType, Reference, RepositoryName, Tag,
    storage::{PutManifest, PutOutcome, Storage as _, StorageWrite as _, TagExpect, TagMove, Verified},
};
use std::{sync::Arc, time::Duration};

/// Opens a replica on a bucket.
pub(crate) async fn open(location: &Location) -> ObjectStorage {
    ObjectStorage::options().open(location.clone()).await.unwrap()
}

/// A store of another process, with faults in between.
pub(crate) struct Remote {
    pub(crate) proxy: HostileProxy,
    pub(crate) probe: Probe,
    fake: GcsFake,
}

impl Remote {
    pub(crate) async fn start() -> Self {
        let fake = GcsFake::start().unwrap();
        fake.bucket("bucket").build().unwrap();
        Self {
            proxy: HostileProxy::start(fake.address()).unwrap(),
            probe: ObjectStorage::options().probe(&Location::memory()).await.unwrap(),
            fake,
        }
    }

    /// Returns the number of objects in parts that were begun, and neither made nor dropped.
    pub(crate) fn open_multiparts(&self) -> usize {
        self.fake.open_multiparts("bucket")
    }

    /// Lets all objects in parts have been begun earlier.
    pub(crate) fn age_multiparts(&self, by: Duration) {
        self.fake.age_multiparts("bucket", by);
    }

    /// Returns the key of an account that passes the faults.
    pub(crate) fn key(&self) -> String {
        let key = self.fake.service_account();
        key.replace(&self.fake.endpoint(), &self.proxy.endpoint())
    }

    /// Opens a replica that passes the faults, or one that does not.
    pub(crate) async fn open(&self, passes_faults: bool) -> ObjectStorage {
        self.open_with(ObjectStorage::options(), passes_faults).await
    }

    pub(crate) async fn open_with(&self, options: ObjectOptions, passes_faults: bool) -> ObjectStorage {
        let key = match passes_faults {
            true => self.key(),
            false => self.fake.service_account(),
        };
        let bucket = Gcs::new("bucket").key(key);
        let options = options.probed(self.probe.clone());
        options.open(bucket.into()).await.unwrap()
    }
}

/// Opens a replica on a bucket whose store only creates absent objects.
pub(crate) async fn open_with_log(location: &Location) -> ObjectStorage {
    let mut probe = ObjectStorage::options().probe(location).await.unwrap();
    (probe.update, probe.delete) = (Kept::Never, Kept::Never);
    let options = ObjectStorage::options().probed(probe);
    options.open(location.clone()).await.unwrap()
}

pub(crate) fn name(text: &str) -> RepositoryName {
    RepositoryName::parse(text).unwrap()
}

pub(crate) fn tag(text: &str) -> Tag {
    Tag::parse(text).unwrap()
}

/// Returns a manifest without references, different for each number.
pub(crate) fn image(number: usize) -> Verified<bytes::Bytes> {
    let media_type = MediaType::OCI_MANIFEST;
    let document = format!(r#"{{"schemaVersion":2,"mediaType":"{media_type}","number":{number}}}"#);
    Verified::of(Algorithm::Sha256, document.into())
}

pub(crate) fn digest(number: usize) -> Digest {
    *image(number).digest()
}

/// Puts a manifest with tags that may point anywhere.
pub(crate) async fn put(storage: &ObjectStorage, number: usize, tags: &[&str]) -> PutOutcome {
    put_expecting(storage, number, tags, TagExpect::Any).await
}

pub(crate) async fn put_expecting(
    storage: &ObjectStorage,
    number: usize,
    tags: &[&str],
    expect: TagExpect,
) -> PutOutcome {
    let media_type = MediaType::parse(MediaType::OCI_MANIFEST).unwrap();
    let mut put = PutManifest::new(image(number), media_type);
    let moves = tags.iter().map(|text| TagMove::new(tag(text)).expecting(expect));
    put.tags = moves.collect();
    storage.put_manifest(&name("a"), put).await.unwrap()
}

pub(crate) async fn resolve(storage: &ObjectStorage, text: &str) -> Option<Digest> {
    let found = storage.manifest(&name("a"), &Reference::Tag(tag(text))).await;
    found.unwrap().map(|found| found.digest)
}

/// Writes a manifest as registry:2 does, with a tag.
pub(crate) async fn put_by_another_program(
    store: &Arc<Store>,
    document: &str,
    tagged: Option<&str>,
) -> Digest {
    let digest = Digest::of(Algorithm::Sha256, document.as_bytes());
    let (bucket, a) = (&store.bucket, name("a"));
    let text = digest.to_string();
    bucket
        .put(&crate::keys::blob(&digest), document.to_owned())
        .await
        .unwrap();
    bucket
        .put(&crate::keys::revision(&a, &digest), text.clone())
        .await
        .unwrap();
    if let Some(tagged) = tagged {
        let tag = tag(tagged);
        bucket
            .put(&crate::keys::tag_index(&a, &tag, &digest), text.clone())
            .await
            .unwrap();
        bucket.put(&crate::keys::tag(&a, &tag), text).await.unwrap();
    }
    digest
}
