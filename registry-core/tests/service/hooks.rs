//! Tests of the events that hooks receive, and of their vetoes.

use crate::{digest, filled, manifest, push, send};
use async_trait::async_trait;
use http::{Method, StatusCode, header};
use registry_core::{
    Algorithm, Digest, Hooks, Identity, Reference, Registry,
    hooks::{Context, Event, Veto},
    storage::{MemoryStorage, PutManifest},
};
use std::sync::{Arc, Mutex};

/// Records events, and refuses the given operation.
#[derive(Clone, Debug, Default)]
struct Recorder {
    events: Arc<Mutex<Vec<String>>>,
    refuse: Option<&'static str>,
}

impl Recorder {
    fn veto(&self, what: &str) -> Result<(), Veto> {
        match self.refuse {
            Some(refused) if refused == what => Err(Veto::new(format!("no {what} on Fridays"))),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Hooks for Recorder {
    async fn before_put_manifest(&self, _: &Context<'_>, _: &PutManifest) -> Result<(), Veto> {
        self.veto("manifest")
    }

    async fn before_add_blob(&self, _: &Context<'_>, _: &Digest, _: Option<u64>) -> Result<(), Veto> {
        self.veto("blob")
    }

    async fn before_delete_manifest(&self, _: &Context<'_>, _: &Reference) -> Result<(), Veto> {
        self.veto("delete")
    }

    fn event(&self, context: &Context<'_>, event: &Event<'_>) {
        let who = context.identity.map_or("host", |identity| &identity.subject);
        let what = match event {
            Event::ManifestPushed { tags, .. } => {
                let tags: Vec<String> = tags
                    .iter()
                    .map(|moved| format!("{} after {}", moved.tag, moved.previous.is_some()))
                    .collect();
                format!("pushed {}", tags.join(","))
            }
            Event::ManifestDeleted { tags, .. } => format!("deleted {tags:?}"),
            Event::TagDeleted { tag, .. } => format!("untagged {tag}"),
            Event::BlobPushed { size, .. } => format!("blob of {size}"),
            Event::BlobMounted { from, .. } => format!("mounted from {from}"),
            Event::BlobDeleted { .. } => "blob deleted".into(),
            other => format!("{other:?}")
                .chars()
                .take_while(|c| c.is_alphanumeric())
                .collect(),
        };
        self.events
            .lock()
            .unwrap()
            .push(format!("{who} {}: {what}", context.repository));
    }
}

#[tokio::test]
async fn hooks_are_told_what_happened_and_who_did_it() {
    let hooks = Recorder::default();
    let registry = Registry::builder(MemoryStorage::new())
        .hooks(hooks.clone())
        .build();
    let app = registry
        .repository("app")
        .unwrap()
        .as_identity(Identity::new("ann"));

    app.push_blob("{}", None).await.unwrap();
    let first = app.put_manifest(push("v1", "first")).await.unwrap();
    app.put_manifest(push("v1", "second")).await.unwrap();
    app.delete_manifest("v1").await.unwrap();
    app.delete_manifest(first.digest).await.unwrap();
    let other = registry.repository("other").unwrap();
    other.mount(&digest(), None).await.unwrap();
    app.delete_blob(&digest()).await.unwrap();
    app.delete_blob(&digest()).await.unwrap();

    assert_eq!(
        *hooks.events.lock().unwrap(),
        [
            "ann app: blob of 2",
            "ann app: pushed v1 after false",
            "ann app: pushed v1 after true",
            "ann app: untagged v1",
            "ann app: deleted []",
            "host other: mounted from app",
            "ann app: blob deleted",
        ]
    );
}

#[tokio::test]
async fn a_veto_is_read_by_the_client_and_leaves_nothing() {
    for refused in ["blob", "manifest", "delete"] {
        let storage = MemoryStorage::new();
        filled(&storage, &["app"]).await;
        let hooks = Recorder {
            refuse: Some(refused),
            ..Recorder::default()
        };
        let registry = Registry::builder(storage)
            .hooks(hooks.clone())
            .allow_anonymous_push()
            .build();
        let repository = registry.repository("app").unwrap();
        let answer = match refused {
            "blob" => {
                let opened = send(&registry, None, Method::POST, "/v2/app/blobs/uploads/", "").await;
                let session = opened.headers[header::LOCATION].to_str().unwrap();
                let digest = Digest::of(Algorithm::Sha256, b"new");
                let answer = send(
                    &registry,
                    None,
                    Method::PUT,
                    &format!("{session}?digest={digest}"),
                    "new",
                )
                .await;
                assert!(repository.blob(&digest).await.unwrap().is_none());
                let gone = send(&registry, None, Method::GET, session, "").await;
                assert_eq!(gone.status, StatusCode::NOT_FOUND, "the session is ended");
                answer
            }
            "manifest" => {
                let body = String::from_utf8(manifest("second").to_vec()).unwrap();
                let answer = send(&registry, None, Method::PUT, "/v2/app/manifests/v2", &body).await;
                assert!(repository.manifest("v2").await.unwrap().is_none());
                answer
            }
            _ => {
                let answer = send(&registry, None, Method::DELETE, "/v2/app/manifests/v1", "").await;
                assert!(repository.manifest("v1").await.unwrap().is_some());
                answer
            }
        };
        assert_eq!(
            (answer.status, &*answer.code()),
            (StatusCode::FORBIDDEN, "DENIED"),
            "{refused}"
        );
        assert_eq!(answer.message(), format!("no {refused} on Fridays"));
        assert!(hooks.events.lock().unwrap().is_empty());
    }
}
