//! [`Contents`]: content that was found damaged, with the images that need it.

use super::{
    affected::Affected,
    finding::{Finding, FindingKind, Remedy},
};
use crate::{
    digest::Digest,
    storage::{Checked, Evidence},
};
use std::collections::BTreeMap;

/// Damaged content, by digest.
#[derive(Debug, Default)]
pub(super) struct Contents {
    damaged: BTreeMap<Digest, Damaged>,
}

/// Damage of some content.
#[derive(Debug)]
pub(super) struct Damaged {
    pub(super) damage: Damage,
    pub(super) affected: Affected,
}

#[derive(Debug)]
pub(super) enum Damage {
    Corrupt(Evidence),
    Unreadable { place: String, reason: String },
}

impl Contents {
    /// Records the outcome of a check. Returns the size of the content if it is sound.
    pub(super) fn add(&mut self, digest: Digest, checked: Checked) -> Option<u64> {
        let damage = match checked {
            Checked::Sound { size } => return Some(size),
            Checked::Absent => return None,
            Checked::Corrupt(evidence) => Damage::Corrupt(evidence),
            Checked::Unreadable { place, reason } => Damage::Unreadable { place, reason },
        };
        let affected = Affected::default();
        self.damaged.insert(digest, Damaged { damage, affected });
        None
    }

    pub(super) fn is_damaged(&self, digest: &Digest) -> bool {
        self.damaged.contains_key(digest)
    }

    /// Returns the number of corrupt items.
    pub(super) fn corrupt(&self) -> u64 {
        let corrupt = self
            .damaged
            .values()
            .filter(|damaged| matches!(damaged.damage, Damage::Corrupt(_)));
        corrupt.count() as u64
    }

    /// Returns the images that each damaged item affects.
    pub(super) fn all_affected(&self) -> BTreeMap<Digest, Affected> {
        let damaged = self.damaged.iter();
        damaged
            .map(|(digest, damaged)| (*digest, damaged.affected.clone()))
            .collect()
    }

    /// Replaces the images that each damaged item affects.
    pub(super) fn set_affected(&mut self, mut affected: BTreeMap<Digest, Affected>) {
        for (digest, damaged) in &mut self.damaged {
            damaged.affected = affected.remove(digest).unwrap_or_default();
        }
    }

    /// Returns the images that an item affects, if it is damaged.
    pub(super) fn affected(&mut self, digest: &Digest) -> Option<&mut Affected> {
        self.damaged.get_mut(digest).map(|damaged| &mut damaged.affected)
    }

    pub(super) fn into_findings(self) -> impl Iterator<Item = (Finding, Option<Evidence>)> {
        self.damaged.into_iter().map(|(digest, damaged)| {
            let (finding, evidence) = match damaged.damage {
                Damage::Corrupt(evidence) => {
                    let (place, reason) = (evidence.place.clone(), evidence.reason.clone());
                    let finding = Finding::new(FindingKind::Corrupt, place, reason);
                    (finding, Some(evidence))
                }
                Damage::Unreadable { place, reason } => {
                    (Finding::new(FindingKind::Unreadable, place, reason), None)
                }
            };
            let finding = Finding {
                digest: Some(digest),
                affected: damaged.affected,
                remedy: if evidence.is_some() {
                    Remedy::Quarantine
                } else {
                    Remedy::None
                },
                ..finding
            };
            (finding, evidence)
        })
    }
}
