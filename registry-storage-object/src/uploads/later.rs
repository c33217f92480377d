//! The end of sessions that have become blobs: their objects are removed a little later, many with one request.
//!
//! Until then, the record says that the session is committed, and the link of the blob exists: such a session is unknown to
//! everybody. If the process dies before, the next listing of the sessions removes them.

use super::{record::Stage, session::Session};
use crate::{keys, rung::Rung, store::Store};
use registry_core::storage::Result;
use std::{sync::Arc, time::Duration};

/// Time for which removals are gathered.
const GATHERED: Duration = Duration::from_secs(2);

/// Age of the record of a committed session from which on no process is going to remove it.
const LEFT: Duration = Duration::from_secs(60);

impl Store {
    /// Removes the objects of a committed session, if nobody depends on the time.
    pub(super) async fn forget_later(self: &Arc<Self>, session: &Session) {
        let is_simple = session.record.multipart.is_none() && self.session_rung != Rung::Log;
        if !is_simple {
            return self.forget(session).await;
        }
        let keys = session.pieces().chain([keys::session(&session.id)]);
        let is_first = self.removals.add(keys);
        if is_first {
            let store = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(GATHERED).await;
                let keys = store.removals.take();
                if let Err(error) = store.bucket.delete_all(keys.into_iter()).await {
                    tracing::debug!(%error, "cannot remove the records of committed uploads; their expiry tries again");
                }
            });
        }
    }

    /// Returns true if a session has become a blob, so that only its objects are left.
    pub(super) async fn is_committed(&self, session: &Session) -> Result<bool> {
        match session.record.stage {
            Stage::Committing(digest) => {
                let held = self.held(&session.record.repository, &digest).await?;
                Ok(held.is_some())
            }
            Stage::Open | Stage::Sealed | Stage::Ended => Ok(false),
        }
    }

    /// Removes what a process that died has left of a committed session.
    pub(super) async fn forget_left(&self, session: &Session) {
        let age = self.now().duration_since(session.modified).unwrap_or_default();
        if age > LEFT && !self.options.read_only {
            self.forget(session).await;
        }
    }
}
