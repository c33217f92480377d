//! Damage: an unreadable item keeps everything that it may refer to, and a listing that fails ends a run.

use super::*;
use bytes::Bytes;
use registry_core::{
    Algorithm, RepositoryName, forward_storage,
    maintenance::{PinCause, Stopped},
    storage::{
        BlobInfo, Census, Document, HeldBlob, HeldManifest, Listing, LostTag, Result, Run, StorageCollect,
        StorageError, StorageExpire, StorageHealth, StorageInspect, StorageTrash, StorageWrite, TagTarget,
        Victim,
    },
};

/// Item that a storage cannot read or remove.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fault {
    /// The bytes of a manifest are damaged.
    Damaged(Digest, Bytes),
    /// The bytes of a manifest are gone.
    Lost(Digest),
    /// The bytes of a manifest cannot be read.
    Unreadable(Digest),
    Record(Digest),
    Tag(&'static str),
    Link(Digest),
    Repository,
    /// No repository is shown.
    NoRepository,
    /// A listing fails.
    Manifests,
    Blobs,
    /// An item cannot be removed.
    Removal(Victim),
    /// A run cannot end.
    End,
    /// Another program may have written to the storage.
    Foreign,
    /// Nothing in this list is shown.
    Hidden(Vec<Digest>),
    /// The record of a manifest is gone, but not its bytes.
    Unrecorded(Digest),
    /// A tag is gone that pointed here, and nobody deleted it.
    LostTag(&'static str, Digest),
    /// The histories of tags cannot be read.
    Histories,
}

/// A storage in memory that cannot read something.
#[derive(Debug)]
pub(super) struct Faulty {
    memory: MemoryStorage,
    fault: Fault,
}

impl Faulty {
    fn new(pushed: &Pushed, fault: Fault) -> Self {
        Self {
            memory: pushed.storage.clone(),
            fault,
        }
    }

    /// Declares that another program may have written to it.
    pub(super) fn foreign(pushed: &Pushed) -> Self {
        Self::new(pushed, Fault::Foreign)
    }

    /// Hides all repositories, as if a disk were not mounted.
    pub(super) fn without_repositories(pushed: &Pushed) -> Self {
        Self::new(pushed, Fault::NoRepository)
    }

    /// Hides manifests, as if a disk had lost them.
    pub(super) fn hiding(pushed: &Pushed, manifests: Vec<Digest>) -> Self {
        Self::new(pushed, Fault::Hidden(manifests))
    }
}

/// Makes items that have a fault unreadable.
fn spoil<T, K>(listing: &mut Listing<Seen<T, K>>, spoilt: impl Fn(&T) -> Option<K>) {
    for item in &mut listing.items {
        if let Seen::Whole(whole) = &*item
            && let Some(key) = spoilt(whole)
        {
            *item = Seen::unreadable(key, "input/output error");
        }
    }
}

fn failed<T>() -> Result<T> {
    Err(StorageError::internal("cannot read the directory"))
}

impl Storage for Faulty {
    forward_storage! { Storage: self => &self.memory }

    fn write(&self) -> Option<&dyn StorageWrite> {
        self.memory.write()
    }

    fn inspect(&self) -> Option<&dyn StorageInspect> {
        Some(self)
    }

    fn expire(&self) -> Option<&dyn StorageExpire> {
        self.memory.expire()
    }

    fn collect(&self) -> Option<&dyn StorageCollect> {
        Some(self)
    }

    fn health(&self) -> Option<&dyn StorageHealth> {
        self.memory.health()
    }

    fn trash(&self) -> Option<&dyn StorageTrash> {
        Some(self)
    }
}

#[async_trait]
impl StorageTrash for Faulty {
    forward_storage! { StorageTrash: self => self.memory.trash(); except lost_tags }

    async fn lost_tags(
        &self,
        repository: &RepositoryName,
        _: Page<'_, Tag>,
    ) -> Result<Listing<Seen<LostTag, Tag>>> {
        match &self.fault {
            Fault::LostTag(name, digest) if repository.as_str() == "a" => {
                let lost = LostTag::new(Tag::parse(name).unwrap(), *digest);
                Ok(Listing::new(vec![Seen::Whole(lost)], false))
            }
            Fault::Histories => failed(),
            _ => Ok(Listing::default()),
        }
    }
}

#[async_trait]
impl StorageInspect for Faulty {
    forward_storage! {
        StorageInspect: self => self.memory.inspect();
        except all_repositories, blobs, held_blobs, manifests, document, tag_targets
    }

    async fn all_repositories(
        &self,
        page: Page<'_, RepositoryName>,
    ) -> Result<Listing<Seen<RepositoryName>>> {
        let mut listing = self.memory.all_repositories(page).await?;
        if self.fault == Fault::NoRepository {
            listing.items.clear();
        }
        let fails = self.fault == Fault::Repository;
        spoil(&mut listing, |name| fails.then(|| name.clone()));
        Ok(listing)
    }

    async fn blobs(&self, page: Page<'_, Digest>) -> Result<Listing<Seen<BlobInfo, Digest>>> {
        if self.fault == Fault::Blobs {
            return failed();
        }
        self.memory.blobs(page).await
    }

    async fn held_blobs(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Seen<HeldBlob, Digest>>> {
        let mut listing = self.memory.held_blobs(repository, page).await?;
        spoil(&mut listing, |held| {
            (self.fault == Fault::Link(held.digest)).then_some(held.digest)
        });
        Ok(listing)
    }

    async fn manifests(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Digest>,
    ) -> Result<Listing<Seen<HeldManifest, Digest>>> {
        if self.fault == Fault::Manifests {
            return failed();
        }
        let mut listing = self.memory.manifests(repository, page).await?;
        spoil(&mut listing, |held| {
            (self.fault == Fault::Record(held.digest)).then_some(held.digest)
        });
        let is_hidden = |digest: &Digest| match &self.fault {
            Fault::Hidden(hidden) => hidden.contains(digest),
            Fault::Unrecorded(unrecorded) => unrecorded == digest,
            _ => false,
        };
        let is_shown =
            |item: &Seen<HeldManifest, Digest>| !matches!(item, Seen::Whole(held) if is_hidden(&held.digest));
        listing.items.retain(is_shown);
        Ok(listing)
    }

    async fn document(&self, repository: &RepositoryName, digest: &Digest) -> Result<Document> {
        match &self.fault {
            Fault::Damaged(damaged, bytes) if damaged == digest => Ok(Document::Damaged(bytes.clone())),
            Fault::Lost(lost) if lost == digest => Ok(Document::Lost),
            Fault::Hidden(hidden) if hidden.contains(digest) => Ok(Document::Lost),
            Fault::Unreadable(unreadable) if unreadable == digest => failed(),
            _ => self.memory.document(repository, digest).await,
        }
    }

    async fn tag_targets(
        &self,
        repository: &RepositoryName,
        page: Page<'_, Tag>,
    ) -> Result<Listing<Seen<TagTarget, Tag>>> {
        let mut listing = self.memory.tag_targets(repository, page).await?;
        spoil(&mut listing, |target| {
            let tag = &target.tag;
            matches!(self.fault, Fault::Tag(name) if name == tag.as_str()).then(|| tag.clone())
        });
        if let Fault::LostTag(name, _) = self.fault {
            let is_lost = |target: &TagTarget| target.tag.as_str() == name;
            listing
                .items
                .retain(|item| !matches!(item, Seen::Whole(target) if is_lost(target)));
        }
        Ok(listing)
    }
}

#[async_trait]
impl StorageCollect for Faulty {
    forward_storage! { StorageCollect: self => self.memory.collect(); except is_own, reclaim, end }

    fn is_own(&self) -> bool {
        self.fault != Fault::Foreign
    }

    async fn reclaim(&self, run: &Run, victims: &[Victim]) -> Result<Vec<Reclaimed>> {
        let fails = |victim: &Victim| self.fault == Fault::Removal(victim.clone());
        let mut results = Vec::new();
        for victim in victims {
            let result = match fails(victim) {
                true => Reclaimed::Failed(StorageError::internal("read-only file system")),
                false => {
                    let one = std::slice::from_ref(victim);
                    self.memory.reclaim(run, one).await?.remove(0)
                }
            };
            results.push(result);
        }
        Ok(results)
    }

    async fn end(&self, run: Run, seen: Census) -> Result<()> {
        match self.fault {
            Fault::End => failed(),
            _ => self.memory.end(run, seen).await,
        }
    }
}

/// Pushes an untagged image, and two blobs of which only the first one belongs to it.
async fn pushed_image() -> (Pushed, Digest, Digest, Digest) {
    let pushed = Pushed::new();
    let named = pushed.blob("a", "named").await;
    let unnamed = pushed.blob("a", "unnamed").await;
    let manifest = pushed.put("a", None, &image(&["named"])).await;
    (pushed, manifest, named, unnamed)
}

#[tokio::test]
async fn a_lost_tag_keeps_the_manifest_that_it_pointed_at_and_nothing_else() {
    let (pushed, manifest, named, unnamed) = pushed_image().await;
    let other = pushed.put("a", None, &image(&["unnamed"])).await;
    let storage = Faulty::new(&pushed, Fault::LostTag("v1", manifest));

    let report = collected(&storage, at_once().untagged(true)).await;

    assert!(pushed.holds("a", &manifest).await && pushed.holds("a", &named).await);
    assert!(!pushed.holds("a", &other).await && !pushed.holds("a", &unnamed).await);
    let [pin] = &report.pins[..] else {
        panic!("{report:?}");
    };
    assert_eq!(pin.cause, PinCause::LostTag(Tag::parse("v1").unwrap()));
    assert!(pin.to_string().contains(&manifest.to_string()), "{pin}");
    assert!(report.pinned_bytes > 0, "{report:?}");
    // It came back, or was deleted.
    collected(&pushed.storage, at_once().untagged(true)).await;
    assert!(!pushed.holds("a", &manifest).await);
}

/// Nothing tells what belonged to the manifest.
#[tokio::test]
async fn a_lost_tag_without_its_manifest_keeps_its_repository_and_all_bytes() {
    for repository in ["a", "gone"] {
        let (pushed, manifest, named, unnamed) = pushed_image().await;
        let fault = match repository {
            "a" => Fault::LostTag("v1", Digest::of(Algorithm::Sha256, b"gone")),
            _ => Fault::Histories,
        };
        let storage = Faulty::new(&pushed, fault);
        // A repository with a history only.
        pushed.blob("b", "of another repository").await;
        pushed.put(repository, Some("deleted"), &index(&[])).await;
        pushed.delete(repository, "deleted").await;
        let before = pushed.storage_blobs().await;

        let report = collected(&storage, at_once().untagged(true)).await;

        assert!(report.pinned >= 1, "{report:?}");
        assert_eq!(pushed.storage_blobs().await, before);
        for kept in [&manifest, &named, &unnamed] {
            assert!(pushed.holds("a", kept).await);
        }
    }
}

#[tokio::test]
async fn a_damaged_manifest_keeps_everything_in_its_repository() {
    let (pushed, manifest, named, unnamed) = pushed_image().await;
    let other = pushed.blob("b", "of another repository").await;
    // One character of a digest has changed.
    let bytes = format!("\0\0 {named} ").replacen("sha256:", "sha257:", 1).into();
    let storage = Faulty::new(&pushed, Fault::Damaged(manifest, bytes));

    let report = collected(&storage, at_once().untagged(true)).await;

    assert_eq!(report.pins[0].cause, PinCause::Damage(manifest));
    for kept in [&manifest, &named, &unnamed] {
        assert!(pushed.holds("a", kept).await, "{kept}");
    }
    assert!(!pushed.holds("b", &other).await);

    pushed.delete("a", &manifest.to_string()).await;
    let report = collected(&storage, at_once()).await;
    assert_eq!(report.pinned, 0);
    assert!(!pushed.holds("a", &named).await);
}

#[tokio::test]
async fn a_manifest_that_cannot_be_read_keeps_everything_in_its_repository() {
    type Make<T> = fn(Digest) -> T;
    let lost: (Make<Fault>, Make<PinCause>) = (Fault::Lost, PinCause::Bytes);
    let unreadable: (Make<Fault>, Make<PinCause>) = (Fault::Unreadable, PinCause::Bytes);
    let record: (Make<Fault>, Make<PinCause>) = (Fault::Record, PinCause::Record);
    for (fault, cause) in [lost, unreadable, record] {
        let (pushed, manifest, named, unnamed) = pushed_image().await;
        let other = pushed.blob("b", "of another repository").await;
        let untagged = pushed.put("a", None, &index(&[])).await;
        let storage = Faulty::new(&pushed, fault(manifest));

        let report = collected(&storage, at_once().untagged(true)).await;

        assert_eq!(report.pins[0].cause, cause(manifest));
        for kept in [manifest, untagged, named, unnamed] {
            assert!(pushed.holds("a", &kept).await, "{:?}: {kept}", cause(manifest));
        }
        assert!(!pushed.holds("b", &other).await);
    }
}

#[tokio::test]
async fn a_tag_that_cannot_be_read_keeps_everything_in_its_repository() {
    let (pushed, manifest, _, unnamed) = pushed_image().await;
    pushed.put("a", Some("v1"), &index(&[])).await;
    let storage = Faulty::new(&pushed, Fault::Tag("v1"));

    let report = collected(&storage, at_once().untagged(true)).await;

    assert_eq!(report.pins[0].cause, PinCause::Tag(Tag::parse("v1").unwrap()));
    assert!(pushed.holds("a", &manifest).await && pushed.holds("a", &unnamed).await);
}

#[tokio::test]
async fn a_link_that_cannot_be_read_keeps_the_bytes_that_it_may_lead_to() {
    let (pushed, _, _, unnamed) = pushed_image().await;
    let storage = Faulty::new(&pushed, Fault::Link(unnamed));
    let report = collected(&storage, at_once()).await;
    assert_eq!(report.pins[0].cause, PinCause::Link(unnamed));
    assert!(pushed.holds("a", &unnamed).await);

    // The link of registry:2 from a sha512 digest may lead to any bytes.
    let (pushed, _, _, unnamed) = pushed_image().await;
    let alias = Digest::of(Algorithm::Sha512, b"alias");
    let repository = pushed.repository("a");
    repository.push_blob("alias", Some(alias)).await.unwrap();
    let report = collected(&Faulty::new(&pushed, Fault::Link(alias)), at_once()).await;
    assert!(!pushed.holds("a", &unnamed).await, "the link is gone");
    assert_eq!(report.removed.data, 0);
    assert!(dump(&pushed.storage).await.contains(&format!("data {unnamed}")));
}

#[tokio::test]
async fn the_target_of_a_tag_stays_although_only_a_blob_has_its_bytes() {
    let pushed = Pushed::new();
    let document = image(&["layer"]);
    let layer = pushed.blob("a", "layer").await;
    let unnamed = pushed.blob("a", "unnamed").await;
    let manifest = pushed.put("a", Some("v1"), &document).await;
    assert_eq!(pushed.blob("a", &document.to_string()).await, manifest);
    let storage = Faulty::new(&pushed, Fault::Unrecorded(manifest));

    collected(&storage, at_once().untagged(true)).await;

    let links = dump(&pushed.storage).await;
    assert!(links.contains(&format!("link a@{manifest}")), "{links:?}");
    assert!(pushed.holds("a", &layer).await && !pushed.holds("a", &unnamed).await);
}

#[tokio::test]
async fn a_listing_that_fails_ends_the_run_before_anything_is_removed() {
    for fault in [Fault::Repository, Fault::Manifests, Fault::Blobs] {
        let (pushed, ..) = pushed_image().await;
        let before = dump(&pushed.storage).await;
        let storage = Faulty::new(&pushed, fault.clone());

        let (report, gone) = run(&storage, at_once().untagged(true)).await;

        assert!(matches!(report.stopped, Some(Stopped::Failed(_))), "{fault:?}");
        assert!(gone.is_empty(), "{fault:?}");
        assert_eq!(dump(&pushed.storage).await, before, "{fault:?}");
        // The next run is not refused.
        collected(&pushed.storage, at_once()).await;
    }
}

#[tokio::test]
async fn a_removal_that_fails_ends_the_run_and_the_next_one_goes_on() {
    let (pushed, manifest, named, _) = pushed_image().await;
    let name = pushed.repository("a").name().clone();
    let storage = Faulty::new(&pushed, Fault::Removal(Victim::Link(name, named)));

    let (report, gone) = run(&storage, at_once().untagged(true)).await;

    let stopped = report.stopped.unwrap().to_string();
    assert!(stopped.ends_with("read-only file system"), "{stopped}");
    assert!(gone.contains(&format!("manifest a@{manifest}")), "{gone:?}");
    assert!(gone.iter().all(|gone| !gone.starts_with("data")), "{gone:?}");
    collected(&pushed.storage, at_once()).await;
    assert_eq!(dump(&pushed.storage).await, [""; 0]);
}

#[tokio::test]
async fn a_run_that_cannot_end_reports_what_it_has_removed() {
    let (pushed, ..) = pushed_image().await;

    let (report, _) = run(&Faulty::new(&pushed, Fault::End), at_once().untagged(true)).await;

    assert!(matches!(report.stopped, Some(Stopped::Failed(_))), "{report:?}");
    assert_eq!((report.removed.manifests, report.removed.links), (1, 2));
    // It has counted what it removed.
    collected(&pushed.storage, at_once()).await;
}
