//! `manifest.json` of an archive, which docker, podman and skopeo's `docker-archive:` read.

use super::plan::Plan;
use crate::{
    document,
    layout::{Names, blob_path},
    narrow::{Narrowed, narrow},
    platform::Platform,
};
use registry_core::{Digest, Tag, manifest::Manifest, storage::StoredManifest};
use serde::Serialize;

const LAYERS: [&str; 2] = [
    "application/vnd.oci.image.layer.",
    "application/vnd.docker.image.rootfs.",
];
const CONFIGS: [&str; 2] = [document::CONFIG, "application/vnd.docker.container.image.v1+json"];

/// An image in `manifest.json`. Its keys are in docker's order.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

/// Returns `manifest.json`, unless there are no images for docker.
pub(super) fn manifest(plan: &Plan, platform: &Platform) -> Option<Vec<u8>> {
    let mut images: Vec<Image> = Vec::new();
    for (item, names) in &plan.items {
        let image = plan.manifests.get(&item.target);
        let Some(mut image) = image.and_then(|found| image_of(plan, found, platform)) else {
            continue;
        };
        image.repo_tags = full_names(names, &item.tags);
        match images
            .iter_mut()
            .find(|known| known.config == image.config && known.layers == image.layers)
        {
            Some(known) => {
                let tags = image.repo_tags.into_iter();
                let new: Vec<_> = tags.filter(|tag| !known.repo_tags.contains(tag)).collect();
                known.repo_tags.extend(new);
            }
            None => images.push(image),
        }
    }
    (!images.is_empty()).then(|| serde_json::to_vec(&images).expect("strings are JSON"))
}

fn full_names(names: &Names, tags: &[Tag]) -> Vec<String> {
    tags.iter().filter_map(|tag| names.full_name(tag)).collect()
}

/// Returns the image of a manifest, or of the right platform of an index.
fn image_of(plan: &Plan, manifest: &StoredManifest, platform: &Platform) -> Option<Image> {
    if manifest.media_type.is_index() {
        let Ok(Narrowed::Image(digest)) = narrow(&manifest.bytes, std::slice::from_ref(platform)) else {
            return None;
        };
        let digest = Digest::parse(&digest).ok()?;
        return image_of(plan, plan.manifests.get(&digest)?, platform);
    }
    let parsed = Manifest::parse_stored(&manifest.bytes, &manifest.media_type).ok()?;
    let (config, layers) = parsed.blobs().split_first()?;
    let config_type = config.media_type.as_ref()?.as_str();
    let is_layer = |media_type: &str| LAYERS.iter().any(|known| media_type.starts_with(known));
    let are_layers = layers.iter().all(|layer| {
        layer
            .media_type
            .as_ref()
            .is_some_and(|found| is_layer(found.as_str()))
    });
    if !CONFIGS.contains(&config_type) || !are_layers {
        return None;
    }
    let layers = layers.iter().map(|layer| layer.digest.known().map(blob_path));
    Some(Image {
        config: blob_path(config.digest.known()?),
        repo_tags: Vec::new(),
        layers: layers.collect::<Option<_>>()?,
    })
}
