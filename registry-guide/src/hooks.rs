//! Admission, quotas and billing by hooks.
//!
//! At the end of this page your service refuses what it does not want, with a message that users see, bounds what each team
//! stores, and counts what each team stores and pulls.
//!
//! # Which hook when
//!
//! A push and a pull call these methods of [`Hooks`], in this order, after the authorizer:
//!
//! | request | question | event |
//! |---|---|---|
//! | open an upload | [`before_open_upload`], with the size if the client sends all at once | `UploadOpened` |
//! | a chunk, or the last one | [`before_append`], with the bytes so far, those announced, and for the last one the claimed digest | `UploadAppended` |
//! | close an upload, or mount a blob | [`before_add_blob`], with the verified digest and the exact size | `BlobPushed` and `UploadEnded`, or `BlobMounted` |
//! | put a manifest | [`before_put_manifest`], with the parsed document and the tags | `ManifestPushed` |
//! | pull a manifest or a blob | [`before_pull`], with digest and size | `ManifestPulled`, `BlobPulled` |
//! | delete | [`before_delete`] | `TagDeleted`, `ManifestDeleted`, `BlobDeleted` |
//!
//! [`before_open_upload`]: Hooks::before_open_upload
//! [`before_append`]: Hooks::before_append
//! [`before_add_blob`]: Hooks::before_add_blob
//! [`before_put_manifest`]: Hooks::before_put_manifest
//! [`before_pull`]: Hooks::before_pull
//! [`before_delete`]: Hooks::before_delete
//!
//! | you want to | decide in |
//! |---|---|
//! | refuse a push before bytes are sent | `before_open_upload`; sizes are unknown for most clients |
//! | bound what is received | `before_append` |
//! | bound what is stored | `before_add_blob`: every blob passes it, however it is pushed |
//! | require annotations, a signature, a form of tags | `before_put_manifest` |
//! | wait for a scan | `before_pull`. The client that pushes reads, too: it looks for blobs and tags |
//! | keep images that run | `before_delete` |
//! | count, index, deploy, notify | [`event`](Hooks::event): it comes after the commit |
//!
//! Several hooks are asked in the order in which the builder got them. The first refusal ends the operation, and the hooks
//! that had let it pass get the event `Abandoned`.
//!
//! # Admission
//!
//! This hook requires an annotation on images that get a tag. Blobs and manifests by digest pass, because an index is pushed
//! after its images:
//!
//! ```
//! use async_trait::async_trait;
//! use registry_core::{
//!     Registry, Tag, hooks::{Context, HookError, Hooks}, manifest::Manifest, service::ManifestPush,
//!     storage::{MemoryStorage, PutManifest},
//! };
//!
//! const SOURCE: &str = "org.opencontainers.image.source";
//!
//! #[derive(Debug)]
//! struct Admission;
//!
//! #[async_trait]
//! impl Hooks for Admission {
//!     async fn before_put_manifest(&self, _: &Context, manifest: &Manifest, put: &PutManifest) -> Result<(), HookError> {
//!         let has_source = manifest.annotations().is_some_and(|all| all.get(SOURCE).is_some());
//!         if put.tags.is_empty() || has_source {
//!             return Ok(());
//!         }
//!         Err(HookError::veto(format!("the manifest has no annotation {SOURCE}; build with --annotation {SOURCE}=URL")))
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registry::builder(MemoryStorage::new()).hooks(Admission).build();
//! # let repository = registry.repository("team/app")?;
//! # let index = |annotations: &str| format!(
//! #     r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{annotations}}}"#
//! # );
//! # let push = |annotations: &str| ManifestPush::new(Tag::parse("v1").unwrap(), index(annotations));
//! # let refused = repository.put_manifest(push("{}")).await.unwrap_err();
//! # assert!(refused.to_string().starts_with("the manifest has no annotation"));
//! # repository.put_manifest(push(r#"{"org.opencontainers.image.source":"https://example.com"}"#)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! Hooks apply to your own calls in process, too. [`Context::actor`] tells who it is, if your service is to be exempt.
//!
//! # What a user sees
//!
//! [`HookError::veto`] is 403 `DENIED`. Clients print its message and do not repeat the request:
//!
//! ```text
//! $ docker push registry.example.com/team/app:v1
//! denied: the quota of the team is used up
//! $ skopeo copy oci:app:v1 docker://registry.example.com/team/app:v1
//! writing blob: uploading layer to …: denied: the quota of the team is used up
//! $ crane push app registry.example.com/team/app:v1
//! Error: PUT https://…: DENIED: the quota of the team is used up
//! ```
//!
//! podman prints the text of skopeo. So say in the message what was refused, and what to do. [`HookError::veto_as`] sets another
//! status and code. With 413 `SIZE_INVALID`, docker tries the layer again several times before it prints the message. Clients
//! take 429 for a reason to wait and to try again: it does not fit a quota.
//!
//! [`HookError::failed`] is for a decision that cannot be made: 503, which clients repeat. Only the log has the reason.
//!
//! # A quota
//!
//! Several pushes run at once, so reserve in `before_add_blob`, and settle in `event`. Each reservation ends with an event of
//! the same [`operation`](Context::operation):
//!
//! ```
//! use async_trait::async_trait;
//! use registry_core::{
//!     Digest, Registry, hooks::{Context, Event, EventKind, HookError, Hooks}, storage::MemoryStorage,
//! };
//! use std::{collections::HashMap, sync::{Arc, Mutex, MutexGuard, PoisonError}};
//!
//! /// Bounds the bytes of each team: the first part of a repository's name.
//! #[derive(Debug)]
//! struct Quota {
//!     limit: u64,
//!     state: Mutex<State>,
//! }
//!
//! #[derive(Debug, Default)]
//! struct State {
//!     used: HashMap<String, u64>,
//!     reserved: HashMap<u64, u64>,
//! }
//!
//! impl Quota {
//!     /// Locks the state, also after a panic of another thread: an event must not panic.
//!     fn state(&self) -> MutexGuard<'_, State> {
//!         self.state.lock().unwrap_or_else(PoisonError::into_inner)
//!     }
//! }
//!
//! fn team(context: &Context) -> String {
//!     context.repository.as_str().split('/').next().unwrap_or_default().to_owned()
//! }
//!
//! #[async_trait]
//! impl Hooks for Quota {
//!     async fn before_add_blob(&self, context: &Context, _: &Digest, size: u64) -> Result<(), HookError> {
//!         let (mut state, team) = (self.state(), team(context));
//!         let used = state.used.entry(team.clone()).or_default();
//!         if used.saturating_add(size) > self.limit {
//!             return Err(HookError::veto(format!("the quota of {team} is used up: delete images, or ask for more")));
//!         }
//!         *used += size;
//!         state.reserved.insert(context.operation, size);
//!         Ok(())
//!     }
//!
//!     fn event(&self, event: &Arc<Event>) {
//!         let mut state = self.state();
//!         let given_back = match event.kind {
//!             // The reservation is now what is stored, unless the repository had the blob before.
//!             EventKind::BlobPushed { created: true, .. } | EventKind::BlobMounted { created: true, .. } => {
//!                 state.reserved.remove(&event.context.operation);
//!                 return;
//!             }
//!             EventKind::BlobPushed { .. } | EventKind::BlobMounted { .. } | EventKind::Abandoned => {
//!                 state.reserved.remove(&event.context.operation).unwrap_or_default()
//!             }
//!             EventKind::BlobDeleted { size, .. } => size.unwrap_or_default(),
//!             _ => return,
//!         };
//!         let used = state.used.entry(team(&event.context)).or_default();
//!         *used = used.saturating_sub(given_back);
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let quota = Quota { limit: 10, state: Mutex::default() };
//! let registry = Registry::builder(MemoryStorage::new()).hooks(quota).build();
//! let (a, b) = (registry.repository("a/app")?, registry.repository("b/app")?);
//!
//! a.push_blob("12345678", None).await?;
//! assert!(a.push_blob("345", None).await.is_err());
//! b.push_blob("345", None).await?;
//! # a.push_blob("90", None).await?;
//! # a.push_blob("90", None).await.unwrap_err();
//! # Ok(())
//! # }
//! ```
//!
//! The counts begin at 0 with the process. At the start, add up what [`Storage::inspect`](registry_core::Storage::inspect)
//! lists, or keep the counts in your database. A collection removes blobs without an event: add up again after it, in
//! [`Upkeep::on_collected`](registry_core::maintenance::Upkeep::on_collected). For a quota on what is received, too, veto in
//! `before_append` when `held` and the announced bytes exceed what is left.
//!
//! The bytes of open uploads are in no count, and most clients announce no size. Bound them by
//! [`Limits`](registry_core::Limits): `blob_bytes` at the quota, and a small number of `uploads`. Two events may come in the
//! other order than their commits, so add up from time to time, too.
//!
//! The example `examples/tenants` of the workspace has all of this: tenants at hosts of their own, each with a quota, limits
//! for uploads, and a bill.
//!
//! # Billing
//!
//! An event must not block, so send it to a task. What is delivered is in `BlobPulled::bytes`; the bytes of a range count, and
//! not the whole blob:
//!
//! ```
//! use registry_core::{Registry, hooks::{Event, EventKind, Hooks}, storage::{MemoryStorage, ReadBlob}};
//! use std::sync::Arc;
//! use tokio::sync::mpsc;
//!
//! #[derive(Debug)]
//! struct Billing(mpsc::UnboundedSender<Arc<Event>>);
//!
//! impl Hooks for Billing {
//!     fn event(&self, event: &Arc<Event>) {
//!         let _ = self.0.send(Arc::clone(event));
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (sender, mut events) = mpsc::unbounded_channel();
//! let registry = Registry::builder(MemoryStorage::new()).hooks(Billing(sender)).build();
//! let bill = tokio::spawn(async move {
//!     let mut sent = 0;
//!     while let Some(event) = events.recv().await {
//!         if let EventKind::BlobPulled { bytes, .. } = event.kind {
//!             sent += bytes;
//!         }
//!     }
//!     sent
//! });
//! # let repository = registry.repository("team/app")?;
//! # let blob = repository.push_blob("1234567890", None).await?;
//! # repository.open_blob(&blob.digest, ReadBlob::default()).await?;
//! # repository.open_blob(&blob.digest, ReadBlob::part(Some(registry_core::RangeSpec::Last(3)))).await?;
//! # drop((registry, repository));
//! # assert_eq!(bill.await?, 13);
//! # Ok(())
//! # }
//! ```
//!
//! `BlobPulled` comes when the blob is opened: a client that leaves early is charged for all of it. What a team stores follows
//! from `BlobPushed` and `BlobDeleted`, as in the quota. An event is lost if the process ends before your task has stored it.

#[cfg(doc)]
use registry_core::hooks::{Context, HookError, Hooks};
