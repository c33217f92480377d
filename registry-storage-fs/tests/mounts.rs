//! Directories on file systems with limits on renames or files: overlays, two volumes, few or no inodes.
//!
//! Mounting needs root. If it is refused, the tests are ignored, or fail where the environment demands them.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use bytes::Bytes;
use libtest_mimic::{Arguments, Failed, Trial};
use registry_conformance::tools;
use registry_core::{
    Algorithm, Digest, MediaType, RepositoryName, Storage, Tag,
    maintenance::{self, CollectOptions},
    storage::{
        self, Census, Deletion, NewUpload, Reclaimed, Resource, StorageCollect as _, StorageError,
        StorageTrash as _, TagExpect, Terms, Verified, Victim,
    },
};
use registry_storage_fs::{FsStorage, OpenError};
use std::{
    error::Error as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};
use support::{collections::Late, *};
use tempfile::TempDir;

fn main() -> ExitCode {
    let tests: [(&str, fn()); 10] = [
        ("what_lies_in_a_lower_layer_is_deleted_and_closed", || {
            run(what_lies_in_a_lower_layer_is_deleted_and_closed())
        }),
        ("a_directory_of_a_lower_layer_is_set_aside", || {
            run(a_directory_of_a_lower_layer_is_set_aside())
        }),
        ("content_on_another_file_system_opens_with_a_warning", || {
            run(content_on_another_file_system_opens_with_a_warning())
        }),
        ("an_upload_without_inodes_leaves_no_directory", || {
            run(an_upload_without_inodes_leaves_no_directory())
        }),
        ("whatever_ends_for_want_of_an_inode_says_so", || {
            run(whatever_ends_for_want_of_an_inode_says_so())
        }),
        ("a_disk_without_inodes_is_not_called_full_of_bytes", || {
            run(a_disk_without_inodes_is_not_called_full_of_bytes())
        }),
        ("a_full_disk_is_opened_read_only_alone_and_says_so", || {
            run(a_full_disk_is_opened_read_only_alone_and_says_so())
        }),
        (
            "on_a_full_disk_deletions_are_recorded_and_a_collection_frees_space",
            || run(on_a_full_disk_deletions_are_recorded_and_a_collection_frees_space()),
        ),
        ("a_collection_without_a_reserve_succeeds_on_a_full_disk", || {
            run(a_collection_without_a_reserve_succeeds_on_a_full_disk())
        }),
        ("a_directory_mounted_read_only_can_be_previewed", || {
            run(a_directory_mounted_read_only_can_be_previewed())
        }),
    ];
    let refused = Mount::tmpfs("size=1m").err();
    let trials = tests.map(|(name, test)| match &refused {
        None => Trial::test(name, move || {
            test();
            Ok::<(), Failed>(())
        }),
        Some(refused) => tools::unavailable(name, refused),
    });
    let mut arguments = Arguments::from_args();
    // A process that is just being started has every open file until it is what it shall be: also that by which another
    // test's directory is locked, which then cannot be opened again.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new().unwrap().block_on(test);
}

/// A mount that ends when this is dropped.
struct Mount {
    at: PathBuf,
    /// Removed when nothing is mounted there any more.
    directory: Option<TempDir>,
}

impl Mount {
    /// Mounts a file system, or returns the reason for a refusal.
    fn new(kind: &str, options: &str, at: PathBuf) -> Result<Self, String> {
        let mounted = Command::new("mount")
            .args(["-t", kind, "-o", options, kind])
            .arg(&at)
            .output()
            .map_err(|error| format!("mount cannot be started: {error}"))?;
        if !mounted.status.success() {
            return Err(format!(
                "{kind} cannot be mounted: {}",
                String::from_utf8_lossy(&mounted.stderr).trim()
            ));
        }
        Ok(Self { at, directory: None })
    }

