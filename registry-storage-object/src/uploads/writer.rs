//! [`Writer`]: what an append adds to a session.
//!
//! It runs as a task of its own, so that a client that goes away leaves a session that says what it has. It keeps at
//! most one part that fills and two that are sent. The record is written when a part has landed: what is lost with the
//! process is at most the parts on their way.

use super::{
    gather::{absorb, length},
    memory::{part_size, shrink},
    record::{Content, Multipart, Record, SentPart, Stage, Target},
    session::{Seen, Session, Swapped},
};
use crate::{
    bucket::{Part, RETRY_AFTER},
    store::Store,
};
use bytes::Bytes;
use object_store::PutPayload;
use registry_core::{
    Digest,
    hash::Hasher,
    storage::{Result, StorageError, UploadState},
};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::{
    sync::OwnedSemaphorePermit,
    task::JoinHandle,
    time::{Instant, timeout},
};

/// Number of bytes that a record may have itself.
pub(super) const IN_RECORD: u64 = 256 << 10;

/// Time after which an append that goes on renews its claim.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(8);

/// Smallest part that stores accept, except as the last one.
const SMALLEST_PART: u64 = 5 << 20;

/// Maximum number of parts on their way.
const IN_FLIGHT: usize = 2;

/// Number of part numbers that a record of a running append has in store.
const RESERVED: usize = 16;

/// Largest number of parts of an object.
const MOST_PARTS: usize = 10_000;

/// An append.
pub(super) struct Writer {
    store: Arc<Store>,
    /// The session as it was recorded last.
    session: Session,
    closing: Option<Digest>,
    /// The bytes that are stored, in the order of the blob.
    content: Content,
    /// True if the bytes of `content` that are in no part are on their way in one.
    rest_is_taken: bool,
    /// Bytes that are in no object, and hashed.
    fresh: Vec<Bytes>,
    fresh_len: u64,
    /// Memory for the part that fills.
    memory: Option<OwnedSemaphorePermit>,
    /// Number of bytes that are still to come, if it is known.
    expected: Option<u64>,
    /// Parts on their way.
    flight: VecDeque<Flight>,
    /// Number of the next part.
    next: usize,
    hasher: Hasher,
    recorded: Instant,
    has_received: bool,
}

/// A part on its way.
struct Flight {
    number: usize,
    len: u64,
    /// Hash state at its end.
    hasher: Hasher,
    sending: JoinHandle<Result<Option<Part>>>,
}

impl Writer {
    pub(super) fn new(store: Arc<Store>, seen: Seen, closing: Option<Digest>, hasher: Hasher) -> Self {
        let session = seen.session;
        Self {
            store,
            closing,
            content: session.record.content.clone(),
            rest_is_taken: false,
            fresh: Vec::new(),
            fresh_len: 0,
            memory: None,
            expected: None,
            flight: VecDeque::new(),
            next: session
                .record
                .multipart
                .as_ref()
                .map_or(0, |multipart| multipart.next),
            session,
            hasher,
            recorded: Instant::now(),
            has_received: false,
        }
    }

    /// Returns true if a body of this length, if it is known, changes the session in one step, or not before its commit.
    pub(super) fn takes_at_once(&self, length: Option<u64>) -> bool {
        let most = match self.closing {
            None => IN_RECORD,
            Some(_) if self.content.parts.is_empty() => part_size(&self.store.options, 0),
            Some(_) => 0,
        };
        length.is_some_and(|length| self.content.rest() + length <= most)
    }

    /// Sets the length of the body.
    pub(super) fn expecting(self, length: Option<u64>) -> Self {
        Self {
            expected: length,
            ..self
        }
    }

    /// Refuses other appends from now on.
    pub(super) async fn claim(&mut self) -> Result<()> {
        self.record(true).await
    }

    /// Renews the claim if bytes have arrived since. An append without progress can be taken over.
    pub(super) async fn renew(&mut self) -> Result<()> {
        if self.session.record.claimed && self.has_received {
            self.record(true).await?;
        }
        Ok(())
    }

