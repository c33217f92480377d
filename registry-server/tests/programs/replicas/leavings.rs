//! The bucket itself, read without the code under test.

use std::{collections::HashSet, fs, path::Path};

use futures_util::TryStreamExt as _;
use object_store::{ObjectMeta, ObjectStore as _, ObjectStoreExt as _, aws::AmazonS3};

use super::cluster::{BUCKET, Cluster};
use crate::soak::disk::{self, Roots};

/// Directories of ours that hold nothing while nothing goes on. What a replica that was killed at its start leaves in `_probe/`
/// is removed by one that starts an hour later.
const EMPTY: [&str; 3] = ["_sessions/", "_quarantine/", "_trash/"];

const SESSIONS: &str = "docker/registry/v2/_sessions/";

/// Age in seconds from which on a collection removes the past targets of a tag that does not exist, the notes of deletions
/// that kills have cut short, and bytes of uploads that have ended before. No late request can take effect then.
const UNDER_WAY: i64 = 15 * 60;

/// Asserts that the bucket holds the roots and what they refer to, and nothing else but `orphans` multipart uploads at most: their
/// replica was killed between its request for one and the record that names it. The rule of the bucket removes them.
pub(super) fn assert_exact(cluster: &Cluster, roots: Roots, orphans: usize) {
    let keys = cluster.runtime.block_on(copy(cluster));
    let open = cluster.store.open_multiparts(BUCKET).expect("the store lists");
    assert!(open.len() <= orphans, "multipart uploads left over: {open:?}");
    let copied = keys.path().join("docker/registry/v2");
    disk::assert_exact(&copied, roots);
}

/// Returns the keys of the records of uploads, and of their bytes.
pub(super) fn sessions(cluster: &Cluster) -> Vec<String> {
    let objects = cluster.runtime.block_on(Objects::list(&client(cluster)));
    let keys = objects.lasting().map(|object| object.location.to_string());
    keys.filter(|key| key.starts_with(SESSIONS)).collect()
}

fn client(cluster: &Cluster) -> AmazonS3 {
    let client = cluster.store.client(BUCKET).build();
    client.expect("the settings are whole")
}

/// Copies the bucket to a directory.
#[expect(clippy::future_not_send, reason = "the thread that calls it runs it")]
async fn copy(cluster: &Cluster) -> tempfile::TempDir {
    let directory = tempfile::TempDir::new().expect("the directory for temporary files is writable");
    let client = client(cluster);
    let objects = Objects::list(&client).await;
    let mut unexpected = Vec::new();
    for object in objects.lasting() {
        let key = object.location.to_string();
        let ours = key.strip_prefix("docker/registry/v2/").unwrap_or(&key);
        let is_state = ["_collect/state", "_collect/own"].contains(&ours);
        if EMPTY.iter().any(|directory| ours.starts_with(directory))
            || (ours.starts_with("_collect/") && !is_state)
        {
            unexpected.push(key.clone());
        }
        let bytes = client
            .get(&object.location)
            .await
            .expect("a listed object exists");
        let bytes = bytes.bytes().await.expect("the store sends it");
        write(&directory.path().join(&key), without_mark(&key, &bytes));
    }
    assert_eq!(unexpected, [] as [String; 0], "left over");
    directory
}

/// Objects of the bucket.
struct Objects {
    all: Vec<ObjectMeta>,
    keys: HashSet<String>,
}

impl Objects {
    async fn list(client: &AmazonS3) -> Self {
        let all: Vec<ObjectMeta> = client.list(None).try_collect().await.expect("the store lists");
        let keys = all.iter().map(|object| object.location.to_string());
        Self {
            keys: keys.collect(),
            all,
        }
    }

    /// Returns those that nothing removes later.
    fn lasting(&self) -> impl Iterator<Item = &ObjectMeta> {
        let newest = self.all.iter().map(|object| object.last_modified).max();
        let newest = newest.expect("the bucket holds something");
        self.all.iter().filter(move |object| {
            let is_young = (newest - object.last_modified).num_seconds() < UNDER_WAY;
            !(is_young && self.is_under_way(object.location.as_ref()))
        })
    }

    /// Returns true for an entry of a tag that does not exist, the note of a deletion, and bytes of an upload without a record.
    fn is_under_way(&self, key: &str) -> bool {
        let has = |key: String| self.keys.contains(&key);
        let is_past_target = key
            .split_once("/index/")
            .is_some_and(|(tag, _)| tag.contains("/_manifests/tags/") && !has(format!("{tag}/current/link")));
        let is_piece = key
            .split_once(".pieces/")
            .is_some_and(|(record, _)| record.starts_with(SESSIONS) && !has(record.to_owned()));
        is_past_target || is_piece || key.contains("/_collect/deleting/")
    }
}

/// Returns the content of a link without the mark of a deletion that a kill has cut short.
fn without_mark<'a>(key: &str, bytes: &'a [u8]) -> &'a [u8] {
    match key.ends_with("/link") {
        true => bytes.split(|byte| *byte == b' ').next().unwrap_or_default(),
        false => bytes,
    }
}

fn write(path: &Path, bytes: &[u8]) {
    let parent = path.parent().expect("it is in a directory");
    fs::create_dir_all(parent).expect("the test's directory is writable");
    fs::write(path, bytes).expect("the test's directory is writable");
}