    fn tmpfs(options: &str) -> Result<Self, String> {
        let directory = tempfile::tempdir().unwrap();
        let mut mount = Self::new("tmpfs", options, directory.path().to_path_buf())?;
        mount.directory = Some(directory);
        Ok(mount)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a thread of the storage may still have a file open.
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

/// A directory whose content, created by `fill`, is in a lower layer.
struct Overlay {
    root: PathBuf,
    lower: PathBuf,
    _overlay: Mount,
    _disk: Mount,
}

impl Overlay {
    async fn over(fill: impl AsyncFnOnce(&Path)) -> Self {
        let disk = Mount::tmpfs("size=64m").unwrap();
        let [lower, upper, work, root] = ["lower", "upper", "work", "root"].map(|name| {
            let directory = disk.at.join(name);
            fs::create_dir(&directory).unwrap();
            directory
        });
        fill(&lower).await;
        let options = format!(
            "lowerdir={},upperdir={},workdir={}",
            lower.display(),
            upper.display(),
            work.display()
        );
        let overlay = Mount::new("overlay", &options, root.clone()).unwrap();
        Self {
            root,
            lower,
            _overlay: overlay,
            _disk: disk,
        }
    }
}

async fn what_lies_in_a_lower_layer_is_deleted_and_closed() {
    let a = name("a");
    let bytes = content(1000);
    let mut sessions = Vec::new();
    let overlay = Overlay::over(async |lower| {
        let storage = FsStorage::open(lower).unwrap();
        push(&storage, &a, &bytes).await;
        put(&storage, &a, manifest("1"), &["v1", "v2"]).await;
        put(&storage, &a, manifest("2"), &["v3"]).await;
        for _ in 0..3 {
            let state = open_upload(&storage, &a).await;
            sessions.push(append(&storage, &a, state, &bytes).await.unwrap());
        }
        // What a killed process leaves there.
        fs::create_dir_all(top(lower).join("_staging/1/current")).unwrap();
    })
    .await;
    let before = files(&overlay.lower);
    let storage = FsStorage::open(&overlay.root).unwrap();
    let write = writer(&storage);

    let gone = write
        .delete_tag(&a, &tag("v1"), TagExpect::Any, Deletion::new())
        .await
        .unwrap();
    assert_eq!(gone, Some(*manifest("1").digest()));
    let gone = write
        .delete_manifest(&a, manifest("2").digest(), Deletion::new())
        .await
        .unwrap();
    assert_eq!(gone.unwrap(), [tag("v3")]);
    assert!(write.cancel(&a, &sessions[0].id).await.unwrap());
    assert!(!write.cancel(&a, &sessions[0].id).await.unwrap());
    let standing = standing(&storage, &a, &sessions[1].id).await;
    let blob = close(&storage, &a, standing).await.unwrap();
    let expired = storage.expire().unwrap().expire_upload(&a, &sessions[2]).await;
    assert!(expired.unwrap());

    assert_eq!(read(&storage, &a, &blob.digest).await, Some(bytes.clone()));
    let tags = async |storage: &FsStorage| storage.tags(&a, all()).await.unwrap().unwrap().items;
    assert_eq!(tags(&storage).await, [tag("v2")]);
    let left = storage.inspect().unwrap().uploads(&a, all()).await.unwrap();
    assert!(left.items.is_empty());
    put(&storage, &a, manifest("2"), &["v1", "v3"]).await;
    assert_eq!(tags(&storage).await, [tag("v1"), tag("v2"), tag("v3")]);
    // What a deletion takes and a push brings back can be deleted again.
    write
        .delete_tag(&a, &tag("v1"), TagExpect::Any, Deletion::new())
        .await
        .unwrap();
    drop(storage);
    let storage = FsStorage::open(&overlay.root).unwrap();
    assert_eq!(tags(&storage).await, [tag("v2"), tag("v3")]);
    assert_eq!(
        files(&overlay.lower),
        before,
        "the lower layer is nobody's to change"
    );
}

async fn a_directory_of_a_lower_layer_is_set_aside() {
    let a = name("a");
    let bytes = content(1000);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let overlay = Overlay::over(async |lower| {
        let below = blob_data(lower, &digest).join("below");
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join("file"), "not a blob").unwrap();
    })
    .await;
    let storage = FsStorage::open(&overlay.root).unwrap();

    push(&storage, &a, &bytes).await;

    assert_eq!(read(&storage, &a, &digest).await, Some(bytes));
    assert_eq!(storage.quarantined().unwrap(), 1);
    let aside = top(&overlay.root).join(format!("_quarantine/sha256/{}/1/bytes/below/file", digest.hex()));
    assert_eq!(fs::read_to_string(aside).unwrap(), "not a blob");
}

async fn content_on_another_file_system_opens_with_a_warning() {
    for elsewhere in ["blobs", "repositories"] {
        let disk = Mount::tmpfs("size=16m").unwrap();
        let content = top(&disk.at).join(elsewhere);
        fs::create_dir_all(&content).unwrap();
        let log = log::Log::capture();
        drop(FsStorage::open(&disk.at).unwrap());
        assert_eq!(log.take(), "");
        let _content = Mount::new("tmpfs", "size=16m", content.clone()).unwrap();
        fs::create_dir(content.join("sha256")).unwrap();

        drop(FsStorage::open(&disk.at).unwrap());

        let said = log.take();
        for path in [content, top(&disk.at).join("_staging")] {
            assert!(said.contains(path.to_str().unwrap()), "{said}");
        }
    }
}

/// A disk on which no file more can be made, and then a few.
struct Scarce {
    disk: Mount,
    taken: usize,
}

impl Scarce {
    fn new() -> Self {
        let disk = Mount::tmpfs("size=16m,nr_inodes=160").unwrap();
        Self { disk, taken: 0 }
    }

