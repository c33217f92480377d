//! State machine of a blob upload, from the opening `POST` to the closing `PUT`.
//!
//! It performs no I/O and reads no clock. [`Upload`] decides which chunk may follow, and the service moves
//! the bytes. Tests drive it with plain values.
//!
//! Specification: "Pushing a blob in chunks", end-4a, end-5, end-6 and end-13.

use super::range::ContentRange;

/// An upload session, as the protocol sees it: the number of its bytes.
///
/// ```
/// use registry_core::protocol::{ChunkRefused, ContentRange, Upload};
///
/// let upload = Upload::at(0).advanced(5);
/// assert_eq!(upload.begin_chunk(ContentRange::of(5, 10), Some(10)), Ok(Some(15)));
///
/// let gap = upload.begin_chunk(ContentRange::of(9, 1), Some(1));
/// assert_eq!(gap, Err(ChunkRefused::OutOfOrder { start: 9, offset: 5 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upload {
    offset: u64,
}

/// Reason for which a chunk is refused. The session is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkRefused {
    /// The chunk does not start at the session's offset.
    #[error("the chunk starts at {start}, but the offset of the upload session is {offset}")]
    OutOfOrder {
        /// First byte that the client announced.
        start: u64,
        /// First byte that the session does not have yet.
        offset: u64,
    },
    /// `Content-Range` and `Content-Length` contradict each other.
    #[error("the Content-Range has {range} bytes, but the Content-Length is {length}")]
    LengthMismatch {
        /// Length in `Content-Range`, in bytes.
        range: u64,
        /// Length in `Content-Length`, in bytes.
        length: u64,
    },
}

impl Upload {
    /// Describes a session with `offset` bytes.
    #[must_use]
    pub const fn at(offset: u64) -> Self {
        Self { offset }
    }

    /// Returns the number of its bytes.
    #[must_use]
    pub const fn offset(self) -> u64 {
        self.offset
    }

    /// Returns its last byte, for `Range: 0-<last>`. As in Docker's registry, it is 0 for an empty session.
    #[must_use]
    pub const fn last(self) -> u64 {
        self.offset.saturating_sub(1)
    }

    /// Checks that a chunk may follow. A chunk without `range` continues at the session's offset. Returns the
    /// announced end of the chunk, counted from the start of the blob, end exclusive.
    ///
    /// # Errors
    ///
    /// [`ChunkRefused`], before any byte of the body is read.
    pub fn begin_chunk(
        self,
        range: Option<ContentRange>,
        length: Option<u64>,
    ) -> Result<Option<u64>, ChunkRefused> {
        let Some(range) = range else {
            return Ok(length.map(|length| self.offset.saturating_add(length)));
        };
        if range.first() != self.offset {
            return Err(ChunkRefused::OutOfOrder {
                start: range.first(),
                offset: self.offset,
            });
        }
        match length {
            Some(length) if length != range.length() => Err(ChunkRefused::LengthMismatch {
                range: range.length(),
                length,
            }),
            _ => Ok(Some(range.end())),
        }
    }

    /// Returns the session with `length` more bytes.
    #[must_use]
    pub const fn advanced(self, length: u64) -> Self {
        Self {
            offset: self.offset.saturating_add(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunk(first: u64, length: u64) -> Option<ContentRange> {
        ContentRange::of(first, length)
    }

    #[test]
    fn chunks_continue_where_the_session_stands() {
        let upload = Upload::at(0);
        assert_eq!(upload.begin_chunk(chunk(0, 5), Some(5)), Ok(Some(5)));
        let upload = upload.advanced(5);
        assert_eq!(upload.begin_chunk(chunk(5, 5), None), Ok(Some(10)));
        assert_eq!(upload.last(), 4);
    }

    #[test]
    fn a_chunk_that_leaves_a_gap_or_goes_back_is_refused() {
        let upload = Upload::at(5);
        for start in [0, 4, 6, 9] {
            assert_eq!(
                upload.begin_chunk(chunk(start, 1), None),
                Err(ChunkRefused::OutOfOrder { start, offset: 5 })
            );
        }
    }

    #[test]
    fn a_stream_without_a_range_continues_the_session() {
        assert_eq!(Upload::at(5).begin_chunk(None, None), Ok(None));
        assert_eq!(Upload::at(5).begin_chunk(None, Some(3)), Ok(Some(8)));
    }

    #[test]
    fn announcements_that_contradict_each_other_are_refused() {
        assert_eq!(
            Upload::at(0).begin_chunk(chunk(0, 5), Some(4)),
            Err(ChunkRefused::LengthMismatch { range: 5, length: 4 })
        );
    }

    proptest! {
        /// Checks that only chunks that continue the session are accepted, whatever clients announce. The
        /// stored bytes are thus always a prefix of the blob.
        #[test]
        fn what_landed_is_always_a_prefix(chunks in proptest::collection::vec((0u64..64, 1u64..16), 0..64)) {
            let mut upload = Upload::at(0);
            let mut landed = Vec::new();
            for (first, length) in chunks {
                if let Ok(Some(end)) = upload.begin_chunk(chunk(first, length), None) {
                    landed.extend(first..end);
                    upload = upload.advanced(length);
                }
            }
            prop_assert_eq!(landed, (0..upload.offset()).collect::<Vec<_>>());
        }
    }
}
