//! [`Finding`]: one piece of damage.

use super::affected::Affected;
use crate::{digest::Digest, maintenance::denied::is_denied, name::RepositoryName, reference::Tag};
use std::fmt;

/// Damage that a verification has found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Kind of the damage.
    pub kind: FindingKind,
    /// Its place, for an operator: a path, if the storage has paths.
    pub place: String,
    /// Description of what is there.
    pub reason: String,
    /// Repository, unless the content of all repositories is meant.
    pub repository: Option<RepositoryName>,
    /// Digest of the item, if it has one.
    pub digest: Option<Digest>,
    /// Tag, if it is about one.
    pub tag: Option<Tag>,
    /// Images that cannot be pulled.
    pub affected: Affected,
    /// Effect of a repair.
    pub remedy: Remedy,
    /// Outcome of the repair.
    pub repaired: Repaired,
}

impl Finding {
    pub(super) fn new(kind: FindingKind, place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            kind,
            place: place.into(),
            reason: reason.into(),
            repository: None,
            digest: None,
            tag: None,
            affected: Affected::default(),
            remedy: Remedy::None,
            repaired: Repaired::NotTried,
        }
    }

    /// Returns true if no client notices it, so that nothing is wrong.
    #[must_use]
    pub const fn is_harmless(&self) -> bool {
        matches!(self.kind, FindingKind::Leftover | FindingKind::LeftMark)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.kind, self.place, self.reason)?;
        if !self.affected.is_nothing() {
            write!(f, "; affected: {}", self.affected)?;
        }
        match &self.repaired {
            Repaired::NotTried if self.kind == FindingKind::Unreadable && is_denied(&self.reason) => {
                write!(f, "; check its owner and its permissions")
            }
            Repaired::NotTried if self.kind == FindingKind::Unreadable => {
                write!(f, "; check the disk and the memory")
            }
            Repaired::NotTried if self.kind == FindingKind::Census => {
                write!(
                    f,
                    "; check the storage, for example for a mount that is missing; a collection with force accepts the loss"
                )
            }
            Repaired::NotTried if self.kind == FindingKind::LeftMark => {
                write!(f, "; a repair or the next collection writes it again")
            }
            Repaired::NotTried if self.kind == FindingKind::LostTag && self.remedy == Remedy::None => {
                write!(f, "; push it again; a deletion of the tag accepts the loss")
            }
            Repaired::NotTried => write!(f, "; {}", self.remedy),
            repaired => write!(f, "; {repaired}"),
        }
    }
}

/// Defines the kinds with their names.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)*) => {
        /// Kind of damage.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum FindingKind {
            $($(#[$doc])* $kind,)*
        }

        impl FindingKind {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// Returns its name for machines, such as `corrupt`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// Content has another digest than its name.
    Corrupt = "corrupt",
    /// Something cannot be read, or not twice with the same result.
    Unreadable = "unreadable",
    /// A record of a manifest names another item, or nothing.
    GarbledManifest = "garbled-manifest",
    /// A record of a blob names another item, or nothing.
    GarbledBlob = "garbled-blob",
    /// A tag names nothing.
    GarbledTag = "garbled-tag",
    /// A repository has a manifest whose content is gone.
    LostManifest = "lost-manifest",
    /// A repository holds a blob that a manifest names, and its content is gone.
    LostBlob = "lost-blob",
    /// An index names a manifest that its repository does not have.
    MissingManifest = "missing-manifest",
    /// A manifest names a blob that its repository does not hold.
    MissingBlob = "missing-blob",
    /// A tag points at a manifest that its repository does not have.
    DanglingTag = "dangling-tag",
    /// A tag does not exist, and nobody is known to have deleted it.
    LostTag = "lost-tag",
    /// Fewer than half of the manifests are there that the last collection has left and nobody deleted.
    Census = "census",
    /// The list of referrers lacks some.
    Referrers = "referrers",
    /// A repository holds a blob that no manifest names, and its content is gone. The collector of registry:2 leaves
    /// such records. They are harmless.
    Leftover = "leftover",
    /// A record has the mark of a deletion that has stopped. Other programs may not read it; clients notice nothing. A
    /// collection takes it off, too.
    LeftMark = "left-mark",
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Effect of a repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remedy {
    /// There is none here. Clients push the content again.
    None,
    /// The content moves to quarantine, so that clients push it again.
    Quarantine,
    /// The record is written again.
    Rewrite,
    /// The tag is deleted, with a record of where it pointed last, if that is known.
    DeleteTag,
    /// The tag points again where it pointed last.
    PutBack,
}

impl Remedy {
    /// Returns its name for machines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Rewrite => "rewrite",
            Self::DeleteTag => "delete-tag",
            Self::PutBack => "put-back",
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "push it again",
            Self::Quarantine => "a repair moves it to quarantine, so that it can be pushed again",
            Self::Rewrite => "a repair writes it again",
            Self::PutBack => "a repair puts it back; a deletion of the tag accepts the loss",
            Self::DeleteTag => {
                "push it again; a repair deletes the tag, which can be undone if its last target is known"
            }
        })
    }
}

/// Outcome of a repair.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Repaired {
    /// No repair was asked for, or there is no remedy.
    NotTried,
    /// Too much is corrupt for a repair.
    Stopped,
    /// The damage is repaired.
    Done,
    /// The damage was gone when it was to be repaired.
    TooLate,
    /// The repair failed, for this reason.
    Failed(String),
}

impl Repaired {
    /// Returns its name for machines.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NotTried => "not-tried",
            Self::Stopped => "stopped",
            Self::Done => "done",
            Self::TooLate => "too-late",
            Self::Failed(_) => "failed",
        }
    }
}

impl fmt::Display for Repaired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTried => f.write_str("not repaired"),
            Self::Stopped => f.write_str("not repaired, because too much is corrupt"),
            Self::Done => f.write_str("repaired"),
            Self::TooLate => f.write_str("gone meanwhile"),
            Self::Failed(reason) => write!(f, "the repair failed: {reason}"),
        }
    }
}
