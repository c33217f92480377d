//! [`Operation`]: one operation of a repository, as the hooks see it.

use super::Repository;
use crate::{
    digest::Digest,
    error::Error,
    hooks::{Appending, Context, Event, EventKind, HookError, Hooks, Target},
    manifest::Manifest,
    storage::{BlobInfo, PutManifest},
    upload_id::UploadId,
};
use std::sync::Arc;

/// Question to the hooks: one for each `before_*`.
#[derive(Clone, Copy)]
pub(super) enum Before<'a> {
    OpenUpload(Option<u64>),
    Append(&'a Appending),
    AddBlob(&'a Digest, u64),
    PutManifest(&'a Manifest, &'a PutManifest),
    Delete(&'a Target),
    Pull(&'a Target),
}

impl Before<'_> {
    async fn ask(self, hooks: &dyn Hooks, context: &Context) -> Result<(), HookError> {
        match self {
            Self::OpenUpload(announced) => hooks.before_open_upload(context, announced).await,
            Self::Append(appending) => hooks.before_append(context, appending).await,
            Self::AddBlob(digest, size) => hooks.before_add_blob(context, digest, size).await,
            Self::PutManifest(manifest, put) => hooks.before_put_manifest(context, manifest, put).await,
            Self::Delete(target) => hooks.before_delete(context, target).await,
            Self::Pull(target) => hooks.before_pull(context, target).await,
        }
    }
}

/// One operation of a repository, as the hooks see it.
///
/// If it is dropped before its end, the hooks that let it pass receive `Abandoned`: a later hook refused it, the
/// storage failed, or its future was dropped.
pub(super) struct Operation<'a> {
    repository: &'a Repository,
    hooks: &'a [Arc<dyn Hooks>],
    /// `None` if there are no hooks.
    context: Option<Context>,
    /// Number of hooks, from the first one on, that let it pass and wait for its end.
    waiting: usize,
    /// Blob about which they were asked. They are not asked again if a storage has refused an old state of the upload.
    added: Option<(Digest, u64)>,
    /// True if the repository did not hold the blob that is added. Only known if there are hooks.
    creates: bool,
}

impl<'a> Operation<'a> {
    pub(super) fn begin(repository: &'a Repository) -> Self {
        let hooks = &repository.registry.inner.hooks;
        Self {
            repository,
            hooks,
            context: (!hooks.is_empty()).then(|| repository.context()),
            waiting: 0,
            added: None,
            creates: true,
        }
    }

    /// Returns true if there are hooks. Otherwise facts that only hooks need are not determined.
    pub(super) const fn is_heard(&self) -> bool {
        self.context.is_some()
    }

    /// Asks the hooks in their order, until one refuses.
    pub(super) async fn ask(&mut self, before: Before<'_>) -> Result<(), Error> {
        let Some(context) = &self.context else {
            return Ok(());
        };
        for (number, hooks) in self.hooks.iter().enumerate() {
            let earlier = self.waiting;
            // Counted before the call: if this future is dropped during it, the hook receives `Abandoned`, too.
            self.waiting = earlier.max(number + 1);
            if let Err(error) = before.ask(&**hooks, context).await {
                self.waiting = earlier.max(number);
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Asks the hooks about a blob of this size that is about to be added.
    pub(super) async fn ask_to_add(&mut self, digest: &Digest, size: u64) -> Result<(), Error> {
        if self.added == Some((*digest, size)) {
            return Ok(());
        }
        self.ask(Before::AddBlob(digest, size)).await?;
        self.added = Some((*digest, size));
        if self.is_heard() {
            let Repository { registry, name, .. } = self.repository;
            self.creates = registry.storage().blob(name, digest).await?.is_none();
        }
        Ok(())
    }

    /// Returns true if the blob that is added is new to the repository.
    pub(super) const fn creates(&self) -> bool {
        self.creates
    }

    /// Sends all hooks an event that does not end the operation.
    pub(super) fn tell(&self, kind: impl FnOnce() -> EventKind) {
        if let Some(context) = &self.context {
            tell(self.hooks, context, kind());
        }
    }

    /// Sends all hooks the event that ends the operation.
    pub(super) fn end(mut self, kind: impl FnOnce() -> EventKind) {
        // Before the call: after a panic of a hook in it, no hook receives `Abandoned` for what has happened.
        self.waiting = 0;
        self.tell(kind);
    }

    /// Sends all hooks the events of a session that has become a blob, and ends the operation.
    pub(super) fn end_as_blob(mut self, upload: UploadId, info: &BlobInfo) {
        let (digest, size, created) = (info.digest, info.size, self.creates);
        self.waiting = 0;
        self.tell(|| EventKind::UploadEnded { upload, digest, size });
        self.end(|| EventKind::BlobPushed {
            digest,
            size,
            created,
        });
    }

    /// Ends the operation without an event.
    pub(super) fn end_silently(mut self) {
        self.waiting = 0;
    }
}

impl Drop for Operation<'_> {
    fn drop(&mut self) {
        let waiting = self.hooks.get(..self.waiting).unwrap_or_default();
        if let Some(context) = self.context.take().filter(|_| !waiting.is_empty()) {
            tell(waiting, &context, EventKind::Abandoned);
        }
    }
}

fn tell(hooks: &[Arc<dyn Hooks>], context: &Context, kind: EventKind) {
    let event = Arc::new(Event::new(context.clone(), kind));
    for hooks in hooks {
        hooks.event(&event);
    }
}
