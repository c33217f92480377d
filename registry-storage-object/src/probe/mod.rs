//! [`Probe`]: what an object store can do, found out by trying.
//!
//! A store may answer one request after the other correctly and still let several of many simultaneous ones win. So the
//! probe races.

mod trial;

use self::trial::Trial;
use crate::{
    bucket::{Bucket, StoreTime},
    gate::now,
    keys,
    nonce::nonce,
    rung::Rung,
};
use futures_util::TryStreamExt as _;
use registry_core::storage::Result;
use std::{fmt, time::Duration};

/// Age from which on the keys of a probe are those of a process that died.
const ABANDONED: Duration = Duration::from_secs(60 * 60);
/// Time for which a result counts.
pub(crate) const LASTS: Duration = Duration::from_secs(24 * 60 * 60);

/// Extent to which a store keeps one promise.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kept {
    /// Always, also under simultaneous requests.
    Always,
    /// One request after the other, but not under simultaneous ones.
    #[non_exhaustive]
    Races {
        /// Number of simultaneous writers of which one should have won.
        racers: usize,
        /// Number of those that won.
        winners: usize,
    },
    /// Never.
    Never,
    /// The store does not accept such requests, with this message.
    Refused(String),
}

impl Kept {
    const fn is_always(&self) -> bool {
        matches!(self, Self::Always)
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("yes"),
            Self::Races { racers, winners } => {
                write!(f, "no: {winners} of {racers} simultaneous writers won")
            }
            Self::Never => f.write_str("no"),
            Self::Refused(message) => write!(f, "refused: {message}"),
        }
    }
}

/// Abilities of an object store.
///
/// Its text form is a table for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probe {
    /// PUT of an object only if there is none: `If-None-Match: *`, or a generation of 0.
    pub create: Kept,
    /// PUT of an object only if it has not changed: `If-Match`, or a generation.
    pub update: Kept,
    /// DELETE of an object only if it has not changed.
    pub delete: Kept,
    /// Refusal of signed URLs that have expired, for PUT and DELETE.
    pub expiry: Kept,
    /// Objects are listed as soon as they are written, and no more once they are removed.
    pub listed_at_once: Kept,
    /// Objects are listed in byte order of their keys, and a listing that starts after a key loses none.
    pub byte_order: Kept,
    /// Common prefixes of objects that were all removed are not listed.
    pub prefixes_vanish: Kept,
}

impl Probe {
    /// Tries everything below a directory of its own, and removes it.
    pub(crate) async fn run(bucket: &Bucket) -> Result<Self> {
        let directory = format!("{}/{}", keys::PROBE, nonce()?);
        let trial = Trial::new(bucket, &directory);
        let found = trial.all().await;
        // What others left is of names that nobody uses again. A probe takes seconds.
        let now = now(bucket);
        let left: Vec<_> = bucket.list(keys::PROBE).try_collect().await.unwrap_or_default();
        for object in left {
            let lasts = match object.key.starts_with(keys::KEPT_PROBES) {
                true => LASTS,
                false => ABANDONED,
            };
            let is_old = now.since(StoreTime::of(object.modified)) > lasts;
            if is_old || object.key.starts_with(&directory) {
                let _ = bucket.delete(&object.key).await;
            }
        }
        found
    }

    /// Returns the means by which records are moved, or `None` if the store has none for more than one process.
    pub(crate) const fn rung(&self) -> Option<Rung> {
        match (
            self.create.is_always(),
            self.update.is_always(),
            self.delete.is_always(),
        ) {
            (true, true, true) => Some(Rung::Conditional),
            (true, _, _) => Some(Rung::Log),
            _ => None,
        }
    }

    /// Returns true if any number of processes may write to the bucket at once.
    #[must_use]
    pub fn supports_replicas(&self) -> bool {
        self.rung().is_some()
    }

    const fn means(&self) -> &'static str {
        match self.rung() {
            Some(Rung::Conditional) => "any number of replicas; tags are moved by preconditions",
            Some(Rung::Log) => "any number of replicas; tags are numbered logs",
            Some(Rung::Sole) | None => "one replica only",
        }
    }

    /// Logs the result, and the abilities that the store lacks.
    pub(crate) fn log(&self) {
        let mut lacks = Vec::new();
        for (name, kept, _) in self.rows() {
            tracing::debug!("the object store: {name}: {kept}");
            if !kept.is_always() {
                lacks.push(name);
            }
        }
        let means = self.means();
        match lacks.is_empty() {
            true => tracing::info!("the object store suits {means}"),
            false => tracing::info!("the object store suits {means}; it does not {}", lacks.join(", ")),
        }
    }

    /// Returns the abilities in the order of the fields.
    pub(crate) const fn all(&self) -> [&Kept; 7] {
        [
            &self.create,
            &self.update,
            &self.delete,
            &self.expiry,
            &self.listed_at_once,
            &self.byte_order,
            &self.prefixes_vanish,
        ]
    }

    /// Makes a result of its abilities in the order of the fields.
    pub(crate) fn of(all: [Kept; 7]) -> Self {
        let [
            create,
            update,
            delete,
            expiry,
            listed_at_once,
            byte_order,
            prefixes_vanish,
        ] = all;
        Self {
            create,
            update,
            delete,
            expiry,
            listed_at_once,
            byte_order,
            prefixes_vanish,
        }
    }

    fn rows(&self) -> [(&'static str, &Kept, &'static str); 7] {
        [
            (
                "create only if absent",
                &self.create,
                "needed for more than one replica",
            ),
            (
                "update only if unchanged",
                &self.update,
                "without it, tags are numbered logs",
            ),
            (
                "delete only if unchanged",
                &self.delete,
                "without it, tags are numbered logs",
            ),
            (
                "refuse expired URLs",
                &self.expiry,
                "without it, a stalled replica may write late",
            ),
            (
                "list what was just written",
                &self.listed_at_once,
                "needed for collections",
            ),
            (
                "list in byte order",
                &self.byte_order,
                "without it, pages of listings cost more requests",
            ),
            (
                "forget prefixes of removed objects",
                &self.prefixes_vanish,
                "without it, prefixes are checked",
            ),
        ]
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, kept, meaning) in self.rows() {
            match kept {
                Kept::Always => writeln!(f, "{name:36} {kept}")?,
                _ => writeln!(f, "{name:36} {kept} ({meaning})")?,
            }
        }
        write!(f, "{:36} {}", "result", self.means())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::location::Location;

    #[tokio::test]
    async fn memory_keeps_everything() {
        let bucket = Location::memory().bucket("").unwrap();
        let probe = Probe::run(&bucket).await.unwrap();
        assert_eq!(probe.rung(), Some(Rung::Conditional), "{probe}");
        assert!(
            probe.rows().iter().all(|(_, kept, _)| kept.is_always()),
            "{probe}"
        );
        let left: Vec<_> = bucket.list(keys::TOP).try_collect().await.unwrap();
        assert!(left.is_empty(), "{left:?}");
    }
}
