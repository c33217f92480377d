//! Referrers tag schema: indexes that clients store under a tag if a registry does not list referrers.
//!
//! Such an index is only a hint. A manifest in it is listed if it exists, and if it has no subject other than
//! this one. Its type and size are those of the stored manifest.
//!
//! Specification: "Referrers Tag Schema", "Enabling the Referrers API".

use super::Repository;
use crate::{
    annotations::Annotations,
    descriptor::Descriptor,
    digest::{AnyDigest, Digest},
    error::Error,
    manifest::Manifest,
    media_type::MediaType,
    reference::Tag,
    storage::StoredManifest,
};
use std::sync::Arc;

/// Entry of the index under the tag.
pub(super) struct TagSchemaEntry {
    pub(super) digest: Digest,
    artifact_type: Option<Arc<str>>,
    annotations: Option<Annotations>,
}

/// Current state of a manifest in the index.
pub(super) struct StillRefers {
    /// Descriptor for the list. `None` if the manifest does not exist, has another subject, or is not of the
    /// requested type.
    pub(super) descriptor: Option<Descriptor>,
    /// Number of bytes that were read for it.
    pub(super) bytes: usize,
}

impl Repository {
    /// Returns the entries of the index under the tag of `subject`, in order and without duplicates. Returns
    /// none if there is no index, or if it cannot be read or is too large.
    pub(super) async fn tag_schema_entries(&self, subject: &Digest) -> Result<Vec<TagSchemaEntry>, Error> {
        let tag = Tag::of_referrers(subject);
        let Some(stored) = self.storage().manifest(&self.name, &tag.clone().into()).await? else {
            return Ok(Vec::new());
        };
        if stored.media_type.as_str() != MediaType::OCI_INDEX {
            return Ok(Vec::new());
        }
        let limits = &self.registry.inner.limits;
        let read = read(&stored, limits.manifest_bytes, limits.referrers_in_tag);
        Ok(read.unwrap_or_else(|problem| {
            let repository = &self.name;
            tracing::warn!(%repository, %tag, %problem, "an index of referrers is ignored");
            Vec::new()
        }))
    }

    /// Reads a manifest in the index and returns its descriptor for the list of `subject`.
    pub(super) async fn still_refers(
        &self,
        entry: TagSchemaEntry,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<StillRefers, Error> {
        let Some(stored) = self.storage().manifest(&self.name, &entry.digest.into()).await? else {
            return Ok(StillRefers {
                descriptor: None,
                bytes: 0,
            });
        };
        let descriptor = describe(entry, &stored, subject);
        Ok(StillRefers {
            descriptor: descriptor.filter(|found| found.is_of(artifact_type)),
            bytes: stored.bytes.len(),
        })
    }
}

fn read(stored: &StoredManifest, most_bytes: usize, most: usize) -> Result<Vec<TagSchemaEntry>, String> {
    if stored.bytes.len() > most_bytes {
        return Err(format!(
            "it has {} bytes, more than {most_bytes}",
            stored.bytes.len()
        ));
    }
    let index = Manifest::parse_stored(&stored.bytes, &stored.media_type);
    let index = index.map_err(|error| error.to_string())?;
    let entries = index.manifests();
    if entries.len() > most {
        return Err(format!("it has {} manifests, more than {most}", entries.len()));
    }
    let mut kept = Vec::with_capacity(entries.len());
    for entry in entries {
        // No manifest with an unsupported algorithm can be in this repository.
        let AnyDigest::Known(digest) = entry.digest else {
            continue;
        };
        if let Some(problem) = &entry.problem {
            tracing::warn!(index = %stored.digest, %digest, %problem, "a manifest is listed without its annotations");
        }
        kept.push(TagSchemaEntry {
            digest,
            artifact_type: entry.artifact_type.clone(),
            annotations: entry.annotations.clone(),
        });
    }
    kept.sort_by_key(|kept| kept.digest);
    kept.dedup_by_key(|kept| kept.digest);
    Ok(kept)
}

/// Describes a manifest in the index. If it names a subject, only its own fields count. Otherwise type and
/// annotations of the index take precedence, because older manifests cannot name a subject.
fn describe(entry: TagSchemaEntry, stored: &StoredManifest, subject: &Digest) -> Option<Descriptor> {
    let manifest = Manifest::parse_stored(&stored.bytes, &stored.media_type).ok()?;
    let mut descriptor = manifest.descriptor(stored.digest, stored.bytes.len() as u64);
    match manifest.subject() {
        Some(own) if own.known() == Some(subject) => Some(descriptor),
        Some(_) => None,
        None => {
            descriptor.artifact_type = entry.artifact_type.or(descriptor.artifact_type);
            descriptor.annotations = entry.annotations.or(descriptor.annotations);
            Some(descriptor)
        }
    }
}
