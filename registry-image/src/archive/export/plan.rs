//! [`Plan`]: everything that an archive will have. A copy to the plan finds it, without the blobs' bytes.

use super::options::{Export, Group};
use crate::{
    blob_list::BlobList,
    convert::Converted,
    copy::{Copied, Event, ImageCopy},
    error::Error,
    layout::{Listing, Names},
    manifests::parsed,
    source::{BlobStream, Origin},
    target::{Kind, Target},
};
use async_trait::async_trait;
use registry_core::{Digest, MediaType, Tag, manifest::Manifest, storage::StoredManifest};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

/// Maximum number of bytes in all manifests, which are in memory.
const MANIFESTS: usize = 1 << 30;

#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) manifests: BTreeMap<Digest, StoredManifest>,
    pub(super) listing: Listing,
    pub(super) blobs: BTreeMap<Digest, PlannedBlob>,
    /// Blobs that are not in the archive, because the base has them.
    pub(super) left_out: BlobList,
    pub(super) configs: BTreeSet<Digest>,
    /// Layers that may be absent, because they may not be distributed.
    pub(super) foreign: BTreeSet<Digest>,
    /// Requested images, with their names.
    pub(super) items: Vec<(Copied, Names)>,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct PlannedBlob {
    pub(super) size: u64,
    /// Index of the group whose source has it.
    pub(super) group: usize,
}

impl Plan {
    pub(super) async fn of(export: &Export<'_>, sources: &[Converted<'_>]) -> Result<Self, Error> {
        let mut plan = Self::default();
        for (number, (group, source)) in export.groups.iter().zip(sources).enumerate() {
            plan = plan.with(export, number, group, source).await?;
        }
        plan.divide(export);
        Ok(plan)
    }

    /// Separates the blobs that the base has.
    fn divide(&mut self, export: &Export<'_>) {
        // Some indexes list manifests as if they were blobs.
        self.blobs
            .retain(|digest, _| !self.manifests.contains_key(digest));
        let of_base = self.blobs.extract_if(.., |digest, blob| {
            let base = export.base.as_ref();
            base.is_some_and(|base| base.size_of(digest) == Some(blob.size))
        });
        self.left_out = of_base.map(|(digest, blob)| (digest, blob.size)).collect();
    }

    async fn with(
        self,
        export: &Export<'_>,
        number: usize,
        group: &Group<'_>,
        source: &Converted<'_>,
    ) -> Result<Self, Error> {
        let planner = Planner {
            place: group.source.describe(),
            group: number,
            names: group.names.clone(),
            plan: Mutex::new(self),
        };
        let mut options = export.options.clone();
        if let Some(listener) = options.listener.take() {
            // Blobs are reported when they are written.
            options.listener = Some(Arc::new(move |event| {
                let is_of_plan = matches!(event, Event::ImageAbsent { .. } | Event::ReferrerNotCopied { .. });
                if is_of_plan {
                    listener(event);
                }
            }));
        }
        let copy = ImageCopy::new(group.source, &planner).with_options(options);
        let report = copy.run_from(source, &group.items).await?;
        drop(copy);
        let mut plan = planner.plan.into_inner().unwrap_or_else(PoisonError::into_inner);
        let named = report
            .copied
            .into_iter()
            .map(|copied| (copied, group.names.clone()));
        plan.items.extend(named);
        Ok(plan)
    }

    fn add(&mut self, manifest: &StoredManifest, parsed: &Manifest) {
        let is_image = [MediaType::OCI_MANIFEST, MediaType::DOCKER_MANIFEST];
        if is_image.contains(&manifest.media_type.as_str()) {
            let config = parsed.blobs().first().and_then(|config| config.digest.known());
            self.configs.extend(config);
        }
        let foreign = parsed
            .blobs()
            .iter()
            .filter(|blob| blob.is_nondistributable() || !blob.urls.is_empty());
        self.foreign
            .extend(foreign.filter_map(|blob| blob.digest.known()));
        if self.manifests.insert(manifest.digest, manifest.clone()).is_none() {
            self.bytes += manifest.bytes.len();
        }
    }
}

/// Target that takes everything into the plan.
#[derive(Debug)]
struct Planner {
    place: String,
    group: usize,
    names: Names,
    plan: Mutex<Plan>,
}

impl Planner {
    /// Adds a manifest to the plan.
    fn document(&self, manifest: &StoredManifest) -> Result<Manifest, Error> {
        let parsed = parsed(&self.place, manifest)?;
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        plan.add(manifest, &parsed);
        if plan.bytes > MANIFESTS {
            return Err(Error::Refused {
                place: self.place.clone(),
                digest: manifest.digest,
                reason: format!(
                    "the manifests have more than {MANIFESTS} bytes; export fewer images at once"
                ),
            });
        }
        Ok(parsed)
    }
}

#[async_trait]
impl Target for Planner {
    fn describe(&self) -> String {
        self.place.clone()
    }

    async fn has(&self, _: Kind, _: &Digest, _: u64) -> Result<bool, Error> {
        Ok(false)
    }

    /// Takes the blob over, so that its bytes are not read yet.
    async fn mount(&self, digest: &Digest, size: u64, _: Option<&Origin>) -> Result<bool, Error> {
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let group = self.group;
        let planned = plan.blobs.entry(*digest).or_insert(PlannedBlob { size, group });
        if planned.size != size {
            return Err(Error::Size {
                place: self.place.clone(),
                digest: *digest,
                expected: size,
                actual: planned.size,
            });
        }
        Ok(true)
    }

    async fn put_blob(&self, digest: &Digest, size: u64, _: BlobStream) -> Result<(), Error> {
        self.mount(digest, size, None).await.map(drop)
    }

    async fn put_manifest(&self, manifest: &StoredManifest, tags: &[Tag]) -> Result<(), Error> {
        self.document(manifest)?;
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = |tag: &&Tag| {
            let other = plan.listing.tagged(tag, &self.names);
            other.is_some_and(|other| other != manifest.digest)
        };
        if let Some(tag) = tags.iter().find(taken) {
            let reference = self.names.reference(tag);
            let reason = format!(
                "another image of the archive has the name {reference}; use other tags, or full names for several repositories"
            );
            return Err(Error::Refused {
                place: self.place.clone(),
                digest: manifest.digest,
                reason,
            });
        }
        plan.listing.add(manifest, tags, &self.names);
        Ok(())
    }

    async fn put_child(&self, manifest: &StoredManifest) -> Result<(), Error> {
        let parsed = self.document(manifest)?;
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        plan.listing.add_child(manifest, &parsed, &self.names);
        Ok(())
    }

    async fn finish(&self) -> Result<(), Error> {
        Ok(())
    }
}
