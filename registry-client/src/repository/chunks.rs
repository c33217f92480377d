//! Pushes of streams of unknown size, in chunks that can be sent again.

use super::{
    RemoteRepository,
    chunk_size::{CHUNK, ChunkSize},
    session::Session,
};
use crate::{
    call::Payload,
    error::{Error, Result},
};
use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt as _;
use registry_core::{
    Algorithm, BoxError, Descriptor, Digest, MediaType, hash::Hasher, protocol::ContentRange,
    storage::BlobInfo,
};
use std::pin::Pin;

/// Largest chunk that a registry may require, in bytes.
const LARGEST: u64 = 256 << 20;

impl RemoteRepository {
    /// Pushes a stream of unknown size. Returns the digest and size of its bytes.
    ///
    /// The stream is sent in chunks of 16 MiB, one of which is in memory. They are larger if the registry requires it. If it
    /// refuses a chunk as too large (413), it gets parts of half the size, down to the smallest that it accepts. A chunk that
    /// fails is sent again from where the registry says. A stream of one chunk is pushed like a blob in memory, and not sent
    /// if the repository has it.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may have pushed the blob, or leave an upload session, which the registry keeps until it
    /// expires. The bytes that were read from the stream are lost.
    ///
    /// # Errors
    ///
    /// [`Error::Content`] with the error of the stream, [`Error::Denied`] and [`Error::Unauthorized`], and the failures of
    /// connections after the last attempt.
    pub async fn push_stream<B>(&self, stream: B, algorithm: Algorithm) -> Result<BlobInfo>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send,
    {
        let mut stream = Chunks {
            stream: std::pin::pin!(stream),
            rest: Bytes::new(),
        };
        let mut hasher = Hasher::new(algorithm);
        let first = stream.next(CHUNK).await?;
        hasher.update(&first);
        if (first.len() as u64) < CHUNK {
            return self.push_whole(first, hasher).await;
        }
        let mut session = self.open_session(&mut self.client.attempts()).await?;
        let pushed = self.push_chunks(&mut session, first, &mut stream, hasher).await;
        if pushed.is_err() {
            self.cancel(session).await;
        }
        pushed
    }

    async fn push_whole(&self, bytes: Bytes, hasher: Hasher) -> Result<BlobInfo> {
        let size = bytes.len() as u64;
        let digest = finish(hasher);
        let media_type = MediaType::parse("application/octet-stream").expect("it is a media type");
        self.push_blob(bytes, &Descriptor::new(media_type, digest, size))
            .await?;
        Ok(BlobInfo::new(digest, size))
    }

    async fn push_chunks<B>(
        &self,
        session: &mut Session,
        first: Bytes,
        stream: &mut Chunks<'_, B>,
        mut hasher: Hasher,
    ) -> Result<BlobInfo>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send,
    {
        let required = self.abilities().min_chunk.unwrap_or_default();
        if required > LARGEST {
            return Err(Error::protocol(
                format!("{}/{}", self.host, self.name),
                format!(
                    "the registry requires chunks of {required} bytes, and the client keeps at most {LARGEST}"
                ),
            ));
        }
        let size = required.max(CHUNK);
        let mut chunk = first;
        if (chunk.len() as u64) < size {
            let rest = stream.next(size - chunk.len() as u64).await?;
            hasher.update(&rest);
            chunk = [chunk, rest].concat().into();
        }
        let mut sizes = self.chunk_size();
        let mut offset = 0;
        while !chunk.is_empty() {
            let is_last = (chunk.len() as u64) < size;
            let end = self
                .send_chunk(session, offset, &chunk, is_last, &mut sizes)
                .await?;
            let sent = usize::try_from(end - offset).unwrap_or(usize::MAX);
            let tail = chunk.slice(sent.min(chunk.len())..);
            offset = end;
            let next = stream.next(size - tail.len() as u64).await?;
            hasher.update(&next);
            chunk = if tail.is_empty() {
                next
            } else {
                [tail, next].concat().into()
            };
        }
        let digest = finish(hasher);
        self.close_chunks(session, &digest).await?;
        Ok(BlobInfo::new(digest, offset))
    }

