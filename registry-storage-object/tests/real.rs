//! The storage contract, kept by two replicas on a bucket of a real store.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; the harness reports where"
)]

use libtest_mimic::{Arguments, Trial};
use object_store::{ClientOptions, ObjectStoreExt as _, aws::AmazonS3, path::Path};
use object_stores::{S3Server, SeaweedFs, Versitygw};
use registry_conformance::{
    storage::{Backend, Damage, Handles},
    storage_trials, tools,
};
use registry_core::{
    Algorithm, Digest, Registry, RepositoryName, Tag,
    service::ManifestPush,
    storage::{Deletion, Page, Storage, TagExpect},
};
use registry_storage_object::{Location, ObjectOptions, ObjectStorage, Probe, S3};
use std::{
    collections::BTreeSet,
    io,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

const BUCKET: &str = "contract";

type Start = fn() -> io::Result<S3Server>;

#[derive(Clone)]
struct Bucket {
    location: Location,
    probe: Probe,
    /// For damage.
    client: Arc<AmazonS3>,
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut servers = Vec::new();
    let mut trials = Vec::new();
    let programs: [(&'static str, Start); 2] = [
        (SeaweedFs::PROGRAM, SeaweedFs::start),
        (Versitygw::PROGRAM, Versitygw::start),
    ];
    for (program, start) in programs {
        // Without the program, the trials say so.
        let server = tools::find(program).filter(|_| !arguments.list).map(|_| {
            let server = start().unwrap();
            // Trials have runtimes of their own, and a connection ends with the runtime that opened it.
            let options = ClientOptions::new().with_allow_http(true);
            let options = options.with_pool_max_idle_per_host(0);
            let client = server.bucket(BUCKET).unwrap().with_client_options(options);
            let client = Arc::new(client.build().unwrap());
            (Arc::new(server), client)
        });
        let bucket = server.as_ref().map(|(server, client)| {
            let location = location(server);
            let probe = runtime
                .block_on(ObjectStorage::options().probe(&location))
                .unwrap();
            let client = Arc::clone(client);
            Bucket {
                location,
                probe,
                client,
            }
        });
        let indexed = bucket.clone();
        trials.push(tools::trial(
            format!("{program}::many_tags_are_listed_by_every_replica"),
            &[program],
            move || {
                let bucket = indexed.unwrap();
                tokio::runtime::Runtime::new()?.block_on(many_tags_are_listed_by_every_replica(&bucket));
                Ok(())
            },
        ));
        trials.extend(of(program, bucket));
        servers.extend(server.map(|(server, _)| server));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn location(server: &S3Server) -> Location {
    S3::new(BUCKET)
        .endpoint(server.endpoint())
        .region(server.region())
        .credentials(server.access_key(), server.secret())
        .path_style()
        .into()
}

impl Bucket {
    /// Without manifests in memory, which would be served although their bytes are damaged.
    fn options(&self, root: &str) -> ObjectOptions {
        let options = ObjectStorage::options().root(root).probed(self.probe.clone());
        options.manifest_memory(0).punctual()
    }

    /// Opens two replicas on a part of the bucket.
    async fn open(&self, root: &str) -> Handles {
        let open = || async {
            let options = self.options(root);
            Arc::new(options.open(self.location.clone()).await.unwrap())
        };
        let (first, second) = tokio::join!(open(), open());
        (first, second)
    }

    fn open_for_reading(&self, root: &str) -> Arc<dyn Storage> {
        let options = self.options(root);
        let opened = options.read_only().open(self.location.clone());
        Arc::new(wait_for(opened).unwrap())
    }

    /// Damages the bytes of a blob.
    fn damage(&self, root: &str, digest: &Digest, damage: Damage) {
        let (algorithm, hex) = (digest.algorithm().as_str(), digest.hex());
        let fan = hex.get(..2).unwrap();
        let key = format!("{root}/docker/registry/v2/blobs/{algorithm}/{fan}/{hex}/data");
        let path = Path::from(key);
        wait_for(async {
            let found = self.client.get(&path).await.unwrap();
            let mut bytes = found.bytes().await.unwrap().to_vec();
            match damage {
                Damage::Emptied => bytes.clear(),
                Damage::Truncated => bytes.truncate(bytes.len() / 2),
                Damage::Flipped => *bytes.last_mut().unwrap() ^= 1,
            }
            self.client.put(&path, bytes.into()).await.unwrap();
        });
    }
}

/// Waits on a thread of its own, because the caller is in a runtime.
fn wait_for<T: Send>(future: impl Future<Output = T> + Send) -> T {
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(future)
        });
        waiting.join().unwrap()
    })
}

