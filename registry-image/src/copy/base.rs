//! The base of an incremental archive: blobs that the target must have.

use super::options::{CopyItem, ImageCopy, Options};
use crate::{
    convert::Converted,
    error::Error,
    source::{BlobStream, Origin},
    target::{Kind, Target},
};
use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use registry_core::{Digest, Tag, storage::StoredManifest};
use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

impl ImageCopy<'_> {
    /// Verifies that the target has each blob of the items that the source [leaves out](crate::Source::left_out).
    ///
    /// [`run`](Self::run) does that before it writes anything. If several copies follow each other, such as of several
    /// repositories in one archive, verify all of them first.
    ///
    /// # Cancel safety
    ///
    /// Changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Base`] with everything that is missing, and [`Error`] if the source or the target cannot be read.
    pub async fn verify_base(&self, items: &[CopyItem]) -> Result<(), Error> {
        let Some(left_out) = self.source.left_out() else {
            return Ok(());
        };
        let needs = Needs {
            place: self.target.describe(),
            blobs: Mutex::default(),
        };
        // A conversion would need the content.
        let options = Options {
            listener: None,
            compress: None,
            format: None,
            ..self.options.clone()
        };
        let source = Converted::new(self.source, &options);
        let walk = ImageCopy::new(self.source, &needs).with_options(options);
        let walk = walk.keep_going(self.keep_going);
        walk.run_from(&source, items).await?;
        drop(walk);
        let blobs = needs.blobs.into_inner().unwrap_or_else(PoisonError::into_inner);
        let needed = blobs
            .into_iter()
            .filter(|(digest, size)| left_out.has(digest, *size));
        let checks = needed.map(|(digest, size)| async move {
            let is_there = self.target.has(Kind::Blob, &digest, size).await?
                // A directory may have been completed.
                || self.source.blob(&digest, 0).await?.is_some();
            Ok::<_, Error>((!is_there).then_some(digest))
        });
        let checks = stream::iter(checks).buffered(self.jobs);
        let missing: Vec<_> = checks
            .try_filter_map(async |missing| Ok(missing))
            .try_collect()
            .await?;
        if missing.is_empty() {
            return Ok(());
        }
        Err(Error::Base {
            place: self.source.describe(),
            target: self.target.describe(),
            base: left_out.base,
            missing,
        })
    }
}

/// Target that collects the blobs of a copy, without their bytes.
#[derive(Debug)]
struct Needs {
    place: String,
    blobs: Mutex<BTreeSet<(Digest, u64)>>,
}

#[async_trait]
impl Target for Needs {
    fn describe(&self) -> String {
        self.place.clone()
    }

    async fn has(&self, _: Kind, _: &Digest, _: u64) -> Result<bool, Error> {
        Ok(false)
    }

    async fn mount(&self, digest: &Digest, size: u64, _: Option<&Origin>) -> Result<bool, Error> {
        let mut blobs = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        blobs.insert((*digest, size));
        Ok(true)
    }

    async fn put_blob(&self, digest: &Digest, size: u64, _: BlobStream) -> Result<(), Error> {
        self.mount(digest, size, None).await.map(drop)
    }

    async fn put_manifest(&self, _: &StoredManifest, _: &[Tag]) -> Result<(), Error> {
        Ok(())
    }

    async fn finish(&self) -> Result<(), Error> {
        Ok(())
    }
}
