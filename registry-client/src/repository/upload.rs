//! [`Upload`]: a blob that is pushed piece by piece, also by several processes in turn.

use super::{RemoteRepository, chunk_size::ChunkSize, session::Session, upload_token::UploadToken};
use crate::error::{Error, Result};
use bytes::Bytes;
use registry_core::{hash::Hasher, storage::BlobInfo};

/// A blob that is being pushed piece by piece, created by [`RemoteRepository::upload`].
///
/// Dropping it leaves the session at the registry, which ends it after some time. [`cancel`](Self::cancel) ends it at once.
#[derive(Debug)]
pub struct Upload {
    repository: RemoteRepository,
    session: Session,
    sizes: ChunkSize,
    /// Number of bytes that the session holds.
    held: u64,
    /// Bytes after these, which are too short for a chunk. They are sent with the next ones.
    tail: Bytes,
    /// True after a request without an answer: the session may hold another number of bytes.
    is_unsure: bool,
    hasher: Hasher,
}

impl RemoteRepository {
    /// Begins to push a blob piece by piece, or continues with the token of an earlier process.
    ///
    /// The registry says how many bytes of the blob it holds. Continue at [`Upload::offset`]: bytes before it are needed
    /// neither for the registry nor for the hash. A new upload has the algorithm of
    /// [`with_algorithm`](Self::with_algorithm).
    ///
    /// ```no_run
    /// use registry_client::{Client, RemoteRepository};
    /// use std::{fs::File, io::{Read, Seek, SeekFrom}, path::Path};
    ///
    /// /// Pushes a file, and continues there after a crash.
    /// async fn push(repository: &RemoteRepository, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    ///     let (mut file, note) = (File::open(path)?, path.with_extension("upload"));
    ///     let token = std::fs::read_to_string(&note).ok().map(|text| text.parse()).transpose()?;
    ///     let mut upload = repository.upload(token).await?;
    ///     file.seek(SeekFrom::Start(upload.offset()))?;
    ///     loop {
    ///         let mut chunk = Vec::new();
    ///         if file.by_ref().take(16 << 20).read_to_end(&mut chunk)? == 0 {
    ///             break;
    ///         }
    ///         upload.append(chunk).await?;
    ///         std::fs::write(&note, upload.token().to_string())?;
    ///     }
    ///     println!("{}", upload.finish().await?.digest);
    ///     Ok(std::fs::remove_file(&note)?)
    /// }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// The registry may have opened a session that nobody uses, which it ends after some time.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidStart`] if the token is of another repository. [`Error::NotFound`] if the session of the token has
    /// ended: begin again, unless the repository [has](Self::blob_info) the blob because the earlier process had finished.
    /// [`Error::Denied`] and [`Error::Unauthorized`], and the failures of connections after the last attempt.
    pub async fn upload(&self, resume: Option<UploadToken>) -> Result<Upload> {
        let Some(token) = resume else {
            let session = self.open_session(&mut self.client.attempts()).await?;
            return Ok(Upload::new(self, session, Hasher::new(self.algorithm)));
        };
        if token.host.endpoint() != self.host.endpoint() || token.repository != self.name {
            return Err(Error::InvalidStart {
                url: format!("{}/{}", self.host, self.name),
                problem: format!("the upload is one of {}/{}", token.host, token.repository),
            });
        }
        let hasher = token.hasher();
        let mut upload = Upload::new(self, Session::at(token.location), hasher);
        upload.ask().await?;
        Ok(upload)
    }
}

impl Upload {
    fn new(repository: &RemoteRepository, session: Session, hasher: Hasher) -> Self {
        Self {
            repository: repository.clone(),
            session,
            sizes: repository.chunk_size(),
            held: 0,
            tail: Bytes::new(),
            is_unsure: false,
            hasher,
        }
    }