    /// Adds bytes.
    pub(super) async fn add(&mut self, chunks: Vec<Bytes>) -> Result<()> {
        self.has_received = true;
        let mut rest = VecDeque::from(chunks);
        while !rest.is_empty() {
            let mut room = self.room();
            let mut taken = Vec::new();
            while room > 0
                && let Some(mut chunk) = rest.pop_front()
            {
                let fits = usize::try_from(room).unwrap_or(usize::MAX).min(chunk.len());
                taken.push(chunk.split_to(fits));
                room -= fits as u64;
                if !chunk.is_empty() {
                    rest.push_front(chunk);
                }
            }
            let taken_len = length(&taken);
            if self.fresh_len + taken_len > IN_RECORD {
                self.take_memory(taken_len).await?;
            }
            let (hasher, own) = absorb(self.hasher.clone(), taken).await?;
            self.hasher = hasher;
            self.fresh.push(own);
            self.fresh_len += taken_len;
            self.expected = self.expected.map(|left| left.saturating_sub(taken_len));
            if room == 0 {
                self.send().await?;
            }
        }
        if self.session.record.claimed && self.recorded.elapsed() > HEARTBEAT {
            self.record(true).await?;
        }
        Ok(())
    }

    /// Ends the append after a whole body.
    pub(super) async fn finish(mut self) -> Result<(UploadState, Hasher)> {
        let finished = match self.closing {
            None => self.keep_rest().await,
            Some(_) => self.keep_closing().await,
        };
        match finished {
            Ok(state) => Ok((state, self.hasher)),
            Err(error) => Err(self.fail(error).await),
        }
    }

    /// Ends the append after a part of a body, whose rest will not come. A part of a closing body does not count.
    pub(super) async fn stop(self) -> Result<(UploadState, Hasher)> {
        match self.closing {
            None => self.finish().await,
            Some(_) => self.discard().await,
        }
    }

    /// Ends the append of a client that has gone. A session that is not claimed stays as the client knows it.
    pub(super) async fn leave(self) -> Result<(UploadState, Hasher)> {
        match self.session.record.claimed {
            true => self.stop().await,
            false => self.discard().await,
        }
    }

    /// Leaves the session as it was before the body.
    async fn discard(mut self) -> Result<(UploadState, Hasher)> {
        self.ground().await;
        self.content = self.session.record.content.clone();
        if self.session.record.claimed {
            self.record(false).await?;
        }
        Ok((self.session.state(), self.hasher))
    }

    /// Leaves the session with the bytes that are stored, and returns the error that ended the append.
    pub(super) async fn fail(&mut self, error: StorageError) -> StorageError {
        self.ground().await;
        if self.session.record.claimed
            && !matches!(
                error,
                StorageError::UploadConflict { .. } | StorageError::UploadUnknown
            )
            && let Err(also) = self.record(false).await
        {
            tracing::debug!(error = %also, "cannot record the state of an upload session after a failed append");
        }
        error
    }

    /// Waits for the parts on their way, whose bytes do not count.
    async fn ground(&mut self) {
        for flight in self.flight.drain(..) {
            let _ = flight.sending.await;
        }
    }

    /// Returns the number of bytes that the next part still lacks.
    fn room(&self) -> u64 {
        let parts = self.content.parts.len() + self.flight.len();
        part_size(&self.store.options, parts).saturating_sub(self.filled())
    }

    /// Returns the number of bytes of the next part.
    fn filled(&self) -> u64 {
        let rest = if self.rest_is_taken {
            0
        } else {
            self.content.rest()
        };
        rest + self.fresh_len
    }

    /// Takes memory for a whole part, because a part that has only some of it could wait for others for ever. `more` bytes
    /// have just come.
    async fn take_memory(&mut self, more: u64) -> Result<()> {
        if self.memory.is_none() {
            let parts = self.content.parts.len() + self.flight.len();
            let mut size = part_size(&self.store.options, parts);
            if let Some(expected) = self.expected {
                size = size.min(self.filled() + expected);
            }
            let store = Arc::clone(&self.store);
            let mut taking = std::pin::pin!(store.part_memory.take(size.max(self.filled() + more)));
            self.memory = Some(loop {
                match timeout(HEARTBEAT, &mut taking).await {
                    Ok(memory) => break memory?,
                    Err(_) => self.renew().await?,
                }
            });
        }
        Ok(())
    }

