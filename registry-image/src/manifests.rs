//! Manifests of a source: read, verified and parsed, with the errors of a copy.

use crate::{error::Error, printable, source::Source};
use registry_core::{
    AnyDigest, Digest,
    manifest::{Child, Manifest},
    storage::StoredManifest,
};

/// Maximum depth of indexes and referrers within each other.
const DEPTH: usize = 16;

/// Reads a manifest, and checks its digest.
pub(crate) async fn read(source: &dyn Source, digest: &Digest) -> Result<Option<StoredManifest>, Error> {
    let Some(read) = source.manifest(digest).await? else {
        return Ok(None);
    };
    let actual = Digest::of(digest.algorithm(), &read.bytes);
    if actual == *digest {
        Ok(Some(read))
    } else {
        Err(Error::Digest {
            place: source.describe(),
            digest: *digest,
            actual,
        })
    }
}

/// Reads a manifest that an index lists, and checks its size.
pub(crate) async fn read_child(
    source: &dyn Source,
    child: &Child,
    digest: &Digest,
) -> Result<Option<StoredManifest>, Error> {
    let read = read(source, digest).await?;
    match read {
        Some(read) if read.bytes.len() as u64 != child.size => Err(Error::Size {
            place: source.describe(),
            digest: *digest,
            expected: child.size,
            actual: read.bytes.len() as u64,
        }),
        read => Ok(read),
    }
}

/// Parses a manifest. `place` is for messages.
pub(crate) fn parsed(place: &str, manifest: &StoredManifest) -> Result<Manifest, Error> {
    let parsed = Manifest::parse_stored(&manifest.bytes, &manifest.media_type);
    parsed.map_err(|source| Error::Manifest {
        place: place.to_owned(),
        digest: manifest.digest,
        source,
    })
}

/// Returns the digest of content that a manifest refers to.
pub(crate) fn known(source: &dyn Source, manifest: &StoredManifest, child: &Child) -> Result<Digest, Error> {
    match &child.digest {
        AnyDigest::Known(digest) => Ok(*digest),
        AnyDigest::Foreign(_) => {
            let reason = format!("it refers to {}, whose algorithm is not supported", child.digest);
            Err(refused(source, &manifest.digest, reason))
        }
    }
}

/// Refuses a manifest that lies too deep.
pub(crate) fn check_depth(source: &dyn Source, manifest: &StoredManifest, depth: usize) -> Result<(), Error> {
    if depth <= DEPTH {
        return Ok(());
    }
    let reason = format!("more than {DEPTH} manifests refer to each other in a chain");
    Err(refused(source, &manifest.digest, reason))
}

pub(crate) fn refused(source: &dyn Source, digest: &Digest, reason: impl Into<String>) -> Error {
    Error::Refused {
        place: source.describe(),
        digest: *digest,
        reason: printable::reason(&reason.into()),
    }
}
