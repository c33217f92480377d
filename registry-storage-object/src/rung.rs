//! [`Rung`]: how a record is moved so that no other replica's move is lost.

/// The means by which records are compared and swapped: the best one that the store keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rung {
    /// Preconditions of PUT and DELETE on an existing object, and on an absent one.
    Conditional,
    /// Preconditions of PUT on an absent object only: a record is the last entry of a numbered log.
    Log,
    /// None. One process, as declared, with a lock per record.
    Sole,
}
