//! Checks of a directory after the death of its process.

use super::{
    DAMAGED,
    content::{self, Image, Name, STEPS, digest_of},
    journal::Entry,
    script::{Health, Script, State, Step, damaged, reachable, tags},
    victim::{TAGS, WORKERS, push, repository_of},
};
use crate::{
    FsStorage,
    support::{self, all, collections::collect_all, tag},
};
use bytes::Bytes;
use registry_core::{
    Algorithm, Digest, Registry, RepositoryName,
    maintenance::{VerifyEvent, VerifyOptions, expire_uploads},
    service::{Repository, Restore},
    storage::{Document, Page, StorageRepair, StorageTrash as _, Trashed},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// A directory that was opened again.
pub(super) struct Survivor<'a> {
    root: &'a Path,
    journal: &'a [Entry],
    storage: FsStorage,
    registry: Registry,
    /// State after the last step that was acknowledged, and after the one that had begun.
    states: [State; 2],
    when: String,
}

impl<'a> Survivor<'a> {
    pub(super) fn open(root: &'a Path, script: &Script, journal: &'a [Entry], when: &str) -> Self {
        let storage = FsStorage::open(root).unwrap();
        let steps: Vec<Step> = script.steps().collect();
        let done = journal.iter().filter(|entry| matches!(entry, Entry::Done(_)));
        let begun = journal.iter().filter(|entry| matches!(entry, Entry::Begun(_)));
        let (done, begun) = (done.count(), begun.count());
        let state = steps[..done]
            .iter()
            .fold(State::default(), |state, step| state.after(*step));
        let running = steps[done..begun].first().copied();
        let next = running.map_or_else(|| state.clone(), |step| state.clone().after(step));
        Self {
            root,
            journal,
            registry: Registry::builder(storage.clone()).build(),
            storage,
            states: [state, next],
            when: format!("{when}, in {running:?} after {done} steps"),
        }
    }

    /// Asserts that everything acknowledged is there, that no damage is reported where none is, and that a collection
    /// leaves what the tags refer to, and nothing else.
    pub(super) async fn check(self) {
        self.check_load().await;
        self.check_steps().await;
        self.check_upload().await;
        self.check_soundness().await;
        self.restore_all().await;
        let later = SystemTime::now() + Duration::from_secs(2 * 24 * 60 * 60);
        let ended = expire_uploads(&self.storage, later).await.unwrap();
        assert_eq!(ended.failed, 0, "{}", self.when);
        let expected = self.reachable().await;
        let report = collect_all(&self.registry, &|_| {}).await.unwrap();
        assert!(
            report.stopped.is_none() && report.pins.is_empty(),
            "{report:?} {}",
            self.when
        );
        self.check_load().await;
        assert_eq!(self.reachable().await, expected, "{}", self.when);
        self.check_files(&expected);
        assert!({
            drop(self.registry);
            self.storage.close().await
        });
    }

    fn repository(&self, name: &str) -> Repository {
        self.registry.repository(name).unwrap()
    }

    /// Asserts that each tag of the load points at the image acknowledged last, or at the one that was being pushed.
    async fn check_load(&self) {
        for worker in 0..WORKERS {
            let repository = self.repository(&repository_of(worker));
            for slot in 0..TAGS {
                let rounds = |of: fn(&Entry) -> Option<(usize, usize)>| {
                    let rounds = self.journal.iter().filter_map(of);
                    let own = rounds.filter(|(by, round)| *by == worker && round % TAGS == slot);
                    own.map(|(_, round)| round).max()
                };
                let done = rounds(|entry| match entry {
                    Entry::LoadDone(worker, round) => Some((*worker, *round)),
                    _ => None,
                });
                let begun = rounds(|entry| match entry {
                    Entry::LoadBegun(worker, round) => Some((*worker, *round)),
                    _ => None,
                });
                let found = repository.manifest(tag(&format!("v{slot}"))).await.unwrap();
                let Some(found) = found else {
                    assert_eq!(done, None, "v{slot} of {worker} is lost {}", self.when);
                    continue;
                };
                let images = [done, begun].map(|round| round.map(|round| content::of_load(worker, round)));
                let image = images
                    .into_iter()
                    .flatten()
                    .find(|image| image.digest == found.digest);
                let image = image.unwrap_or_else(|| panic!("v{slot} of {worker} is wrong {}", self.when));
                self.assert_whole(&repository, &image).await;
            }
        }
    }

    /// Asserts that an image can be pulled byte for byte.
    async fn assert_whole(&self, repository: &Repository, image: &Image) {
        let found = repository.manifest(image.digest).await.unwrap();
        let found = found.map(|found| found.bytes);
        assert_eq!(found.as_ref(), Some(&image.document), "{}", self.when);
        for blob in &image.blobs {
            self.assert_blob(repository, blob).await;
        }
        for child in &image.children {
            let child = child.image();
            Box::pin(self.assert_whole(repository, &child)).await;
        }
    }

