//! [`LayoutProblem`]: the reasons for which a layout is refused.

use registry_core::{AnyDigest, Digest, manifest::InvalidManifest};
use std::{io, path::PathBuf};

/// Maximum size of all content of a layout.
pub(super) const MAX_TOTAL: u64 = 1 << 30;

/// Maximum number of descriptors in the images of a layout. Few files of a hostile layout can repeat many.
pub(super) const MAX_DESCRIPTORS: usize = 100_000;

/// Maximum size of the manifests in the images of a layout, for the same reason.
pub(super) const MAX_MANIFESTS: u64 = 64 << 20;

/// Reason for which a file of a layout is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum LayoutProblem {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A link leads out of the layout.
    #[error("it is a link to {}, outside of the layout", .0.display())]
    Outside(PathBuf),
    /// It is a directory, a pipe or a device.
    #[error("it is no regular file")]
    NoFile,
    /// It is larger than allowed.
    #[error("it has {size} bytes; at most {limit} are read")]
    TooLarge { size: u64, limit: u64 },
    /// The whole layout is larger than allowed.
    #[error(
        "with it the layout has {size} bytes; at most {MAX_TOTAL} are read, since a test registry is in memory"
    )]
    TotalTooLarge { size: u64 },
    /// The images of the layout have more descriptors than allowed.
    #[error(
        "with it the images of the layout have more than {MAX_DESCRIPTORS} descriptors, counted in each image"
    )]
    TooManyDescriptors,
    /// The images of the layout have larger manifests than allowed.
    #[error(
        "with it the images of the layout have more than {MAX_MANIFESTS} bytes of manifests, counted in each image"
    )]
    ManifestsTooLarge,
    /// It has not the size of its descriptor.
    #[error("it has {found} bytes; its descriptor says {expected}")]
    Size { expected: u64, found: u64 },
    /// It has not the digest that its name says.
    #[error("its content has the digest {0}")]
    Digest(Digest),
    /// It names content by a digest of an unknown algorithm.
    #[error("it refers to {0}, whose algorithm is not supported")]
    Algorithm(AnyDigest),
    /// A file with a certain form has another one.
    #[error("it is no {0}")]
    Form(&'static str),
    /// It is no manifest that a registry accepts.
    #[error(transparent)]
    Manifest(#[from] InvalidManifest),
}
