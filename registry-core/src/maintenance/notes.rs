//! [`Notes`]: small records that recurring work keeps between two processes.

use crate::error::BoxError;
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// Small records that recurring work keeps between two processes. The host decides where.
///
/// A record that is lost costs time, never content: work that finds none begins as if it had never run.
///
/// # Cancel safety
///
/// Each future can be dropped at any point. A record is then the previous or the new one.
#[async_trait]
pub trait Notes: Send + Sync {
    /// Reads the record with this name, which has lower-case letters only. Returns `None` if there is none.
    ///
    /// # Errors
    ///
    /// Any error if it exists and cannot be read.
    async fn note(&self, name: &str) -> Result<Option<Bytes>, BoxError>;

    /// Replaces the record with this name.
    ///
    /// # Errors
    ///
    /// Any error if it cannot be written. The previous record stays.
    async fn set_note(&self, name: &str, note: Bytes) -> Result<(), BoxError>;
}

/// Notes in memory, which end with the process.
#[derive(Debug, Default)]
pub struct MemoryNotes(Mutex<BTreeMap<String, Bytes>>);

#[async_trait]
impl Notes for MemoryNotes {
    async fn note(&self, name: &str) -> Result<Option<Bytes>, BoxError> {
        let notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(notes.get(name).cloned())
    }

    async fn set_note(&self, name: &str, note: Bytes) -> Result<(), BoxError> {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notes.insert(name.to_owned(), note);
        Ok(())
    }
}
