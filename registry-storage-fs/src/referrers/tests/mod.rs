//! Tests of lists of referrers, by question.

mod changes;
mod cost;
mod damage;
mod readers;

use super::*;
use crate::{
    faults::fail,
    seams,
    support::{files, name, top, writer},
};
use registry_core::{
    Algorithm, MediaType, Storage,
    manifest::Manifest,
    storage::{Deletion, Page, PutManifest, Referring, Verified},
};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use std::{fs, path::Path, sync::mpsc};
use tempfile::TempDir;

const TYPE: &str = "application/vnd.example.signature";

fn subject() -> Digest {
    Digest::of(Algorithm::Sha256, b"subject")
}

fn media_type(text: &str) -> MediaType {
    MediaType::parse(text).unwrap()
}

/// Returns a manifest with a subject, and annotations that distinguish it from others.
fn signature(seed: usize) -> PutManifest {
    let subject = subject();
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","artifactType":"{TYPE}","layers":[],"subject":{{"mediaType":"{}","digest":"{subject}","size":7}},"annotations":{{"n":"{seed}"}}}}"#,
        MediaType::OCI_MANIFEST,
        MediaType::OCI_MANIFEST,
    );
    put_of(text)
}

fn image(seed: usize) -> PutManifest {
    let kind = MediaType::OCI_MANIFEST;
    put_of(format!(
        r#"{{"schemaVersion":2,"mediaType":"{kind}","layers":[],"annotations":{{"n":"{seed}"}}}}"#
    ))
}

fn put_of(text: String) -> PutManifest {
    let verified = Verified::of(Algorithm::Sha256, text.into());
    let kind = media_type(MediaType::OCI_MANIFEST);
    let parsed = Manifest::parse_stored(verified.bytes(), &kind).unwrap();
    let mut put = PutManifest::new(verified.clone(), kind);
    put.referrer = parsed.referrer(*verified.digest(), verified.size());
    put
}

fn digest_of(put: &PutManifest) -> Digest {
    *put.manifest.digest()
}

async fn put(storage: &FsStorage, put: &PutManifest) {
    writer(storage)
        .put_manifest(&name("a"), put.clone())
        .await
        .unwrap();
}

async fn listed(storage: &FsStorage) -> Vec<Digest> {
    let page = Page::first(1000);
    let listing = storage
        .referrers(&name("a"), Referring::new(&subject()), page)
        .await
        .unwrap();
    listing.items.iter().map(|item| item.digest).collect()
}

fn sorted(puts: &[&PutManifest]) -> Vec<Digest> {
    let mut digests: Vec<_> = puts.iter().map(|put| digest_of(put)).collect();
    digests.sort();
    digests
}

fn read_only(root: &Path) -> FsStorage {
    FsStorage::options().read_only().open(root).unwrap()
}

/// Lists referrers, and runs `meanwhile` when the manifests have been read for the index.
async fn listed_while(storage: &FsStorage, meanwhile: impl FnOnce(&Store) + Send + 'static) {
    let store = storage.shared_store();
    let pauses = &storage.store().pauses;
    pauses.at(Point::ReferrerIndexManifestsRead, move || meanwhile(&store));
    listed(storage).await;
}
