//! [`Hooks`]: vetoes before a change, and events after it.

use crate::{
    auth::Identity,
    digest::Digest,
    media_type::MediaType,
    name::RepositoryName,
    reference::{Reference, Tag},
    storage::{Moved, PutManifest},
};
use async_trait::async_trait;
use std::fmt::Debug;

/// Extension points for a host. Every method does nothing by default.
///
/// A `before_*` method runs after authorization and before anything is stored. The client sees the message of
/// a returned [`Veto`]. Events come after the commit. A push waits for `before_*`, so a host has to limit the
/// duration of these methods. [`event`](Self::event) must not block: a host delegates longer work to another
/// task.
#[async_trait]
pub trait Hooks: Debug + Send + Sync + 'static {
    /// Runs before a manifest and its tags are stored.
    ///
    /// # Errors
    ///
    /// A [`Veto`] refuses the request with 403 `DENIED`.
    async fn before_put_manifest(&self, context: &Context<'_>, put: &PutManifest) -> Result<(), Veto> {
        let _ = (context, put);
        Ok(())
    }

    /// Runs before an upload becomes a blob, or a blob is mounted. `size` is in bytes, if known.
    ///
    /// # Errors
    ///
    /// A [`Veto`] refuses the request with 403 `DENIED`.
    async fn before_add_blob(
        &self,
        context: &Context<'_>,
        digest: &Digest,
        size: Option<u64>,
    ) -> Result<(), Veto> {
        let _ = (context, digest, size);
        Ok(())
    }

    /// Runs before a tag or a manifest is deleted.
    ///
    /// # Errors
    ///
    /// A [`Veto`] refuses the request with 403 `DENIED`.
    async fn before_delete_manifest(&self, context: &Context<'_>, reference: &Reference) -> Result<(), Veto> {
        let _ = (context, reference);
        Ok(())
    }

    /// Runs after each event.
    fn event(&self, context: &Context<'_>, event: &Event<'_>) {
        let _ = (context, event);
    }
}

/// User and repository of an operation.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Context<'a> {
    /// The repository.
    pub repository: &'a RepositoryName,
    /// Identity of the user. `None` for anonymous clients and for the host itself.
    pub identity: Option<&'a Identity>,
}

/// Completed operation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A manifest was stored, and tags were moved to it.
    ManifestPushed {
        /// Its digest.
        digest: &'a Digest,
        /// Its media type.
        media_type: &'a MediaType,
        /// Size in bytes.
        size: u64,
        /// The tags, each with its previous target.
        tags: &'a [Moved],
    },
    /// A manifest was read with its bytes.
    ManifestPulled {
        /// Its digest.
        digest: &'a Digest,
        /// Tag or digest of the request.
        reference: &'a Reference,
    },
    /// A manifest was deleted, with every tag that pointed at it.
    ManifestDeleted {
        /// Its digest.
        digest: &'a Digest,
        /// Tags that were deleted with it.
        tags: &'a [Tag],
    },
    /// A tag was deleted.
    TagDeleted {
        /// The tag.
        tag: &'a Tag,
        /// Digest that it pointed at.
        digest: &'a Digest,
    },
    /// A blob was pushed.
    BlobPushed {
        /// Its digest.
        digest: &'a Digest,
        /// Size in bytes.
        size: u64,
    },
    /// A blob was mounted from another repository.
    BlobMounted {
        /// Its digest.
        digest: &'a Digest,
        /// Source repository.
        from: &'a RepositoryName,
    },
    /// A blob, or a part of it, was opened for reading.
    BlobPulled {
        /// Its digest.
        digest: &'a Digest,
    },
    /// A blob was deleted from the repository.
    BlobDeleted {
        /// Its digest.
        digest: &'a Digest,
    },
}

/// Refusal, with a message for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Veto {
    message: String,
}

impl Veto {
    /// Creates a refusal with a message for the client.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

/// No hooks at all.
#[derive(Debug)]
pub(crate) struct NoHooks;

impl Hooks for NoHooks {}
