//! Appends to an upload session.
//!
//! A short body of known length needs 1 request, or none if it closes the session. Another one needs 1 to claim the
//! session, 1 for each part with 1 for the record, and 1 at the end.
//!
//! The service passes the state that this process has seen last, without a look at the record. A state that is not current
//! is refused by the claim before the body is read, or with a short body.

use super::{
    record::Stage,
    running::Append,
    writer::{HEARTBEAT, Writer},
};
use crate::store::{Store, joined};
use bytes::Bytes;
use registry_core::{
    RepositoryName,
    hash::Hasher,
    storage::{Result, StorageError, UploadBody, UploadState},
};
use std::sync::Arc;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// Number of bytes that are taken from a body at once.
const PIECE: usize = 256 << 10;

/// Message of the receiver to the task that writes. If none comes after the last one, the caller has gone.
enum Message {
    Bytes(Vec<Bytes>),
    End,
    Broken,
}

impl Store {
    pub(crate) async fn append(
        self: &Arc<Self>,
        repository: &RepositoryName,
        state: UploadState,
        body: &mut UploadBody<'_>,
    ) -> Result<UploadState> {
        let seen = self.seen(repository, &state).await?;
        let hasher = body.take_hasher()?;
        let session = &seen.session;
        let record = &session.record;
        let append = self.running_appends.begin(state.id);
        if append.is_none()
            || record.stage != Stage::Open
            || seen.closing.is_some()
            || hasher.offset() != record.content.offset
            || session.is_in_use(self.now())
        {
            // The caller may have seen an old state.
            return Err(match self.find(repository, &state.id).await? {
                Some(found) => found.conflict(),
                None => StorageError::UploadUnknown,
            });
        }
        let writer = Writer::new(Arc::clone(self), seen, body.closing().copied(), hasher);
        let (state, hasher) = receive(writer, append, body).await?;
        body.return_hasher(hasher);
        Ok(state)
    }
}

/// Moves a body into the session, and returns the state and the hash.
async fn receive(
    writer: Writer,
    append: Option<Append>,
    body: &mut UploadBody<'_>,
) -> Result<(UploadState, Hasher)> {
    let claims = !writer.takes_at_once(body.remaining());
    let writer = writer.expecting(body.remaining());
    let (tell, told) = mpsc::channel(1);
    let (ready, is_ready) = oneshot::channel();
    let task = tokio::spawn(async move {
        let written = write(writer, claims, ready, told).await;
        drop(append);
        written
    });
    let broken = match is_ready.await {
        Ok(()) => pass_on(body, &tell).await,
        // The task has failed.
        Err(_) => None,
    };
    drop(tell);
    let (state, hasher) = joined(task).await?;
    match broken {
        Some(error) => {
            body.return_hasher(hasher);
            Err(error)
        }
        None => Ok((state, hasher)),
    }
}

/// Passes a body on to the task that writes. Returns the error if the body broke off.
async fn pass_on(body: &mut UploadBody<'_>, tell: &mpsc::Sender<Message>) -> Option<StorageError> {
    // Nothing is read before there is room for it.
    while let Ok(room) = tell.reserve().await {
        let (message, broken) = match body.next(PIECE).await {
            Ok(Some(piece)) => (Message::Bytes(piece.chunks().to_vec()), None),
            Ok(None) => (Message::End, None),
            Err(error) => (Message::Broken, Some(error)),
        };
        let is_last = !matches!(message, Message::Bytes(_));
        room.send(message);
        if is_last {
            return broken;
        }
    }
    None
}

/// Writes what it is told. Goes on to a state of rest if the receiver has gone.
async fn write(
    mut writer: Writer,
    claims: bool,
    ready: oneshot::Sender<()>,
    mut told: mpsc::Receiver<Message>,
) -> Result<(UploadState, Hasher)> {
    if claims {
        writer.claim().await?;
    }
    // The receiver may have gone: the next message tells.
    let _ = ready.send(());
    loop {
        let Ok(message) = timeout(HEARTBEAT, told.recv()).await else {
            if let Err(error) = writer.renew().await {
                return Err(writer.fail(error).await);
            }
            continue;
        };
        match message {
            Some(Message::Bytes(chunks)) => {
                if let Err(error) = writer.add(chunks).await {
                    return Err(writer.fail(error).await);
                }
            }
            Some(Message::End) => return writer.finish().await,
            Some(Message::Broken) => return writer.stop().await,
            None => return writer.leave().await,
        }
    }
}