    /// Sends what there is as the next part.
    async fn send(&mut self) -> Result<()> {
        while self.flight.len() >= IN_FLIGHT {
            self.land().await?;
        }
        let multipart = self.prepare().await?;
        let (number, len) = (self.next, self.filled());
        if len > IN_RECORD {
            self.take_memory(0).await?;
        }
        let mut chunks = Vec::new();
        if !self.rest_is_taken && self.content.rest() > 0 {
            chunks = self.store.gather(&self.session.id, &self.content).await?;
            self.rest_is_taken = true;
        }
        chunks.append(&mut self.fresh);
        self.fresh_len = 0;
        self.next += 1;
        let key = multipart.target.key(&self.session.id);
        let (store, memory) = (Arc::clone(&self.store), self.memory.take());
        let sending = tokio::spawn(async move {
            let payload: PutPayload = chunks.into_iter().collect();
            let sent = store.bucket.put_part(&key, &multipart.id, number, payload).await;
            drop(memory);
            sent
        });
        self.flight.push_back(Flight {
            number,
            len,
            hasher: self.hasher.clone(),
            sending,
        });
        Ok(())
    }

    /// Waits for the first of the parts on their way, and counts its bytes.
    async fn land(&mut self) -> Result<()> {
        let Some(mut flight) = self.flight.pop_front() else {
            return Ok(());
        };
        let sent = loop {
            match timeout(HEARTBEAT, &mut flight.sending).await {
                Ok(sent) => break sent,
                Err(_) => self.renew().await?,
            }
        };
        let sent = sent.map_err(|error| StorageError::failed("cannot send a part", error))??;
        let Some(part) = sent else {
            return Err(self.lost_parts().await?);
        };
        if std::mem::take(&mut self.rest_is_taken) {
            self.content.take_rest(flight.number, flight.len, part);
        } else {
            self.content.parts.push(SentPart {
                number: flight.number,
                len: flight.len,
                part,
            });
        }
        self.content.hashed_by(&flight.hasher);
        if self.closing.is_none() {
            self.record(true).await?;
        }
        Ok(())
    }

    /// Makes sure that the record has the object in parts, and the number of the next part.
    async fn prepare(&mut self) -> Result<Multipart> {
        if self.next >= MOST_PARTS {
            return Err(StorageError::unavailable(
                "an upload has more parts than object stores accept: configure larger parts, or more memory for parts",
                None,
                None,
            ));
        }
        if let Some(multipart) = &self.session.record.multipart
            && self.accepts(&multipart.target)
        {
            if self.next >= multipart.next || !self.session.record.claimed {
                self.record(true).await?;
            }
        } else {
            self.begin_parts().await?;
        }
        let multipart = self.session.record.multipart.clone();
        multipart.ok_or_else(|| StorageError::internal("the record of an upload lacks its parts"))
    }

    /// Returns true if the parts of this append may become that object.
    fn accepts(&self, target: &Target) -> bool {
        match target {
            Target::Session => true,
            Target::Blob(digest) => self.closing == Some(*digest),
        }
    }

