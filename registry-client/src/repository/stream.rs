//! [`BlobStream`]: a blob that is being pulled, across broken connections.

use super::RemoteRepository;
use crate::{
    error::{Error, Result},
    retry::Attempts,
    transport::Answered,
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use registry_core::{Digest, RangeSpec, hash::Hasher};
use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// Start of a [`BlobStream`]: an offset, or a hasher that has counted the earlier bytes.
#[derive(Clone, Debug)]
pub struct BlobStart {
    offset: u64,
    hasher: Option<Hasher>,
}

impl From<u64> for BlobStart {
    fn from(offset: u64) -> Self {
        Self { offset, hasher: None }
    }
}

impl From<Hasher> for BlobStart {
    fn from(hasher: Hasher) -> Self {
        Self {
            offset: hasher.offset(),
            hasher: Some(hasher),
        }
    }
}

impl BlobStart {
    /// Returns the rule that the start of this blob violates.
    fn problem(&self, digest: &Digest, size: u64) -> Option<String> {
        let offset = self.offset;
        if offset > size {
            return Some(format!("a pull cannot start at byte {offset} of {size}"));
        }
        let own = digest.algorithm();
        let given = self.hasher.as_ref()?.algorithm();
        (given != Some(own)).then(|| match given {
            Some(other) => format!("a hasher of {other} cannot verify a digest of {own}"),
            None => "a hasher that only counts cannot verify a digest".to_owned(),
        })
    }
}

/// A blob that is being pulled.
///
/// The bytes before the end are unverified: use them for nothing that cannot be undone until [`next`](Self::next) has
/// returned `None`.
#[derive(Debug)]
pub struct BlobStream {
    repository: RemoteRepository,
    digest: Digest,
    size: u64,
    offset: u64,
    /// Offset at which the stream ends; the size, unless a part is read.
    end: u64,
    hasher: Option<Hasher>,
    /// Rule that the start violates.
    problem: Option<String>,
    state: State,
    attempts: Attempts,
}

#[derive(Debug)]
enum State {
    /// Nothing is requested: at the start, and after a failure.
    Closed,
    /// A response, with the number of its bytes that have been delivered already.
    Open(Box<Answered>, u64),
    Ended,
}

impl BlobStream {
    pub(super) fn new(repository: RemoteRepository, digest: Digest, size: u64, start: BlobStart) -> Self {
        let problem = start.problem(&digest, size);
        let hasher = start
            .hasher
            .or_else(|| (start.offset == 0).then(|| Hasher::new(digest.algorithm())));
        let attempts = repository.client.attempts();
        Self {
            repository,
            digest,
            size,
            offset: start.offset,
            end: size,
            hasher,
            problem,
            state: State::Closed,
            attempts,
        }
    }

    /// Ends the stream at this offset. If that is not the end of the blob, nothing is verified.
    pub(crate) fn until(mut self, end: u64) -> Self {
        if end < self.size {
            self.end = end;
            self.hasher = None;
        }
        self
    }

    /// Returns the offset of the next byte.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns true if the end of the stream verifies the digest.
    #[must_use]
    pub const fn verifies(&self) -> bool {
        self.hasher.is_some() && self.problem.is_none()
    }

    /// Returns the next bytes, or `None` at the verified end.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] and [`Error::WrongSize`] instead of the end, if the content is not that of the digest;
    /// [`Error::InvalidStart`] at once; [`Error::NotFound`], [`Error::Denied`] and [`Error::Unauthorized`]; and the failures
    /// of connections after the last attempt. After a transient error, a further call tries again.
    ///
    /// # Cancel safety
    ///
    /// Safe: a dropped call loses no bytes.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.step().await {
                Ok(Some(bytes)) => {
                    self.attempts.progressed();
                    return Ok(Some(bytes));
                }
                Ok(None) => {
                    self.state = State::Ended;
                    return Ok(None);
                }
                Err(error) => {
                    self.state = State::Closed;
                    self.attempts.after(error).await?;
                }
            }
        }
    }

    async fn step(&mut self) -> Result<Option<Bytes>> {
        if let Some(problem) = &self.problem {
            return Err(Error::InvalidStart {
                url: format!(
                    "{}/{}@{}",
                    self.repository.host, self.repository.name, self.digest
                ),
                problem: problem.clone(),
            });
        }
        match &mut self.state {
            State::Ended => return Ok(None),
            State::Closed if self.offset >= self.end && self.offset > 0 => return self.finish(),
            State::Closed => self.state = self.open().await?,
            State::Open(..) => {}
        }
        let State::Open(answered, repeated) = &mut self.state else {
            return Ok(None);
        };
        loop {
            let next = answered.next().await;
            let complete = self.offset == self.end;
            let mut bytes = match next {
                Ok(Some(bytes)) => bytes,
                Err(error) if !complete => return Err(error),
                Ok(None) if !complete => {
                    return Err(Error::transport(
                        &*answered.named,
                        io::Error::from(io::ErrorKind::UnexpectedEof),
                    ));
                }
                Ok(None) | Err(_) => return self.finish(),
            };
            let skipped = usize::try_from(*repeated).unwrap_or(usize::MAX).min(bytes.len());
            *repeated -= skipped as u64;
            let _ = bytes.split_to(skipped);
            if self.end < self.size {
                // A registry without ranges sends more.
                let left = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX);
                if left == 0 {
                    return self.finish();
                }
                bytes.truncate(left);
            }
            if bytes.is_empty() {
                continue;
            }
            if bytes.len() as u64 > self.size - self.offset {
                return Err(Error::WrongSize {
                    url: answered.named.clone(),
                    expected: self.size,
                    got: None,
                });
            }
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&bytes);
            }
            self.offset += bytes.len() as u64;
            return Ok(Some(bytes));
        }
    }

    /// Returns the range to request, or `None` for the whole blob.
    fn range(&self) -> Option<RangeSpec> {
        if self.end < self.size {
            return Some(RangeSpec::FromTo(self.offset, self.end.saturating_sub(1)));
        }
        (self.offset > 0).then_some(RangeSpec::From(self.offset))
    }

    async fn open(&self) -> Result<State> {
        let call = self.repository.call_for_blob(&self.digest, false, self.range());
        let ranged = self.range().is_some();
        let expected: &[StatusCode] = if ranged {
            &[StatusCode::PARTIAL_CONTENT, StatusCode::OK]
        } else {
            &[StatusCode::OK]
        };
        let answered = self.repository.client.send_once(&call, expected).await?;
        if ranged {
            let ranges = Some(answered.status == StatusCode::PARTIAL_CONTENT);
            self.repository
                .learned
                .note(|abilities| abilities.ranges = ranges);
        }
        let mut repeated = 0;
        let mut rest = self.end.saturating_sub(self.offset);
        if answered.status == StatusCode::PARTIAL_CONTENT {
            if first_byte(&answered.headers) != Some(self.offset) {
                return Err(Error::protocol(
                    &*answered.named,
                    "the response has another range than the requested one",
                ));
            }
        } else {
            // This registry sends the whole blob.
            repeated = self.offset;
            rest = self.size;
        }
        if let Some(length) = answered.answer().length().filter(|length| *length != rest) {
            return Err(Error::WrongSize {
                url: answered.named,
                expected: self.size,
                got: (self.size - rest).checked_add(length),
            });
        }
        Ok(State::Open(Box::new(answered), repeated))
    }

    /// Verifies the blob after its last byte.
    fn finish(&self) -> Result<Option<Bytes>> {
        let got = self.hasher.clone().and_then(Hasher::digest);
        match got.filter(|got| *got != self.digest) {
            None => Ok(None),
            Some(got) => Err(Error::Corrupt {
                url: format!("{}/{}", self.repository.host, self.repository.name),
                expected: self.digest,
                got,
            }),
        }
    }

    /// Returns the stream as a body, for example to push it elsewhere.
    #[must_use]
    pub fn into_body(self) -> impl Body<Data = Bytes, Error = Error> + Send {
        StreamBody {
            left: self.end.saturating_sub(self.offset),
            next: Some(Box::pin(take(self))),
        }
    }
}

/// Returns the first byte of `Content-Range: bytes <first>-<last>/<size>`.
fn first_byte(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    text.trim()
        .strip_prefix("bytes ")?
        .split_once('-')?
        .0
        .parse()
        .ok()
}

type Taken = (BlobStream, Result<Option<Bytes>>);

async fn take(mut stream: BlobStream) -> Taken {
    let next = stream.next().await;
    (stream, next)
}

struct StreamBody {
    next: Option<Pin<Box<dyn Future<Output = Taken> + Send>>>,
    left: u64,
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let Some(next) = &mut self.next else {
            return Poll::Ready(None);
        };
        let (stream, taken) = ready!(next.as_mut().poll(cx));
        self.next = None;
        Poll::Ready(match taken {
            Ok(None) => None,
            Err(error) => Some(Err(error)),
            Ok(Some(bytes)) => {
                self.left = self.left.saturating_sub(bytes.len() as u64);
                self.next = Some(Box::pin(take(stream)));
                Some(Ok(Frame::data(bytes)))
            }
        })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl fmt::Debug for StreamBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamBody({} bytes left)", self.left)
    }
}
