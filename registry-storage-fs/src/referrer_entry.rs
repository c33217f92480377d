//! [`Entry`]: a manifest that may name another one as its subject, as the index of referrers stores it.

use crate::layout::Layout;
use registry_core::{
    Algorithm, Descriptor, Digest, RepositoryName, manifest::Manifest, storage::StoredManifest,
};
use std::path::PathBuf;

/// A manifest that may name `subject`, with a number for its artifact type. Sorts in the order of listings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) subject: Digest,
    pub(crate) referrer: Digest,
    pub(crate) kind: Kind,
}

/// Number for an artifact type, or for none. Two types may have the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind(u64);

impl Kind {
    pub(crate) fn of(artifact_type: Option<&str>) -> Self {
        let text = artifact_type.unwrap_or_default();
        let hash = Digest::of(Algorithm::Sha256, text.as_bytes());
        let first = hash.as_bytes().first_chunk().copied().unwrap_or_default();
        Self(u64::from_be_bytes(first))
    }
}

impl Entry {
    /// Returns the entry of a manifest; `None` if it has no subject.
    pub(crate) fn of(manifest: &StoredManifest) -> Option<Self> {
        let (subject, descriptor) = referrer(manifest)?;
        Some(Self {
            subject,
            referrer: manifest.digest,
            kind: Kind::of(descriptor.artifact_type.as_deref()),
        })
    }

    pub(crate) fn path(&self, layout: &Layout, repository: &RepositoryName) -> PathBuf {
        let hex = self.referrer.hex();
        let fan = hex.get(..2).unwrap_or_default();
        subject_directory(layout, repository, &self.subject)
            .join(format!("{}-{fan}", self.referrer.algorithm()))
            .join(format!("{hex}-{:016x}", self.kind.0))
    }

    /// Returns a bound that sorts before every entry of a subject.
    pub(crate) fn before(subject: Digest) -> Self {
        Self {
            subject,
            referrer: Digest::from_hex(Algorithm::Sha256, &"0".repeat(64)).unwrap_or(subject),
            kind: Kind(0),
        }
    }

    /// Parses the name of an entry's file.
    pub(crate) fn parse(subject: &Digest, algorithm: Algorithm, name: &str) -> Option<Self> {
        let (hex, kind) = name.split_once('-')?;
        let lower = kind.len() == 16 && kind.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        Some(Self {
            subject: *subject,
            referrer: Digest::from_hex(algorithm, hex).ok()?,
            kind: Kind(lower.then(|| u64::from_str_radix(kind, 16).ok())??),
        })
    }
}

/// Directory of the entries of a subject.
pub(crate) fn subject_directory(layout: &Layout, repository: &RepositoryName, subject: &Digest) -> PathBuf {
    layout
        .referrers(repository)
        .join(subject.algorithm().as_str())
        .join(subject.hex())
}

/// Returns a manifest's subject, and the descriptor shown in the list of that subject's referrers.
pub(crate) fn referrer(manifest: &StoredManifest) -> Option<(Digest, Descriptor)> {
    match Manifest::parse_stored(&manifest.bytes, &manifest.media_type) {
        Ok(parsed) => parsed.referrer(manifest.digest, manifest.bytes.len() as u64),
        Err(error) => {
            // registry:2 accepted obsolete kinds of manifests, which have no subject.
            tracing::debug!(digest = %manifest.digest, %error, "cannot parse a stored manifest; it has no subject");
            None
        }
    }
}
