//! Listings of open sessions.
//!
//! Requests: the listing of all sessions, and the record of each session that this process has not listed before, and of
//! each session that is returned. The repository of a session never changes, so it is remembered while the session is
//! listed.

use super::{
    record::Stage,
    session::{Session, Stored},
};
use crate::{keys, rung::Rung, store::Store};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use registry_core::{
    RepositoryName, UploadId,
    storage::{Listing, Page, Result, Seen, UploadState},
};
use std::collections::{BTreeMap, BTreeSet};

/// Number of records that are read at once.
const AT_ONCE: usize = 16;

impl Store {
    /// Returns the repositories with sessions, in their order.
    pub(crate) async fn uploading_page(
        &self,
        page: Page<'_, RepositoryName>,
    ) -> Result<Listing<Seen<RepositoryName>>> {
        if page.after.is_none() {
            self.sweep_parts().await;
        }
        let sessions = self.sessions().await?;
        let names: BTreeSet<_> = sessions.into_values().collect();
        let rest = names
            .into_iter()
            .filter(|name| page.after.is_none_or(|after| name > after));
        Ok(Listing::first(page.limit, rest.map(Seen::Whole)))
    }

    /// Returns the sessions of a repository, in the order of their ids. One that has ended is there until its objects are
    /// removed, so that its expiry tries again.
    pub(crate) async fn upload_page(
        &self,
        repository: &RepositoryName,
        page: Page<'_, UploadId>,
    ) -> Result<Listing<Seen<UploadState, UploadId>>> {
        if page.limit == 0 {
            return Ok(Listing::default());
        }
        let sessions = self.sessions().await?;
        let wanted = sessions
            .into_iter()
            .filter(|(id, name)| name == repository && page.after.is_none_or(|after| id > after))
            .map(|(id, _)| id);
        let mut found = Vec::new();
        let mut records = self.session_records(wanted.collect());
        while let Some((id, record)) = records.try_next().await? {
            let seen = match record {
                None => continue,
                Some(Stored::Whole(session)) if self.is_closed(&session).await? => continue,
                Some(Stored::Whole(session)) => Seen::Whole(session.listed()),
                Some(Stored::Unreadable { key, .. }) => Seen::unreadable(id, unreadable(&key)),
            };
            if found.len() == page.limit {
                return Ok(Listing::new(found, true));
            }
            found.push(seen);
        }
        Ok(Listing::new(found, false))
    }

    /// Returns true for what is left of a session that has become a blob, or of the log of one that has ended.
    async fn is_closed(&self, session: &Session) -> Result<bool> {
        if self.is_committed(session).await? {
            self.forget_left(session).await;
            return Ok(true);
        }
        if self.session_rung != Rung::Log || session.record.stage != Stage::Ended {
            return Ok(false);
        }
        self.drop_log(session).await?;
        Ok(true)
    }

    /// Returns the repository of each session.
    async fn sessions(&self) -> Result<BTreeMap<UploadId, RepositoryName>> {
        let (mut listed, mut old) = (BTreeSet::new(), Vec::new());
        let mut objects = self.bucket.list(keys::SESSIONS);
        while let Some(meta) = objects.try_next().await? {
            match keys::session_id(&meta.key) {
                Some(id) => drop(listed.insert(id)),
                None if self.is_old(&meta) => old.push(meta.key),
                None => {}
            }
        }
        self.sweep_bytes(&listed, old).await;
        let known = self.known_sessions.get();
        let mut sessions = BTreeMap::new();
        let mut unknown = Vec::new();
        for id in listed {
            match known.get(&id) {
                Some(name) => drop(sessions.insert(id, name.clone())),
                None => unknown.push(id),
            }
        }
        let mut records = self.session_records(unknown);
        while let Some((id, record)) = records.try_next().await? {
            let repository = match record {
                None => continue,
                Some(Stored::Whole(session)) if self.is_closed(&session).await? => continue,
                Some(Stored::Whole(session)) => session.record.repository,
                Some(Stored::Unreadable { key, repository }) => match repository {
                    Some(repository) => repository,
                    // No process can go on with it. A commit that has begun looks for its bytes before it links them.
                    None => {
                        tracing::warn!("{}; it is left out", unreadable(&key));
                        continue;
                    }
                },
            };
            sessions.insert(id, repository);
        }
        self.known_sessions.set(&sessions);
        Ok(sessions)
    }

    /// Reads records, in the order of the ids.
    pub(super) fn session_records(
        &self,
        ids: Vec<UploadId>,
    ) -> stream::BoxStream<'_, Result<(UploadId, Option<Stored>)>> {
        stream::iter(ids)
            .map(move |id| async move { Ok((id, self.read_record(&id).await?)) })
            .buffered(AT_ONCE)
            .boxed()
    }
}

fn unreadable(key: &str) -> String {
    format!(
        "{key} is not the record of an upload session that this version can read: if no newer version runs, remove it"
    )
}
