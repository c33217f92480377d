//! [`HashError`].

use super::kind::Kind;

/// Reason why a text is not a hash that passwords can be verified against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// Plain text, or an unknown kind such as yescrypt.
    #[error("not a hash of a known kind (plain text is never accepted)")]
    UnknownKind,
    /// The kind is known, but the rest of the hash is malformed.
    #[error("a damaged hash: it begins as {0}, but is malformed")]
    Damaged(Kind),
    /// One login would take more than a few seconds of processor time: bcrypt beyond cost 15, SHA-crypt beyond a
    /// million rounds.
    #[error("{0} with a cost so high that a few logins would delay all others")]
    TooCostly(Kind),
    /// The kind is known, but this build does not verify it.
    #[error("{0}, which this build does not verify (it lacks the feature `legacy`)")]
    NotBuiltIn(Kind),
}
