//! [`Documents`]: how much of manifests and lists lies in memory, until it has been received, or taken by a client.
//!
//! Blobs come in pieces. Documents are whole, and lie there for as long as a client pleases: one that opens many
//! connections, or one with many requests, and sends each time the largest there may be but for its last byte, or asks for
//! the largest there is and takes nothing, costs more memory than there is.

use super::body::ResponseBody;
use crate::error::Error;
use bytes::Bytes;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// What is no larger than a piece of a blob does not count.
const SMALL: usize = 128 << 10;

/// Those that go one way: in, or out.
#[derive(Debug)]
pub(super) struct Documents {
    limit: usize,
    held: Arc<AtomicUsize>,
}

impl Documents {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            held: Arc::default(),
        }
    }

    /// Of a document of which nothing is there yet.
    pub(super) fn share(&self) -> Share {
        Share {
            limit: self.limit,
            all: Arc::clone(&self.held),
            own: 0,
        }
    }

    /// Counts an answer until its bytes have been sent, or never will be.
    pub(super) fn hold(&self, body: ResponseBody) -> Result<ResponseBody, Error> {
        let Some(bytes) = body.whole().filter(|bytes| bytes.len() > SMALL) else {
            return Ok(body);
        };
        let mut share = self.share();
        share.grow_to(bytes.len())?;
        Ok(ResponseBody::full(Bytes::from_owner(Held {
            bytes: bytes.clone(),
            _share: share,
        })))
    }
}

/// What one document has of the memory for all, given back on drop.
#[derive(Debug)]
pub(super) struct Share {
    limit: usize,
    all: Arc<AtomicUsize>,
    own: usize,
}

impl Share {
    /// So much of the document is there. One alone may be of any size.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), Error> {
        if bytes <= SMALL || bytes <= self.own {
            return Ok(());
        }
        let own = self.own;
        let more = |all: usize| match all.saturating_add(bytes - own) {
            sum if all > own && sum > self.limit => None,
            sum => Some(sum),
        };
        self.all
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .map_err(|_full| Error::TooManyDocuments { limit: self.limit })?;
        self.own = bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.all.fetch_sub(self.own, Ordering::Relaxed);
    }
}

struct Held {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