fn of(program: &'static str, bucket: Option<Bucket>) -> Vec<Trial> {
    let roots = Arc::new(AtomicU32::new(0));
    let fresh = move || {
        let root = format!("root/{}", roots.fetch_add(1, Ordering::Relaxed));
        let bucket = bucket.clone().unwrap();
        async move {
            let (first, second) = bucket.open(&root).await;
            let with = || (bucket.clone(), root.clone());
            let (reopened, damaged, read) = (with(), with(), with());
            Backend::new(first, second)
                .reopening(move || {
                    let (bucket, root) = reopened.clone();
                    async move { bucket.open(&root).await }
                })
                .damaging(move |digest, damage| damaged.0.damage(&damaged.1, digest, damage))
                .reading(move || read.0.open_for_reading(&read.1))
        }
    };
    storage_trials!(
        program,
        &[program],
        fresh,
        collect,
        damage,
        expire,
        health,
        inspect,
        read_only,
        repair,
        restart,
        trash
    )
}

const INDEX: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

/// Starts with tags that registry:2 wrote, which are so many that replicas have an index of them.
async fn many_tags_are_listed_by_every_replica(bucket: &Bucket) {
    let top = "many/docker/registry/v2";
    let digest = Digest::of(Algorithm::Sha256, INDEX.as_bytes());
    let hex = digest.hex();
    let tags = format!("{top}/repositories/a/_manifests/tags");
    let put = async |key: String, content: String| {
        let path = Path::from(key);
        bucket.client.put(&path, content.into()).await.unwrap();
    };
    put(
        format!("{top}/blobs/sha256/{}/{hex}/data", hex.get(..2).unwrap()),
        INDEX.into(),
    )
    .await;
    let record = format!("{top}/repositories/a/_manifests/revisions/sha256/{hex}/link");
    put(record, digest.to_string()).await;
    let mut model: BTreeSet<String> = (0..60).map(|number| format!("v{number}")).collect();
    for tag in &model {
        for part in ["current/link".into(), format!("index/sha256/{hex}/link")] {
            put(format!("{tags}/{tag}/{part}"), digest.to_string()).await;
        }
    }
    // A tag that is not there, although the list of its past targets is.
    put(format!("{tags}/gone/index/sha256/{hex}/link"), digest.to_string()).await;
    let gone = Path::from(format!("{tags}/gone/index/sha256/{hex}/link"));
    bucket.client.delete(&gone).await.unwrap();
    let (one, two) = bucket.open("many").await;
    let a = RepositoryName::parse("a").unwrap();
    let listed = async |storage: &Arc<dyn Storage>| -> BTreeSet<String> {
        let (mut all, mut last) = (BTreeSet::new(), None);
        loop {
            let page = Page::first(25).after(last.as_ref());
            let listing = storage.tags(&a, page).await.unwrap().unwrap();
            last = listing.items.last().cloned();
            all.extend(listing.items.iter().map(ToString::to_string));
            if !listing.more {
                return all;
            }
        }
    };
    assert_eq!(listed(&one).await, model);

    let registry = Registry::builder(Arc::clone(&two)).build();
    for number in 0..5 {
        let (new, old) = (format!("new-{number}"), format!("v{number}"));
        let push = ManifestPush::new(Tag::parse(&new).unwrap(), INDEX);
        registry
            .repository("a")
            .unwrap()
            .put_manifest(push)
            .await
            .unwrap();
        let tag = Tag::parse(&old).unwrap();
        let write = two.write().unwrap();
        write
            .delete_tag(&a, &tag, TagExpect::Any, Deletion::new())
            .await
            .unwrap()
            .unwrap();
        model.insert(new);
        model.remove(&old);

        for storage in [&one, &two] {
            assert_eq!(listed(storage).await, model);
        }
    }
    let repositories = one.repositories(Page::first(10)).await.unwrap().items;
    assert_eq!(repositories, std::slice::from_ref(&a));
}
