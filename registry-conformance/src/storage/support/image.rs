//! [`Image`]: a manifest to put, and functions to put it.

use super::{media_type, tag, writer};
use bytes::Bytes;
use registry_core::{
    Algorithm, Annotations, Descriptor, Digest, MediaType, Reference, RepositoryName,
    storage::{Need, Needed, PutManifest, PutOutcome, Storage, StoredManifest, TagExpect, TagMove, Verified},
};
use std::sync::Arc;

/// A manifest to put: a document that agrees with the metadata passed to the storage.
#[derive(Clone)]
pub(crate) struct Image {
    algorithm: Algorithm,
    media_type: MediaType,
    seed: u64,
    artifact_type: Option<Arc<str>>,
    subject: Option<Digest>,
    needs: Vec<Needed>,
}

impl Image {
    /// Returns a manifest that needs nothing, different from those of other seeds.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            algorithm: Algorithm::Sha256,
            media_type: media_type(MediaType::OCI_MANIFEST),
            seed,
            artifact_type: None,
            subject: None,
            needs: Vec::new(),
        }
    }

    pub(crate) fn hashed_by(self, algorithm: Algorithm) -> Self {
        Self { algorithm, ..self }
    }

    pub(crate) fn of_type(self, text: &str) -> Self {
        let media_type = media_type(text);
        Self { media_type, ..self }
    }

    /// Adds a needed item. A manifest that lists manifests is an index, and so is one whose items may be either.
    pub(crate) fn needing(mut self, digest: Digest, size: u64, need: Need) -> Self {
        if need != Need::Blob {
            self.media_type = media_type(MediaType::OCI_INDEX);
        }
        self.needs.push(Needed::new(digest, size, need));
        self
    }

    pub(crate) fn referring_to(self, subject: Digest, artifact_type: &str) -> Self {
        Self {
            subject: Some(subject),
            artifact_type: Some(artifact_type.into()),
            ..self
        }
    }

    fn annotations(&self) -> Annotations {
        [("seed", self.seed.to_string())].into_iter().collect()
    }

    pub(crate) fn bytes(&self) -> Bytes {
        let entry = |media_type: &str, digest: &Digest, size: u64| serde_json::json!({ "mediaType": media_type, "digest": digest.to_string(), "size": size });
        let entries = self.needs.iter();
        let entries: Vec<_> = entries
            .map(|needed| match needed.need {
                Need::Manifest => entry(MediaType::OCI_MANIFEST, &needed.digest, needed.size),
                _ => entry("application/octet-stream", &needed.digest, needed.size),
            })
            .collect();
        let mut document = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": self.media_type.as_str(),
            "annotations": { "seed": self.seed.to_string() },
        });
        if [MediaType::OCI_INDEX, MediaType::DOCKER_LIST].contains(&self.media_type.as_str()) {
            document["manifests"] = entries.into();
        } else {
            let empty = Digest::of(Algorithm::Sha256, b"{}");
            document["config"] = entry("application/vnd.oci.empty.v1+json", &empty, 2);
            document["layers"] = entries.into();
        }
        if let Some(artifact_type) = &self.artifact_type {
            document["artifactType"] = (**artifact_type).into();
        }
        if let Some(subject) = &self.subject {
            document["subject"] = entry(MediaType::OCI_MANIFEST, subject, 2);
        }
        Bytes::from(document.to_string())
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest::of(self.algorithm, &self.bytes())
    }

    pub(crate) fn size(&self) -> u64 {
        self.bytes().len() as u64
    }

    pub(crate) const fn media_type(&self) -> &MediaType {
        &self.media_type
    }

    /// Returns the descriptor in the list of its subject's referrers.
    pub(crate) fn descriptor(&self) -> Descriptor {
        let mut descriptor = Descriptor::new(self.media_type.clone(), self.digest(), self.size());
        descriptor.artifact_type.clone_from(&self.artifact_type);
        descriptor.annotations = Some(self.annotations());
        descriptor
    }

    /// Returns a put with tags that may have any target before.
    pub(crate) fn tagged(&self, tags: &[&str]) -> PutManifest {
        self.expecting(tags.iter().map(|name| (*name, TagExpect::Any)))
    }

    pub(crate) fn expecting<'a>(&self, tags: impl IntoIterator<Item = (&'a str, TagExpect)>) -> PutManifest {
        let mut put = PutManifest::new(
            Verified::of(self.algorithm, self.bytes()),
            self.media_type.clone(),
        );
        put.tags = tags
            .into_iter()
            .map(|(name, expect)| TagMove::new(tag(name)).expecting(expect))
            .collect();
        put.needs.clone_from(&self.needs);
        put.referrer = self.subject.map(|subject| (subject, self.descriptor()));
        put
    }
}

/// Puts a manifest and asserts that every part succeeds.
pub(crate) async fn put(storage: &dyn Storage, repository: &RepositoryName, put: PutManifest) -> PutOutcome {
    let outcome = writer(storage).put_manifest(repository, put).await.unwrap();
    assert!(outcome.failed.is_none(), "a tag was not moved: {outcome:?}");
    outcome
}

pub(crate) async fn manifest(
    storage: &dyn Storage,
    repository: &RepositoryName,
    reference: impl Into<Reference>,
) -> Option<StoredManifest> {
    storage.manifest(repository, &reference.into()).await.unwrap()
}

/// Returns the target of a tag.
pub(crate) async fn resolve(
    storage: &dyn Storage,
    repository: &RepositoryName,
    name: &str,
) -> Option<Digest> {
    manifest(storage, repository, tag(name))
        .await
        .map(|found| found.digest)
}
