//! [`FileAnswer`]: a body of frames that stand for bytes of a file.

use super::{LEAST, Outgoing, system};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use registry_core::{
    service::FileSender,
    storage::{FileRange, StorageError},
};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

/// Returns the offer to send files on a connection: stand-ins for the bytes of each file that is large enough.
pub(in super::super) fn sender(outgoing: &Arc<Outgoing>) -> FileSender {
    let outgoing = Arc::clone(outgoing);
    FileSender::new(move |file| {
        let worth_it =
            file.range.end.saturating_sub(file.range.start) >= LEAST && system::can_tell_what_is_cached(file);
        worth_it.then(|| {
            Box::pin(FileAnswer {
                outgoing: Arc::clone(&outgoing),
                rest: file.clone(),
            }) as _
        })
    })
}

struct FileAnswer {
    outgoing: Arc<Outgoing>,
    rest: FileRange,
}

impl Drop for FileAnswer {
    fn drop(&mut self) {
        self.outgoing.finished();
    }
}

impl Body for FileAnswer {
    type Data = Bytes;
    type Error = StorageError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StorageError>>> {
        let this = &mut *self;
        let more = !this.rest.range.is_empty();
        Poll::Ready(more.then(|| Ok(Frame::data(this.outgoing.give(&mut this.rest)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.range.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.range.end.saturating_sub(self.rest.range.start))
    }
}
