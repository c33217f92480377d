//! [`Segment`]: bytes of an object that one request reads.

use crate::bucket::{Bucket, Chunks, Meta};
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture};
use registry_core::storage::{Result, StorageError};
use std::{
    collections::VecDeque,
    ops::Range,
    task::{Context, Poll, ready},
};
use tokio::sync::OwnedSemaphorePermit;

/// Bytes of an object that one request reads.
pub(super) struct Segment {
    /// First byte that has not been received.
    pub(super) next: u64,
    pub(super) end: u64,
    answer: Answer,
    /// Pieces that have been received, and not been given.
    received: VecDeque<Bytes>,
    /// Permission to keep these pieces.
    memory: Option<OwnedSemaphorePermit>,
    is_last_try: bool,
}

/// The store's answer to the request.
enum Answer {
    Awaited(BoxFuture<'static, Result<Chunks>>),
    Begun(Chunks),
    /// It has ended, by an error or because everything was received.
    Over,
}

impl Segment {
    /// Takes an answer that has begun.
    pub(super) fn begun(range: Range<u64>, chunks: Chunks) -> Self {
        Self::of(range, Answer::Begun(chunks), None)
    }

    /// Asks for a range of an object, when it is polled.
    pub(super) fn ask(
        bucket: &Bucket,
        object: &Meta,
        range: Range<u64>,
        memory: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let (bucket, object, asked) = (bucket.clone(), object.clone(), range.clone());
        let answer = async move { bucket.read_same(&object, asked).await };
        Self::of(range, Answer::Awaited(answer.boxed()), memory)
    }

    const fn of(range: Range<u64>, answer: Answer, memory: Option<OwnedSemaphorePermit>) -> Self {
        Self {
            next: range.start,
            end: range.end,
            answer,
            received: VecDeque::new(),
            memory,
            is_last_try: false,
        }
    }

    /// Lets an error of the answer be one of the stream.
    pub(super) fn last_try(self) -> Self {
        Self {
            is_last_try: true,
            ..self
        }
    }

    /// Returns true if the next byte will not come, and has to be asked for again.
    pub(super) fn may_be_repeated(&self) -> bool {
        let is_over = matches!(self.answer, Answer::Over);
        is_over && self.received.is_empty() && self.next < self.end && !self.is_last_try
    }

    /// Returns the next bytes, of which there has to be one.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes>> {
        match self.received.pop_front() {
            Some(bytes) => Poll::Ready(Ok(bytes)),
            None => {
                self.memory = None;
                self.poll_answer(context)
            }
        }
    }

    /// Receives what the store has sent so far.
    pub(super) fn receive(&mut self, context: &mut Context<'_>) {
        while self.next < self.end && !matches!(self.answer, Answer::Over) {
            match self.poll_answer(context) {
                Poll::Ready(Ok(bytes)) => self.received.push_back(bytes),
                // What is missing is asked for again when it is needed.
                Poll::Ready(Err(error)) => tracing::debug!(%error, "cannot read a blob ahead"),
                Poll::Pending => return,
            }
        }
    }

    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes>> {
        if let Answer::Awaited(answer) = &mut self.answer {
            self.answer = match ready!(answer.poll_unpin(context)) {
                Ok(chunks) => Answer::Begun(chunks),
                Err(error) => {
                    self.answer = Answer::Over;
                    return Poll::Ready(Err(error));
                }
            };
        }
        let left = self.end - self.next;
        let polled = match &mut self.answer {
            Answer::Begun(chunks) => ready!(chunks.poll_next_unpin(context)),
            Answer::Awaited(_) | Answer::Over => None,
        };
        let polled = polled.unwrap_or_else(|| {
            Err(StorageError::internal(format!(
                "the object store ended a blob {left} bytes too early"
            )))
        });
        let polled = polled.map(|mut bytes| {
            bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            self.next += bytes.len() as u64;
            bytes
        });
        if polled.is_err() || self.next == self.end {
            self.answer = Answer::Over;
        }
        Poll::Ready(polled)
    }

    /// Loses the connection, in a test, before the bytes from `next` on.
    #[cfg(test)]
    pub(super) fn fail_at(&mut self, next: u64, received: Bytes) {
        self.next = next;
        self.received = VecDeque::from([received]);
        self.answer = Answer::Over;
    }
}
