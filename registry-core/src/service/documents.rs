//! [`Documents`]: memory budget for manifests and lists, while they are received or sent.
//!
//! Blobs are streamed. Documents are held in memory as a whole, for as long as the client takes. Without a
//! budget, clients could exhaust memory with many connections or requests: they send large documents slowly,
//! or ask for large ones and do not read them. Each client has only a part of the budget, so that no single
//! client can deny it to the others.

use crate::{error::Error, storage::Uploader};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Maximum size of a document that does not count. It is about as large as one piece of a blob.
const SMALL: usize = 128 << 10;
/// Divisor of the budget for one client: each may use a quarter.
const CLIENTS_PART: usize = 4;

/// Memory budget for the documents of one direction, received or sent.
#[derive(Clone, Debug)]
pub(super) struct Documents {
    limit: usize,
    counts: Arc<Mutex<Counts>>,
}

/// Number of bytes in use, in all and for each client.
#[derive(Debug, Default)]
struct Counts {
    all: usize,
    /// Number of bytes in use for each client.
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

    /// Starts an empty share for one document of a client. Documents of the host itself count for no client.
    pub(super) fn share(&self, client: Option<Uploader>) -> Share {
        Share {
            documents: self.clone(),
            client,
            own: 0,
        }
    }

    /// Counts a document that is sent, until its bytes are sent or dropped.
    pub(super) fn hold(&self, document: Bytes, client: Option<Uploader>) -> Result<Bytes, Error> {
        if document.len() <= SMALL {
            return Ok(document);
        }
        let mut share = self.share(client);
        share.grow_to(document.len())?;
        Ok(Bytes::from_owner(Held {
            bytes: document,
            _share: share,
        }))
    }
}

/// Part of the budget that one document uses, released on drop.
#[derive(Debug)]
pub(super) struct Share {
    documents: Documents,
    client: Option<Uploader>,
    own: usize,
}

impl Share {
    /// Increases the share to `bytes`. A document that is alone may have any size.
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
