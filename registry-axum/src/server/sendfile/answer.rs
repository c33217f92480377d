//! [`FileAnswer`]: a body of frames that stand for bytes of a file.

use super::{LEAST, Outgoing, Sender, system};
use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use registry_core::{service::ResponseBody, storage::FileRange};
use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

/// Returns the body of an answer: stand-ins for a file's bytes if the connection supports them and the file is large
/// enough, otherwise the registry's own body.
pub(crate) fn body(sender: Option<Sender>, body: ResponseBody) -> Body {
    let file = body.file().filter(|file| {
        file.range.end.saturating_sub(file.range.start) >= LEAST && system::can_tell_what_is_cached(file)
    });
    match (sender, file) {
        (Some(outgoing), Some(file)) => Body::new(FileAnswer {
            outgoing,
            rest: file.clone(),
        }),
        _ => Body::new(body),
    }
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

impl HttpBody for FileAnswer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
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
