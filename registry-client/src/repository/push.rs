//! Pushes of blobs that can be read again, and mounts.

use super::{RemoteRepository, chunk_size::ChunkSize, session::Session};
use crate::{
    call::{Call, Payload},
    content::Replay,
    error::{Error, Result},
};
use http::StatusCode;
use registry_core::{
    Descriptor, Digest, RepositoryName,
    protocol::{ContentRange, Request},
};
use std::sync::Arc;

/// Size up to which a blob is sent with the request that closes its session, in bytes. Larger ones are sent with a request
/// of their own, because registries keep what arrived of it if it breaks off.
const SMALL: u64 = 1 << 20;

/// Result of a push of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pushed {
    /// The repository had the blob.
    Existed,
    /// The registry has mounted it from this repository.
    Mounted(RepositoryName),
    /// Its bytes were sent.
    Uploaded,
}

impl RemoteRepository {
    /// Adds repositories of the same registry that may have a blob. A [push](Self::push_blob) mounts it from there, if it
    /// can, instead of sending it. One that the registry does not let the client read does not prevent the push.
    #[must_use]
    pub fn mounting_from(mut self, repositories: impl IntoIterator<Item = RepositoryName>) -> Self {
        self.sources.extend(repositories);
        self
    }

    /// Pushes a blob, unless the repository has it.
    ///
    /// If the connection breaks, the push continues at the byte that the registry names. If the answer to the last
    /// request is lost, the client asks for the blob before it sends anything again. If the registry, or a proxy in front of
    /// it, refuses the blob as too large for one request (413), it is sent in chunks.
    ///
    /// ```no_run
    /// use registry_client::{Client, Pushed};
    /// use registry_core::{Algorithm, Descriptor, Digest, MediaType};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let repository = Client::new().repository("127.0.0.1:5000/team/app")?;
    /// let layer = bytes::Bytes::from("layer");
    /// let digest = Digest::of(Algorithm::Sha256, &layer);
    /// let media_type = MediaType::parse("application/vnd.oci.image.layer.v1.tar")?;
    /// let descriptor = Descriptor::new(media_type, digest, layer.len() as u64);
    ///
    /// repository.push_blob(layer.clone(), &descriptor).await?;
    /// assert_eq!(repository.push_blob(layer, &descriptor).await?, Pushed::Existed);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// A dropped call may have pushed the blob, or leave an upload session, which the registry keeps until it
    /// expires. It can be repeated, and then sends the whole blob.
    ///
    /// # Errors
    ///
    /// [`Error::Content`] if the content cannot be read or has another size, [`Error::Refused`] if it has another digest,
    /// [`Error::Denied`] and [`Error::Unauthorized`], and the failures of connections after the last attempt.
    pub async fn push_blob(&self, content: impl Replay + 'static, blob: &Descriptor) -> Result<Pushed> {
        let head = self.call_for_blob(&blob.digest, true, None);
        match self.client.send(&head, &[StatusCode::OK]).await {
            Ok(_) => return Ok(Pushed::Existed),
            // Some may push, but not read.
            Err(Error::NotFound { .. } | Error::Denied { .. }) => {}
            Err(error) => return Err(error),
        }
        for from in self.sources.iter().filter(|from| **from != self.name) {
            if self.abilities().mounts == Some(false) {
                break;
            }
            if self.mount(&blob.digest, from).await? {
                return Ok(Pushed::Mounted(from.clone()));
            }
        }
        self.upload_blob(Arc::new(content), blob).await?;
        Ok(Pushed::Uploaded)
    }

    /// Mounts a blob of another repository of the same registry. Returns false if the registry does not, for example
    /// because it does not let the client read the other repository. A push that is not allowed fails by itself.
    ///
    /// # Cancel safety
    ///
    /// The registry may have acted on a dropped call. It can be repeated.
    ///
    /// # Errors
    ///
    /// The failures of connections, and [`Error::Protocol`].
    pub async fn mount(&self, digest: &Digest, from: &RepositoryName) -> Result<bool> {
        let request = Request::Mount {
            repository: self.name.clone(),
            digest: *digest,
            from: Some(from.clone()),
        };
        let call = Call::new(&self.host, request);
        let expected = [StatusCode::CREATED, StatusCode::ACCEPTED];
        let answered = match self.client.send(&call, &expected).await {
            Err(Error::Unsupported { .. }) => {
                self.learned.note(|abilities| abilities.mounts = Some(false));
                return Ok(false);
            }
            // The registry may refuse the other repository alone.
            Err(
                Error::Denied { .. }
                | Error::NotFound { .. }
                | Error::Unauthorized { .. }
                | Error::Refused { .. },
            ) => return Ok(false),
            answered => answered?,
        };
        let mounted = answered.status == StatusCode::CREATED;
        if mounted {
            self.learned.note(|abilities| abilities.mounts = Some(true));
        } else if let Ok(session) = Session::of(&answered) {
            self.cancel(session).await;
        }
        Ok(mounted)
    }

