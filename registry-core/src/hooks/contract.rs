//! [`Hooks`]: the trait, and descriptions of the operations that it decides about.

use super::{Context, Event, HookError};
use crate::{digest::Digest, manifest::Manifest, reference::Tag, storage::PutManifest, upload_id::UploadId};
use async_trait::async_trait;
use std::{fmt::Debug, sync::Arc};

/// Extension points for a host. Every method does nothing by default.
///
/// A `before_*` method runs after authorization and before anything is changed or sent. It applies to clients and to
/// the host itself, in process. Its error ends the operation, and no later hook is called.
///
/// Events come after the commit. If a hook has let an operation pass, it receives an event about the end of that
/// operation, or [`Abandoned`](super::EventKind::Abandoned). A hook that reserves something in `before_*` releases it
/// then. A `HEAD`, and a read that the client already has, end without an event.
///
/// An operation waits for `before_*`, so a host has to limit the duration of these methods.
/// [`event`](Self::event) must not block: a host delegates longer work to another task.
///
/// ```
/// use registry_core::{
///     Registry,
///     hooks::{Event, EventKind, Hooks},
///     storage::MemoryStorage,
/// };
/// use std::sync::{Arc, mpsc};
///
/// /// Passes each push of a tag to the thread that deploys it.
/// #[derive(Debug)]
/// struct Deploy(mpsc::Sender<String>);
///
/// impl Hooks for Deploy {
///     fn event(&self, event: &Arc<Event>) {
///         if let EventKind::ManifestPushed { tags, .. } = &event.kind {
///             for moved in tags {
///                 let _ = self.0.send(format!("{}:{}", event.context.repository, moved.tag));
///             }
///         }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (sender, receiver) = mpsc::channel();
/// let registry = Registry::builder(MemoryStorage::new()).hooks(Deploy(sender)).build();
/// # use registry_core::{Tag, service::ManifestPush};
/// # let index = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
/// # let push = ManifestPush::new(Tag::parse("v1")?, index);
/// # registry.repository("team/app")?.put_manifest(push).await?;
///
/// // After a push of team/app:v1:
/// assert_eq!(receiver.recv()?, "team/app:v1");
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// The future of a `before_*` method is dropped with its operation. The hook then receives
/// [`Abandoned`](super::EventKind::Abandoned), also if the method had not returned.
#[async_trait]
pub trait Hooks: Debug + Send + Sync + 'static {
    /// Runs before an upload session is opened. `announced` is the size of the blob in bytes, if the client sends it
    /// in the same request.
    ///
    /// # Errors
    ///
    /// [`HookError`]; no session is opened.
    async fn before_open_upload(&self, context: &Context, announced: Option<u64>) -> Result<(), HookError> {
        let _ = (context, announced);
        Ok(())
    }

    /// Runs before bytes are appended to an upload session. If another process has continued the session, it may run again in
    /// the same operation, with what the session holds then.
    ///
    /// # Errors
    ///
    /// [`HookError`]; the session stays as it is, unless the whole blob is pushed in one request.
    async fn before_append(&self, context: &Context, appending: &Appending) -> Result<(), HookError> {
        let _ = (context, appending);
        Ok(())
    }

    /// Runs before received bytes become a blob, and before a blob is mounted. `size` is the exact size in bytes, and
    /// the digest is verified.
    ///
    /// # Errors
    ///
    /// [`HookError`]; the repository does not get the blob. After a veto, an upload session is ended.
    async fn before_add_blob(&self, context: &Context, digest: &Digest, size: u64) -> Result<(), HookError> {
        let _ = (context, digest, size);
        Ok(())
    }

    /// Runs before a manifest and its tags are stored. `put` has its digest, its bytes and the tags.
    ///
    /// # Errors
    ///
    /// [`HookError`]; nothing is stored.
    async fn before_put_manifest(
        &self,
        context: &Context,
        manifest: &Manifest,
        put: &PutManifest,
    ) -> Result<(), HookError> {
        let _ = (context, manifest, put);
        Ok(())
    }

    /// Runs before a tag, a manifest or a blob is deleted, whether it exists or not.
    ///
    /// # Errors
    ///
    /// [`HookError`]; nothing is deleted.
    async fn before_delete(&self, context: &Context, target: &Target) -> Result<(), HookError> {
        let _ = (context, target);
        Ok(())
    }

    /// Runs before a manifest or a blob is sent, or described in the response to a `HEAD`. It exists, and its size is
    /// known.
    ///
    /// # Errors
    ///
    /// [`HookError`]; nothing of it is sent.
    async fn before_pull(&self, context: &Context, target: &Target) -> Result<(), HookError> {
        let _ = (context, target);
        Ok(())
    }

    /// Runs after each event. It must not panic: later hooks do not receive the event then, and
    /// [`Abandoned`](super::EventKind::Abandoned) may come while a panic of another hook unwinds, where a second panic ends
    /// the process. So use a poisoned lock as it is, and subtract without overflow.
    fn event(&self, event: &Arc<Event>) {
        let _ = event;
    }
}

