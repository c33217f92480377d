//! [`Fault`]: consequence of a rule for a call.

use super::gate::Gate;
use registry_core::storage::{Resource, StorageError};
use std::{fmt, io, sync::Arc};

/// Consequence of a rule for a call of the storage.
///
/// A fault that fails a call comes before its effect by default: the inner storage is not called. Others come after the
/// effect ([`answer_lost`](Self::answer_lost)), or after a part of it ([`after`](Self::after)).
///
/// ```
/// use registry_conformance::faulty::Fault;
/// use registry_core::storage::StorageError;
///
/// let outage = Fault::outage();
/// let lock = Fault::error(|| StorageError::denied("the bucket has a retention lock"));
/// // The connection breaks after the storage has done its work.
/// let lost = Fault::outage().answer_lost();
/// // The disk is full in the middle of an upload.
/// let full = Fault::full().after(1 << 20);
/// ```
#[derive(Clone)]
#[must_use]
pub struct Fault {
    /// Holds the call before it has any effect.
    gate: Option<Gate>,
    effect: Effect,
    error: Arc<dyn Fn() -> StorageError + Send + Sync>,
}

#[derive(Clone, Debug)]
pub(super) enum Effect {
    /// Continues with the call.
    Pass,
    /// Fails before the call has any effect.
    Fail,
    /// Fails after the call has had its effect.
    LoseAnswer,
    /// Fails after a part of the effect, in bytes or tags.
    FailAfter(u64),
}

impl Fault {
    /// Fails with an error of this kind. The error is made for each call.
    pub fn error(error: impl Fn() -> StorageError + Send + Sync + 'static) -> Self {
        Self {
            gate: None,
            effect: Effect::Fail,
            error: Arc::new(error),
        }
    }

    /// Fails with [`StorageError::Unavailable`], which a registry answers with 503.
    pub fn outage() -> Self {
        Self::error(|| StorageError::unavailable("injected outage", None, None))
    }

    /// Fails with [`StorageError::Full`], as without space on the disk.
    pub fn full() -> Self {
        Self::error(|| StorageError::full(Resource::Bytes, "injected fault", "no space"))
    }

    /// Fails as a backend does after an I/O error of this kind.
    pub fn io(kind: io::ErrorKind) -> Self {
        Self::error(move || StorageError::io("injected fault", kind.into()))
    }

    /// Holds the call until the gate opens. Then it continues, and fails after its effect if that is set, with
    /// [`outage`](Self::outage).
    pub fn hold(gate: &Gate) -> Self {
        Self {
            gate: Some(gate.clone()),
            effect: Effect::Pass,
            ..Self::outage()
        }
    }

    /// Fails after the call has had its whole effect, as if the answer were lost. A call that fails by itself returns
    /// its own error.
    pub fn answer_lost(self) -> Self {
        Self {
            effect: Effect::LoseAnswer,
            ..self
        }
    }

    /// Fails after a part of the effect:
    ///
    /// | call | part |
    /// |---|---|
    /// | `append` | the first `amount` bytes of the body are in the session |
    /// | `put_manifest` | the manifest is stored, and the first `amount` of its tags are moved |
    /// | `open_blob` | the blob is open, and reading fails after `amount` bytes, but always before the last byte |
    ///
    /// Every other call has its whole effect, as with [`answer_lost`](Self::answer_lost). So has `open_blob` if the blob is
    /// answered with a redirect: its bytes are read elsewhere.
    pub fn after(self, amount: u64) -> Self {
        Self {
            effect: Effect::FailAfter(amount),
            ..self
        }
    }

    pub(super) const fn gate(&self) -> Option<&Gate> {
        self.gate.as_ref()
    }

    pub(super) const fn effect(&self) -> &Effect {
        &self.effect
    }

    /// Returns the size of the part after which the call fails.
    pub(super) const fn amount(&self) -> Option<u64> {
        match self.effect {
            Effect::FailAfter(amount) => Some(amount),
            Effect::Pass | Effect::Fail | Effect::LoseAnswer => None,
        }
    }

    pub(super) fn make_error(&self) -> StorageError {
        (self.error)()
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fault")
            .field("gate", &self.gate)
            .field("effect", &self.effect)
            .finish_non_exhaustive()
    }
}