    /// Returns the sizes of chunks that are known so far.
    pub(super) fn chunk_size(&self) -> ChunkSize {
        let abilities = self.abilities();
        // What is too short for a chunk is kept in memory.
        let required = abilities.min_chunk.filter(|required| *required <= LARGEST);
        ChunkSize::new(abilities.max_chunk, required)
    }

    /// Notes that the last chunk was accepted. A smaller one after a refusal tells other pushes the size: the refusal alone may
    /// have had another reason.
    pub(super) fn note_accepted(&self, sizes: &mut ChunkSize) {
        if let Some(most) = sizes.accept() {
            self.learned.note(|abilities| {
                let known = abilities.max_chunk.unwrap_or(most);
                abilities.max_chunk = Some(known.min(most));
            });
        }
    }

    /// Sends the bytes at `offset` until the session holds all of them. Returns the offset after them. Unless they are the last
    /// ones, it can be lower: a rest that is too short for a chunk belongs to the next one.
    pub(super) async fn send_chunk(
        &self,
        session: &mut Session,
        offset: u64,
        bytes: &Bytes,
        is_last: bool,
        sizes: &mut ChunkSize,
    ) -> Result<u64> {
        let end = offset + bytes.len() as u64;
        let mut attempts = self.client.attempts();
        let mut from = offset;
        // A registry whose offset goes up and down makes no progress.
        let mut highest = offset;
        loop {
            if !is_last && sizes.is_short(end - from) {
                return Ok(from);
            }
            let to = from + sizes.next(end - from);
            let within = |at: u64| usize::try_from(at - offset).unwrap_or(usize::MAX);
            let part = bytes.slice(within(from)..within(to));
            let Some(range) = ContentRange::of(from, part.len() as u64) else {
                return Ok(end);
            };
            let mut has_other = false;
            let error = match self.append(session, Some(range), Payload::Bytes(part)).await {
                Ok(held) if held.is_none_or(|held| held >= to) => {
                    self.note_accepted(sizes);
                    if to > highest {
                        highest = to;
                        attempts.progressed();
                    }
                    from = to;
                    continue;
                }
                Ok(_) => self.lost_bytes(),
                // The session has another offset, as after an answer that got lost.
                Err(Error::Refused { status: 416, .. }) => {
                    has_other = true;
                    self.lost_bytes()
                }
                Err(error) => error,
            };
            let smaller = error.is_chunk_too_large() && sizes.refuse().is_some();
            if !smaller {
                attempts.after(error).await?;
            }
            let held = self.offset_of(session, &mut attempts).await?;
            // A session that looks empty, and does not take the first byte, has one.
            let held = held.map(|held| {
                if held == 0 && has_other && from == 0 {
                    1
                } else {
                    held
                }
            });
            match held.filter(|held| (offset..=end).contains(held)) {
                Some(held) => {
                    if held > highest {
                        highest = held;
                        attempts.progressed();
                    }
                    from = held;
                }
                None => return Err(self.lost_bytes()),
            }
        }
    }

    /// Closes a session that holds all bytes.
    pub(super) async fn close_chunks(&self, session: &mut Session, digest: &Digest) -> Result<()> {
        let mut attempts = self.client.attempts();
        loop {
            let Err(error) = self.close(session, digest, Payload::Empty).await else {
                return Ok(());
            };
            if error.may_be_closed() && self.has(digest).await {
                return Ok(());
            }
            attempts.after(error).await?;
        }
    }
}

fn finish(hasher: Hasher) -> Digest {
    hasher
        .digest()
        .expect("a hasher that began with `new` has its state")
}

/// A stream that is read in chunks, whatever the size of its frames.
struct Chunks<'a, B> {
    stream: Pin<&'a mut B>,
    /// Bytes of a frame that belong to the next chunk.
    rest: Bytes,
}

impl<B> Chunks<'_, B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send,
{
    /// Reads `size` bytes, or less at the end of the stream.
    async fn next(&mut self, size: u64) -> Result<Bytes> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let mut chunk = BytesMut::new();
        loop {
            let taken = self.rest.len().min(size - chunk.len());
            chunk.extend_from_slice(&self.rest.split_to(taken));
            if chunk.len() == size {
                break;
            }
            match self.stream.frame().await {
                None => break,
                Some(Err(error)) => return Err(Error::Content(error.into())),
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
            }
        }
        Ok(chunk.freeze())
    }
}
