//! Conversion of a layer: it is read to an unnamed file, and written to another one.

use super::{
    media::Compression,
    overlay::{Converted, Layer, LayerFile, Place},
    recompress::{Failed, Recompressed, recompress},
};
use crate::{
    copy::Event,
    error::Error,
    manifests::{known, refused},
    part::Seekable,
    source::{absent, sized},
};
use futures_util::TryStreamExt as _;
use registry_core::{Algorithm, Digest, hash::Hasher, manifest::Child, storage::StoredManifest};
use std::{
    env,
    fs::File,
    io::{self, Seek as _, SeekFrom, Write as _},
    sync::{Arc, Mutex, PoisonError},
};

/// Maximum number of bytes of all layers that a copy converts.
const LAYERS: u64 = 256 << 30;

impl Converted<'_> {
    pub(super) async fn layer(
        &self,
        original: &StoredManifest,
        layer: &Child,
        to: Compression,
        diff_id: &Digest,
    ) -> Result<Layer, Error> {
        let digest = known(self.source, original, layer)?;
        let known = self.update(|state| state.layers.get(&(digest, to)).copied());
        let verify = |actual: &Digest| {
            if actual == diff_id {
                return Ok(());
            }
            let reason = format!(
                "its layer {digest} has the digest {actual} without compression, but its config gives {diff_id}"
            );
            Err(self.refused(original, reason))
        };
        if let Some(known) = known.filter(|known| known.diff_id.algorithm() == diff_id.algorithm()) {
            return verify(&known.diff_id).map(|()| known);
        }
        let made = self
            .recompress(&digest, layer.size, to, diff_id.algorithm())
            .await?;
        // Before it is kept: what is refused must not fill the disk.
        verify(&made.diff_id)?;
        let layer = Layer {
            diff_id: made.diff_id,
            digest: made.digest,
            size: made.size,
        };
        self.keep(&made.digest, made.size, made.file)?;
        self.update(|state| state.layers.insert((digest, to), layer));
        self.options.tell(|| Event::BlobConverted {
            digest,
            converted: layer.digest,
            size: layer.size,
        });
        Ok(layer)
    }

    async fn recompress(
        &self,
        digest: &Digest,
        size: u64,
        to: Compression,
        plain_algorithm: Algorithm,
    ) -> Result<Recompressed, Error> {
        if size > LAYERS {
            let reason = format!("it has {size} bytes, and a layer to convert may have {LAYERS}");
            return Err(refused(self.source, digest, reason));
        }
        let mut file = self.file()?;
        self.read(digest, size, |piece| {
            file.write_all(piece)
                .map_err(Error::io("write", "a temporary file"))
        })
        .await?;
        let made = recompress(&file, to, self.file()?, [digest.algorithm(), plain_algorithm]);
        made.map_err(|failed| match failed {
            Failed::Write(error) => Error::io("write", "a temporary file")(error),
            failed => refused(self.source, digest, failed.to_string()),
        })
    }

    /// Appends a layer to the file with all of them.
    fn keep(&self, digest: &Digest, size: u64, mut layer: File) -> Result<(), Error> {
        let empty = self.file()?;
        self.update(|state| {
            let failed = |error| Error::io("write", "a temporary file")(error);
            if state.file.is_none() {
                let reader: Box<dyn Seekable> = Box::new(empty.try_clone().map_err(failed)?);
                state.file = Some(LayerFile {
                    writer: empty,
                    reader: Arc::new(Mutex::new(reader)),
                    len: 0,
                });
            }
            let file = state.file.as_mut().expect("it was created");
            let place = Place {
                offset: file.len,
                size,
            };
            let len = place.offset.saturating_add(size);
            if len > LAYERS {
                let reason =
                    format!("the converted layers have more than {LAYERS} bytes; copy fewer images at once");
                return Err(refused(self.source, digest, reason));
            }
            // A reader seeks before each read, with the lock.
            let _lock = file.reader.lock().unwrap_or_else(PoisonError::into_inner);
            file.writer.seek(SeekFrom::Start(place.offset)).map_err(failed)?;
            layer.rewind().map_err(failed)?;
            io::copy(&mut layer, &mut file.writer).map_err(failed)?;
            // The next layer overwrites what a failure has left.
            file.len = len;
            state.places.insert(*digest, place);
            Ok(())
        })
    }

    /// Reads a blob, and verifies it.
    pub(super) async fn read(
        &self,
        digest: &Digest,
        size: u64,
        mut piece: impl FnMut(&[u8]) -> Result<(), Error> + Send,
    ) -> Result<(), Error> {
        let place = self.source.describe();
        let Some(blob) = self.source.blob(digest, 0).await? else {
            return Err(absent(self.source, "the conversion", *digest, size));
        };
        let mut stream = sized(place.clone(), *digest, size, blob.stream);
        let mut hasher = Hasher::new(digest.algorithm());
        while let Some(bytes) = stream.try_next().await? {
            hasher.update(&bytes);
            piece(&bytes)?;
        }
        match hasher.digest() {
            Some(actual) if actual != *digest => Err(Error::Digest {
                place,
                digest: *digest,
                actual,
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// Creates an unnamed file.
    fn file(&self) -> Result<File, Error> {
        let directory = self.options.spool.clone().unwrap_or_else(env::temp_dir);
        let file = tempfile::tempfile_in(&directory);
        file.map_err(Error::io("create a file in", directory.display()))
    }
}
