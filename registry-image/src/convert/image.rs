//! Conversion of an image: of its layers, and of its media types.

use super::{
    document::Object,
    media::{Compression, Format, LayerType},
    overlay::Converted,
};
use crate::{document::diff_ids, error::Error, layout::DOCUMENT, manifests::known};
use registry_core::{
    Digest, MediaType,
    manifest::{Child, Manifest},
    storage::StoredManifest,
};

/// Change of a layer.
struct Change {
    media_type: &'static str,
    /// Compression, if it is another one.
    compression: Option<Compression>,
}

impl Converted<'_> {
    pub(super) async fn image(
        &self,
        original: &StoredManifest,
        parsed: &Manifest,
    ) -> Result<StoredManifest, Error> {
        let is_image = Format::of_manifest(&original.media_type).is_some();
        let blobs = parsed.blobs().split_first().filter(|_| is_image);
        let image = blobs.and_then(|(config, layers)| {
            let kinds = layers
                .iter()
                .map(|layer| LayerType::of(layer.media_type.as_ref()?.as_str()));
            let is_config = Format::is_config(config.media_type.as_ref()?.as_str());
            let kinds: Vec<_> = kinds.collect::<Option<_>>().filter(|_| is_config)?;
            Some((config, layers, kinds))
        });
        let Some((config, layers, kinds)) = image else {
            if self.options.format == Some(Format::Docker) {
                let reason = "it is no image, and docker has no form for others; copy it without a format, or choose one platform of its index";
                return Err(self.refused(original, reason));
            }
            return Ok(original.clone());
        };
        let mut document = self.object(original, Object::parse(&original.bytes))?;
        let media_type = self.media_type(original, &document, Format::manifest)?;
        let changes = kinds
            .iter()
            .zip(layers)
            .map(|(kind, layer)| self.change(original, *kind, layer));
        let changes: Vec<_> = changes.collect::<Result<_, _>>()?;
        if media_type == original.media_type && changes.iter().all(Option::is_none) {
            return Ok(original.clone());
        }
        let is_recompressed = changes
            .iter()
            .flatten()
            .any(|change| change.compression.is_some());
        let mut diff_ids = Vec::new();
        if is_recompressed {
            diff_ids = self.diff_ids(original, config, layers.len()).await?;
        }
        let mut written = self.entries(original, &document, "layers", layers.len())?;
        for (number, (written, layer)) in written.iter_mut().zip(layers).enumerate() {
            let Some(Some(change)) = changes.get(number) else {
                continue;
            };
            written.set("mediaType", change.media_type);
            if let (Some(to), Some(diff_id)) = (change.compression, diff_ids.get(number)) {
                let made = self.layer(original, layer, to, diff_id).await?;
                written.describe(&made.digest, made.size);
                self.object(original, written.forget_compression())?;
            }
        }
        document.set("layers", written);
        if media_type != original.media_type {
            document.set("mediaType", media_type.as_str());
        }
        if let Some(format) = self.options.format {
            let mut config: Object = self.object(original, document.get("config"))?;
            config.set("mediaType", format.config());
            document.set("config", config);
        }
        Ok(document.manifest(media_type))
    }

    /// Returns the media type of a manifest in the wanted family.
    pub(super) fn media_type(
        &self,
        original: &StoredManifest,
        document: &Object,
        of: fn(Format) -> &'static str,
    ) -> Result<MediaType, Error> {
        let Some(format) = self.options.format else {
            return Ok(original.media_type.clone());
        };
        for field in ["subject", "artifactType"] {
            if format == Format::Docker && document.has(field) {
                let reason = format!(
                    "it has the field `{field}`, which docker's manifests do not; copy it without a format"
                );
                return Err(self.refused(original, reason));
            }
        }
        Ok(MediaType::parse(of(format)).expect("a constant is well-formed"))
    }

    /// Returns the change of a layer, if there is one.
    fn change(
        &self,
        original: &StoredManifest,
        kind: LayerType,
        layer: &Child,
    ) -> Result<Option<Change>, Error> {
        // The bytes of such a layer are elsewhere.
        let is_fixed = kind.is_foreign || !layer.urls.is_empty();
        let compress = self.options.compress.filter(|_| !is_fixed);
        let wanted = LayerType {
            format: self.options.format.unwrap_or(kind.format),
            compression: compress.unwrap_or(kind.compression),
            is_foreign: kind.is_foreign,
        };
        if wanted == kind && self.options.format != Some(Format::Docker) {
            return Ok(None);
        }
        let media_type = wanted.media_type().ok_or_else(|| {
            let reason = "docker's manifests have no layers in zstd; choose gzip, or the format of OCI";
            self.refused(original, reason)
        })?;
        let compression = Some(wanted.compression).filter(|to| *to != kind.compression);
        Ok((wanted != kind).then_some(Change {
            media_type,
            compression,
        }))
    }

    /// Reads the digests of the uncompressed layers from the config.
    async fn diff_ids(
        &self,
        original: &StoredManifest,
        config: &Child,
        layers: usize,
    ) -> Result<Vec<Digest>, Error> {
        let digest = known(self.source, original, config)?;
        if config.size > DOCUMENT {
            let reason = format!("its config has {} bytes, and may have {DOCUMENT}", config.size);
            return Err(self.refused(original, reason));
        }
        let mut bytes = Vec::new();
        self.read(&digest, config.size, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })
        .await?;
        let diff_ids = self.object(original, diff_ids(&bytes))?;
        if diff_ids.len() != layers {
            let reason = format!(
                "its config has {} diff_ids, but it has {layers} layers",
                diff_ids.len()
            );
            return Err(self.refused(original, reason));
        }
        let diff_ids = diff_ids.iter().map(|diff_id| {
            let parsed = Digest::parse(diff_id);
            parsed.map_err(|error| self.refused(original, format!("its config is malformed: {error}")))
        });
        diff_ids.collect()
    }
}
