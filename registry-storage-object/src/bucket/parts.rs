//! Objects that are written in parts, and copies.

use super::{
    Bucket, Dialect,
    error::{RETRY_AFTER, failed},
    signed::Answer,
};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use object_store::{ObjectStoreExt as _, PutPayload, multipart::PartId};
use registry_core::storage::{Result, StorageError};
use std::{fmt::Write as _, ops::Range};

/// Size of the largest object that Amazon copies with one request.
pub(crate) const LARGEST_COPY: u64 = 5 << 30;

/// Maximum number of bytes that one request of a copy in parts copies.
const COPIED_AT_ONCE: u64 = 1 << 30;

/// Maximum number of such requests at once.
const COPIES: usize = 8;

/// A part that the store has, as it names it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub(crate) struct Part {
    /// Opaque. Never interpreted: with checksums it is a piece of XML.
    pub(crate) id: String,
}

impl Bucket {
    /// Begins an object in parts, and returns the id by which any process continues it.
    pub(crate) async fn create_multipart(&self, key: &str) -> Result<String> {
        self.clients
            .parts
            .create_multipart(&self.path(key))
            .await
            .map_err(|error| failed("begin the parts of", key, error))
    }

    /// Writes a part, counted from 0. A part number that is used again overwrites: callers never do. Returns `None` if the
    /// store says that the parts have gone. Any other 404 is an error: it may be of something in between.
    pub(crate) async fn put_part(
        &self,
        key: &str,
        multipart: &str,
        number: usize,
        payload: impl Into<PutPayload> + Send,
    ) -> Result<Option<Part>> {
        let sent = self
            .clients
            .parts
            .put_part(&self.path(key), &multipart.to_owned(), number, payload.into())
            .await;
        match sent {
            Ok(part) => Ok(Some(Part { id: part.content_id })),
            // Memory has no error of its own for it, and no other ones.
            Err(error) if self.dialect() == Dialect::Memory || says_gone(&error) => Ok(None),
            Err(error @ object_store::Error::NotFound { .. }) => Err(StorageError::unavailable(
                format!(
                    "the object store answers 404 to a part of {key}, and does not say that its parts have gone"
                ),
                Some(RETRY_AFTER),
                Some(error.into()),
            )),
            Err(error) => Err(failed("write a part of", key, error)),
        }
    }

    /// Returns true if an error says that something is not there.
    fn is_absence(&self, error: &object_store::Error) -> bool {
        // Memory has no error of its own for parts that have gone, and no other ones.
        matches!(error, object_store::Error::NotFound { .. }) || self.dialect() == Dialect::Memory
    }

    /// Makes the object of the parts with these numbers, which ascend and are below `next`. May be repeated. Returns false
    /// if the parts have gone: they were dropped, or are the object already.
    pub(crate) async fn complete_multipart(
        &self,
        key: &str,
        multipart: &str,
        parts: &[(usize, Part)],
        next: usize,
    ) -> Result<bool> {
        let is_dense = parts.iter().enumerate().all(|(at, (number, _))| at == *number);
        let is_named = self.dialect() == Dialect::Azure;
        if self.dialect() == Dialect::Memory {
            return self.complete_in_memory(key, multipart, parts, next).await;
        }
        if !is_dense && !is_named {
            return self.complete_numbered(key, multipart, parts).await;
        }
        let parts = parts.iter().map(|(_, part)| PartId {
            content_id: part.id.clone(),
        });
        let completed = self
            .clients
            .parts
            .complete_multipart(&self.path(key), &multipart.to_owned(), parts.collect())
            .await;
        match completed {
            Ok(_) => Ok(true),
            Err(error) if self.is_absence(&error) => Ok(false),
            Err(error) => Err(failed("complete the parts of", key, error)),
        }
    }

    /// Memory joins all parts that it has, and requires each number.
    async fn complete_in_memory(
        &self,
        key: &str,
        multipart: &str,
        parts: &[(usize, Part)],
        next: usize,
    ) -> Result<bool> {
        for unused in (0..next).filter(|number| parts.iter().all(|(used, _)| used != number)) {
            if self
                .put_part(key, multipart, unused, PutPayload::new())
                .await
                .is_err()
            {
                return Ok(false);
            }
        }
        let completed = self
            .clients
            .parts
            .complete_multipart(&self.path(key), &multipart.to_owned(), Vec::new())
            .await;
        Ok(completed.is_ok())
    }

    /// Does the same by a request of its own, because the client numbers parts by their position.
    async fn complete_numbered(&self, key: &str, multipart: &str, parts: &[(usize, Part)]) -> Result<bool> {
        let mut list = String::from("<CompleteMultipartUpload>");
        for (number, part) in parts {
            let _ = write!(
                list,
                "<Part><PartNumber>{}</PartNumber>{}</Part>",
                number + 1,
                part_metadata(&part.id)
            );
        }
        list.push_str("</CompleteMultipartUpload>");
        let query = [("uploadId", multipart.to_owned())];
        let answer = self
            .signed_request(
                Method::POST,
                &self.path(key),
                &query,
                HeaderMap::new(),
                list.into(),
            )
            .await?;
        match answer {
            Answer::Done(_) => Ok(true),
            Answer::Absent => Ok(false),
        }
    }

