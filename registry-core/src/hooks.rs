//! [`Hooks`]: veto before, tell after.

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

/// Where a host joins in. Every method does nothing by default.
///
/// A `before_*` method runs after authorization and before anything is stored; what it returns as a [`Veto`] the
/// client reads. Events come after the commit. A push waits for `before_*`, so a host bounds the time it takes
/// there; [`event`](Self::event) must not block, and hands on what takes longer.
#[async_trait]
pub trait Hooks: Debug + Send + Sync + 'static {
    /// Before a manifest and its tags are put.
    ///
    /// # Errors
    ///
    /// A [`Veto`] refuses it with 403 `DENIED`.
    async fn before_put_manifest(&self, context: &Context<'_>, put: &PutManifest) -> Result<(), Veto> {
        let _ = (context, put);
        Ok(())
    }

    /// Before an upload becomes a blob, or a blob is mounted; `size` in bytes where it is known.
    ///
    /// # Errors
    ///
    /// A [`Veto`] refuses it with 403 `DENIED`.
    async fn before_add_blob(
        &self,
        context: &Context<'_>,
        digest: &Digest,
        size: Option<u64>,
    ) -> Result<(), Veto> {
        let _ = (context, digest, size);
        Ok(())
    }

    /// Before a tag or a manifest is deleted.
    ///
    /// # Errors
    ///
    /// A [`Veto`] refuses it with 403 `DENIED`.
    async fn before_delete_manifest(&self, context: &Context<'_>, reference: &Reference) -> Result<(), Veto> {
        let _ = (context, reference);
        Ok(())
    }

    /// After something happened.
    fn event(&self, context: &Context<'_>, event: &Event<'_>) {
        let _ = (context, event);
    }
}

/// Who does it, and where.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Context<'a> {
    /// The repository.
    pub repository: &'a RepositoryName,
    /// Who asked; `None` for strangers and for the host itself.
    pub identity: Option<&'a Identity>,
}

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A manifest was put, and tags were moved to it.
    ManifestPushed {
        /// Its digest.
        digest: &'a Digest,
        /// Its media type.
        media_type: &'a MediaType,
        /// In bytes.
        size: u64,
        /// The tags, each with what it pointed at before.
        tags: &'a [Moved],
    },
    /// A manifest was read with its bytes.
    ManifestPulled {
        /// Its digest.
        digest: &'a Digest,
        /// As what it was asked for.
        reference: &'a Reference,
    },
    /// A manifest was deleted, with every tag that pointed at it.
    ManifestDeleted {
        /// Its digest.
        digest: &'a Digest,
        /// The tags that went with it.
        tags: &'a [Tag],
    },
    /// A tag was deleted.
    TagDeleted {
        /// The tag.
        tag: &'a Tag,
        /// What it pointed at.
        digest: &'a Digest,
    },
    /// A blob was pushed.
    BlobPushed {
        /// Its digest.
        digest: &'a Digest,
        /// In bytes.
        size: u64,
    },
    /// A blob was mounted from another repository.
    BlobMounted {
        /// Its digest.
        digest: &'a Digest,
        /// Where it was.
        from: &'a RepositoryName,
    },
    /// A blob, or a part of it, was opened for reading.
    BlobPulled {
        /// Its digest.
        digest: &'a Digest,
    },
    /// The repository's hold on a blob was deleted.
    BlobDeleted {
        /// Its digest.
        digest: &'a Digest,
    },
}

/// A refusal, with what the client shall read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Veto {
    message: String,
}

impl Veto {
    /// A refusal that says `message` to the client.
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
