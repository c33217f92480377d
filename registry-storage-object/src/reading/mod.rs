//! [`Reading`]: the bytes of a blob on their way to a client.
//!
//! One request to the store reads a blob to its end. Some stores limit the rate of one answer. A fast client of such a store
//! gets a large blob by several requests: while it takes one range, the next ones are received into memory. The stream does that itself,
//! without a task, so that everything that was read ahead is dropped with it.
//!
//! - A range is read ahead only if there is [memory](ReadAhead) for it. Nobody waits for memory: without it, the stream
//!   takes one answer after the other.
//! - Nothing is read ahead of a slow client, which would occupy memory for nothing, and nothing from a fast store, which would
//!   work more. See [`Pace`].
//! - All ranges are of one object: each answer has the entity tag of the first one, or the object was written again with the same
//!   size, as a push of the same content does.
//! - An answer that breaks off is asked for again, once. If that fails, the stream ends with an error.
//!
//! Requests: 1 more for each range that is read ahead, none for a blob of less than 4 ranges.

mod pace;
mod segment;
#[cfg(test)]
mod tests;

use self::{
    pace::{Pace, Rates},
    segment::Segment,
};
use crate::{
    bucket::{Bucket, Chunks, Meta},
    options::ObjectOptions,
};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use registry_core::storage::{Result, StorageError};
use std::{
    collections::VecDeque,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Number of ranges from which on a blob is large.
const LARGE: u64 = 4;

/// Settings and memory that the streams of a storage share.
#[derive(Clone, Debug)]
pub(crate) struct ReadAhead {
    /// Has a permit for each range that may be in memory.
    memory: Arc<Semaphore>,
    /// Size of a range.
    range: u64,
    /// Maximum number of ranges ahead of each client.
    ranges: usize,
    rates: Rates,
}

impl ReadAhead {
    pub(crate) fn new(options: &ObjectOptions) -> Self {
        let permits = usize::try_from(options.read_memory / options.read_range).unwrap_or(usize::MAX);
        Self {
            memory: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
            range: options.read_range,
            ranges: options.read_ahead,
            rates: Rates {
                client: options.read_pace,
                store: options.store_pace,
            },
        }
    }
}

/// A part of an object, or all of it, as a body of known length.
pub(crate) struct Reading {
    /// First byte that the client has not been given.
    position: u64,
    end: u64,
    /// Has the next bytes.
    front: Segment,
    /// The ranges after the front, without gaps.
    ahead: VecDeque<Segment>,
    /// `None` if nothing is read ahead.
    source: Option<Source>,
}

/// Means to read ahead.
struct Source {
    bucket: Bucket,
    object: Meta,
    settings: ReadAhead,
    pace: Pace,
}

impl Reading {
    /// Reads `range` of an object, of which the store has begun to send these bytes.
    pub(crate) fn new(
        bucket: &Bucket,
        object: &Meta,
        range: Range<u64>,
        chunks: Chunks,
        settings: &ReadAhead,
    ) -> Self {
        let is_large = range.end - range.start >= LARGE * settings.range;
        let source = is_large && settings.ranges > 0 && object.version.is_strong();
        Self {
            position: range.start,
            end: range.end,
            front: Segment::begun(range, chunks),
            ahead: VecDeque::new(),
            source: source.then(|| Source {
                bucket: bucket.clone(),
                object: object.clone(),
                settings: settings.clone(),
                pace: Pace::new(settings.range, settings.rates),
            }),
        }
    }

    fn poll_front(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes>> {
        loop {
            if let Some(source) = &self.source {
                if self.position == self.front.end {
                    self.front = match self.ahead.pop_front() {
                        Some(next) => next,
                        None => source.ask(self.position..source.end_of_next(self.position, self.end), None),
                    };
                }
                if self.front.may_be_repeated() {
                    self.front = source.ask(self.front.next..self.front.end, None).last_try();
                }
            }
            let polled = ready!(self.front.poll_next(context));
            match &polled {
                Ok(bytes) => self.position += bytes.len() as u64,
                Err(_) if self.source.is_some() && self.front.may_be_repeated() => continue,
                Err(_) => {}
            }
            return Poll::Ready(polled);
        }
    }

    /// Asks for the ranges after those that are being read, if that is of use.
    fn look_ahead(&mut self) {
        let Some(source) = self
            .source
            .as_ref()
            .filter(|source| source.pace.is_ahead_of_use())
        else {
            return;
        };
        let range = source.settings.range;
        while self.ahead.len() < source.settings.ranges {
            let mut start = self.ahead.back().map_or(self.front.end, |last| last.end);
            let is_to_the_end = start == self.end;
            if is_to_the_end {
                // A front that goes far is cut short.
                start = self.front.next + range;
                if !self.ahead.is_empty() || start + range > self.end {
                    return;
                }
            }
            let Ok(memory) = Arc::clone(&source.settings.memory).try_acquire_owned() else {
                return;
            };
            if is_to_the_end {
                self.front.end = start;
            }
            let next = source.ask(start..self.end.min(start + range), Some(memory));
            self.ahead.push_back(next);
        }
    }
}

impl Source {
    fn ask(&self, range: Range<u64>, memory: Option<OwnedSemaphorePermit>) -> Segment {
        Segment::ask(&self.bucket, &self.object, range, memory)
    }

    /// Returns the end of the next request if nothing is ahead.
    fn end_of_next(&self, start: u64, end: u64) -> u64 {
        match self.pace.is_ahead_of_use() {
            // There is no memory now. More can be read ahead later, without an answer that is cut short.
            true => end.min(start + self.settings.range),
            false => end,
        }
    }
}

impl Body for Reading {
    type Data = Bytes;
    type Error = StorageError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StorageError>>> {
        let this = self.get_mut();
        if this.position == this.end {
            return Poll::Ready(None);
        }
        if let Some(source) = &mut this.source {
            source.pace.asked();
        }
        this.look_ahead();
        let polled = this.poll_front(context);
        for segment in &mut this.ahead {
            segment.receive(context);
        }
        let polled = ready!(polled);
        match (&polled, &mut this.source) {
            (Ok(bytes), Some(source)) => source.pace.gave(bytes.len()),
            (Ok(_), None) => {}
            (Err(_), _) => {
                this.position = this.end;
                this.ahead.clear();
            }
        }
        Poll::Ready(Some(polled.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.position == self.end
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.end - self.position)
    }
}
