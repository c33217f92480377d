//! The end of a session: cancelled, expired, or become a blob.

use super::{
    record::{Record, Stage, Target},
    session::{Session, Swapped, number_of},
};
use crate::{keys, rung::Rung, store::Store};
use futures_util::{TryStreamExt as _, future::join_all};
use registry_core::{
    RepositoryName, UploadId,
    storage::{Result, UploadState},
};
use std::time::Duration;

/// Validity of the request that writes an entry, and the time for which a process may not have sent it yet.
const LATE: Duration = Duration::from_secs(10 * 60);

impl Store {
    /// Ends a session, also while an append runs, whose next move of the record then fails.
    pub(crate) async fn cancel(&self, repository: &RepositoryName, id: &UploadId) -> Result<bool> {
        let mut found = self.find(repository, id).await?;
        while let Some(session) = found {
            match self.end(session).await? {
                Swapped::Done(_) => return Ok(true),
                Swapped::Lost(other) => found = other.filter(|other| other.record.stage != Stage::Ended),
            }
        }
        Ok(false)
    }

    /// Ends a session that is as it was seen, and that nobody uses.
    pub(crate) async fn expire_upload(
        &self,
        repository: &RepositoryName,
        seen: &UploadState,
    ) -> Result<bool> {
        let Some(session) = self.load(&seen.id).await? else {
            return Ok(false);
        };
        let nonce = session.record.nonce.as_bytes();
        if session.record.repository != *repository
            || seen.version.get(..nonce.len()) != Some(nonce)
            || session.is_in_use(self.now())
        {
            return Ok(false);
        }
        Ok(matches!(self.end(session).await?, Swapped::Done(_)))
    }

    /// Marks a session as ended, so that nothing is added any more, and removes what it has stored.
    pub(super) async fn end(&self, session: Session) -> Result<Swapped> {
        let next = Record {
            stage: Stage::Ended,
            claimed: false,
            ..session.record.next()?
        };
        let swapped = self.swap(&session, next).await?;
        if let Swapped::Done(session) = &swapped {
            self.forget(session).await;
        }
        Ok(swapped)
    }

    /// Removes what a session has stored, and then its record. What fails is left for the expiry of the session.
    pub(super) async fn forget(&self, session: &Session) {
        if let Err(error) = self.try_forget(session).await {
            tracing::warn!(
                session = %session.id,
                %error,
                "cannot remove what an upload session has stored; its expiry tries again"
            );
        }
    }

    async fn try_forget(&self, session: &Session) -> Result<()> {
        let id = &session.id;
        let Record {
            stage,
            multipart,
            content,
            ..
        } = &session.record;
        let mut objects: Vec<String> = session.pieces().collect();
        if let Some(multipart) = multipart {
            let is_made = matches!(stage, Stage::Committing(_)) && !content.parts.is_empty();
            if !is_made {
                self.bucket
                    .abort_multipart(&multipart.target.key(id), &multipart.id)
                    .await?;
            }
            if multipart.target == Target::Session && !content.parts.is_empty() {
                objects.push(keys::session_data(id));
            }
        }
        if *stage == Stage::Ended {
            // An append that died may have left some that no record names.
            let left = self.bucket.list(&keys::session_pieces(id));
            objects.extend(left.map_ok(|meta| meta.key).try_collect::<Vec<_>>().await?);
        }
        let removals = objects.iter().map(|key| self.bucket.delete(key));
        join_all(removals).await.into_iter().collect::<Result<()>>()?;
        match self.session_rung {
            Rung::Conditional | Rung::Sole => self.bucket.delete(&keys::session(id)).await,
            Rung::Log => self.close_log(session).await,
        }
    }

    /// Leaves an entry that says that the session has ended, so that a late entry is not the first one of a new log.
    async fn close_log(&self, session: &Session) -> Result<()> {
        let mut last = session.clone();
        while last.record.stage != Stage::Ended {
            let next = Record {
                stage: Stage::Ended,
                claimed: false,
                multipart: None,
                content: last.record.content.stored(),
                ..last.record.next()?
            };
            match self.swap(&last, next).await? {
                Swapped::Done(ended) => last = ended,
                Swapped::Lost(Some(found)) => last = found,
                Swapped::Lost(None) => return Ok(()),
            }
        }
        self.trim_log(&last, number_of(&last)).await
    }

    /// Removes the entries of a log below a number, or all.
    async fn trim_log(&self, session: &Session, below: Option<u64>) -> Result<()> {
        let entries = self.session_entries(&session.id).await?;
        let old = entries
            .into_iter()
            .filter(|number| below.is_none_or(|below| *number < below));
        let keys: Vec<String> = old
            .map(|number| keys::session_entry(&session.id, number))
            .collect();
        let removals = keys.iter().map(|key| self.bucket.delete(key));
        join_all(removals).await.into_iter().collect()
    }

    /// Removes the log of a session that has ended so long ago that no entry can be late. Returns false for others.
    pub(super) async fn drop_log(&self, session: &Session) -> Result<bool> {
        let age = self.now().duration_since(session.modified).unwrap_or_default();
        let is_over = session.record.stage == Stage::Ended && age > self.lateness() + LATE;
        if is_over && !self.options.read_only {
            self.trim_log(session, None).await?;
        }
        Ok(is_over)
    }
}
