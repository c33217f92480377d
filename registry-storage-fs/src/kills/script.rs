//! Scripts of steps, and what holds between two of them.

use super::content::{MOUNTED, Name, STEPS, stray};
use bytes::Bytes;
use registry_core::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// One operation of a client, of an operator or of the upkeep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Push(Name, Option<&'static str>),
    PushStray,
    DeleteStray,
    /// Mounts the stray blob, which the load never touches.
    Mount,
    /// Asks for what is there, also for the referrers.
    Look,
    OpenUpload,
    CancelUpload,
    DeleteTag(&'static str),
    DeleteManifest(Name),
    /// Restores a tag with its manifests.
    Restore(&'static str, &'static [Name]),
    /// Makes the history of a tag as long as it may become.
    LengthenHistory(&'static str),
    ExpireHistories,
    ExpireTrash,
    Collect,
    /// Damages the blob of `First`, the links of `Second` and `Typed`, and loses one of `Child`.
    Damage,
    Repair,
    RemoveQuarantined,
    /// Drops the tags that begin with `old`.
    Retain,
}

use Step::{
    CancelUpload, Collect, Damage, DeleteManifest, DeleteStray, DeleteTag, ExpireHistories, ExpireTrash,
    LengthenHistory, Look, Mount, OpenUpload, Push, PushStray, RemoveQuarantined, Repair, Restore, Retain,
};

/// Steps of one process. The first ones are not killed, and have no load.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) name: &'static str,
    pub(super) before: &'static [Step],
    pub(super) killed: &'static [Step],
}

impl Script {
    pub(super) fn steps(&self) -> impl Iterator<Item = Step> {
        self.before.iter().chain(self.killed).copied()
    }
}

const CHILD: Step = Push(Name::Child, None);
const INDEX: Step = Push(Name::Index, Some("index"));

pub(super) static SCRIPTS: [Script; 6] = [
    Script {
        name: "pushes",
        before: &[Push(Name::First, Some("v1")), LengthenHistory("v1"), PushStray],
        killed: &[
            Push(Name::Second, Some("v1")),
            Push(Name::Typed, Some("typed")),
            CHILD,
            INDEX,
            Push(Name::Signature, None),
            Mount,
            OpenUpload,
            Look,
            CancelUpload,
            Push(Name::First, Some("v1")),
        ],
    },
    Script {
        name: "deletions",
        before: &[
            Push(Name::First, Some("v1")),
            Push(Name::Second, Some("v2")),
            Push(Name::Typed, Some("typed")),
            CHILD,
            INDEX,
            Push(Name::Signature, None),
            PushStray,
        ],
        killed: &[
            DeleteTag("v2"),
            DeleteManifest(Name::Signature),
            DeleteManifest(Name::Index),
            DeleteManifest(Name::Typed),
            DeleteStray,
            ExpireTrash,
            DeleteManifest(Name::First),
            ExpireHistories,
        ],
    },
    Script {
        name: "collections",
        before: &[
            Push(Name::First, Some("v1")),
            Push(Name::Signature, None),
            Push(Name::Second, Some("v1")),
            Push(Name::Typed, Some("typed")),
            CHILD,
            INDEX,
            PushStray,
            Mount,
            DeleteTag("typed"),
            DeleteTag("index"),
        ],
        killed: &[Collect, CHILD, INDEX, DeleteManifest(Name::Index), Collect],
    },
    Script {
        name: "restores",
        before: &[
            Push(Name::First, Some("v1")),
            CHILD,
            INDEX,
            DeleteManifest(Name::Index),
            DeleteManifest(Name::Child),
        ],
        killed: &[
            Restore("index", &[Name::Index, Name::Child]),
            DeleteTag("v1"),
            Restore("v1", &[Name::First]),
        ],
    },
    Script {
        name: "repairs",
        before: &[
            Push(Name::First, Some("v1")),
            Push(Name::Second, Some("v2")),
            Push(Name::Typed, Some("typed")),
            CHILD,
            INDEX,
            Damage,
        ],
        killed: &[Repair, Push(Name::First, Some("v1")), RemoveQuarantined],
    },
    Script {
        name: "retention",
        before: &[
            Push(Name::First, Some("old1")),
            Push(Name::First, Some("old2")),
            Push(Name::Second, Some("stable")),
        ],
        killed: &[Retain, ExpireTrash, ExpireHistories],
    },
];