    /// Drops the parts. Parts that have gone are no error.
    pub(crate) async fn abort_multipart(&self, key: &str, multipart: &str) -> Result<()> {
        let aborted = self
            .clients
            .parts
            .abort_multipart(&self.path(key), &multipart.to_owned())
            .await;
        match aborted {
            Ok(()) => Ok(()),
            Err(error) if self.is_absence(&error) => Ok(()),
            Err(error) => Err(failed("drop the parts of", key, error)),
        }
    }

    /// Copies an object within the store, whatever is at the target. Returns false if there is none.
    pub(crate) async fn copy(&self, from: &str, to: &str) -> Result<bool> {
        match self.clients.objects.copy(&self.path(from), &self.path(to)).await {
            Ok(()) => Ok(true),
            Err(error) if self.is_absence(&error) => Ok(false),
            Err(error) => Err(failed("copy", from, error)),
        }
    }

    /// Copies an object of this size within the store, whatever is at the target. Returns false if there is
    /// none. A large one is copied in parts.
    pub(crate) async fn copy_whole(&self, from: &str, to: &str, size: u64) -> Result<bool> {
        if size <= self.clients.largest_copy || self.dialect() != Dialect::S3 {
            return self.copy(from, to).await;
        }
        let multipart = self.create_multipart(to).await?;
        let copied = self.copy_parts(from, to, size, &multipart).await;
        if !matches!(copied, Ok(true)) {
            let _ = self.abort_multipart(to, &multipart).await;
        }
        copied
    }

    async fn copy_parts(&self, from: &str, to: &str, size: u64, multipart: &str) -> Result<bool> {
        let at_once = self.clients.largest_copy.clamp(1, COPIED_AT_ONCE);
        let starts = (0..size.div_ceil(at_once)).map(|number| number * at_once);
        let copy = |(number, start): (usize, u64)| async move {
            let end = size.min(start + at_once);
            let part = self.copy_part(from, to, multipart, number, start..end).await?;
            Ok::<_, StorageError>(part.map(|part| (number, part)))
        };
        let parts: Vec<_> = stream::iter(starts.enumerate())
            .map(copy)
            .buffered(COPIES)
            .try_collect()
            .await?;
        match parts.into_iter().collect::<Option<Vec<_>>>() {
            Some(parts) => self.complete_multipart(to, multipart, &parts, parts.len()).await,
            None => Ok(false),
        }
    }

    async fn copy_part(
        &self,
        from: &str,
        to: &str,
        multipart: &str,
        number: usize,
        range: Range<u64>,
    ) -> Result<Option<Part>> {
        let bucket = self
            .clients
            .signer
            .as_ref()
            .map(|signing| signing.bucket.as_str());
        let bucket = bucket.unwrap_or_default();
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-amz-copy-source", format!("/{bucket}/{}", self.path(from))),
            (
                "x-amz-copy-source-range",
                format!("bytes={}-{}", range.start, range.end - 1),
            ),
        ] {
            let value = HeaderValue::from_str(&value)
                .map_err(|error| StorageError::failed(format!("cannot copy {from}"), error))?;
            headers.insert(HeaderName::from_static(name), value);
        }
        let query = [
            ("partNumber", (number + 1).to_string()),
            ("uploadId", multipart.to_owned()),
        ];
        match self
            .signed_request(Method::PUT, &self.path(to), &query, headers, Bytes::new())
            .await?
        {
            Answer::Done(text) => between(&text, "<ETag>", "</ETag>")
                .map(|tag| Some(Part { id: unescape(tag) }))
                .ok_or_else(|| {
                    StorageError::internal(format!("the object store does not name the copied part of {to}"))
                }),
            Answer::Absent => Ok(None),
        }
    }
}

/// Returns true if the store itself says that it has no such object in parts.
fn says_gone(error: &object_store::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.to_string().contains("<Code>NoSuchUpload</Code>") {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Returns the text between two others.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}

/// Returns the elements that name a part: what the client has kept of them, or the tag alone.
fn part_metadata(id: &str) -> String {
    match between(id, "<PartMetadata>", "</PartMetadata>") {
        None => format!("<ETag>{}</ETag>", escape(id)),
        Some(kept) => kept
            .replace("e_tag>", "ETag>")
            .replace("checksum_sha256>", "ChecksumSHA256>")
            .replace("checksum_crc64nvme>", "ChecksumCRC64NVME>"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

fn unescape(text: &str) -> String {
    text.replace("&quot;", "\"")
        .replace("&#34;", "\"")
        .replace("&lt;", "<")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_named_as_the_store_has_named_it() {
        assert_eq!(part_metadata("\"a&b\""), "<ETag>&quot;a&amp;b&quot;</ETag>");
        let kept = "<PartMetadata><e_tag>x</e_tag><checksum_sha256>y</checksum_sha256></PartMetadata>";
        assert_eq!(
            part_metadata(kept),
            "<ETag>x</ETag><ChecksumSHA256>y</ChecksumSHA256>"
        );
        assert_eq!(unescape(&escape("\"a<b&\"")), "\"a<b&\"");
    }
}
