//! Listing of the referrers of a manifest.

use super::{Limits, Permission, Repository, referrers_tag::StillRefers};
use crate::{
    auth::Action,
    descriptor::Descriptor,
    digest::Digest,
    error::Error,
    media_type::MediaType,
    protocol::PageQuery,
    storage::{Page, Referring},
};
use serde_core::{Serialize, Serializer, ser::SerializeMap};

/// Maximum number of descriptors requested from the storage at once.
const BATCH: usize = 16;
/// Number of descriptors requested first. Each may have annotations as large as a manifest, and all of them
/// are in memory.
const FIRST_BATCH: usize = 2;

/// Page of the manifests that refer to another one.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ReferrersPage {
    /// Descriptors, in the order of their digests. The page may be empty although others follow, if the
    /// examined manifests are of another type or no longer exist.
    pub items: Vec<Descriptor>,
    /// Digest after which the next page begins; `None` if this page is the last.
    pub next: Option<Digest>,
}

impl Repository {
    /// Returns the manifests whose subject is `subject`, in the order of their digests.
    ///
    /// With `artifact_type`, only manifests of that type are returned. An unknown subject has none. A page
    /// ends early if it would be larger than a manifest may be.
    ///
    /// Clients of a registry without such lists store an index under a tag. The manifests in that index are
    /// listed too. They have to be read, at most [`Limits::referrers_bytes`](super::Limits) of them for one
    /// page.
    ///
    /// ```
    /// use registry_core::{
    ///     Algorithm, Digest, MediaType, Registry, Tag, protocol::PageQuery, service::ManifestPush,
    ///     storage::MemoryStorage,
    /// };
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let registry = Registry::builder(MemoryStorage::new()).build();
    /// let repository = registry.repository("team/app")?;
    /// let index = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    /// let image = repository.put_manifest(ManifestPush::new(Tag::parse("v1")?, index)).await?.digest;
    ///
    /// let signature = serde_json::json!({
    ///     "schemaVersion": 2,
    ///     "mediaType": MediaType::OCI_INDEX,
    ///     "artifactType": "application/vnd.example.signature",
    ///     "manifests": [],
    ///     "subject": {"mediaType": MediaType::OCI_INDEX, "digest": image.to_string(), "size": index.len()},
    /// })
    /// .to_string();
    /// let digest = Digest::of(Algorithm::Sha256, signature.as_bytes());
    /// repository.put_manifest(ManifestPush::new(digest, signature)).await?;
    ///
    /// let signatures = Some("application/vnd.example.signature");
    /// let found = repository.referrers(&image, signatures, &PageQuery::default()).await?;
    /// assert_eq!(found.items[0].digest, digest);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is changed.
    ///
    /// # Errors
    ///
    /// [`Error`] if they may not be pulled, or the storage fails.
    pub async fn referrers(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
        page: &PageQuery<Digest>,
    ) -> Result<ReferrersPage, Error> {
        if self.permit(Action::Pull).await? == Permission::Hidden {
            return Ok(ReferrersPage::default());
        }
        let limits = &self.registry.inner.limits;
        let limit = limits.page(page.n, limits.page_default);
        if limit == 0 {
            return Ok(ReferrersPage::default());
        }
        let mut filling = Filling::new(limit, limits);
        let kept = self.tag_schema_entries(subject).await?;
        let mut kept = kept
            .into_iter()
            .filter(|kept| page.last.is_none_or(|last| kept.digest > last))
            .peekable();
        let mut after = page.last;
        loop {
            let batch = Page::first(filling.batch()).after(after.as_ref());
            let referring = Referring::new(subject).of_type(artifact_type);
            let listed = self.storage().referrers(&self.name, referring, batch).await?;
            for descriptor in listed.items {
                while let Some(earlier) = kept.next_if(|kept| kept.digest < descriptor.digest) {
                    if filling.is_spent() {
                        return Ok(filling.into_partial_page());
                    }
                    let (digest, read) = (earlier.digest, self.still_refers(earlier, subject, artifact_type));
                    if !filling.add(digest, read.await?) {
                        return Ok(filling.into_partial_page());
                    }
                }
                kept.next_if(|kept| kept.digest == descriptor.digest);
                after = Some(descriptor.digest);
                if !filling.takes(descriptor) {
                    return Ok(filling.into_partial_page());
                }
            }
            if !listed.more {
                break;
            }
        }
        for last in kept {
            if filling.is_spent() {
                return Ok(filling.into_partial_page());
            }
            let (digest, read) = (last.digest, self.still_refers(last, subject, artifact_type));
            if !filling.add(digest, read.await?) {
                return Ok(filling.into_partial_page());
            }
        }
        Ok(filling.page)
    }
}

