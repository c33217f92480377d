//! Random names, so that nobody else's write is taken for an own one.

use registry_core::storage::{Result, StorageError};

/// Returns 16 random hexadecimal digits.
pub(crate) fn nonce() -> Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|error| StorageError::internal(format!("the system has no random numbers: {error}")))?;
    Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
}
