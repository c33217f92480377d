//! [`Probe`] and [`Kept`]: the result of a probe.

use crate::rung::Rung;
use std::fmt;

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
    pub(super) const fn is_always(&self) -> bool {
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
    /// Takes over the races that an earlier probe of the store has lost.
    pub(crate) fn remember_races(&mut self, earlier: Self) {
        for (now, earlier) in [
            (&mut self.create, earlier.create),
            (&mut self.update, earlier.update),
            (&mut self.delete, earlier.delete),
        ] {
            if now.is_always() && matches!(earlier, Kept::Races { .. }) {
                *now = earlier;
            }
        }
    }

    /// Returns the means by which records are moved, or `None` if the store has none for more than one process.
    ///
    /// A store whose removals race keeps all moves of tags. It is not worth the numbered logs, which hide what registry:2 has
    /// moved: the moment is short, and has to be that of a removal.
    pub(crate) const fn rung(&self) -> Option<Rung> {
        match (
            self.create.is_always(),
            self.update.is_always(),
            matches!(self.delete, Kept::Always | Kept::Races { .. }),
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
            false => tracing::info!(
                "the object store suits {means}; it does not {}",
                lacks.join(", nor ")
            ),
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

    pub(super) fn rows(&self) -> [(&'static str, &Kept, &'static str); 7] {
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
                match self.delete {
                    Kept::Races { .. } => "what is pushed at the moment of its removal may go with it",
                    _ => "without it, tags are numbered logs",
                },
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