    fn ballast(&self) -> PathBuf {
        self.disk.at.join(self.taken.to_string())
    }

    fn take_all(&mut self) {
        while fs::write(self.ballast(), "").is_ok() {
            self.taken += 1;
        }
    }

    fn give_one(&mut self) {
        self.taken -= 1;
        fs::remove_file(self.ballast()).unwrap();
    }
}

async fn an_upload_without_inodes_leaves_no_directory() {
    let mut scarce = Scarce::new();
    let storage = FsStorage::open(&scarce.disk.at).unwrap();
    let repository = name("a/b/c/d/e/f/g/h");
    scarce.take_all();
    let mut refused = 0;
    // Each time one file more may be made, and so it ends at another one.
    loop {
        let new = NewUpload::hashed_by(Algorithm::Sha256);
        match writer(&storage).open_upload(&repository, new).await {
            Ok(_) => break,
            Err(error) => assert!(
                matches!(
                    error,
                    StorageError::Full {
                        what: Resource::Files,
                        ..
                    }
                ),
                "{error:?}"
            ),
        }
        let made = top(&scarce.disk.at).join("repositories/a");
        assert!(!made.exists(), "{refused}");
        refused += 1;
        scarce.give_one();
    }
    assert!(refused > 8, "{refused}");
}

async fn whatever_ends_for_want_of_an_inode_says_so() {
    let mut scarce = Scarce::new();
    let storage = FsStorage::open(&scarce.disk.at).unwrap();
    let (from, to) = (name("from"), name("a/b/c/d/e/f/g/h"));
    let layer = push(&storage, &from, &content(1000)).await;
    scarce.take_all();
    let mut refused = 0;
    loop {
        let outcomes = [
            try_put(&storage, &to, manifest("1"), &["v1"])
                .await
                .and_then(|put| put.failed.map_or(Ok(()), |(_, error)| Err(error))),
            writer(&storage)
                .mount(&to, storage::Mount::new(&from, &layer.digest))
                .await
                .map(drop),
        ];
        if outcomes.iter().all(Result::is_ok) {
            break;
        }
        for outcome in outcomes {
            let lacks_inodes = matches!(
                outcome,
                Ok(())
                    | Err(StorageError::Full {
                        what: Resource::Files,
                        ..
                    })
            );
            assert!(lacks_inodes, "{refused}: {outcome:?}");
        }
        refused += 1;
        scarce.give_one();
    }
    assert!(refused > 16, "{refused}");
}

async fn a_disk_without_inodes_is_not_called_full_of_bytes() {
    let disk = Mount::tmpfs("size=16m,nr_inodes=64").unwrap();
    let a = name("a");
    let storage = FsStorage::open(&disk.at).unwrap();
    push(&storage, &a, &content(1000)).await;
    for number in 0..64 {
        if fs::write(disk.at.join(number.to_string()), "").is_err() {
            break;
        }
    }

    let new = NewUpload::hashed_by(Algorithm::Sha256);
    let refused = writer(&storage).open_upload(&a, new).await.unwrap_err();

    assert!(
        matches!(
            refused,
            StorageError::Full {
                what: Resource::Files,
                ..
            }
        ),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("inodes"), "{refused}");
    drop(storage);
    fs::remove_dir_all(top(&disk.at)).unwrap();
    for number in 64..200 {
        if fs::write(disk.at.join(number.to_string()), "").is_err() {
            break;
        }
    }
    let refused = FsStorage::open(&disk.at).unwrap_err();
    assert!(
        matches!(&refused, OpenError::Full { lacking, .. } if lacking.contains("inodes")),
        "{refused:?}"
    );
}

async fn a_full_disk_is_opened_read_only_alone_and_says_so() {
    let disk = Mount::tmpfs("size=1m").unwrap();
    let a = name("a");
    let storage = FsStorage::open(&disk.at).unwrap();
    let digest = push(&storage, &a, &content(1000)).await.digest;
    drop(storage);
    // As registry:2 leaves it.
    fs::remove_dir_all(top(&disk.at).join("_staging")).unwrap();
    fs::remove_file(top(&disk.at).join("_owner")).unwrap();
    let _ = fs::write(disk.at.join("ballast"), vec![1; 2 << 20]);

    let refused = FsStorage::open(&disk.at).unwrap_err();

    assert!(
        matches!(&refused, OpenError::Full { lacking: "space", .. }),
        "{refused:?}"
    );
    let told = refused.to_string();
    for part in [disk.at.to_str().unwrap(), "space", "read-only"] {
        assert!(told.contains(part), "{told}");
    }
    assert!(refused.source().is_some());
    let reader = FsStorage::options().read_only().open(&disk.at).unwrap();
    assert_eq!(read(&reader, &a, &digest).await, Some(content(1000)));
}

/// Removes what nothing refers to.
async fn collect(storage: &FsStorage, victims: &[Victim]) {
    let run = storage.begin(Terms::new()).await.unwrap();
    for victim in victims {
        let reclaimed = storage.reclaim(&run, std::slice::from_ref(victim)).await.unwrap();
        assert!(
            matches!(reclaimed[..], [Reclaimed::Removed { .. }]),
            "{victim}: {reclaimed:?}"
        );
    }
    storage.end(run, Census::new(0)).await.unwrap();
}

/// Returns the tags of each record of a deletion.
async fn recorded(storage: &FsStorage, repository: &RepositoryName) -> Vec<Vec<Tag>> {
    let records = storage
        .deleted(repository, storage::Page::first(100))
        .await
        .unwrap();
    let records = records.items.into_iter().filter_map(storage::Seen::whole);
    records.map(|record| record.tags).collect()
}

/// Uses up a resource of a disk.
type Fill = fn(&Path);

fn fill_with_bytes(disk: &Path) {
    let full = fs::write(disk.join("ballast"), vec![1; 64 << 20]);
    assert!(full.is_err());
}

fn fill_with_files(disk: &Path) {
    fs::create_dir(disk.join("ballast")).unwrap();
    let mut names = (0..).map(|number| disk.join(format!("ballast/{number}")));
    assert!(names.any(|name| fs::write(name, "").is_err()));
}

async fn on_a_full_disk_deletions_are_recorded_and_a_collection_frees_space() {
    let reserving = |at: &Path| {
        let options = FsStorage::options().reserve_for_records(16 << 20);
        options.open(at).unwrap()
    };
    let fills: [(Fill, Resource); 2] = [
        (fill_with_bytes, Resource::Bytes),
        (fill_with_files, Resource::Files),
    ];
    for (fill, lacking) in fills {
        let disk = Mount::tmpfs("size=32m,nr_inodes=4000").unwrap();
        let storage = reserving(&disk.at);
        let a = name("a/b/c/d/e/f");
        let layer = push(&storage, &a, &content(100_000)).await.digest;
        put(&storage, &a, manifest("1"), &["v1", "v2"]).await;
        put(&storage, &a, manifest("2"), &["v3"]).await;
        let reserve = top(&disk.at).join("_collect/reserve");
        assert_eq!(files(&reserve).len(), 64);
        fill(&disk.at);
        // A full disk can be opened.
        drop(storage);
        let storage = reserving(&disk.at);
        let refused = try_put(&storage, &a, manifest("3"), &["v4"]).await.unwrap_err();
        assert!(
            matches!(&refused, StorageError::Full { what, .. } if *what == lacking),
            "{refused:?}"
        );

        let write = writer(&storage);
        let deleted = write
            .delete_tag(&a, &tag("v1"), TagExpect::Any, Deletion::new())
            .await;
        assert_eq!(deleted.unwrap(), Some(*manifest("1").digest()));
        for (image, tags) in [("1", ["v2"]), ("2", ["v3"])] {
            let deleted = write
                .delete_manifest(&a, manifest(image).digest(), Deletion::new())
                .await;
            assert_eq!(deleted.unwrap(), Some(tags.map(tag).to_vec()));
        }
        assert_eq!(
            recorded(&storage, &a).await,
            ["v1", "v2", "v3"].map(|name| vec![tag(name)])
        );
        collect(&storage, &[Victim::Link(a.clone(), layer), Victim::Data(layer)]).await;

        assert!(!blob_data(&disk.at, &layer).exists());
        let ballast = disk.at.join("ballast");
        fs::remove_file(&ballast)
            .or_else(|_| fs::remove_dir_all(&ballast))
            .unwrap();
        let left = files(&reserve).len();
        assert!((1..64).contains(&left), "{left} are left");
        collect(&storage, &[]).await;
        assert_eq!(files(&reserve).len(), 64, "there is space again");
    }
}

/// Returns a manifest that names a blob which is not there.
fn image(seed: &str) -> Verified<Bytes> {
    let document = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"{}","size":1}},"layers":[]}}"#,
        MediaType::OCI_MANIFEST,
        "application/vnd.oci.empty.v1+json",
        Digest::of(Algorithm::Sha256, seed.as_bytes())
    );
    Verified::of(Algorithm::Sha256, document.into())
}