/// Page under construction, limited by its number of items, its size and the number of bytes read for it.
struct Filling {
    page: ReferrersPage,
    /// Digest of the last manifest that was added to the page or skipped.
    done: Option<Digest>,
    limit: usize,
    bytes: usize,
    most_bytes: usize,
    /// Number of bytes that may still be read.
    budget: usize,
}

impl Filling {
    fn new(limit: usize, limits: &Limits) -> Self {
        Self {
            page: ReferrersPage::default(),
            done: None,
            limit,
            bytes: 0,
            most_bytes: limits.manifest_bytes,
            budget: limits.referrers_bytes.max(1),
        }
    }

    /// Returns the number of missing items, and one more, which shows that there is another page.
    fn missing(&self) -> usize {
        (self.limit - self.page.items.len()).saturating_add(1)
    }

    /// Returns the number of items to request: as many as fit, if they are as large as the previous ones.
    fn batch(&self) -> usize {
        let fit = match self.page.items.len() {
            0 => FIRST_BATCH,
            known => {
                let each = (self.bytes / known).max(1);
                (self.most_bytes.saturating_sub(self.bytes) / each).saturating_add(1)
            }
        };
        self.missing().min(fit).min(BATCH)
    }

    /// Returns true if nothing more may be read for this page. At least one manifest is always read.
    const fn is_spent(&self) -> bool {
        self.budget == 0
    }

    /// Adds a manifest that was read, if it belongs on the page. Returns false if it belongs there but the
    /// page is full.
    fn add(&mut self, digest: Digest, read: StillRefers) -> bool {
        self.budget = self.budget.saturating_sub(read.bytes);
        match read.descriptor {
            Some(descriptor) => self.takes(descriptor),
            None => {
                self.done = Some(digest);
                true
            }
        }
    }

    /// Adds a descriptor. Returns false if the page is full: this descriptor then begins the next page. The
    /// first one always fits.
    fn takes(&mut self, descriptor: Descriptor) -> bool {
        self.bytes = self.bytes.saturating_add(size(&descriptor));
        let full = self.page.items.len() == self.limit || self.bytes > self.most_bytes;
        if full && !self.page.items.is_empty() {
            return false;
        }
        self.done = Some(descriptor.digest);
        self.page.items.push(descriptor);
        true
    }

    /// Returns the page, with another page after it.
    fn into_partial_page(self) -> ReferrersPage {
        ReferrersPage {
            next: self.done,
            ..self.page
        }
    }
}

/// Estimates the number of bytes that a descriptor adds to an index.
fn size(descriptor: &Descriptor) -> usize {
    let artifact_type = descriptor.artifact_type.as_ref().map_or(0, |found| found.len());
    let annotations = descriptor
        .annotations
        .as_ref()
        .map_or(0, |found| found.as_json().len());
    256 + descriptor.media_type.as_str().len() + artifact_type + annotations
}

/// Image index that lists referrers. Specification: end-12a, "Listing Referrers".
pub(super) struct ReferrersIndex<'a> {
    manifests: Vec<Shown<'a>>,
}

impl<'a> ReferrersIndex<'a> {
    pub(super) fn of(descriptors: &'a [Descriptor]) -> Self {
        Self {
            manifests: descriptors.iter().map(Shown).collect(),
        }
    }
}

impl Serialize for ReferrersIndex<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("schemaVersion", &2)?;
        map.serialize_entry("mediaType", MediaType::OCI_INDEX)?;
        map.serialize_entry("manifests", &self.manifests)?;
        map.end()
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
            map.serialize_entry("artifactType", &**artifact_type)?;
        }
        if let Some(annotations) = &self.0.annotations {
            map.serialize_entry("annotations", annotations.raw())?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{digest::Algorithm, media_type::MediaType};

    fn filled(count: u8, each: usize) -> Filling {
        // A page takes as much as a manifest may have: 4 MiB.
        let mut filling = Filling::new(1000, &Limits::default());
        for n in 0..count {
            let digest = Digest::of(Algorithm::Sha256, &[n]);
            let descriptor = Descriptor::new(MediaType::known(MediaType::OCI_MANIFEST), digest, 1);
            assert!(filling.takes(descriptor));
            filling.bytes += each;
        }
        filling
    }

    #[test]
    fn large_descriptors_are_asked_for_a_few_at_a_time() {
        for (count, each, asked) in [
            (0, 0, FIRST_BATCH),
            (2, 1000, BATCH),
            (1, 1 << 20, 3),
            (3, 1 << 20, 1),
            (1, 4 << 20, 1),
        ] {
            assert_eq!(filled(count, each).batch(), asked, "{count} of {each} bytes");
        }
    }
}
