//! Media types of images, by family and compression.

use registry_core::MediaType;

/// Compression of the layers of an image.
///
/// The same layer gets the same bytes each time. They can differ between versions of this crate, and in a program that
/// selects another backend of the crate `flate2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Compression {
    /// No compression.
    None,
    /// gzip, at level 6. All programs read it.
    Gzip,
    /// zstd, at a fast level. Docker manifests cannot have it.
    Zstd,
}

/// Family of the media types of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Manifests and indexes of the OCI image specification.
    Oci,
    /// Docker's manifests, schema 2, and manifest lists. They have no form for artifacts.
    Docker,
}

impl Format {
    pub(super) const fn manifest(self) -> &'static str {
        match self {
            Self::Oci => MediaType::OCI_MANIFEST,
            Self::Docker => MediaType::DOCKER_MANIFEST,
        }
    }

    pub(super) const fn index(self) -> &'static str {
        match self {
            Self::Oci => MediaType::OCI_INDEX,
            Self::Docker => MediaType::DOCKER_LIST,
        }
    }

    pub(super) const fn config(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.config.v1+json",
            Self::Docker => "application/vnd.docker.container.image.v1+json",
        }
    }

    /// Returns the family of a manifest.
    pub(super) fn of_manifest(media_type: &MediaType) -> Option<Self> {
        let text = media_type.as_str();
        [Self::Oci, Self::Docker]
            .into_iter()
            .find(|format| format.manifest() == text)
    }

    /// Returns true for the media type of the config of an image, in any family.
    pub(super) fn is_config(media_type: &str) -> bool {
        [Self::Oci, Self::Docker]
            .iter()
            .any(|format| format.config() == media_type)
    }
}

/// Media type of a layer that is a tar file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LayerType {
    pub(super) format: Format,
    pub(super) compression: Compression,
    /// True if it may not be distributed.
    pub(super) is_foreign: bool,
}

const LAYERS: [(&str, Format, Compression, bool); 11] = {
    use self::{
        Compression::{Gzip, None, Zstd},
        Format::{Docker, Oci},
    };
    [
        ("application/vnd.oci.image.layer.v1.tar", Oci, None, false),
        ("application/vnd.oci.image.layer.v1.tar+gzip", Oci, Gzip, false),
        ("application/vnd.oci.image.layer.v1.tar+zstd", Oci, Zstd, false),
        (
            "application/vnd.oci.image.layer.nondistributable.v1.tar",
            Oci,
            None,
            true,
        ),
        (
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            Oci,
            Gzip,
            true,
        ),
        (
            "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
            Oci,
            Zstd,
            true,
        ),
        (
            "application/vnd.docker.image.rootfs.diff.tar",
            Docker,
            None,
            false,
        ),
        (
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            Docker,
            Gzip,
            false,
        ),
        // BuildKit and containerd write it, but docker does not read it.
        (
            "application/vnd.docker.image.rootfs.diff.tar.zstd",
            Docker,
            Zstd,
            false,
        ),
        (
            "application/vnd.docker.image.rootfs.foreign.diff.tar",
            Docker,
            None,
            true,
        ),
        (
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            Docker,
            Gzip,
            true,
        ),
    ]
};

impl LayerType {
    /// Returns the type of a tar file; `None` for other content.
    pub(super) fn of(media_type: &str) -> Option<Self> {
        let (_, format, compression, is_foreign) =
            LAYERS.into_iter().find(|(text, ..)| *text == media_type)?;
        Some(Self {
            format,
            compression,
            is_foreign,
        })
    }

    /// Returns the media type; `None` if the family has none.
    pub(super) fn media_type(self) -> Option<&'static str> {
        let found = LAYERS.into_iter().find(|&(_, format, compression, is_foreign)| {
            let found = Self {
                format,
                compression,
                is_foreign,
            };
            found == self && (format, compression) != (Format::Docker, Compression::Zstd)
        });
        found.map(|(text, ..)| text)
    }
}
