//! [`Objects`]: the objects of a bucket by their keys, for programs that move a registry.

use crate::{
    bucket::{Bucket, Part, refusal},
    keys,
    location::Location,
    options::ObjectOptions,
    storage::Buckets,
};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use registry_core::storage::{Result, StorageError};
use std::fmt;

/// Maximum number of parts of an object, by the rules of S3.
const PARTS: u64 = 10_000;

/// The objects of a bucket by their keys, for programs that move a registry.
///
/// Nothing here protects content from the collections of servers that use the bucket, or orders writes: no server should
/// write to it meanwhile. Keys are relative to the [root](ObjectOptions::root).
#[derive(Clone)]
pub struct Objects {
    bucket: Bucket,
    part: u64,
}

impl Objects {
    /// Opens a bucket. 1 request.
    ///
    /// # Errors
    ///
    /// [`StorageError::Unavailable`] if the store cannot be reached; a later attempt may succeed.
    /// [`StorageError::Denied`] if it refuses: there is no such bucket, or not for these credentials. Another
    /// [`StorageError`] if the location's settings do not fit together.
    ///
    /// # Cancel safety
    ///
    /// The future can be dropped at any point.
    pub async fn open(options: &ObjectOptions, location: &Location) -> Result<Self> {
        let Buckets { opening, bucket } = Buckets::of(options, location)?;
        opening.any(keys::TOP).await.map_err(refusal)?;
        Ok(Self {
            bucket,
            part: options.part_size,
        })
    }

    /// Lists all objects below a directory with their sizes, in any order.
    pub fn list(&self, directory: &str) -> BoxStream<'static, Result<(String, u64)>> {
        self.bucket
            .list(directory)
            .map_ok(|object| (object.key, object.size))
            .boxed()
    }

    /// Reads a small object. Returns `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`StorageError`] if the store does not answer, or refuses the request.
    ///
    /// # Cancel safety
    ///
    /// The future can be dropped at any point.
    pub async fn read(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.bucket.get(key).await?.map(|object| object.bytes))
    }

    /// Reads an object in pieces. Returns `None` if there is none.
    ///
    /// # Errors
    ///
    /// The same errors as [`read`](Self::read). An item of the stream is an error if the transfer breaks off.
    ///
    /// # Cancel safety
    ///
    /// The future and the stream can be dropped at any point.
    pub async fn stream(&self, key: &str) -> Result<Option<BoxStream<'static, Result<Bytes>>>> {
        Ok(self.bucket.read_whole(key).await?.map(|(_, content)| content))
    }

    /// Writes a small object, whatever is there.
    ///
    /// # Errors
    ///
    /// The same errors as [`read`](Self::read).
    ///
    /// # Cancel safety
    ///
    /// The object is written, or not, if the future is dropped.
    pub async fn write(&self, key: &str, content: Bytes) -> Result<()> {
        self.bucket.put(key, content).await
    }

    /// Writes an object of this size from a stream. If the stream ends with an error, no object is written.
    ///
    /// # Errors
    ///
    /// The same errors as [`read`](Self::read), and the error of the stream.
    ///
    /// # Cancel safety
    ///
    /// No object is written if the future is dropped. Parts of it may be left, which a lifecycle rule removes.
    pub async fn write_stream(
        &self,
        key: &str,
        size: u64,
        mut content: BoxStream<'_, Result<Bytes>>,
    ) -> Result<()> {
        if size <= self.part {
            let mut whole = BytesMut::new();
            while let Some(piece) = content.try_next().await? {
                whole.extend_from_slice(&piece);
            }
            return self.bucket.put(key, whole.freeze()).await;
        }
        let multipart = self.bucket.create_multipart(key).await?;
        let written = self.write_parts(key, &multipart, size, content).await;
        if written.is_err()
            && let Err(error) = self.bucket.abort_multipart(key, &multipart).await
        {
            tracing::debug!(key, %error, "cannot drop the parts of an object");
        }
        written
    }

    async fn write_parts(
        &self,
        key: &str,
        multipart: &str,
        size: u64,
        mut content: BoxStream<'_, Result<Bytes>>,
    ) -> Result<()> {
        let part = usize::try_from(self.part.max(size.div_ceil(PARTS))).unwrap_or(usize::MAX);
        let mut parts: Vec<(usize, Part)> = Vec::new();
        let mut buffer = BytesMut::new();
        loop {
            let piece = content.try_next().await?;
            let is_end = piece.is_none();
            buffer.extend_from_slice(&piece.unwrap_or_default());
            while buffer.len() >= part || (is_end && !buffer.is_empty()) {
                let bytes = buffer.split_to(buffer.len().min(part)).freeze();
                let sent = self.bucket.put_part(key, multipart, parts.len(), bytes).await?;
                parts.push((parts.len(), sent.ok_or_else(|| gone(key))?));
            }
            if is_end {
                break;
            }
        }
        let next = parts.len();
        match self
            .bucket
            .complete_multipart(key, multipart, &parts, next)
            .await?
        {
            true => Ok(()),
            false => Err(gone(key)),
        }
    }
}

fn gone(key: &str) -> StorageError {
    StorageError::internal(format!("the parts of {key} have gone; try again"))
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects")
            .field("bucket", &self.bucket)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    async fn objects() -> Objects {
        let options = ObjectOptions::new().part_size(4);
        Objects::open(&options, &Location::memory()).await.unwrap()
    }

    async fn written(size: u64, pieces: Vec<Result<Bytes>>) -> (Result<()>, Option<Bytes>) {
        let objects = objects().await;
        let wrote = objects
            .write_stream("a/b", size, stream::iter(pieces).boxed())
            .await;
        (wrote, objects.read("a/b").await.unwrap())
    }

    #[tokio::test]
    async fn an_object_is_written_in_one_piece_or_in_parts() {
        let pieces = |text: &'static str| text.as_bytes().chunks(3).map(|piece| Ok(piece.into())).collect();
        for text in ["", "abc", "abcd", "abcdefghij"] {
            let (wrote, read) = written(text.len() as u64, pieces(text)).await;
            wrote.unwrap();
            assert_eq!(read.unwrap(), text);
        }
    }

    #[tokio::test]
    async fn a_stream_that_breaks_off_leaves_no_object() {
        for size in [3, 100] {
            let broken = vec![Ok("abcdef".into()), Err(StorageError::internal("broken"))];
            let (wrote, read) = written(size, broken).await;
            assert!(wrote.unwrap_err().to_string().contains("broken"));
            assert_eq!(read, None);
        }
    }
}
