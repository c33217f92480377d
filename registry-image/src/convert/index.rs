//! Conversion of an index: of the images that it lists, and of itself.

use super::{document::Object, media::Format, overlay::Converted};
use crate::{
    error::Error,
    manifests::{known, read_child},
    narrow::EntryAnnotations,
};
use registry_core::{manifest::Manifest, storage::StoredManifest};
use std::collections::BTreeSet;

impl Converted<'_> {
    pub(super) async fn index(
        &self,
        original: &StoredManifest,
        parsed: &Manifest,
        depth: usize,
    ) -> Result<StoredManifest, Error> {
        let mut document = self.object(original, Object::parse(&original.bytes))?;
        let media_type = self.media_type(original, &document, Format::index)?;
        let children = parsed.manifests();
        let mut entries = self.entries(original, &document, "manifests", children.len())?;
        let mut replaced = BTreeSet::new();
        for (entry, child) in entries.iter_mut().zip(children) {
            if !child.is_manifest() {
                if self.options.format == Some(Format::Docker) {
                    return Err(self.refused(
                        original,
                        "it lists content that is no image; copy it without a format",
                    ));
                }
                continue;
            }
            let digest = known(self.source, original, child)?;
            let Some(image) = read_child(self.source, child, &digest).await? else {
                let reason = format!(
                    "{digest}, which it lists, is absent; choose platforms, or copy it without a conversion"
                );
                return Err(self.refused(original, reason));
            };
            let made = self.tree(image, depth + 1).await?;
            if made.digest != digest {
                replaced.insert(digest.to_string());
                entry.describe(&made.digest, made.bytes.len() as u64);
                entry.set("mediaType", made.media_type.as_str());
            }
        }
        for entry in &entries {
            let annotations: Option<EntryAnnotations> = self.object(original, entry.get("annotations"))?;
            let describes = annotations.and_then(|annotations| annotations.describes);
            if describes.is_some_and(|describes| replaced.contains(&describes)) {
                let reason = "its attestations describe images by their digests, which change; choose one platform, whose image is then copied without them";
                return Err(self.refused(original, reason));
            }
        }
        if replaced.is_empty() && media_type == original.media_type {
            return Ok(original.clone());
        }
        document.set("manifests", entries);
        if media_type != original.media_type {
            document.set("mediaType", media_type.as_str());
        }
        Ok(document.manifest(media_type))
    }
}
