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

impl Repository {
    /// The manifests whose subject is `subject`, in the order of their digests; with `artifact_type` only those of
    /// that type. An unknown subject has none.
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
        let page = Page {
            after: page.last.as_ref(),
            limit,
        };
        Ok(self
            .storage()
            .referrers(&self.name, subject, artifact_type, page)
            .await?)
    }
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