/// Bytes that a client is about to append to an upload session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appending {
    /// The session.
    pub upload: UploadId,
    /// Number of bytes that it holds.
    pub held: u64,
    /// Number of bytes to append, if the client announced it.
    pub announced: Option<u64>,
    /// Digest that the client claims, if the bytes are the last ones of the blob. It is not verified yet.
    pub closing: Option<Digest>,
}

impl Appending {
    /// Describes bytes for a session that holds `held` bytes.
    #[must_use]
    pub const fn new(upload: UploadId, held: u64, announced: Option<u64>) -> Self {
        Self {
            upload,
            held,
            announced,
            closing: None,
        }
    }

    /// Sets the digest that the client claims, if the bytes are the last ones of the blob.
    #[must_use]
    pub const fn closing(self, closing: Option<Digest>) -> Self {
        Self { closing, ..self }
    }
}

/// Content or tag that is about to be read or deleted. Sizes are in bytes, and `None` if the content does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// A blob of the repository.
    #[non_exhaustive]
    Blob {
        /// Its digest.
        digest: Digest,
        /// Its size.
        size: Option<u64>,
    },
    /// A manifest, named by its digest.
    #[non_exhaustive]
    Manifest {
        /// Its digest.
        digest: Digest,
        /// Its size.
        size: Option<u64>,
    },
    /// A tag, and the manifest that it points at.
    #[non_exhaustive]
    Tag {
        /// The tag.
        tag: Tag,
        /// Digest of the manifest; `None` if there is no such tag.
        digest: Option<Digest>,
        /// Size of the manifest.
        size: Option<u64>,
    },
}

impl Target {
    /// Returns the digest of the content; `None` for a tag that does not exist.
    #[must_use]
    pub const fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Blob { digest, .. } | Self::Manifest { digest, .. } => Some(digest),
            Self::Tag { digest, .. } => digest.as_ref(),
        }
    }

    /// Returns the size of the content in bytes; `None` if it does not exist.
    #[must_use]
    pub const fn size(&self) -> Option<u64> {
        match self {
            Self::Blob { size, .. } | Self::Manifest { size, .. } | Self::Tag { size, .. } => *size,
        }
    }
}

/// Forwards every question and event to the shared hooks.
#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<H: Hooks + ?Sized> Hooks for Arc<H> {
    async fn before_open_upload(&self, context: &Context, announced: Option<u64>) -> Result<(), HookError> {
        (**self).before_open_upload(context, announced).await
    }

    async fn before_append(&self, context: &Context, appending: &Appending) -> Result<(), HookError> {
        (**self).before_append(context, appending).await
    }

    async fn before_add_blob(&self, context: &Context, digest: &Digest, size: u64) -> Result<(), HookError> {
        (**self).before_add_blob(context, digest, size).await
    }

    async fn before_put_manifest(
        &self,
        context: &Context,
        manifest: &Manifest,
        put: &PutManifest,
    ) -> Result<(), HookError> {
        (**self).before_put_manifest(context, manifest, put).await
    }

    async fn before_delete(&self, context: &Context, target: &Target) -> Result<(), HookError> {
        (**self).before_delete(context, target).await
    }

    async fn before_pull(&self, context: &Context, target: &Target) -> Result<(), HookError> {
        (**self).before_pull(context, target).await
    }

    fn event(&self, event: &Arc<Event>) {
        (**self).event(event);
    }
}
