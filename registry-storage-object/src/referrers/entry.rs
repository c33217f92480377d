//! [`Entry`]: a manifest that names a subject, as its key in the index says it.

use crate::keys;
use bytes::Bytes;
use registry_core::{
    Algorithm, Descriptor, Digest, RepositoryName,
    manifest::Manifest,
    storage::{PutManifest, StoredManifest},
};

/// A manifest that names `subject`, with a number for its artifact type. Sorts in the order of listings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) subject: Digest,
    pub(super) referrer: Digest,
    pub(super) kind: Kind,
}

/// Number for an artifact type, or for none. Two types may have the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind(u64);

impl Kind {
    pub(super) fn of(artifact_type: Option<&str>) -> Self {
        let text = artifact_type.unwrap_or_default();
        let hash = Digest::of(Algorithm::Sha256, text.as_bytes());
        let first = hash.as_bytes().first_chunk().copied().unwrap_or_default();
        Self(u64::from_be_bytes(first))
    }
}

impl Entry {
    /// Returns the entry of a manifest; `None` if it has no subject.
    pub(super) fn of(manifest: &StoredManifest) -> Option<Self> {
        let (subject, descriptor) = referrer(manifest)?;
        Some(Self {
            subject,
            referrer: manifest.digest,
            kind: Kind::of(descriptor.artifact_type.as_deref()),
        })
    }

    /// Returns the entry of a manifest that is put. It is read from the bytes, as at the completion of the index.
    pub(super) fn of_put(put: &PutManifest) -> Option<Self> {
        put.referrer.as_ref()?;
        let (digest, bytes) = (*put.manifest.digest(), put.manifest.bytes().clone());
        Self::of(&StoredManifest::new(digest, put.media_type.clone(), bytes))
    }

    pub(super) fn key(&self, repository: &RepositoryName) -> String {
        format!(
            "{}/{}/{}.{:016x}",
            keys::referrers_of(repository, &self.subject),
            self.referrer.algorithm().as_str(),
            self.referrer.hex(),
            self.kind.0
        )
    }

    /// Returns the content of the object. Only the mark of a deletion in it is of interest.
    pub(super) fn content(&self) -> Bytes {
        self.referrer.to_string().into()
    }

    /// Parses the end of a key.
    pub(super) fn parse(subject: &Digest, name: &str) -> Option<Self> {
        let (algorithm, name) = name.split_once('/')?;
        let algorithm = Algorithm::ALL
            .into_iter()
            .find(|known| known.as_str() == algorithm)?;
        let (hex, kind) = name.split_once('.')?;
        let is_hex = kind.len() == 16 && kind.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        Some(Self {
            subject: *subject,
            referrer: Digest::from_hex(algorithm, hex).ok()?,
            kind: Kind(is_hex.then(|| u64::from_str_radix(kind, 16).ok())??),
        })
    }
}

/// Returns a manifest's subject, and the descriptor shown in the list of that subject's referrers.
pub(super) fn referrer(manifest: &StoredManifest) -> Option<(Digest, Descriptor)> {
    match Manifest::parse_stored(&manifest.bytes, &manifest.media_type) {
        Ok(parsed) => parsed.referrer(manifest.digest, manifest.bytes.len() as u64),
        Err(error) => {
            // registry:2 accepted obsolete kinds of manifests, which have no subject.
            tracing::debug!(digest = %manifest.digest, %error, "cannot parse a stored manifest; it has no subject");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_back_from_its_key() {
        let repository = RepositoryName::parse("a/b").unwrap();
        for (subject, referrer) in Algorithm::ALL.into_iter().zip(Algorithm::ALL.into_iter().rev()) {
            let entry = Entry {
                subject: Digest::of(subject, b"subject"),
                referrer: Digest::of(referrer, b"referrer"),
                kind: Kind::of(Some("application/vnd.example.signature")),
            };
            let directory = keys::referrers_of(&repository, &entry.subject);
            let key = entry.key(&repository);
            let name = key.strip_prefix(&directory).unwrap();

            assert_eq!(Entry::parse(&entry.subject, &name[1..]), Some(entry));
            for other in [&name[2..], &name[1..name.len() - 1], "known", ""] {
                assert_eq!(Entry::parse(&entry.subject, other), None, "{other}");
            }
        }
    }
}
