//! Removal of empty repositories.
//!
//! registry:2 finds a repository by `_layers`, later versions by `_manifests`. If one of them is missing, or `tags` in the
//! other one, their collectors fail, or remove content that is in use. `_manifests` therefore goes first and as a
//! whole, durably, and then `_layers`.

use super::{
    removals::Removals,
    run::{Examination, State},
};
use crate::{
    digest_locks::Key,
    error::{Context as _, FsError},
    layout::Layout,
    names::read_dir,
    pauses::Point,
    store::Store,
};
use registry_core::{
    Digest, RepositoryName,
    storage::{Reclaimed, Result},
};
use std::{fs, path::Path};

impl Examination<'_> {
    pub(super) fn repository(&self, repository: &RepositoryName) -> Result<(Vec<Key>, State), FsError> {
        let layout = &self.store.layout;
        let uploads = layout.uploads(repository);
        let parts = [
            layout.manifests(repository),
            layout.all_layers(repository),
            uploads.clone(),
        ];
        let media_types = layout.all_media_types(repository);
        let mut state = State::Absent;
        for part in &parts {
            match content_of(part, &|path| path == media_types)? {
                Content::Absent => {}
                // A session without files is a session.
                Content::Empty if *part == uploads && read_dir(part).at("list", part)?.next().is_some() => {
                    state = State::InUse;
                    break;
                }
                Content::Empty => state = State::Unused(0),
                Content::Files => {
                    state = State::InUse;
                    break;
                }
            }
        }
        Ok((Vec::new(), state))
    }

    /// Examines a repository as if its manifests and links were gone.
    pub(super) fn emptied_repository(
        &self,
        repository: &RepositoryName,
    ) -> Result<(Vec<Key>, State), FsError> {
        let layout = &self.store.layout;
        let uploads = layout.uploads(repository);
        let media_types = layout.all_media_types(repository);
        let sessions = read_dir(&uploads).if_there("list", &uploads)?;
        if sessions.is_some_and(|mut sessions| sessions.next().is_some()) {
            return Ok((Vec::new(), State::InUse));
        }
        let mut state = State::Absent;
        for part in [
            layout.manifests(repository),
            layout.all_layers(repository),
            uploads,
        ] {
            // Any other file keeps the repository.
            match content_of(&part, &|path| {
                path == media_types || is_record(layout, repository, path)
            })? {
                Content::Absent => {}
                Content::Empty => state = State::Unused(0),
                Content::Files => return Ok((Vec::new(), State::InUse)),
            }
        }
        Ok((Vec::new(), state))
    }

    pub(super) fn reclaim_repository(
        &self,
        repository: &RepositoryName,
        removals: &mut Removals,
    ) -> Result<Reclaimed> {
        let store = self.store;
        // Nothing that makes the repository exist is being created.
        let key = store.digest_locks.repository(repository);
        let Some(_locks) = store.digest_locks.try_exclusive([key]) else {
            return Ok(Reclaimed::InUse);
        };
        let (keys, state) = self.repository(repository)?;
        self.remove_if_idle(&keys, state, || {
            store.remove_repository(repository, removals)?;
            Ok(())
        })
    }
}

impl Store {
    fn remove_repository(&self, repository: &RepositoryName, removals: &mut Removals) -> Result<(), FsError> {
        for directory in [
            self.layout.manifests(repository),
            self.layout.all_layers(repository),
        ] {
            let mut changes = self.disk.changes();
            changes.discard(&directory, &directory.join("link"))?;
            changes.settle()?;
            self.pauses.reach(Point::ReclaimRepositoryPartRemoved);
        }
        let uploads = self.layout.uploads(repository);
        self.leave_uploads(repository);
        removals.changed(&uploads);
        // It has no entries: each went with its manifest.
        let index = self.layout.referrers(repository);
        if let Err(error) = self
            .disk
            .discard(&index, &self.layout.referrers_complete(repository))
        {
            tracing::warn!(%repository, %error, "cannot remove the referrer index of a repository that is gone; it has no effect");
        }
        if let Some(above) = index.parent() {
            self.disk.remove_empty(above, &self.layout.index());
        }
        self.known_manifests.forget(repository);
        Ok(())
    }
}

/// Returns true for the link of a manifest or blob, which goes before its repository.
fn is_record(layout: &Layout, repository: &RepositoryName, path: &Path) -> bool {
    let mut names = path.ancestors().skip(1).map(|above| above.file_name()?.to_str());
    let (Some(Some(hex)), Some(Some(algorithm))) = (names.next(), names.next()) else {
        return false;
    };
    let digest = Digest::parse(&format!("{algorithm}:{hex}"));
    digest.is_ok_and(|digest| {
        path == layout.layer(repository, &digest) || path == layout.revision(repository, &digest)
    })
}

/// Content of a directory.
enum Content {
    Absent,
    /// Directories alone, and what is ignored.
    Empty,
    Files,
}

fn content_of(directory: &Path, is_ignored: &dyn Fn(&Path) -> bool) -> Result<Content, FsError> {
    let Some(entries) = read_dir(directory).if_there("list", directory)? else {
        return Ok(Content::Absent);
    };
    if is_ignored(directory) {
        // A media type without a manifest. They are removed together, but a crash may come between.
        return Ok(Content::Empty);
    }
    for entry in entries {
        let path = entry.at("list", directory)?.path();
        let there = fs::symlink_metadata(&path).if_there("read the metadata of", &path)?;
        let is_empty = match there {
            None => true,
            Some(there) if there.is_dir() => !matches!(content_of(&path, is_ignored)?, Content::Files),
            Some(_) => is_ignored(&path),
        };
        if !is_empty {
            return Ok(Content::Files);
        }
    }
    Ok(Content::Empty)
}
