//! [`Verdict`]: the reason why a tag is kept or dropped.

use crate::digest::Digest;
use std::{fmt, time::Duration};

/// Reason why a tag is kept or dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Kept: no rule matches the tag.
    Unmatched,
    /// Kept: the tag belongs to this manifest, as that of its referrers or of a signature. It is dropped with the
    /// manifest.
    Follows(Digest),
    /// Kept: the rule keeps every tag.
    Always,
    /// Kept: the tag has this position among those of the rule, the newest being the first, and the rule keeps so
    /// many. If the rule requires it, the tag is also young enough.
    Newest(usize),
    /// Kept: the tag was moved this time ago, which is recent enough. `None` if the current time is not known.
    Younger(Option<Duration>),
    /// Kept: it is not known when the tag was moved.
    UnknownTime,
    /// Kept: the rule would drop the tag, but nobody may overwrite the tag, and the rule does not expire such tags.
    Immutable,
    /// Kept: the rule would drop the tag, but its deletion was undone recently.
    Restored,
    /// Dropped: the tag does not meet the condition of the rule.
    #[non_exhaustive]
    Dropped {
        /// Position of the tag among those of the rule.
        rank: usize,
        /// Time since the tag was moved, if the current time is known.
        age: Option<Duration>,
    },
}

impl Verdict {
    /// Returns true if the tag is dropped.
    #[must_use]
    pub const fn drops(&self) -> bool {
        matches!(self, Self::Dropped { .. })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Unmatched => f.write_str("no rule matches"),
            Self::Follows(subject) => write!(f, "belongs to {subject}"),
            Self::Always => f.write_str("always kept"),
            Self::Newest(rank) => write!(f, "number {rank} of the newest"),
            Self::Younger(Some(age)) => write!(f, "{} old", Age(age)),
            Self::Younger(None) => f.write_str("no age while the clock is not trusted"),
            Self::UnknownTime => f.write_str("its time is unknown"),
            Self::Immutable => f.write_str("immutable, and the rule does not say `expire: true`"),
            Self::Restored => f.write_str("restored recently"),
            Self::Dropped { rank, age: None } => write!(f, "number {rank} of the newest"),
            Self::Dropped { rank, age: Some(age) } => {
                write!(f, "number {rank} of the newest, {} old", Age(age))
            }
        }
    }
}

/// An age for people, in its largest unit: `30d`, `5h`, `10m`, `3s`.
struct Age(Duration);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let unit = UNITS.iter().find(|(unit, _)| seconds >= *unit);
        let (unit, name) = unit.unwrap_or(&SECOND);
        write!(f, "{}{name}", seconds / unit)
    }
}

/// A duration of a rule, exactly: `30d`, `36h`, `90s`.
pub(super) struct Span(pub(super) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.subsec_nanos() > 0 {
            return write!(f, "{:?}", self.0);
        }
        let seconds = self.0.as_secs();
        let unit = UNITS
            .iter()
            .find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
        let (unit, name) = unit.unwrap_or(&SECOND);
        write!(f, "{}{name}", seconds / unit)
    }
}

const UNITS: [(u64, &str); 3] = [(24 * 60 * 60, "d"), (60 * 60, "h"), (60, "m")];
const SECOND: (u64, &str) = (1, "s");
