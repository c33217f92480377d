//! [`Opening`]: the opening of a bucket, which lasts as long as its store is down.

use crate::config::Bucket;
use std::sync::{Arc, Mutex, PoisonError};

/// Opening of a bucket, as health tells it.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    driver: &'static str,
    /// Fault; `None` once the bucket is open.
    fault: Arc<Mutex<Option<String>>>,
}

impl Opening {
    pub(crate) fn of(bucket: &Bucket) -> Self {
        Self {
            driver: bucket.driver(),
            fault: Arc::new(Mutex::new(Some(format!("{bucket} is being opened")))),
        }
    }

    /// Returns the name of the check, which that of the open storage replaces.
    pub(crate) fn name(&self) -> String {
        format!("storagedriver_{}", self.driver)
    }

    pub(crate) fn verdict(&self) -> Result<(), String> {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        fault.clone().map_or(Ok(()), Err)
    }

    /// Notes a fault, or that the bucket is open.
    pub(crate) fn set(&self, fault: Option<String>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}
