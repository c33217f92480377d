//! [`Files`]: the files of a layout, in a directory or in an archive.

use crate::{error::Error, source::BlobStream};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use registry_core::{Digest, hash::Hasher};
use std::{
    fmt,
    io::{self, Read},
};

/// Maximum size of `index.json`, of a manifest and of other documents, in bytes.
pub(crate) const DOCUMENT: u64 = 16 << 20;
/// Number of bytes that are read at once.
pub(crate) const PIECE: usize = 64 << 10;

/// Files of a layout.
pub(crate) trait Files: fmt::Debug + Send + Sync {
    /// Returns the name of the directory or archive, for messages.
    fn place(&self) -> &str;

    /// Opens a regular file. Anything else at this path is an error.
    fn open(&self, path: &str) -> Result<Option<OpenFile>, Error>;
}

/// A file, open for reading from its begin.
pub(crate) struct OpenFile {
    pub(crate) size: u64,
    pub(crate) reader: Box<dyn Read + Send>,
}

/// Reads a document whole.
pub(crate) fn read_document(files: &dyn Files, path: &str) -> Result<Option<Bytes>, Error> {
    let Some(file) = files.open(path)? else {
        return Ok(None);
    };
    if file.size > DOCUMENT {
        let reason = format!(
            "the document has {} bytes, and may have at most {DOCUMENT}",
            file.size
        );
        return Err(Error::layout(files.place(), path, reason));
    }
    let mut bytes = Vec::new();
    let read = file.reader.take(DOCUMENT).read_to_end(&mut bytes);
    read.map_err(Error::io("read", format_args!("{} in {}", path, files.place())))?;
    Ok(Some(bytes.into()))
}

/// Returns the path of a blob in a layout.
pub(crate) fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

struct Reading {
    place: String,
    digest: Digest,
    hasher: Hasher,
    file: OpenFile,
    /// Number of bytes to hash without returning them.
    skip: u64,
}

/// Returns the bytes of a blob from an offset. The stream ends with an error unless the whole blob has the digest.
pub(crate) fn verified(place: &str, digest: &Digest, from: u64, file: OpenFile) -> BlobStream {
    let reading = Reading {
        place: place.to_owned(),
        digest: *digest,
        hasher: Hasher::new(digest.algorithm()),
        file,
        skip: from,
    };
    Box::pin(stream::try_unfold(Some(reading), async |reading| {
        let Some(mut reading) = reading else {
            return Ok(None);
        };
        match reading.piece()? {
            Some(piece) => Ok(Some((piece, Some(reading)))),
            None => reading.end().map(|()| None),
        }
    }))
}

impl Reading {
    fn piece(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let left = self.file.size.saturating_sub(self.hasher.offset());
            let wanted = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let mut piece = BytesMut::zeroed(wanted);
            let read = fill(&mut *self.file.reader, &mut piece);
            let read = read.map_err(Error::io(
                "read",
                format_args!("{} in {}", self.digest, self.place),
            ))?;
            piece.truncate(read);
            if piece.is_empty() {
                return Ok(None);
            }
            self.hasher.update(&piece);
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(piece.len());
            self.skip -= skipped as u64;
            let piece = piece.split_off(skipped);
            if !piece.is_empty() {
                return Ok(Some(piece.freeze()));
            }
        }
    }

    fn end(self) -> Result<(), Error> {
        let read = self.hasher.offset();
        if read != self.file.size {
            return Err(Error::Size {
                place: self.place,
                digest: self.digest,
                expected: self.file.size,
                actual: read,
            });
        }
        match self.hasher.digest() {
            Some(actual) if actual != self.digest => Err(Error::Digest {
                place: self.place,
                digest: self.digest,
                actual,
            }),
            Some(_) | None => Ok(()),
        }
    }
}

/// Reads until a buffer is full, or the file ends.
pub(crate) fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
