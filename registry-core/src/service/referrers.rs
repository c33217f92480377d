//! The referrers of a manifest.

use super::{Limits, Permission, Repository, referrers_tag::StillRefers};
use crate::{
    auth::Action, descriptor::Descriptor, digest::Digest, error::Error, media_type::MediaType,
    protocol::PageQuery, storage::Page,
};
use serde::{Serialize, Serializer, ser::SerializeMap};

/// How many descriptors are asked of the storage at once.
const BATCH: usize = 16;
/// How many are asked of it first. Each may carry annotations as large as a manifest, and all of them lie in memory.
const FIRST_BATCH: usize = 2;

/// Some of the manifests that refer to another one.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ReferrersPage {
    /// In the order of their digests. There may be none although others follow: those that were looked at for this page
    /// were of another type, or gone.
    pub items: Vec<Descriptor>,
    /// After which digest the next page begins; `None` if this one is the last.
    pub next: Option<Digest>,
}

impl Repository {
    /// The manifests whose subject is `subject`, in the order of their digests; with `artifact_type` only those of
    /// that type. An unknown subject has none. A page ends early where it would be larger than a manifest may be.
    ///
    /// Clients that met a registry without such lists kept an index under a tag; what that index has is listed too. Those
    /// manifests have to be read, and a page reads no more of them than [`Limits::referrers_bytes`](super::Limits).
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
        let kept = self.kept_in_tag(subject).await?;
        let mut kept = kept
            .into_iter()
            .filter(|kept| page.last.is_none_or(|last| kept.digest > last))
            .peekable();
        let mut after = page.last;
        loop {
            let batch = Page {
                after: after.as_ref(),
                limit: filling.batch(),
            };
            let listed = self
                .storage()
                .referrers(&self.name, subject, artifact_type, batch)
                .await?;
            for descriptor in listed.items {
                while let Some(earlier) = kept.next_if(|kept| kept.digest < descriptor.digest) {
                    if filling.is_spent() {
                        return Ok(filling.goes_on());
                    }
                    let (digest, read) = (earlier.digest, self.still_refers(earlier, subject, artifact_type));
                    if !filling.looked_at(digest, read.await?) {
                        return Ok(filling.goes_on());
                    }
                }
                kept.next_if(|kept| kept.digest == descriptor.digest);
                after = Some(descriptor.digest);
                if !filling.takes(descriptor) {
                    return Ok(filling.goes_on());
                }
            }
            if !listed.more {
                break;
            }
        }
        for last in kept {
            if filling.is_spent() {
                return Ok(filling.goes_on());
            }
            let (digest, read) = (last.digest, self.still_refers(last, subject, artifact_type));
            if !filling.looked_at(digest, read.await?) {
                return Ok(filling.goes_on());
            }
        }
        Ok(filling.page)
    }
}

/// A page that is being filled, up to a count, a size, and an amount of what is read for it.
struct Filling {
    page: ReferrersPage,
    /// The last one that is on the page, or does not belong there.
    done: Option<Digest>,
    limit: usize,
    bytes: usize,
    most_bytes: usize,
    /// How much may still be read.
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

    /// How many it lacks, and one more, which says that there is another page.
    fn missing(&self) -> usize {
        (self.limit - self.page.items.len()).saturating_add(1)
    }

    /// How many to ask for: no more than fit, if they are as large as those so far.
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

    /// Nothing more may be read for this page. Something always may.
    const fn is_spent(&self) -> bool {
        self.budget == 0
    }

    /// Takes what was read, if it belongs here; false if it does and the page is full.
    fn looked_at(&mut self, digest: Digest, read: StillRefers) -> bool {
        self.budget = self.budget.saturating_sub(read.bytes);
        match read.descriptor {
            Some(descriptor) => self.takes(descriptor),
            None => {
                self.done = Some(digest);
                true
            }
        }
    }

    /// False if it is full: what did not fit begins the next page. The first always fits.
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

    /// The page, with another one after it.
    fn goes_on(self) -> ReferrersPage {
        ReferrersPage {
            next: self.done,
            ..self.page
        }
    }
}

/// What a descriptor adds to an index, in bytes: about right, and never too little by much.
fn size(descriptor: &Descriptor) -> usize {
    let artifact_type = descriptor.artifact_type.as_ref().map_or(0, |found| found.len());
    let annotations = descriptor
        .annotations
        .as_ref()
        .map_or(0, |found| found.as_json().len());
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
