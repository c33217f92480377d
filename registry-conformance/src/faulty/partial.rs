//! Parts of the effect of a call, before it fails.

use super::fault::Fault;
use bytes::{Buf as _, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Full};
use registry_core::{
    RepositoryName,
    storage::{
        BlobBody, BlobRead, BoxError, Content, ContentStream, Result, StorageError, StorageWrite, UploadBody,
        UploadState,
    },
};
use std::{
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

/// Appends at most the first `amount` bytes of a body to a session.
pub(super) async fn append(
    write: &dyn StorageWrite,
    repository: &RepositoryName,
    state: UploadState,
    body: &mut UploadBody<'_>,
    amount: u64,
) -> Result<()> {
    let mut first = Vec::new();
    while let Some(most) = left(amount, first.len()) {
        match body.next(most).await? {
            Some(piece) => first.extend(piece.chunks().iter().flatten()),
            None => break,
        }
    }
    let closing = body.closing().copied();
    let source = Full::new(Bytes::from(first)).map_err(|never| -> BoxError { match never {} });
    let mut source = pin!(source);
    let mut part = UploadBody::new(source.as_mut(), &state, closing);
    write.append(repository, state, &mut part).await.map(drop)
}

/// Returns the number of bytes that are still to come, in pieces of 64 KiB.
fn left(amount: u64, there: usize) -> Option<usize> {
    let left = amount.saturating_sub(there as u64).min(64 << 10);
    usize::try_from(left).ok().filter(|left| *left > 0)
}

/// Lets the reading of a blob fail after `amount` bytes, or before the last byte.
pub(super) fn cut(read: BlobRead, amount: u64, fault: Fault) -> BlobRead {
    let BlobRead {
        info, range, body, ..
    } = read;
    let body = match body {
        // The file inside is left out: a listener could send it without reading it here.
        BlobBody::Content(content) => BlobBody::Content(Content::stream(Box::pin(Cut {
            inner: content.into_stream(),
            // A reader that has all bytes need not ask for more, and would not see the fault.
            left: amount.min((range.end - range.start).saturating_sub(1)),
            fault: Some(fault),
        }))),
        other => other,
    };
    BlobRead::new(info, range, body)
}

/// A stream that fails after a number of bytes.
struct Cut {
    inner: ContentStream,
    left: u64,
    /// `None` after it has failed.
    fault: Option<Fault>,
}

impl Cut {
    /// Fails once. Then the stream has ended.
    fn fail(&mut self) -> Option<Result<Frame<Bytes>>> {
        let fault = self.fault.take()?;
        Some(Err(fault.make_error()))
    }
}

impl Body for Cut {
    type Data = Bytes;
    type Error = StorageError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StorageError>>> {
        if self.left == 0 {
            return Poll::Ready(self.fail());
        }
        let Some(frame) = ready!(self.inner.as_mut().poll_frame(context)) else {
            // The storage has sent less than it said.
            return Poll::Ready(self.fail());
        };
        Poll::Ready(Some(frame.map(|frame| {
            let mut data = frame.into_data().unwrap_or_default();
            data.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.left -= data.remaining() as u64;
            Frame::data(data)
        })))
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
