//! [`Documents`]: how much of manifests and lists lies in memory, until it has been received, or taken by a client.
//!
//! Blobs come in pieces. Documents are whole, and lie there for as long as a client pleases: one that opens many
//! connections, or one with many requests, and sends each time the largest there may be but for its last byte, or asks for
//! the largest there is and takes nothing, costs more memory than there is. No client has more than a part of the room, so
//! that one alone denies it to nobody.

use super::body::ResponseBody;
use crate::{error::Error, storage::Uploader};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What is no larger than a piece of a blob does not count.
const SMALL: usize = 128 << 10;
/// The part of the room that one client may have: a quarter.
const CLIENTS_PART: usize = 4;

/// Those that go one way: in, or out.
#[derive(Clone, Debug)]
pub(super) struct Documents {
    limit: usize,
    counts: Arc<Mutex<Counts>>,
}

/// How many bytes there are,
#[derive(Debug, Default)]
struct Counts {
    all: usize,
    /// and how many of them are on account of each client.
    by: BTreeMap<Uploader, usize>,
}

impl Documents {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            counts: Arc::default(),
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of a document of which nothing is there yet, on account of a client; the host's own has none.
    pub(super) fn share(&self, client: Option<Uploader>) -> Share {
        Share {
            documents: self.clone(),
            client,
            own: 0,
        }
    }

    /// Counts an answer until its bytes have been sent, or never will be.
    pub(super) fn hold(&self, body: ResponseBody, client: Option<Uploader>) -> Result<ResponseBody, Error> {
        let Some(bytes) = body.whole().filter(|bytes| bytes.len() > SMALL) else {
            return Ok(body);
        };
        let mut share = self.share(client);
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
    documents: Documents,
    client: Option<Uploader>,
    own: usize,
}

impl Share {
    /// So much of the document is there. One alone may be of any size.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), Error> {
        if bytes <= SMALL || bytes <= self.own {
            return Ok(());
        }
        let (own, more) = (self.own, bytes - self.own);
        let admit = |held: usize, limit: usize| match held.saturating_add(more) {
            sum if held > own && sum > limit => Err(Error::TooManyDocuments { limit }),
            sum => Ok(sum),
        };
        let limit = self.documents.limit;
        let mut counts = self.documents.counts();
        let all = admit(counts.all, limit)?;
        if let Some(client) = &self.client {
            let of_client = counts.by.get(client).copied().unwrap_or_default();
            let of_client = admit(of_client, limit / CLIENTS_PART)?;
            counts.by.insert(client.clone(), of_client);
        }
        counts.all = all;
        drop(counts);
        self.own = bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.own == 0 {
            return;
        }
        let mut counts = self.documents.counts();
        counts.all -= self.own;
        if let Some(client) = &self.client
            && let Some(held) = counts.by.get_mut(client)
        {
            *held -= self.own;
            if *held == 0 {
                counts.by.remove(client);
            }
        }
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
