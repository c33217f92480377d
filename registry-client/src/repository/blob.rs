//! Pulls of blobs.

use super::{BlobStart, BlobStream, RemoteRepository};
use crate::{
    call::Call,
    error::{Error, Result},
};
use bytes::Bytes;
use http::StatusCode;
use registry_core::{Descriptor, Digest, RangeSpec, protocol::Request, storage::BlobInfo};

impl RemoteRepository {
    /// Returns the size of a blob, without pulling it.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is changed.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if the repository does not have it, [`Error::Denied`] and [`Error::Unauthorized`] if the
    /// registry does not tell. The answer to this request has no code, so that [`Error::is_absence`] is false: only
    /// [`blob`](Self::blob) and [`open_blob`](Self::open_blob) tell a missing blob from a hidden repository.
    pub async fn blob_info(&self, digest: &Digest) -> Result<BlobInfo> {
        let call = self.call_for_blob(digest, true, None);
        let answered = self.client.send(&call, &[StatusCode::OK]).await?;
        let answer = answered.answer();
        let size = answer
            .length()
            .ok_or_else(|| Error::protocol(&*answered.named, "the response has no Content-Length"))?;
        Ok(BlobInfo::new(*digest, size))
    }

    /// Checks once that the repository certainly has a blob.
    pub(super) async fn has(&self, digest: &Digest) -> bool {
        let call = self.call_for_blob(digest, true, None);
        self.client.send_once(&call, &[StatusCode::OK]).await.is_ok()
    }

    /// Pulls a blob of at most `limit` bytes into memory, and verifies it.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is changed.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`], [`Error::Corrupt`], and as for [`blob_info`](Self::blob_info).
    pub async fn blob(&self, digest: &Digest, limit: usize) -> Result<Bytes> {
        let call = self.call_for_blob(digest, false, None);
        let (answered, bytes) = self.client.fetch(&call, &[StatusCode::OK], limit).await?;
        let got = Digest::of(digest.algorithm(), &bytes);
        if got == *digest {
            return Ok(bytes);
        }
        Err(Error::Corrupt {
            url: answered.named,
            expected: *digest,
            got,
        })
    }

    /// Streams a blob, from an offset on. Nothing is requested before the first call of
    /// [`next`](BlobStream::next).
    ///
    /// If the connection breaks, the stream continues at the next byte. A stream of the whole blob is verified at its
    /// end. One that starts inside needs the hash of the earlier bytes for that: pass a
    /// [`Hasher`](registry_core::hash::Hasher) that has counted them, instead of their number. It needs the algorithm of the
    /// digest.
    #[must_use]
    pub fn open_blob(&self, blob: &Descriptor, from: impl Into<BlobStart>) -> BlobStream {
        BlobStream::new(self.clone(), blob.digest, blob.size, from.into())
    }

    pub(super) fn call_for_blob(&self, digest: &Digest, head: bool, range: Option<RangeSpec>) -> Call {
        let request = Request::Blob {
            repository: self.name.clone(),
            digest: *digest,
            head,
            ranges: range.into_iter().collect(),
            known: None,
        };
        Call::new(&self.host, request)
    }
}
