//! Referrers: the manifests of a repository that name another one as their subject.
//!
//! The manifests are authoritative: each listed one was read for its page, which shows its annotations.
//! [`referrer_index`](crate::referrer_index) names the candidates. It is completed by reading all manifests of a
//! repository when the first request for referrers after opening arrives, and maintained from then on. If no process
//! maintains it, the manifests are read: [`manifest_scan`](crate::manifest_scan).

use crate::{
    FsStorage,
    error::FsError,
    known_manifests::Scanned,
    referrer_entry::{Entry, Kind, referrer},
    store::Store,
};
use registry_core::{
    Descriptor, Digest, RepositoryName,
    storage::{Listing, Result},
};
use std::{error::Error, sync::Arc};

/// A request for a page of referrers.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) repository: RepositoryName,
    pub(crate) subject: Digest,
    pub(crate) artifact_type: Option<Arc<str>>,
    pub(crate) after: Option<Digest>,
    pub(crate) limit: usize,
}

impl FsStorage {
    pub(crate) async fn list_referrers(&self, question: Question) -> Result<Listing<Descriptor>> {
        let asked = question.clone();
        let listed = self.blocking(move |store| {
            // A question about a repository that does not exist leaves nothing behind.
            if !store.has_manifests(&asked.repository)? {
                return Ok(Some(Listing::default()));
            }
            store.indexed_referrers(&asked, false)
        });
        if let Some(listed) = listed.await? {
            return Ok(listed);
        }
        let repository = question.repository.clone();
        if self.store().is_owned() {
            let (asked, name) = (question.clone(), repository.clone());
            let builds = &self.store().referrer_builds;
            let built = self.build(builds, &repository, move |store| {
                store.build_referrer_index(&name)
            });
            match built.await {
                Ok(_) => {
                    let listed = self.blocking(move |store| store.indexed_referrers(&asked, true));
                    if let Some(listed) = listed.await? {
                        return Ok(listed);
                    }
                }
                Err(error) => warn_of_index(&repository, &error),
            }
        }
        let name = repository.clone();
        let scans = &self.store().scans;
        let scanned = self
            .build(scans, &repository, move |store| store.scan_manifests(&name))
            .await?;
        self.blocking(move |store| store.scanned_referrers(&question, &scanned))
            .await
    }
}

