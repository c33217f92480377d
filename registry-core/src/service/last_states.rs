//! [`LastStates`]: upload sessions as this process has left them.
//!
//! A client mostly continues a session soon, and often at the same process. If the sessions are kept elsewhere, as in a
//! bucket, reading one costs a request. So the state that the last call returned is used first, once. Another process may
//! have continued the session since: then the storage refuses the state, whose version is old, and the session is read.

use crate::{name::RepositoryName, storage::UploadState, upload_id::UploadId};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};

/// Memory for all states. Above it, the oldest ones are dropped.
const BYTES: usize = 16 << 20;

/// Memory for a state without its version, at most.
const OF_STATE: usize = 1 << 10;

/// States of upload sessions, each of which is used at most once.
#[derive(Debug, Default)]
pub(super) struct LastStates(Mutex<States>);

#[derive(Debug, Default)]
struct States {
    begun: u64,
    bytes: usize,
    in_order: BTreeMap<u64, (RepositoryName, UploadState)>,
    numbers: HashMap<UploadId, u64>,
}

impl LastStates {
    /// Keeps the state that a call has returned.
    pub(super) fn put(&self, repository: &RepositoryName, state: UploadState) {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        states.remove(&state.id);
        states.begun += 1;
        states.bytes += size(&state);
        let number = states.begun;
        states.numbers.insert(state.id, number);
        states.in_order.insert(number, (repository.clone(), state));
        while states.bytes > BYTES
            && let Some((_, (_, oldest))) = states.in_order.first_key_value()
        {
            let oldest = oldest.id;
            states.remove(&oldest);
        }
    }

    /// Returns the last state of a session, and forgets it.
    pub(super) fn take(&self, repository: &RepositoryName, id: &UploadId) -> Option<UploadState> {
        let mut states = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = states.numbers.get(id)?;
        let (of, _) = states.in_order.get(number)?;
        (of == repository).then(|| states.remove(id)).flatten()
    }
}

impl States {
    fn remove(&mut self, id: &UploadId) -> Option<UploadState> {
        let number = self.numbers.remove(id)?;
        let (_, state) = self.in_order.remove(&number)?;
        self.bytes -= size(&state);
        Some(state)
    }
}

fn size(state: &UploadState) -> usize {
    OF_STATE + state.version.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn name(text: &str) -> RepositoryName {
        RepositoryName::parse(text).unwrap()
    }

    fn state(number: u8, version: usize) -> UploadState {
        let id = UploadId::from_random([number; 16]);
        UploadState::new(id, 0, Bytes::from(vec![0; version]))
    }

    #[test]
    fn a_state_is_used_once_and_by_its_repository_alone() {
        let (states, a) = (LastStates::default(), name("a"));
        let kept = state(1, 10);
        states.put(&a, kept.clone());

        assert!(states.take(&name("b"), &kept.id).is_none());
        assert!(states.take(&a, &kept.id).is_some());
        assert!(states.take(&a, &kept.id).is_none());
    }

    #[test]
    fn the_oldest_states_go_if_there_is_too_little_memory() {
        let (states, a) = (LastStates::default(), name("a"));
        for number in 0..4 {
            states.put(&a, state(number, BYTES / 4));
        }
        states.put(&a, state(3, 0));

        assert!(states.take(&a, &state(0, 0).id).is_none());
        for number in 1..4 {
            assert!(states.take(&a, &state(number, 0).id).is_some(), "{number}");
        }
        assert_eq!(states.0.lock().unwrap().bytes, 0);
    }
}