async fn a_collection_without_a_reserve_succeeds_on_a_full_disk() {
    let options = CollectOptions::new()
        .grace(Duration::ZERO)
        .uploading(Duration::ZERO)
        .untagged(true)
        .empty_trash(true);
    let fills: [Fill; 2] = [fill_with_bytes, fill_with_files];
    for fill in fills {
        let disk = Mount::tmpfs("size=32m,nr_inodes=4000").unwrap();
        let storage = FsStorage::open(&disk.at).unwrap();
        let a = name("a");
        let unused = push(&storage, &a, &content(100_000)).await.digest;
        put(&storage, &a, image("1"), &["v1"]).await;
        put(&storage, &a, image("2"), &["v2"]).await;
        put(&storage, &a, image("3"), &["v3"]).await;
        let write = writer(&storage);
        let deleted = write
            .delete_tag(&a, &tag("v1"), TagExpect::Any, Deletion::new())
            .await;
        assert_eq!(deleted.unwrap(), Some(*image("1").digest()));
        fill(&disk.at);
        let deleted = write
            .delete_tag(&a, &tag("v2"), TagExpect::Any, Deletion::new())
            .await;
        assert_eq!(deleted.unwrap(), Some(*image("2").digest()));

        let report = maintenance::collect(&storage, &options, &Late, &|_| {})
            .await
            .unwrap();

        assert!(report.stopped.is_none(), "{report:?}");
        assert_eq!(
            (report.removed.manifests, report.removed.data),
            (2, 3),
            "{report:?}"
        );
        assert!(!blob_data(&disk.at, &unused).exists());
        let again = maintenance::collect(&storage, &options, &Late, &|_| {})
            .await
            .unwrap();
        assert!(again.stopped.is_none(), "{again:?}");
    }
}

