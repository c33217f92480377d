//! Tags of a manifest that is put: the permission for each, and the target that it must have before it is moved.

use super::{Permission, Repository};
use crate::{
    auth::{Access, Action, Decision},
    digest::Digest,
    error::Error,
    protocol::Precondition,
    reference::{Reference, Tag},
    storage::{TagExpect, TagMove},
};

/// A tag under which the caller may put a manifest.
#[derive(Clone, Debug)]
pub(super) struct TagPermit {
    tag: Tag,
    /// True if the caller may move the tag from another manifest.
    overwrite: bool,
}

impl TagPermit {
    /// Returns the permit without the right to move the tag from another manifest.
    pub(super) fn without_overwrite(self) -> Self {
        Self {
            overwrite: false,
            ..self
        }
    }
}

impl Repository {
    /// Checks that the caller may put a manifest under `reference` and `tags`. Called before any storage call
    /// and before the manifest is received. Returns the tags in byte order.
    pub(super) async fn permit_put(
        &self,
        reference: &Reference,
        tags: &[Tag],
    ) -> Result<Vec<TagPermit>, Error> {
        self.require_push().await?;
        let limit = self.registry.inner.limits.tags_per_put;
        if tags.len() > limit {
            return Err(Error::TooManyTags { limit });
        }
        let mut tags: Vec<&Tag> = tags.iter().collect();
        if let Reference::Tag(tag) = reference {
            tags.push(tag);
        }
        tags.sort();
        tags.dedup();
        let mut permits = Vec::with_capacity(tags.len());
        for tag in tags {
            let push = Access::to_tag(&self.name, Action::Push, tag);
            if self.registry.permit(&self.authority, &push).await? == Permission::Hidden {
                return Err(Error::RepositoryUnknown(self.name.clone()));
            }
            let overwrite = Access::to_tag(&self.name, Action::Overwrite, tag);
            permits.push(TagPermit {
                tag: tag.clone(),
                overwrite: self.registry.decide(&self.authority, &overwrite).await? == Decision::Allow,
            });
        }
        Ok(permits)
    }

    /// Returns the tags to move, each with its required target. If one of several has another target now, none
    /// is moved. A single tag is checked by the move itself.
    pub(super) async fn tag_moves(
        &self,
        permits: &[TagPermit],
        precondition: Option<Precondition>,
        digest: Digest,
    ) -> Result<Vec<TagMove>, Error> {
        let mut moves = Vec::with_capacity(permits.len());
        for permit in permits {
            let expect = self.expectation(permit, precondition, digest).await?;
            moves.push(TagMove::new(permit.tag.clone()).expecting(expect));
        }
        if moves.len() > 1 {
            for TagMove { tag, expect } in &moves {
                if *expect != TagExpect::Any && !expect.admits(self.target(tag).await?.as_ref(), None) {
                    return Err(self.tag_conflict(permits, precondition, tag.clone()));
                }
            }
        }
        Ok(moves)
    }

    /// Returns the digest that a tag points at.
    pub(super) async fn target(&self, tag: &Tag) -> Result<Option<Digest>, Error> {
        let stored = self.storage().manifest(&self.name, &tag.into()).await?;
        Ok(stored.map(|stored| stored.digest))
    }

    /// Returns the required target of a tag. A caller that may not overwrite may still put the manifest that
    /// the tag already points at.
    async fn expectation(
        &self,
        permit: &TagPermit,
        precondition: Option<Precondition>,
        digest: Digest,
    ) -> Result<TagExpect, Error> {
        let tag = &permit.tag;
        Ok(match (precondition, permit.overwrite) {
            (Some(Precondition::Absent), _) => TagExpect::Absent,
            (None, false) => TagExpect::AbsentOrIs(digest),
            // A put with `If-Match` for another manifest overwrites the tag.
            (Some(Precondition::Is(current)), false) if current != digest => {
                return Err(self.overwrite_refused(tag.clone()));
            }
            (Some(Precondition::Is(_) | Precondition::Present), false) => TagExpect::Is(digest),
            (None, true) => TagExpect::Any,
            (Some(Precondition::Is(current)), true) => TagExpect::Is(current),
            // The tag may have any target. If the target changes before the put, the put fails.
            (Some(Precondition::Present), true) => {
                let current = self.target(tag).await?;
                TagExpect::Is(current.ok_or_else(|| Error::Precondition { tag: tag.clone() })?)
            }
        })
    }

    /// Returns the refusal of a put whose `tag` does not point where it is expected.
    pub(super) fn tag_conflict(
        &self,
        permits: &[TagPermit],
        precondition: Option<Precondition>,
        tag: Tag,
    ) -> Error {
        let overwrite = permits.iter().any(|permit| permit.tag == tag && permit.overwrite);
        if overwrite || precondition == Some(Precondition::Absent) {
            Error::Precondition { tag }
        } else {
            self.overwrite_refused(tag)
        }
    }

    /// Returns the refusal to move `tag`. It names the tag if no login would help.
    fn overwrite_refused(&self, tag: Tag) -> Error {
        let overwrite = Access::to_tag(&self.name, Action::Overwrite, &tag);
        match self.registry.refusal(&self.authority, &overwrite) {
            Error::Denied => Error::Overwrite { tag },
            login => login,
        }
    }
}