    /// Begins an object in parts. One that is there was begun for a closing body that was discarded.
    async fn begin_parts(&mut self) -> Result<()> {
        let target = match self.closing {
            // The hash is the proof. Otherwise the bytes have to be read again, before they are the blob.
            Some(digest) if self.hasher.algorithm() == Some(digest.algorithm()) => Target::Blob(digest),
            _ => Target::Session,
        };
        let key = target.key(&self.session.id);
        let begun = Multipart {
            target,
            id: self.store.bucket.create_multipart(&key).await?,
            next: 0,
        };
        self.next = 0;
        let old = self.session.record.multipart.replace(begun.clone());
        // Another append may have taken over. So nothing is dropped before the record says that nobody needs it. If the
        // answer was lost, the record may name either: the store's own rule then drops the other one.
        let unneeded = match self.record(true).await {
            Ok(()) => old,
            Err(error @ (StorageError::UploadConflict { .. } | StorageError::UploadUnknown)) => {
                self.drop_parts(&begun).await;
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        if let Some(unneeded) = unneeded {
            self.drop_parts(&unneeded).await;
        }
        Ok(())
    }

    /// Drops parts that no record names.
    async fn drop_parts(&self, multipart: &Multipart) {
        let key = multipart.target.key(&self.session.id);
        if let Err(error) = self.store.bucket.abort_multipart(&key, &multipart.id).await {
            tracing::debug!(key, %error, "cannot drop the parts of an upload that nobody needs; the rule of the bucket does");
        }
    }

    /// Returns the error of an append whose parts the store does not have any more: the session has ended or moved on, or
    /// the store has dropped them.
    async fn lost_parts(&mut self) -> Result<StorageError> {
        let found = self.store.load(&self.session.id).await?;
        let is_unchanged = found.as_ref().is_some_and(|found| {
            found.record.stage == Stage::Open && found.record.nonce == self.session.record.nonce
        });
        if !is_unchanged {
            return Ok(self.store.lost(found).await);
        }
        if self.session.record.content.parts.is_empty() {
            // No byte of the session is lost: the next append begins new ones.
            self.session.record.multipart = None;
            return Ok(StorageError::unavailable(
                "the object store has dropped the parts of an upload: send the same bytes again",
                Some(RETRY_AFTER),
                None,
            ));
        }
        tracing::warn!(
            session = %self.session.id,
            "the object store has dropped the parts of an upload session; it ends, and the client has to begin again"
        );
        self.store.end(self.session.clone()).await?;
        Ok(StorageError::UploadUnknown)
    }

    /// Writes the record: with what is stored, or as it was for a closing body.
    async fn record(&mut self, claimed: bool) -> Result<()> {
        let mut next = Record {
            claimed,
            ..self.session.record.next()?
        };
        if self.closing.is_none() {
            next.content = self.content.clone();
        }
        if let Some(multipart) = &mut next.multipart {
            multipart.next = if claimed { self.next + RESERVED } else { self.next };
        }
        match self.store.swap(&self.session, next).await? {
            Swapped::Done(session) => self.session = session,
            Swapped::Lost(found) => return Err(self.store.lost(found).await),
        }
        self.recorded = Instant::now();
        self.has_received = false;
        if self.closing.is_none() {
            let spent = std::mem::take(&mut self.content.spent);
            self.store.drop_pieces(&self.session.id, &spent).await;
        }
        Ok(())
    }

    async fn land_all(&mut self) -> Result<()> {
        while !self.flight.is_empty() {
            self.land().await?;
        }
        Ok(())
    }

    /// Stores what is too short for a part, and records everything.
    async fn keep_rest(&mut self) -> Result<UploadState> {
        self.land_all().await?;
        let filled = self.filled();
        if self.fresh_len > 0 && filled > IN_RECORD {
            let id = self.session.id;
            if filled >= SMALLEST_PART && !self.content.parts.is_empty() && !self.store.options.equal_parts {
                self.send().await?;
                self.land_all().await?;
            } else {
                let mut chunks = Vec::new();
                if !self.content.here.is_empty() {
                    chunks.push(self.content.here.clone());
                }
                chunks.append(&mut self.fresh);
                let piece = self.store.put_piece(&id, chunks).await?;
                self.content.pieces.push(piece);
                self.content.here = Bytes::new();
            }
        } else if self.fresh_len > 0 {
            let mut chunks = vec![self.content.here.clone()];
            chunks.append(&mut self.fresh);
            self.content.here = chunks.concat().into();
        }
        self.fresh_len = 0;
        self.content.hashed_by(&self.hasher);
        if self.session.record.claimed || self.content != self.session.record.content {
            self.record(false).await?;
        } else {
            self.confirm().await?;
        }
        Ok(self.session.state())
    }

    /// Makes sure that the session is still as the caller has seen it.
    async fn confirm(&mut self) -> Result<()> {
        match self.store.load(&self.session.id).await? {
            Some(found) if found.record.nonce == self.session.record.nonce => Ok(()),
            found => Err(self.store.lost(found).await),
        }
    }

    /// Returns the state with the body of a closing request. Its bytes are in the state, or in parts.
    async fn keep_closing(&mut self) -> Result<UploadState> {
        self.land_all().await?;
        if !self.content.parts.is_empty() && self.filled() > 0 {
            self.send().await?;
            self.land_all().await?;
        } else if self.filled() > IN_RECORD {
            self.take_memory(0).await?;
        }
        let filled = self.filled();
        self.fresh_len = 0;
        self.content.hashed_by(&self.hasher);
        if self.session.record.claimed {
            self.record(false).await?;
        }
        let mut last = vec![std::mem::take(&mut self.content.here)];
        last.append(&mut self.fresh);
        if let Some(memory) = &mut self.memory {
            shrink(memory, filled);
        }
        let content = self.content.clone();
        Ok(self.session.state_with(content, &last, self.memory.take()))
    }
}
