//! Tests of hooks: their calls before an operation, its events, and refusals.

mod contexts;
mod reads;
mod refusals;
mod told;

use crate::{ByHeader, IMAGE, digest, filled, manifest, push, send};
use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use registry_core::{
    Algorithm, BoxError, Digest, ErrorCode, Hooks, Identity, MediaType, Reference, Registry, Tag,
    auth::ClientAddress,
    hooks::{Actor, Appending, Context, Event, EventKind, HookError, RequestId, Target},
    manifest::Manifest,
    service::{BlobSource, ManifestPush},
    storage::{MemoryStorage, PutManifest, ReadBlob},
};
use std::{
    future::Future as _,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard},
    task::{self, Poll, Waker},
    time::Duration,
};

/// Records calls and events, each with its context, and refuses one kind of call.
#[derive(Clone, Debug, Default)]
struct Recorder {
    seen: Arc<Mutex<Vec<(Context, String)>>>,
    refuse: Option<&'static str>,
}

impl Recorder {
    fn refusing(what: &'static str) -> Self {
        Self {
            refuse: Some(what),
            ..Self::default()
        }
    }

    fn seen(&self) -> MutexGuard<'_, Vec<(Context, String)>> {
        self.seen.lock().unwrap()
    }

    /// Returns what was recorded since the last call.
    fn take(&self) -> Vec<String> {
        let seen = std::mem::take(&mut *self.seen());
        seen.into_iter().map(|(_, what)| what).collect()
    }

    /// Returns the events that were recorded since the last call.
    fn take_events(&self) -> Vec<String> {
        let mut all = self.take();
        all.retain(|what| !what.ends_with('?'));
        all
    }

    fn asked(&self, context: &Context, kind: &'static str, details: &str) -> Result<(), HookError> {
        self.seen().push((context.clone(), format!("{kind}{details}?")));
        match self.refuse {
            Some(refused) if refused == kind => Err(HookError::veto(format!("no {kind} on Fridays"))),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Hooks for Recorder {
    async fn before_open_upload(&self, context: &Context, announced: Option<u64>) -> Result<(), HookError> {
        self.asked(context, "open", &format!(" {announced:?}"))
    }

    async fn before_append(&self, context: &Context, appending: &Appending) -> Result<(), HookError> {
        let Appending { held, announced, .. } = appending;
        self.asked(context, "append", &format!(" {announced:?} to {held}"))
    }

    async fn before_add_blob(&self, context: &Context, digest: &Digest, size: u64) -> Result<(), HookError> {
        let short: String = digest.hex().chars().take(4).collect();
        self.asked(context, "blob", &format!(" {short} of {size}"))
    }

    async fn before_put_manifest(
        &self,
        context: &Context,
        manifest: &Manifest,
        put: &PutManifest,
    ) -> Result<(), HookError> {
        let config = manifest.blobs()[0].media_type.as_ref().map(MediaType::as_str);
        assert_eq!(config, Some("application/vnd.oci.empty.v1+json"));
        self.asked(context, "manifest", &format!(" of {}", put.manifest.size()))
    }

    async fn before_delete(&self, context: &Context, target: &Target) -> Result<(), HookError> {
        self.asked(context, "delete", &shown(target))
    }

    async fn before_pull(&self, context: &Context, target: &Target) -> Result<(), HookError> {
        self.asked(context, "pull", &shown(target))
    }

    fn event(&self, event: &Arc<Event>) {
        let what = match &event.kind {
            EventKind::ManifestPushed {
                tags, created, size, ..
            } => {
                let tags: Vec<String> = tags
                    .iter()
                    .map(|moved| format!("{} after {}", moved.tag, moved.previous.is_some()))
                    .collect();
                format!("manifest of {size} pushed, new: {created}, {}", tags.join(","))
            }
            EventKind::ManifestPulled { reference, size, .. } => {
                format!("manifest of {size} pulled by {}", kind_of(reference))
            }
            EventKind::ManifestDeleted { tags, size, .. } => {
                format!("manifest of {size:?} deleted with {tags:?}")
            }
            EventKind::TagDeleted { tag, .. } => format!("{tag} deleted"),
            EventKind::BlobPushed {
                size, created: true, ..
            } => format!("blob of {size} pushed"),
            EventKind::BlobPushed { size, .. } => format!("held blob of {size} pushed"),
            EventKind::BlobMounted {
                from, size, created, ..
            } => {
                format!("blob of {size} mounted from {from}, new: {created}")
            }
            EventKind::BlobPulled { size, bytes, .. } => format!("{bytes} of {size} bytes pulled"),
            EventKind::BlobDeleted { size, .. } => format!("blob of {size:?} deleted"),
            EventKind::UploadOpened { .. } => "upload opened".into(),
            EventKind::UploadAppended { size, bytes, .. } => format!("{bytes} appended, now {size}"),
            EventKind::UploadEnded { size, .. } => format!("upload of {size} ended"),
            EventKind::UploadAbandoned { size, .. } => format!("upload of {size:?} abandoned"),
            EventKind::Abandoned => "abandoned".into(),
            other => unreachable!("{other:?}"),
        };
        self.seen().push((event.context.clone(), what));
    }
}

/// Body of these frames, the last one first. It announces no size, and may never end.
struct Frames {
    frames: Vec<&'static str>,
    ends: bool,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.frames.pop() {
            None if !self.ends => Poll::Pending,
            frame => Poll::Ready(frame.map(|text| Ok(Frame::data(text.into())))),
        }
    }
}

fn shown(target: &Target) -> String {
    match target {
        Target::Blob { size, .. } => format!(" blob of {size:?}"),
        Target::Manifest { size, .. } => format!(" manifest of {size:?}"),
        Target::Tag {
            tag, digest, size, ..
        } => format!(" {tag} at {} of {size:?}", digest.is_some()),
        other => unreachable!("{other:?}"),
    }
}

fn kind_of(reference: &Reference) -> &'static str {
    match reference {
        Reference::Tag(_) => "tag",
        Reference::Digest(_) => "digest",
    }
}

fn tag(text: &str) -> Reference {
    Tag::parse(text).unwrap().into()
}

/// Returns a registry with these hooks and `app` in it: the blob `{}`, and a manifest under `v1`.
async fn hooked(hooks: &Recorder) -> Registry {
    let storage = MemoryStorage::new();
    filled(&storage, &["app"]).await;
    Registry::builder(storage)
        .hooks(hooks.clone())
        .allow_anonymous_push()
        .build()
}

/// Opens a session over HTTP, and returns its target.
async fn opened(registry: &Registry) -> String {
    let opened = send(registry, None, Method::POST, "/v2/app/blobs/uploads/", "").await;
    opened.headers[header::LOCATION].to_str().unwrap().to_owned()
}