    /// Returns the offset of the next byte for [`append`](Self::append).
    ///
    /// A registry may hold more or fewer bytes than a token knows the hash of. Then the bytes between are needed once more,
    /// for the hash or for the registry alone.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.reached().min(self.hasher.offset())
    }

    /// Returns the offset after the bytes that are held by the session or kept for the next chunk.
    const fn reached(&self) -> u64 {
        self.held + self.tail.len() as u64
    }

    /// Returns the state after the last append that has succeeded, for another process.
    #[must_use]
    pub fn token(&self) -> UploadToken {
        UploadToken {
            host: self.repository.host.clone(),
            repository: self.repository.name.clone(),
            location: self.session.location().clone(),
            checkpoint: self
                .hasher
                .checkpoint()
                .expect("a hasher of an upload began with its state"),
        }
    }

    /// Sends the bytes at [`offset`](Self::offset). Each call sends a chunk of its own, so pass some megabytes at once. What is
    /// shorter than [`min_chunk`](super::RemoteAbilities::min_chunk) is kept in memory, and sent with the next bytes or by
    /// [`finish`](Self::finish); after a crash, it is needed once more. After an error, continue at the offset. It is
    /// lower than before only if the registry has lost bytes.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if the session has ended, [`Error::Denied`] and [`Error::Unauthorized`], and the failures of
    /// connections after the last attempt.
    ///
    /// # Cancel safety
    ///
    /// Safe: after a dropped call, the same bytes can be passed again.
    pub async fn append(&mut self, bytes: impl Into<Bytes>) -> Result<()> {
        let bytes = bytes.into();
        let start = self.offset();
        let end = start + bytes.len() as u64;
        if self.is_unsure {
            self.ask().await?;
        }
        let reached = self.reached();
        // The registry has lost bytes since.
        if reached < start {
            return Err(self.repository.lost_bytes());
        }
        if reached < end {
            let rest = from(&bytes, reached - start);
            let rest = if self.tail.is_empty() {
                rest
            } else {
                [self.tail.clone(), rest].concat().into()
            };
            self.send(&rest, false).await?;
        }
        let hashed = self.hasher.offset();
        if hashed < end {
            self.hasher.update(&from(&bytes, hashed - start));
        }
        Ok(())
    }

    /// Sends the bytes after those that the session holds. Unless they are the last ones, a rest that is too short is kept.
    async fn send(&mut self, rest: &Bytes, is_last: bool) -> Result<()> {
        self.is_unsure = true;
        let sent = self
            .repository
            .send_chunk(&mut self.session, self.held, rest, is_last, &mut self.sizes);
        let end = sent.await?;
        self.is_unsure = false;
        // A copy, so that the bytes before it are freed.
        self.tail = Bytes::copy_from_slice(&from(rest, end - self.held));
        self.held = end;
        Ok(())
    }

    /// Ends the upload, and returns digest and size of the blob.
    ///
    /// # Cancel safety
    ///
    /// The registry may have acted on a dropped call. A further call finds that out.
    ///
    /// # Errors
    ///
    /// [`Error::WrongSize`] if bytes are missing that the registry or the hash had before, [`Error::Refused`] if the bytes
    /// of several processes are not of one blob, and as for [`append`](Self::append). After a transient error, a further call
    /// tries again.
    pub async fn finish(&mut self) -> Result<BlobInfo> {
        if self.is_unsure {
            self.ask().await?;
        }
        let (held, hashed) = (self.reached(), self.hasher.offset());
        if held != hashed {
            return Err(Error::WrongSize {
                url: format!("{}/{}", self.repository.host, self.repository.name),
                expected: held.max(hashed),
                got: Some(held.min(hashed)),
            });
        }
        let tail = self.tail.clone();
        if !tail.is_empty() {
            self.send(&tail, true).await?;
        }
        let digest = self.hasher.clone().digest();
        let digest = digest.expect("a hasher of an upload began with its state");
        self.repository.close_chunks(&mut self.session, &digest).await?;
        Ok(BlobInfo::new(digest, held))
    }

    /// Ends the session without a blob. If that fails, the registry ends it later.
    ///
    /// # Cancel safety
    ///
    /// The registry ends the session of a dropped call later, too.
    pub async fn cancel(self) {
        self.repository.cancel(self.session).await;
    }

    /// Asks the registry for the number of bytes that the session holds.
    async fn ask(&mut self) -> Result<()> {
        let mut attempts = self.repository.client.attempts();
        let held = self.repository.ask_offset(&mut self.session, &mut attempts);
        let held = held.await?;
        self.tail = match held.checked_sub(self.held) {
            Some(arrived) => from(&self.tail, arrived),
            // What comes before the tail is lost.
            None => Bytes::new(),
        };
        self.held = held;
        self.is_unsure = false;
        Ok(())
    }
}

/// Returns the bytes after the first `skipped`.
fn from(bytes: &Bytes, skipped: u64) -> Bytes {
    let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
    bytes.slice(skipped.min(bytes.len())..)
}
