//! [`Nothing`]: a target that is empty, for copies that write nothing.

use async_trait::async_trait;
use registry_core::{Digest, Tag, storage::StoredManifest};
use registry_image::{BlobStream, Error, Kind, Target};

/// Empty target that accepts everything and keeps nothing.
#[derive(Debug)]
pub(super) struct Nothing;

#[async_trait]
impl Target for Nothing {
    fn describe(&self) -> String {
        "nothing".to_owned()
    }

    async fn has(&self, _: Kind, _: &Digest, _: u64) -> Result<bool, Error> {
        Ok(false)
    }

    async fn put_blob(&self, _: &Digest, _: u64, _: BlobStream) -> Result<(), Error> {
        Ok(())
    }

    async fn put_manifest(&self, _: &StoredManifest, _: &[Tag]) -> Result<(), Error> {
        Ok(())
    }

    async fn finish(&self) -> Result<(), Error> {
        Ok(())
    }
}