fn warn_of_index(repository: &RepositoryName, error: &(dyn Error + 'static)) {
    tracing::warn!(%repository, error, "cannot use the index of referrers; the manifests are read instead");
}

impl Store {
    /// Lists a page by the index; `None` if the index does not name every referrer. `complete` skips that check.
    ///
    /// The index is derived, so a failure to read it is not an outage.
    fn indexed_referrers(&self, question: &Question, complete: bool) -> Result<Option<Listing<Descriptor>>> {
        let Question {
            repository,
            subject,
            after,
            ..
        } = question;
        let entries = || {
            let index = self.referrer_index();
            if complete || index.is_complete(repository)? {
                index.entries(repository, subject, after.as_ref()).map(Some)
            } else {
                Ok(None)
            }
        };
        match entries() {
            Ok(Some(entries)) => self.page_of_referrers(question, entries),
            Ok(None) => Ok(None),
            Err(error) => {
                warn_of_index(repository, &error);
                Ok(None)
            }
        }
    }

    fn scanned_referrers(&self, question: &Question, scanned: &Scanned) -> Result<Listing<Descriptor>> {
        let entries = scanned.of(&question.subject, question.after.as_ref());
        let page = self.page_of_referrers(question, entries.map(Ok))?;
        Ok(page.unwrap_or_default())
    }

    /// Reads candidates until the page is full, and one more to see if there is another page. `None` if the candidates
    /// cannot be read.
    fn page_of_referrers(
        &self,
        question: &Question,
        entries: impl Iterator<Item = Result<Entry, FsError>>,
    ) -> Result<Option<Listing<Descriptor>>> {
        let wanted = question.artifact_type.as_deref();
        let kind = wanted.map(|wanted| Kind::of(Some(wanted)));
        let mut found: Vec<Descriptor> = Vec::new();
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    warn_of_index(&question.repository, &error);
                    return Ok(None);
                }
            };
            // One that was put as another type before has two entries.
            let is_listed = found.last().is_some_and(|last| last.digest == entry.referrer);
            if is_listed || kind.is_some_and(|kind| kind != entry.kind) {
                continue;
            }
            let manifest = self.revision(&question.repository, &entry.referrer)?;
            let Some((subject, descriptor)) = manifest.as_ref().and_then(referrer) else {
                continue;
            };
            if subject == question.subject && descriptor.is_of(wanted) {
                found.push(descriptor);
                if found.len() > question.limit {
                    break;
                }
            }
        }
        Ok(Some(Listing::first(question.limit, found)))
    }

    /// Completes the index of a repository: it names every referrer and nothing else.
    ///
    /// Manifests come and go meanwhile. A new one has an entry before it can be seen here. An entry without a manifest
    /// is checked again under the manifest's lock, since the manifest may be about to appear.
    fn build_referrer_index(&self, repository: &RepositoryName) -> Result<()> {
        let index = self.referrer_index();
        if index.is_complete(repository)? {
            return Ok(());
        }
        let mut leftover = index.all_entries(repository)?;
        let scanned = self.scan_manifests(repository)?;
        self.pauses.reach("referrer index: manifests read");
        for entry in scanned.all() {
            if !leftover.remove(entry) {
                self.require_open()?;
                index.add(repository, entry)?;
            }
        }
        for entry in leftover {
            self.require_open()?;
            let _lock = self.manifests.lock((repository.clone(), entry.referrer));
            let manifest = self.revision(repository, &entry.referrer)?;
            if manifest.as_ref().and_then(Entry::of) != Some(entry) {
                index.remove(repository, &entry);
            }
        }
        index.complete(repository)?;
        self.known_manifests.forget(repository);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        faults::fail,
        seams,
        support::{files, name, top, writer},
    };
    use registry_core::{
        Algorithm, MediaType, Storage,
        manifest::Manifest,
        storage::{Page, PutManifest, Verified},
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
        let page = Page {
            after: None,
            limit: 1000,
        };
        let listing = storage
            .referrers(&name("a"), &subject(), None, page)
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

    #[tokio::test]
    async fn after_the_first_request_only_what_is_shown_is_read() {
        let mut costs = Vec::new();
        for count in [10, 200] {
            let root = TempDir::new().unwrap();
            let storage = FsStorage::open(root.path()).unwrap();
            for seed in 0..count {
                put(&storage, &image(seed)).await;
            }
            put(&storage, &signature(0)).await;
            drop(storage);
            let storage = FsStorage::open(root.path()).unwrap();
            assert_eq!(listed(&storage).await.len(), 1);

            seams::watch(root.path());
            assert_eq!(listed(&storage).await.len(), 1);
            costs.push(seams::watch(root.path()));
        }
        assert_eq!(costs[0], costs[1]);
    }

    #[tokio::test]
    async fn a_reader_reads_again_a_manifest_whose_link_named_other_content() {
        let root = TempDir::new().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let (other, wanted) = (image(0), signature(0));
        put(&storage, &other).await;
        put(&storage, &wanted).await;
        let link = storage.store().layout.revision(&name("a"), &digest_of(&wanted));
        fs::write(&link, digest_of(&other).to_string()).unwrap();
        let reader = read_only(root.path());
        assert_eq!(listed(&reader).await, []);

        put(&storage, &wanted).await;

        assert_eq!(listed(&reader).await, sorted(&[&wanted]));
    }

    #[tokio::test]
    async fn a_reader_reads_again_a_manifest_that_was_put_as_another_type() {
        let root = TempDir::new().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let subject = subject();
        // Only an image has the type of its config.
        let as_image = put_of(format!(
            r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{{"mediaType":"{TYPE}","digest":"{subject}","size":7}},"layers":[],"subject":{{"mediaType":"{kind}","digest":"{subject}","size":7}}}}"#,
            kind = MediaType::OCI_MANIFEST,
        ));
        let mut as_index = as_image.clone();
        as_index.media_type = media_type(MediaType::OCI_INDEX);
        let page = Page {
            after: None,
            limit: 10,
        };
        let reader = read_only(root.path());
        let of_type = async || {
            let listing = reader.referrers(&name("a"), &subject, Some(TYPE), page).await;
            listing.unwrap().items.len()
        };
        put(&storage, &as_index).await;
        assert_eq!(of_type().await, 0);

        put(&storage, &as_image).await;

        assert_eq!(of_type().await, 1);
    }

    #[tokio::test]
    async fn requests_that_come_at_once_read_the_manifests_once() {
        let root = TempDir::new().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        for seed in 0..50 {
            put(&storage, &image(seed)).await;
        }
        drop(storage);
        let storage = FsStorage::open(root.path()).unwrap();
        seams::watch(root.path());

        let requests: Vec<_> = (0..100)
            .map(|_| {
                let storage = storage.clone();
                tokio::spawn(async move { listed(&storage).await })
            })
            .collect();
        for request in requests {
            assert_eq!(request.await.unwrap(), []);
        }

        let costs = seams::watch(root.path());
        // A link, its bytes and the media type that it may have been put as.
        assert!((150..200).contains(&costs.files), "{costs:?}");
        assert!(costs.entries < 60, "{costs:?}");
    }

    #[tokio::test]
    async fn a_page_reads_as_many_manifests_as_it_shows() {
        let root = TempDir::new().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        for seed in 0..300 {
            put(&storage, &signature(seed)).await;
        }
        let all = listed(&storage).await;
        assert_eq!(all.len(), 300);
        for after in [None, Some(&all[100]), Some(&all[280])] {
            seams::watch(root.path());
            let page = Page { after, limit: 5 };
            let listing = storage
                .referrers(&name("a"), &subject(), Some(TYPE), page)
                .await
                .unwrap();

            assert!(listing.more && listing.items.len() == 5);
            let costs = seams::watch(root.path());
            assert_eq!(costs.files, 6 * 3);
            // The directories, of which there are no more than 256, and what is in those of the page.
            assert!(costs.entries < 256 + 50, "{costs:?}");
        }
    }

    /// Lists referrers, and runs `meanwhile` when the manifests have been read for the index.
    async fn listed_while(storage: &FsStorage, meanwhile: impl FnOnce(&Store) + Send + 'static) {
        let store = storage.shared_store();
        let pauses = &storage.store().pauses;
        pauses.at("referrer index: manifests read", move || meanwhile(&store));
        listed(storage).await;
    }

    #[tokio::test]
    async fn manifests_that_come_and_go_while_the_index_is_completed_are_in_it_and_are_not() {
        let root = TempDir::new().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let [stays, goes, comes, returns] = [0, 1, 2, 3].map(signature);
        for manifest in [&stays, &goes, &returns] {
            put(&storage, manifest).await;
        }
        drop(storage);
        let storage = FsStorage::open(root.path()).unwrap();
        let meanwhile = [goes.clone(), comes.clone(), returns.clone()];
        listed_while(&storage, move |store| {
            let a = name("a");
            let [goes, comes, returns] = meanwhile;
            let tags = store.build_tag_index(&a).unwrap();
            store
                .delete_manifest(&a, &digest_of(&goes), &tags)
                .unwrap()
                .unwrap();
            store
                .delete_manifest(&a, &digest_of(&returns), &tags)
                .unwrap()
                .unwrap();
            store.put_manifest(&a, comes).unwrap();
            store.put_manifest(&a, returns).unwrap();
        })
        .await;

        let expected = sorted(&[&stays, &comes, &returns]);
        assert_eq!(listed(&storage).await, expected);
        assert!(storage.store().referrer_index().is_complete(&name("a")).unwrap());
        assert_eq!(listed(&read_only(root.path())).await, expected);
    }

    /// The manifest's entry exists and the manifest does not yet: the entry is not left over.
    #[tokio::test]
    async fn a_manifest_that_is_on_its_way_while_the_index_is_completed_is_in_it() {
        let root = TempDir::new().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        put(&storage, &signature(0)).await;
        drop(storage);
        let storage = FsStorage::open(root.path()).unwrap();
        let (at_entry, entry_added) = mpsc::channel();
        let (go_on, goes_on) = mpsc::channel::<()>();
        storage.store().pauses.at("put manifest: entry added", move || {
            at_entry.send(()).unwrap();
            goes_on.recv().unwrap();
        });
        let coming = signature(1);
        let pushing = storage.clone();
        let manifest = coming.clone();
        let push = tokio::spawn(async move { put(&pushing, &manifest).await });
        tokio::task::spawn_blocking(move || entry_added.recv().unwrap())
            .await
            .unwrap();

        // The look at what may be left over waits for the push.
        listed_while(&storage, move |_| go_on.send(()).unwrap()).await;
        push.await.unwrap();

        assert!(storage.store().referrer_index().is_complete(&name("a")).unwrap());
        assert_eq!(listed(&storage).await, sorted(&[&signature(0), &coming]));
    }

    #[tokio::test]
    async fn what_an_interrupted_deletion_left_in_the_index_goes_and_is_never_shown() {
        let root = TempDir::new().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let [stays, gone] = [0, 1].map(signature);
        for manifest in [&stays, &gone] {
            put(&storage, manifest).await;
        }
        let index = top(root.path()).join("_index/a/_referrers");
        let before = files(&index).len();
        listed(&storage).await;
        fs::remove_file(storage.store().layout.revision(&name("a"), &digest_of(&gone))).unwrap();

        assert_eq!(listed(&storage).await, sorted(&[&stays]));
        drop(storage);
        let storage = FsStorage::open(root.path()).unwrap();
        assert_eq!(listed(&storage).await, sorted(&[&stays]));
        // One entry, and that it is complete.
        assert_eq!((before, files(&index).len()), (2, 2));
    }

    #[tokio::test]
    async fn an_index_that_was_removed_or_garbled_is_made_again() {
        let root = TempDir::new().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let signatures = [0, 1, 2].map(signature);
        for manifest in &signatures {
            put(&storage, manifest).await;
        }
        let expected = sorted(&signatures.each_ref());
        assert_eq!(listed(&storage).await, expected);
        let index = top(root.path()).join("_index");
        let own = index.join("a/_referrers");

        fs::remove_dir_all(&own).unwrap();
        assert_eq!(listed(&storage).await, expected);
        fs::remove_dir_all(&index).unwrap();
        assert_eq!(listed(&storage).await, expected);
        fs::write(own.join("complete"), "\0\0garbage").unwrap();
        assert_eq!(listed(&storage).await, expected);
        let subject = own.join(format!("sha256/{}", subject().hex()));
        for odd in ["x", "sha256-zz", "md5-00", "sha256-00/short", "sha256-00/é"] {
            let odd = subject.join(odd);
            fs::create_dir_all(odd.parent().unwrap()).unwrap();
            fs::write(odd, "").unwrap();
        }
        assert_eq!(listed(&storage).await, expected);
        // A file where a directory belongs goes away.
        fs::remove_dir_all(&own).unwrap();
        fs::write(&own, "").unwrap();
        assert_eq!(listed(&storage).await, expected);
        assert!(storage.store().referrer_index().is_complete(&name("a")).unwrap());
        fs::remove_dir_all(own.join("sha256")).unwrap();
        fs::write(own.join("sha256"), "").unwrap();
        put(&storage, &signature(3)).await;
        assert_eq!(listed(&storage).await, sorted(&[&signature(3)]));
    }

    #[tokio::test]
    async fn an_index_that_cannot_be_read_is_no_outage() {
        let root = TempDir::new().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        put(&storage, &signature(0)).await;
        let expected = sorted(&[&signature(0)]);
        assert_eq!(listed(&storage).await, expected);
        let own = top(root.path()).join("_index/a/_referrers");
        let subject = own.join(format!("sha256/{}", subject().hex()));
        let fan = format!("sha256-{}", &digest_of(&signature(0)).hex()[..2]);
        let reader = read_only(root.path());
        for unreadable in [own.join("complete"), subject.join(fan), subject] {
            let _fault = fail(&unreadable, Errno::IO);
            for storage in [&storage, &reader] {
                assert_eq!(listed(storage).await, expected, "{}", unreadable.display());
            }
        }
    }

    #[tokio::test]
    async fn entries_that_do_not_fit_their_manifest_show_nothing() {
        let root = TempDir::new().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        put(&storage, &signature(0)).await;
        let expected = sorted(&[&signature(0)]);
        assert_eq!(listed(&storage).await, expected);
        let store = storage.store();
        let manifest = store.revision(&name("a"), &expected[0]).unwrap().unwrap();
        let entry = Entry::of(&manifest).unwrap();
        let other = Digest::of(Algorithm::Sha256, b"other");
        for wrong in [
            Entry {
                subject: other,
                ..entry
            },
            Entry {
                kind: Kind::of(Some("x/y")),
                ..entry
            },
        ] {
            store.referrer_index().add(&name("a"), &wrong).unwrap();
        }

        let page = Page {
            after: None,
            limit: 10,
        };
        let of_other = storage.referrers(&name("a"), &other, None, page).await;

        assert_eq!(listed(&storage).await, expected, "once");
        assert!(of_other.unwrap().items.is_empty());
    }

    #[tokio::test]
    async fn a_list_of_one_type_reads_no_manifest_of_another() {
        let root = TempDir::new().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        put(&storage, &signature(0)).await;
        for seed in 1..20 {
            let text = String::from_utf8(signature(seed).manifest.bytes().to_vec()).unwrap();
            put(
                &storage,
                &put_of(text.replace(TYPE, "application/vnd.example.sbom")),
            )
            .await;
        }
        assert_eq!(listed(&storage).await.len(), 20);
        seams::watch(root.path());

        let page = Page {
            after: None,
            limit: 10,
        };
        let listing = storage
            .referrers(&name("a"), &subject(), Some(TYPE), page)
            .await
            .unwrap();

        assert_eq!(listing.items.len(), 1);
        assert_eq!(seams::watch(root.path()).files, 3);
    }

    /// Another program may have written since.
    #[tokio::test]
    async fn an_index_whose_owner_has_ended_does_not_count() {
        let root = TempDir::new().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let [indexed, other] = [0, 1].map(signature);
        put(&storage, &indexed).await;
        assert_eq!(listed(&storage).await, sorted(&[&indexed]));
        let layout = &storage.store().layout;
        let digest = digest_of(&other);
        let (data, link) = (layout.blob(&digest), layout.revision(&name("a"), &digest));
        drop(storage);
        for (path, content) in [
            (data, other.manifest.bytes().to_vec()),
            (link, digest.to_string().into()),
        ] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }

        let reader = read_only(root.path());
        assert_eq!(listed(&reader).await, sorted(&[&indexed, &other]));
    }

    #[tokio::test]
    async fn the_entry_of_a_deleted_referrer_goes_with_its_directories() {
        let root = TempDir::new().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        put(&storage, &signature(0)).await;
        listed(&storage).await;
        let own = top(root.path()).join("_index/a/_referrers");
        assert_eq!(files(&own).len(), 2);

        let write = writer(&storage);
        let digest = digest_of(&signature(0));
        write.delete_manifest(&name("a"), &digest).await.unwrap().unwrap();

        assert_eq!(files(&own), ["complete"]);
        let subject = own.join(format!("sha256/{}", subject().hex()));
        assert!(!subject.exists());
    }

    #[tokio::test]
    async fn a_question_about_no_repository_leaves_nothing_behind() {
        let root = TempDir::new().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let before = files(root.path());

        assert_eq!(listed(&storage).await, []);

        assert_eq!(files(root.path()), before);
        assert!(!top(root.path()).join("_index/a").exists());
    }

    #[tokio::test]
    async fn of_an_index_on_disk_nothing_stays_in_memory() {
        let root = TempDir::new().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        for seed in 0..10 {
            put(&storage, &image(seed)).await;
        }

        listed(&storage).await;

        assert_eq!(storage.store().known_manifests.bytes(), 0);
    }

    /// Its owner has locked the file and not written its name yet.
    #[tokio::test]
    async fn an_index_whose_owner_has_no_name_yet_does_not_count() {
        let root = TempDir::new().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        put(&storage, &signature(0)).await;
        let layout = &storage.store().layout;
        let (owner, own) = (layout.index_owner(), layout.referrers(&name("a")));
        drop(storage);
        fs::remove_dir_all(&own).unwrap();
        fs::create_dir(&own).unwrap();
        fs::write(own.join("complete"), "").unwrap();
        let owner = fs::File::create(owner).unwrap();
        flock(&owner, FlockOperation::NonBlockingLockExclusive).unwrap();

        assert_eq!(listed(&read_only(root.path())).await, sorted(&[&signature(0)]));
    }

    #[tokio::test]
    async fn an_index_that_cannot_be_written_is_no_outage() {
        let root = TempDir::new().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        put(&storage, &signature(0)).await;
        drop(storage);
        let index = top(root.path()).join("_index");
        fs::remove_dir_all(&index).unwrap();
        fs::write(&index, "in the way").unwrap();

        let storage = FsStorage::open(root.path()).unwrap();
        assert_eq!(listed(&storage).await, sorted(&[&signature(0)]));
        assert_eq!(listed(&read_only(root.path())).await, sorted(&[&signature(0)]));
    }

    #[tokio::test]
    async fn readers_without_an_owner_read_each_manifest_once_and_see_what_changes() {
        let root = TempDir::new().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        for seed in 0..40 {
            put(&storage, &image(seed)).await;
        }
        let [stays, goes, comes] = [0, 1, 2].map(signature);
        for manifest in [&stays, &goes] {
            put(&storage, manifest).await;
        }
        drop(storage);
        let reader = read_only(root.path());
        assert_eq!(listed(&reader).await, sorted(&[&stays, &goes]));

        seams::watch(root.path());
        assert_eq!(listed(&reader).await, sorted(&[&stays, &goes]));
        let costs = seams::watch(root.path());
        assert_eq!(costs.files, 2 * 3, "{costs:?}");

        // Two owners later, neither of which was asked for referrers.
        let storage = FsStorage::open(root.path()).unwrap();
        put(&storage, &comes).await;
        let write = writer(&storage);
        write
            .delete_manifest(&name("a"), &digest_of(&goes))
            .await
            .unwrap();
        drop(storage);
        let storage = FsStorage::open(root.path()).unwrap();
        assert_eq!(listed(&reader).await, sorted(&[&stays, &comes]));
        drop(storage);
        assert_eq!(listed(&reader).await, sorted(&[&stays, &comes]));
    }

    /// A read in progress for another request may have begun before the manifest was put.
    #[tokio::test]
    async fn a_reader_that_asks_while_another_one_reads_sees_what_was_put_meanwhile() {
        let root = TempDir::new().unwrap();
        let owner = FsStorage::open(root.path()).unwrap();
        put(&owner, &signature(0)).await;
        let reader = read_only(root.path());
        let (read, is_read) = tokio::sync::oneshot::channel();
        let (go_on, goes_on) = mpsc::channel::<()>();
        reader.store().pauses.at("manifest scan: read", move || {
            read.send(()).unwrap();
            goes_on.recv().unwrap();
        });
        let other = reader.clone();
        let earlier = tokio::spawn(async move { listed(&other).await });
        is_read.await.unwrap();

        put(&owner, &signature(1)).await;
        assert_eq!(listed(&reader).await, sorted(&[&signature(0), &signature(1)]));

        go_on.send(()).unwrap();
        assert_eq!(earlier.await.unwrap(), sorted(&[&signature(0)]));
    }

    #[tokio::test]
    async fn readers_beside_an_owner_that_keeps_the_index_read_no_other_manifest() {
        let root = TempDir::new().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        for seed in 0..40 {
            put(&storage, &image(seed)).await;
        }
        put(&storage, &signature(0)).await;
        listed(&storage).await;
        let reader = read_only(root.path());

        seams::watch(root.path());
        assert_eq!(listed(&reader).await, sorted(&[&signature(0)]));

        let costs = seams::watch(root.path());
        assert!(costs.files == 3 && costs.entries <= 2, "{costs:?}");
    }
}
