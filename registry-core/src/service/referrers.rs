//! The referrers of a manifest.

use super::{Permission, Repository};
use crate::{
    auth::Action,
    descriptor::Descriptor,
    digest::Digest,
    error::Error,
    media_type::MediaType,
    protocol::PageQuery,
    storage::{Listing, Page},
};
use serde::{Serialize, Serializer, ser::SerializeMap};

/// How many descriptors are asked of the storage at once: each may carry annotations as large as a manifest.
const BATCH: usize = 16;

impl Repository {
    /// The manifests whose subject is `subject`, in the order of their digests; with `artifact_type` only those of
    /// that type. An unknown subject has none. A page ends early where it would be larger than a manifest may be.
    ///
    /// Clients that met a registry without such lists kept an index under a tag; what that index has is listed too.
    ///
    /// # Errors
    ///
    /// [`Error`] if they may not be pulled, or the storage fails.
    pub async fn referrers(
        &self,
        subject: &Digest,
        artifact_type: Option<&MediaType>,
        page: &PageQuery<Digest>,
    ) -> Result<Listing<Descriptor>, Error> {
        if self.permit(Action::Pull).await? == Permission::Hidden {
            return Ok(Listing::default());
        }
        let limits = &self.registry.inner.limits;
        let limit = limits.page(page.n, limits.page_default);
        if limit == 0 {
            return Ok(Listing::default());
        }
        let mut filling = Filling::new(limit, limits.manifest_bytes);
        let kept = self.kept_in_tag(subject).await?;
        let mut kept = kept
            .into_iter()
            .filter(|kept| page.last.is_none_or(|last| kept.digest > last))
            .peekable();
        let mut after = page.last;
        loop {
            let batch = Page {
                after: after.as_ref(),
                limit: filling.missing().min(BATCH),
            };
            let listed = self
                .storage()
                .referrers(&self.name, subject, artifact_type, batch)
                .await?;
            for descriptor in listed.items {
                while let Some(earlier) = kept.next_if(|kept| kept.digest < descriptor.digest) {
                    let found = self.still_refers(earlier, subject, artifact_type).await?;
                    if found.is_some_and(|found| !filling.takes(found)) {
                        return Ok(filling.page());
                    }
                }
                kept.next_if(|kept| kept.digest == descriptor.digest);
                after = Some(descriptor.digest);
                if !filling.takes(descriptor) {
                    return Ok(filling.page());
                }
            }
            if !listed.more {
                break;
            }
        }
        for last in kept {
            let found = self.still_refers(last, subject, artifact_type).await?;
            if found.is_some_and(|found| !filling.takes(found)) {
                break;
            }
        }
        Ok(filling.page())
    }
}

/// A page that is being filled, up to a count and a size.
struct Filling {
    page: Listing<Descriptor>,
    limit: usize,
    bytes: usize,
    most_bytes: usize,
}

impl Filling {
    fn new(limit: usize, most_bytes: usize) -> Self {
        Self {
            page: Listing::default(),
            limit,
            bytes: 0,
            most_bytes,
        }
    }

    /// How many it lacks, and one more, which says that there is another page.
    fn missing(&self) -> usize {
        (self.limit - self.page.items.len()).saturating_add(1)
    }

    /// False if it is full: what did not fit begins the next page. The first always fits.
    fn takes(&mut self, descriptor: Descriptor) -> bool {
        self.bytes = self.bytes.saturating_add(size(&descriptor));
        let full = self.page.items.len() == self.limit || self.bytes > self.most_bytes;
        if full && !self.page.items.is_empty() {
            self.page.more = true;
            return false;
        }
        self.page.items.push(descriptor);
        true
    }

    fn page(self) -> Listing<Descriptor> {
        self.page
    }
}

/// What a descriptor adds to an index, in bytes: about right, and never too little by much.
fn size(descriptor: &Descriptor) -> usize {
    let artifact_type = descriptor
        .artifact_type
        .as_ref()
        .map_or(0, |found| found.as_str().len());
    let annotations = descriptor
        .annotations
        .as_ref()
        .map_or(0, |found| found.get().len());
    256 + descriptor.media_type.as_str().len() + artifact_type + annotations
}

/// The image index that lists referrers. Specification: end-12a, "Listing Referrers".
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReferrersIndex<'a> {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<Shown<'a>>,
}

impl<'a> ReferrersIndex<'a> {
    pub(super) fn of(descriptors: &'a [Descriptor]) -> Self {
        Self {
            schema_version: 2,
            media_type: MediaType::OCI_INDEX,
            manifests: descriptors.iter().map(Shown).collect(),
        }
    }
}

struct Shown<'a>(&'a Descriptor);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("mediaType", self.0.media_type.as_str())?;
        map.serialize_entry("digest", &self.0.digest.to_string())?;
        map.serialize_entry("size", &self.0.size)?;
        if let Some(artifact_type) = &self.0.artifact_type {
            map.serialize_entry("artifactType", artifact_type.as_str())?;
        }
        if let Some(annotations) = &self.0.annotations {
            map.serialize_entry("annotations", &**annotations)?;
        }
        map.end()
    }
}
