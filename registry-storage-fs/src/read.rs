//! [`FileBody`]: part of an open file as a response body.
//!
//! Bytes in the page cache are read when the body is polled (`preadv2` with `RWF_NOWAIT`), which costs half of a
//! switch to another thread. Only other bytes are read on the blocking pool. The file is open before its first byte is
//! requested, so a deletion or replacement of the blob does not affect the reader.

use crate::runtime::{Begun, begin};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use registry_core::storage::StorageError;
use rustix::io::{Errno, ReadWriteFlags};
use std::{
    fs::File,
    future::Future,
    io::{self, IoSliceMut},
    ops::Range,
    os::unix::fs::FileExt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};
use tokio::runtime::Handle;

/// Size of most frames, in bytes.
const FRAME: usize = 128 << 10;
/// Size of the first frame; each later one is four times as large, up to [`FRAME`]. A client that opens many blobs and
/// reads nothing of them costs little memory.
const FIRST_FRAME: usize = 16 << 10;
/// Maximum number of buffers kept for the next frames: 4 MiB.
const KEPT: usize = 32;

/// Buffers of [`FRAME`] bytes for reuse: new ones of this size cost a page fault per page.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    fn take(&self, length: usize) -> Vec<u8> {
        if length < FRAME {
            return vec![0; length];
        }
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| vec![0; FRAME])
    }

    fn give(&self, buffer: Vec<u8>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.len() == FRAME && kept.len() < KEPT {
            kept.push(buffer);
        }
    }
}

/// A buffer with `length` bytes read into it; it is returned when its last part has been sent.
struct Filled {
    buffer: Vec<u8>,
    length: usize,
    home: Arc<Buffers>,
}

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        self.home.give(std::mem::take(&mut self.buffer));
    }
}

/// A buffer, and the number of bytes read into it.
type ReadOut = io::Result<(Vec<u8>, usize)>;

/// Part of an open file.
pub(crate) struct FileBody {
    file: Arc<File>,
    rest: Range<u64>,
    /// Maximum number of bytes read next.
    frame: usize,
    /// False once the file system is known not to support `RWF_NOWAIT`.
    inline: bool,
    reading: Option<Begun<ReadOut>>,
    runtime: Handle,
    buffers: Arc<Buffers>,
}

impl FileBody {
    pub(crate) const fn new(
        file: Arc<File>,
        range: Range<u64>,
        runtime: Handle,
        buffers: Arc<Buffers>,
    ) -> Self {
        Self {
            file,
            rest: range,
            frame: FIRST_FRAME,
            inline: true,
            reading: None,
            runtime,
            buffers,
        }
    }

    /// Reads from memory; `None` if that would wait for the disk.
    fn read_cached(&mut self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        if !self.inline {
            return None;
        }
        let mut into = [IoSliceMut::new(buffer)];
        match rustix::io::preadv2(&*self.file, &mut into, self.rest.start, ReadWriteFlags::NOWAIT) {
            Ok(length) => Some(Ok(length)),
            Err(Errno::AGAIN | Errno::INTR) => None,
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                self.inline = false;
                None
            }
            Err(error) => Some(Err(error.into())),
        }
    }

    fn deliver(&mut self, buffer: Vec<u8>, length: usize) -> Result<Frame<Bytes>, StorageError> {
        if length == 0 {
            // The length was announced, so a short body is an error.
            let missing = self.rest.end - self.rest.start;
            self.rest.start = self.rest.end;
            return Err(StorageError::internal(format!(
                "the file of a blob ended {missing} bytes early"
            )));
        }
        self.rest.start += length as u64;
        let filled = Filled {
            buffer,
            length,
            home: Arc::clone(&self.buffers),
        };
        Ok(Frame::data(Bytes::from_owner(filled)))
    }

    /// Ends the body with an error.
    fn fail(&mut self, error: io::Error) -> StorageError {
        self.rest.start = self.rest.end;
        StorageError::io("cannot read a blob", error)
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = StorageError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StorageError>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            return Poll::Ready(None);
        }
        let mut reading = match this.reading.take() {
            Some(reading) => reading,
            None => {
                let left = this.rest.end - this.rest.start;
                let length = usize::try_from(left).unwrap_or(FRAME).min(this.frame);
                this.frame = (this.frame * 4).min(FRAME);
                let mut buffer = this.buffers.take(length);
                match this.read_cached(&mut buffer) {
                    Some(Ok(length)) => return Poll::Ready(Some(this.deliver(buffer, length))),
                    Some(Err(error)) => return Poll::Ready(Some(Err(this.fail(error)))),
                    None => {}
                }
                let (file, start) = (Arc::clone(&this.file), this.rest.start);
                begin(&this.runtime, move || {
                    loop {
                        match file.read_at(&mut buffer, start) {
                            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                            read => return read.map(|length| (buffer, length)),
                        }
                    }
                })
            }
        };
        let Poll::Ready(read) = Pin::new(&mut reading).poll(context) else {
            this.reading = Some(reading);
            return Poll::Pending;
        };
        Poll::Ready(Some(match read {
            Ok(Ok((buffer, length))) => this.deliver(buffer, length),
            Ok(Err(error)) => Err(this.fail(error)),
            Err(stopped) => Err(this.fail(stopped)),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.end - self.rest.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use std::io::Write;

    fn file_of(bytes: &[u8]) -> Arc<File> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Arc::new(file)
    }

    fn body(file: Arc<File>, range: Range<u64>, buffers: &Arc<Buffers>) -> FileBody {
        FileBody::new(file, range, Handle::current(), Arc::clone(buffers))
    }

    fn sequence(length: usize) -> Vec<u8> {
        (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect()
    }

    #[tokio::test]
    async fn a_body_has_exactly_its_range_inline_and_off_the_reactor() {
        let content = sequence(3 * FRAME + 17);
        let buffers = Arc::default();
        for range in [0..content.len(), 5..content.len() - 5, 7..8, 0..FRAME] {
            for inline in [true, false] {
                let wide = range.start as u64..range.end as u64;
                let mut body = body(file_of(&content), wide, &buffers);
                body.inline = inline;
                assert_eq!(body.size_hint().exact(), Some(range.len() as u64));

                let bytes = body.collect().await.unwrap().to_bytes();

                assert!(bytes == content[range.clone()], "{range:?}, inline: {inline}");
            }
        }
    }

    #[tokio::test]
    async fn a_file_that_is_too_short_is_an_error_and_the_end() {
        for inline in [true, false] {
            let mut body = body(file_of(&sequence(10)), 0..11, &Arc::default());
            body.inline = inline;

            let first = body.frame().await.unwrap().unwrap();
            let second = body.frame().await.unwrap();

            assert_eq!(first.into_data().unwrap().len(), 10);
            assert!(second.is_err());
            assert!(body.frame().await.is_none());
        }
    }

    #[tokio::test]
    async fn buffers_come_back_when_their_last_part_was_sent() {
        let buffers: Arc<Buffers> = Arc::default();
        let content = sequence(3 * FRAME);
        let mut body = body(file_of(&content), 0..content.len() as u64, &buffers);
        for small in [FIRST_FRAME, 4 * FIRST_FRAME] {
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap().len(), small);
        }

        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first.len(), FRAME);
        let part = first.slice(1..2);
        drop(first);
        assert_eq!(buffers.0.lock().unwrap().len(), 0);
        drop(part);
        assert_eq!(buffers.0.lock().unwrap().len(), 1);
    }
}
