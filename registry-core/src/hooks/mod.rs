//! [`Hooks`]: refusals before an operation, and events after it.
//!
//! A registry may have several hooks. They are asked and told in the order in which the builder got them.
//!
//! ```
//! use async_trait::async_trait;
//! use registry_core::{
//!     Digest, Registry,
//!     hooks::{Context, Event, EventKind, HookError, Hooks},
//!     storage::MemoryStorage,
//! };
//! use std::sync::{
//!     Arc,
//!     atomic::{AtomicU64, Ordering},
//! };
//!
//! /// Refuses blobs when a number of bytes has been pushed.
//! #[derive(Debug)]
//! struct Quota {
//!     limit: u64,
//!     pushed: AtomicU64,
//! }
//!
//! #[async_trait]
//! impl Hooks for Quota {
//!     async fn before_add_blob(&self, _: &Context, _: &Digest, size: u64) -> Result<(), HookError> {
//!         match self.pushed.load(Ordering::Relaxed) + size {
//!             sum if sum > self.limit => Err(HookError::veto("the quota is used up")),
//!             _ => Ok(()),
//!         }
//!     }
//!
//!     fn event(&self, event: &Arc<Event>) {
//!         if let EventKind::BlobPushed { size, .. } = event.kind {
//!             self.pushed.fetch_add(size, Ordering::Relaxed);
//!         }
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let quota = Quota { limit: 10, pushed: AtomicU64::new(0) };
//! let registry = Registry::builder(MemoryStorage::new()).hooks(quota).build();
//! let repository = registry.repository("team/app")?;
//!
//! repository.push_blob(String::from("12345678"), None).await?;
//! let refused = repository.push_blob(String::from("345"), None).await.unwrap_err();
//! assert_eq!(refused.to_string(), "the quota is used up");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

mod context;
mod contract;
mod error;
mod event;

pub use self::{
    context::{Actor, Context, RequestId},
    contract::{Appending, Hooks, Target},
    error::HookError,
    event::{Event, EventKind},
};