    async fn assert_blob(&self, repository: &Repository, blob: &Bytes) {
        let found = repository.read_blob(&digest_of(blob), 1000).await.unwrap();
        assert_eq!(found.as_ref(), Some(blob), "{} {}", repository.name(), self.when);
    }

    async fn check_steps(&self) {
        let [before, after] = &self.states;
        let is_damaged = |state: &State| matches!(state.health, Health::Damaged | Health::Repaired);
        if self.states.iter().any(is_damaged) {
            return self.check_damaged_bytes().await;
        }
        let repository = self.repository(STEPS);
        let records = self.records().await;
        for name in Name::ALL {
            let image = name.image();
            let found = repository.manifest(image.digest).await.unwrap();
            match [before, after].map(|state| state.manifests.contains(&name)) {
                [true, true] => self.assert_whole(&repository, &image).await,
                [false, false] => assert!(found.is_none(), "{name:?} is there {}", self.when),
                _ if found.is_some() => self.assert_whole(&repository, &image).await,
                _ => {}
            }
            let is_recorded = records.iter().any(|record| record.digest == image.digest);
            let keeps = [before, after].map(|state| state.recorded.contains(&name));
            let is_kept = |at: usize| keeps[at] || self.states[at].manifests.contains(&name);
            if is_kept(0) && is_kept(1) {
                assert!(is_recorded || found.is_some(), "{name:?} is lost {}", self.when);
            }
            if keeps == [true, true] {
                assert!(is_recorded, "the record of {name:?} is lost {}", self.when);
            }
        }
        for name in tags() {
            let found = repository.manifest(tag(name)).await.unwrap();
            let found = found.map(|found| Name::of(&found.digest).unwrap());
            let expected = [before, after].map(|state| state.tags.get(name).copied());
            assert!(expected.contains(&found), "{name}: {found:?} {}", self.when);
        }
        for (name, blob) in before.blobs.intersection(&after.blobs) {
            self.assert_blob(&self.repository(name), blob).await;
        }
    }

    /// Asserts that the damaged bytes are where they were, or in quarantine.
    async fn check_damaged_bytes(&self) {
        let digest = digest_of(&Name::First.image().blobs[0]);
        let mut places = vec![self.storage.store().layout.blob(&digest)];
        let items = StorageRepair::quarantined(&self.storage, Page::first(10))
            .await
            .unwrap()
            .items;
        assert_eq!(self.storage.quarantined().unwrap(), items.len(), "{}", self.when);
        places.extend(items.iter().map(|item| Path::new(&item.place).join("bytes")));
        let is_there = |path: &PathBuf| fs::read(path).is_ok_and(|bytes| bytes == DAMAGED);
        assert!(
            places.iter().any(is_there),
            "the damaged bytes are lost {}",
            self.when
        );
    }

    async fn records(&self) -> Vec<Trashed> {
        let repository = RepositoryName::parse(STEPS).unwrap();
        let mut records = Vec::new();
        for record in self.storage.deleted(&repository, all()).await.unwrap().items {
            let record = record.whole().unwrap();
            let document = self.storage.deleted_document(&repository, &record.id).await;
            assert!(
                matches!(document.unwrap(), Document::Whole(_)),
                "{record:?} {}",
                self.when
            );
            records.push(record);
        }
        records
    }

    /// Asserts that an upload session has the bytes that were acknowledged.
    async fn check_upload(&self) {
        let upload = self.journal.iter().find_map(|entry| match entry {
            Entry::Upload(id) => Some(id),
            _ => None,
        });
        if let (Some(id), [true, true]) = (upload, self.states.each_ref().map(|state| state.has_upload)) {
            let found = self.repository(STEPS).upload(id).await.unwrap();
            let expected = content::stray().len() as u64;
            assert_eq!(found.map(|state| state.offset), Some(expected), "{}", self.when);
        }
    }

    /// Asserts that a verification reports the damage that was done, and no other. Then repairs it, and pushes what was
    /// damaged.
    async fn check_soundness(&self) {
        let is_sound = self.states.iter().all(|state| state.health == Health::Sound);
        let found = self.verify(false).await;
        let damaged = if is_sound { BTreeSet::new() } else { damaged() };
        for (digest, text) in &found {
            let is_known = digest.is_some_and(|digest| damaged.contains(&digest));
            assert!(is_known, "{text} {}", self.when);
        }
        if !is_sound {
            self.verify(true).await;
            push(&self.repository(STEPS), Name::First, Some("v1"))
                .await
                .unwrap();
            let left = self.verify(false).await;
            assert!(left.is_empty(), "{left:?} {}", self.when);
            for name in [Name::First, Name::Second, Name::Typed, Name::Index] {
                self.assert_whole(&self.repository(STEPS), &name.image()).await;
            }
        }
    }