    async fn upload_blob(&self, content: Arc<dyn Replay>, blob: &Descriptor) -> Result<()> {
        let mut attempts = self.client.attempts();
        let mut session = self.open_session(&mut attempts).await?;
        let mut sizes = self.chunk_size();
        // The offset of the session, once an attempt has failed.
        let mut held = None;
        // A registry whose offset goes up and down makes no progress.
        let mut highest = 0;
        let mut replaced = false;
        loop {
            let sent = self
                .send_rest(&mut session, &content, blob, held, &mut sizes)
                .await;
            let has_other = matches!(sent, Err(Error::Refused { status: 416, .. }));
            let error = match sent {
                Ok(()) => return Ok(()),
                Err(error) if error.may_be_closed() && self.has(&blob.digest).await => return Ok(()),
                // Bytes that arrived after the session was asked count, too.
                Err(Error::Refused { status: 416, .. }) => self.lost_bytes(),
                Err(error) => error,
            };
            let smaller = error.is_chunk_too_large() && sizes.refuse().is_some();
            let too_large = matches!(error, Error::Refused { status: 413, .. });
            // A registry may refuse to continue a session. Then the whole blob is sent, once.
            let refused = held.is_some() && !replaced && !too_large && !error.is_transient();
            if !refused
                && !smaller
                && let Err(error) = attempts.after(error).await
            {
                self.cancel(session).await;
                return Err(error);
            }
            let known = if refused {
                Ok(None)
            } else {
                self.offset_of(&mut session, &mut attempts).await
            };
            match known {
                // The answer that was lost has closed the session meanwhile.
                Ok(None) if !refused && self.has(&blob.digest).await => return Ok(()),
                Ok(Some(offset)) if offset <= blob.size => {
                    // A session that looks empty, and does not take the first byte, has one.
                    let has_one = offset == 0 && has_other && held == Some(0);
                    let offset = if has_one { 1 } else { offset };
                    if offset > highest {
                        highest = offset;
                        attempts.progressed();
                    }
                    held = Some(offset);
                }
                Ok(_) | Err(Error::Refused { .. } | Error::Unsupported { .. }) => {
                    self.cancel(session).await;
                    session = self.open_session(&mut attempts).await?;
                    held = None;
                    replaced |= refused;
                }
                Err(error) => {
                    self.cancel(session).await;
                    return Err(error);
                }
            }
        }
    }

    /// Sends all bytes that a session lacks, and closes it.
    async fn send_rest(
        &self,
        session: &mut Session,
        content: &Arc<dyn Replay>,
        blob: &Descriptor,
        held: Option<u64>,
        sizes: &mut ChunkSize,
    ) -> Result<()> {
        let part = |from, length| Payload::Replay {
            content: Arc::clone(content),
            from,
            length,
            continues: from + length < blob.size,
        };
        if held.is_none() && blob.size <= SMALL && sizes.next(blob.size) == blob.size {
            return self.close(session, &blob.digest, part(0, blob.size)).await;
        }
        let mut from = held.unwrap_or_default();
        while from < blob.size {
            let length = sizes.next(blob.size - from);
            // Without a position at first, as docker does: some registries know no `Content-Range`.
            let chunk = if held.is_none() && length == blob.size {
                None
            } else {
                ContentRange::of(from, length)
            };
            let end = self.append(session, chunk, part(from, length)).await?;
            from += length;
            if end.is_some_and(|end| end != from) {
                return Err(self.lost_bytes());
            }
            self.note_accepted(sizes);
        }
        self.close(session, &blob.digest, Payload::Empty).await
    }

    /// Returns the error of a session with an unexpected offset.
    pub(super) fn lost_bytes(&self) -> Error {
        let url = format!("{}/{}", self.host, self.name);
        Error::transport(url, "the upload session does not hold the bytes that were sent")
    }
}
