//! [`MediaType`], and constants for the known ones.

use std::{fmt, sync::Arc};

/// Media type without parameters, such as `application/vnd.oci.image.manifest.v1+json`, as it was written.
///
/// ```
/// use registry_core::MediaType;
///
/// let media_type = MediaType::parse("application/vnd.oci.image.index.v1+json; charset=utf-8")?;
/// assert_eq!(media_type.as_str(), MediaType::OCI_INDEX);
/// assert!(media_type.is_index() && media_type.is_manifest());
/// # Ok::<(), registry_core::media_type::InvalidMediaType>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaType(Arc<str>);

/// Error for a string that is not a media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a media type has the form `type/subtype` (RFC 6838, section 4.2)")]
pub struct InvalidMediaType;

/// Maximum length of a media type, in bytes. RFC 6838 allows 127 for each half.
const MAX: usize = 255;

impl MediaType {
    /// OCI image manifest.
    pub const OCI_MANIFEST: &'static str = "application/vnd.oci.image.manifest.v1+json";
    /// OCI image index.
    pub const OCI_INDEX: &'static str = "application/vnd.oci.image.index.v1+json";
    /// Docker image manifest, version 2, schema 2.
    pub const DOCKER_MANIFEST: &'static str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker manifest list: several platforms under one name.
    pub const DOCKER_LIST: &'static str = "application/vnd.docker.distribution.manifest.list.v2+json";

    /// Parses a media type, leaving out its parameters (`; charset=…`).
    ///
    /// # Errors
    ///
    /// [`InvalidMediaType`] if it is not `type/subtype` in the characters of RFC 6838, or longer than 255 bytes.
    pub fn parse(text: &str) -> Result<Self, InvalidMediaType> {
        let essence = text.split(';').next().unwrap_or_default().trim();
        let (kind, subtype) = essence.split_once('/').ok_or(InvalidMediaType)?;
        let restricted = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
        };
        if restricted(kind) && restricted(subtype) && essence.len() <= MAX {
            Ok(Self(essence.into()))
        } else {
            Err(InvalidMediaType)
        }
    }

    /// Returns true if this is the type of a manifest or an index. Docker's schema 1 counts: it is no longer
    /// accepted, but an index entry of that type is still a manifest.
    #[must_use]
    pub fn is_manifest(&self) -> bool {
        self.is_schema_1()
            || matches!(
                self.as_str(),
                Self::OCI_MANIFEST | Self::OCI_INDEX | Self::DOCKER_MANIFEST | Self::DOCKER_LIST
            )
    }

    /// Returns true if this is the type of an index: OCI's, or Docker's manifest list.
    #[must_use]
    pub fn is_index(&self) -> bool {
        matches!(self.as_str(), Self::OCI_INDEX | Self::DOCKER_LIST)
    }

    /// Returns true if this is Docker's schema 1 of manifests, signed or not.
    pub(crate) fn is_schema_1(&self) -> bool {
        self.0
            .starts_with("application/vnd.docker.distribution.manifest.v1+")
    }

    /// Returns the media type as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if a layer of this type need not be in the repository, because its licence forbids
    /// distribution.
    #[must_use]
    pub fn is_nondistributable(&self) -> bool {
        self.0
            .starts_with("application/vnd.oci.image.layer.nondistributable.")
            || self.0.starts_with("application/vnd.docker.image.rootfs.foreign.")
    }

    /// Creates a media type from one of the constants above, or from another well-formed literal.
    pub(crate) fn known(text: &'static str) -> Self {
        debug_assert!(Self::parse(text).is_ok(), "{text}");
        Self(text.into())
    }
}

impl AsRef<str> for MediaType {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_blanks_are_left_out() {
        let parsed = MediaType::parse(" application/json ; charset=utf-8").unwrap();
        assert_eq!(parsed.as_str(), "application/json");
    }

    #[test]
    fn manifests_and_indexes_are_known_by_their_types() {
        for (text, is_manifest) in [
            (MediaType::OCI_MANIFEST, true),
            (MediaType::OCI_INDEX, true),
            (MediaType::DOCKER_MANIFEST, true),
            (MediaType::DOCKER_LIST, true),
            ("application/vnd.docker.distribution.manifest.v1+json", true),
            ("application/vnd.docker.distribution.manifest.v1+prettyjws", true),
            ("application/vnd.oci.image.layer.v1.tar+gzip", false),
            ("application/vnd.buildkit.cacheconfig.v0", false),
            ("application/vnd.oci.image.manifest.v2+json", false),
        ] {
            assert_eq!(
                MediaType::parse(text).unwrap().is_manifest(),
                is_manifest,
                "{text}"
            );
        }
    }

    #[test]
    fn what_could_not_stand_in_a_header_is_refused() {
        for text in [
            "",
            "json",
            "/",
            "a/",
            "/b",
            "a/b/c",
            "a/b\r\nc",
            "a/ü",
            "text/plain\0",
        ] {
            assert!(MediaType::parse(text).is_err(), "{text:?}");
        }
    }
}