    async fn verify(&self, repair: bool) -> Vec<(Option<Digest>, String)> {
        let mut found = Vec::new();
        let mut told = |event: VerifyEvent<'_>| {
            if let VerifyEvent::Finding(finding) = event
                && !finding.is_harmless()
            {
                found.push((finding.digest, finding.to_string()));
            }
        };
        let options = VerifyOptions::new().repair(repair);
        let report = self.registry.verify(options, &mut told).await.unwrap();
        assert_eq!(found.len() as u64, report.wrong, "{}", self.when);
        found
    }

    /// Restores what records keep.
    async fn restore_all(&self) {
        let repository = self.repository(STEPS);
        loop {
            let Some(record) = self.records().await.pop() else {
                return;
            };
            let name = Name::of(&record.digest).unwrap();
            let restored = repository.restore(Restore::record(record.id)).await;
            let restored = restored.unwrap_or_else(|error| panic!("{error}: {record:?} {}", self.when));
            assert_eq!(restored.digest, record.digest);
            self.assert_whole(&repository, &name.image()).await;
        }
    }

    /// Returns the images that the tags refer to, by repository.
    async fn reachable(&self) -> BTreeMap<String, Vec<Image>> {
        let mut all = BTreeMap::new();
        for worker in 0..WORKERS {
            let name = repository_of(worker);
            let mut images = BTreeMap::new();
            for digest in self.targets(&name).await {
                let rounds = self.journal.iter().filter_map(|entry| match entry {
                    Entry::LoadBegun(by, round) if *by == worker => Some(*round),
                    _ => None,
                });
                let mut pushed = rounds.map(|round| content::of_load(worker, round));
                images.insert(digest, pushed.find(|image| image.digest == digest).unwrap());
            }
            all.insert(name, images.into_values().collect());
        }
        let targets = self.targets(STEPS).await;
        let tagged = targets.iter().map(|digest| Name::of(digest).unwrap());
        let signature = Name::Signature.image().digest;
        let is_signed = self
            .repository(STEPS)
            .manifest(signature)
            .await
            .unwrap()
            .is_some();
        let images = reachable(tagged, is_signed).into_iter().map(Name::image);
        all.insert(STEPS.to_owned(), images.collect());
        all
    }

    async fn targets(&self, repository: &str) -> BTreeSet<Digest> {
        let repository = self.repository(repository);
        let listed = self.storage.store().tags(repository.name(), &all()).unwrap();
        let mut targets = BTreeSet::new();
        for name in listed.into_iter().flat_map(|listed| listed.items) {
            targets.insert(repository.manifest(name).await.unwrap().unwrap().digest);
        }
        targets
    }

    /// Asserts that nothing is left but what belongs to these images.
    fn check_files(&self, images: &BTreeMap<String, Vec<Image>>) {
        let top = support::top(self.root);
        let mut expected = BTreeSet::new();
        for (repository, images) in images {
            let name = RepositoryName::parse(repository).unwrap();
            for image in images {
                let blobs = image.blobs.iter().map(|blob| digest_of(blob));
                for digest in blobs {
                    expected.insert(support::blob_data(self.root, &digest));
                    expected.insert(support::layer_link(self.root, &name, &digest));
                }
                expected.insert(support::blob_data(self.root, &image.digest));
                expected.insert(support::revision_link(self.root, &name, &image.digest));
                if image.media_type.is_some() {
                    let layout = &self.storage.store().layout;
                    expected.insert(layout.media_type(&name, &image.digest));
                }
            }
        }
        let expected: BTreeSet<String> = expected
            .iter()
            .map(|path| path.strip_prefix(&top).unwrap().to_str().unwrap().to_owned())
            .collect();
        let mut left: BTreeSet<String> = support::files(&top).into_iter().collect();
        left.retain(|file| !is_kept_apart(file));
        assert_eq!(left, expected, "{}", self.when);
        let empty = support::empty_directories(&top);
        let left: Vec<_> = empty.iter().filter(|path| is_of_one_item(path)).collect();
        assert!(left.is_empty(), "{left:?} {}", self.when);
    }
}

/// Returns true for the directory of a blob, a link or a session. Others stay for the next ones.
fn is_of_one_item(directory: &str) -> bool {
    let (above, name) = directory.rsplit_once('/').unwrap_or_default();
    let is_digest = |algorithm: &Algorithm| Digest::from_hex(*algorithm, name).is_ok();
    !is_kept_apart(directory) && Algorithm::ALL.iter().any(is_digest) || above.ends_with("/_uploads")
}

/// Returns true for a file that a collection has nothing to do with.
fn is_kept_apart(file: &str) -> bool {
    let apart = [
        "_collect/",
        "_control/",
        "_history/",
        "_index/",
        "_owner",
        "_quarantine/",
    ];
    apart.iter().any(|start| file.starts_with(start)) || file.contains("/_manifests/tags/")
}
