//! [`Hooks`]: refusals before an operation, and events after it.
//!
//! A registry may have several hooks. They are called in the order in which they were added to the builder.
//!
//! ```
//! use async_trait::async_trait;
//! use registry_core::{
//!     Digest, Registry,
//!     hooks::{Context, Event, EventKind, HookError, Hooks},
//!     storage::MemoryStorage,
//! };
//! use std::{
//!     collections::HashMap,
//!     sync::{Arc, Mutex, MutexGuard, PoisonError},
//! };
//!
//! /// Refuses blobs beyond a number of bytes, however many are pushed at once.
//! #[derive(Debug, Default)]
//! struct Quota {
//!     limit: u64,
//!     counts: Mutex<Counts>,
//! }
//!
//! #[derive(Debug, Default)]
//! struct Counts {
//!     used: u64,
//!     /// Part of `used` that is reserved by operations that have not ended.
//!     reserved: HashMap<u64, u64>,
//! }
//!
//! impl Quota {
//!     /// Locks the counts, also after a panic of another thread: an event must not panic.
//!     fn counts(&self) -> MutexGuard<'_, Counts> {
//!         self.counts.lock().unwrap_or_else(PoisonError::into_inner)
//!     }
//! }
//!
//! #[async_trait]
//! impl Hooks for Quota {
//!     async fn before_add_blob(&self, context: &Context, _: &Digest, size: u64) -> Result<(), HookError> {
//!         let mut counts = self.counts();
//!         if counts.used.saturating_add(size) > self.limit {
//!             return Err(HookError::veto("the quota is used up"));
//!         }
//!         counts.used += size;
//!         counts.reserved.insert(context.operation, size);
//!         Ok(())
//!     }
//!
//!     fn event(&self, event: &Arc<Event>) {
//!         let mut counts = self.counts();
//!         let reserved = counts.reserved.get(&event.context.operation).copied();
//!         let unused = match event.kind {
//!             EventKind::BlobPushed { created: true, .. } | EventKind::BlobMounted { created: true, .. } => 0,
//!             EventKind::BlobPushed { .. } | EventKind::BlobMounted { .. } | EventKind::Abandoned => {
//!                 reserved.unwrap_or_default()
//!             }
//!             EventKind::BlobDeleted { size, .. } => size.unwrap_or_default(),
//!             _ => return,
//!         };
//!         counts.reserved.remove(&event.context.operation);
//!         // A blob that an earlier process stored was never counted.
//!         counts.used = counts.used.saturating_sub(unused);
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let quota = Quota { limit: 10, ..Quota::default() };
//! let registry = Registry::builder(MemoryStorage::new()).hooks(quota).build();
//! let repository = registry.repository("team/app")?;
//!
//! let blob = repository.push_blob("12345678", None).await?;
//! let refused = repository.push_blob("345", None).await.unwrap_err();
//! assert_eq!(refused.to_string(), "the quota is used up");
//!
//! repository.delete_blob(&blob.digest).await?;
//! repository.push_blob("345", None).await?;
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