async fn a_directory_mounted_read_only_can_be_previewed() {
    let disk = Mount::tmpfs("size=8m").unwrap();
    let a = name("a");
    let storage = FsStorage::open(&disk.at).unwrap();
    let unused = push(&storage, &a, &content(1000)).await.digest;
    put(&storage, &a, manifest("1"), &["v1"]).await;
    open_upload(&storage, &a).await;
    drop(storage);
    let options = CollectOptions::new()
        .grace(Duration::ZERO)
        .uploading(Duration::ZERO)
        .dry_run(true);
    let remount = |how: &str| {
        let remounted = Command::new("mount")
            .args(["-o", how])
            .arg(&disk.at)
            .status()
            .unwrap();
        assert!(remounted.success());
    };

    for lock in [true, false] {
        if !lock {
            // As registry:2 leaves it.
            fs::remove_file(top(&disk.at).join("_owner")).unwrap();
        }
        remount("remount,ro");
        assert!(FsStorage::open(&disk.at).is_err());
        let storage = FsStorage::options().preview().open(&disk.at).unwrap();
        let report = maintenance::collect(&storage, &options, &Late, &|_| {})
            .await
            .unwrap();
        assert!(report.stopped.is_none(), "{report:?}");
        assert_eq!((report.removed.data, report.removed.bytes), (1, 1000));
        assert!(matches!(
            storage.begin(Terms::new()).await,
            Err(StorageError::ReadOnly)
        ));
        drop(storage);
        remount("remount,rw");
    }
    assert!(blob_data(&disk.at, &unused).exists());
}