/// State of the repositories of the steps.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) tags: BTreeMap<&'static str, Name>,
    pub(super) manifests: BTreeSet<Name>,
    /// Manifests that a record of a deletion keeps.
    pub(super) recorded: BTreeSet<Name>,
    /// Blobs that no manifest names.
    pub(super) blobs: BTreeSet<(&'static str, Bytes)>,
    pub(super) has_upload: bool,
    pub(super) health: Health,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Health {
    #[default]
    Sound,
    Damaged,
    /// The damaged bytes are in quarantine.
    Repaired,
    /// They have been pushed again.
    Healed,
}

impl State {
    /// Performs a step.
    pub(super) fn after(mut self, step: Step) -> Self {
        match step {
            Push(name, tag) => {
                self.manifests.insert(name);
                self.tags.extend(tag.map(|tag| (tag, name)));
                if self.health == Health::Repaired {
                    self.health = Health::Healed;
                }
            }
            PushStray => _ = self.blobs.insert((STEPS, stray())),
            DeleteStray => _ = self.blobs.remove(&(STEPS, stray())),
            Mount => _ = self.blobs.insert((MOUNTED, stray())),
            OpenUpload => self.has_upload = true,
            CancelUpload => self.has_upload = false,
            DeleteTag(tag) => self.recorded.extend(self.tags.remove(tag)),
            DeleteManifest(name) => self.delete(name),
            Restore(tag, names) => {
                self.tags.extend(names.first().map(|first| (tag, *first)));
                for name in names {
                    self.manifests.insert(*name);
                    self.recorded.remove(name);
                }
            }
            Retain => self.delete(Name::First),
            ExpireTrash => self.recorded.clear(),
            Collect => {
                self.recorded.clear();
                self.blobs.clear();
                let tagged = self.tags.values().copied();
                self.manifests = reachable(tagged, self.manifests.contains(&Name::Signature));
            }
            Damage => self.health = Health::Damaged,
            Repair => self.health = Health::Repaired,
            RemoveQuarantined => self.health = Health::Sound,
            Look | LengthenHistory(_) | ExpireHistories => {}
        }
        self
    }

    fn delete(&mut self, name: Name) {
        self.manifests.remove(&name);
        self.tags.retain(|_, target| *target != name);
        self.recorded.insert(name);
    }
}

/// Returns the manifests that a collection keeps for these ones.
pub(super) fn reachable(tagged: impl IntoIterator<Item = Name>, is_signed: bool) -> BTreeSet<Name> {
    let mut reachable: BTreeSet<Name> = tagged.into_iter().collect();
    let children = reachable.iter().flat_map(|name| name.image().children);
    reachable.extend(children.collect::<Vec<_>>());
    if is_signed && reachable.contains(&Name::First) {
        reachable.insert(Name::Signature);
    }
    reachable
}

/// Returns the names of the tags of all scripts.
pub(super) fn tags() -> BTreeSet<&'static str> {
    let steps = SCRIPTS.iter().flat_map(Script::steps);
    let tags = steps.filter_map(|step| match step {
        Push(_, tag) => tag,
        _ => None,
    });
    tags.collect()
}

/// Digests that a verification may name while the damage is not repaired.
pub(super) fn damaged() -> BTreeSet<Digest> {
    let names = [Name::First, Name::Second, Name::Child, Name::Typed, Name::Index];
    let images = names.map(Name::image);
    let own = images
        .iter()
        .filter_map(|image| Some(super::content::digest_of(image.blobs.first()?)));
    own.chain(images.iter().map(|image| image.digest)).collect()
}
