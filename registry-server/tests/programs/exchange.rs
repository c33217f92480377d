//! One place, two registries. Ours serves what distribution wrote, and the reverse; the collector of distribution removes
//! nothing that a client could still request.
//!
//! A directory is exchanged with docker-registry 2.8.2, which is `registry:2`, and a bucket of an object store with version
//! 3. Each registry is stopped before the other starts.

use std::{fs, io, path::PathBuf, process::Command};

use libtest_mimic::Trial;
use object_stores::{S3Server, SeaweedFs, Versitygw};
use registry_core::{Algorithm, Digest};
use serde_json::{Value, json};

use crate::{
    content::Content,
    http::Request,
    image::{
        Layer, Layout, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, descriptor, descriptor_as, digest_of, noise,
        references, sha256,
    },
    program::Workbench,
    server::{OCTETS, Server, closing, collector_reports, program, registry2_config},
};

/// A test of the exchange in one place.
type Exchange = fn(&Desk);

/// Starts a store.
type Start = fn() -> io::Result<S3Server>;

const EXCHANGES: [(&str, Exchange); 4] = [
    ("what_registry2_wrote_is_served", what_registry2_wrote_is_served),
    ("what_registry2_deleted_is_gone", what_registry2_deleted_is_gone),
    (
        "what_ours_wrote_is_served_and_collected_by_registry2",
        what_ours_wrote_is_served_and_collected_by_registry2,
    ),
    ("a_place_goes_there_and_back", a_place_goes_there_and_back),
];

pub(crate) fn trials() -> Vec<Trial> {
    let directory = EXCHANGES.map(|(name, exchange)| {
        let name = format!("{}::{name}::in_a_directory", module_path!());
        crate::trial(&name, &["docker-registry", "skopeo", "crane"], move || {
            exchange(&Desk::with(Place::directory));
        })
    });
    let stores: [(&str, Start); 2] = [
        (SeaweedFs::PROGRAM, SeaweedFs::start),
        (Versitygw::PROGRAM, Versitygw::start),
    ];
    let buckets = stores.into_iter().flat_map(|(store, start)| {
        EXCHANGES.map(|(name, exchange)| {
            let name = format!("{}::{name}::in_a_bucket_of_{store}", module_path!());
            crate::trial(&name, &[store, "registry3", "skopeo", "crane"], move || {
                exchange(&Desk::with(|bench| Place::bucket(bench, start().unwrap())));
            })
        })
    });
    directory.into_iter().chain(buckets).collect()
}

fn what_registry2_wrote_is_served(desk: &Desk) {
    let theirs = desk.registry2();
    desk.push_samples(&theirs);
    // A blob pushed under its sha512 is kept as sha256, with a link of each name.
    let aliased = noise(21, 50_000);
    theirs.push_blob("team/app", &sha512(&aliased).to_string(), &aliased);
    let (subject, artifact) = desk.push_artifact(&theirs, "team/app", "one");
    let before = Content::of(&theirs, &[("team/app", artifact)]);
    theirs.stop();

    let ours = desk.ours();

    before.assert_same(&Content::of(&ours, &[("team/app", artifact)]));
    for digest in [sha256(&aliased), sha512(&aliased)] {
        assert!(
            ours.get(&format!("/v2/team/app/blobs/{digest}")).body == aliased,
            "{digest} is served"
        );
    }
    // It knows nothing of referrers: the list is made of what the manifests say.
    assert_eq!(referrers(&ours, "team/app", &subject), [artifact]);
}

fn what_registry2_deleted_is_gone(desk: &Desk) {
    let theirs = desk.registry2();
    desk.push_samples(&theirs);
    let deleted = desk.layout.digest("one");
    theirs
        .request("DELETE", &format!("/v2/other/app/manifests/{deleted}"), &[], b"")
        .expect_status(202);
    let layer = desk.layers("one")[0];
    theirs
        .request("DELETE", &format!("/v2/other/app/blobs/{layer}"), &[], b"")
        .expect_status(202);
    theirs.stop();

    let ours = desk.ours();

    for gone in [
        format!("manifests/{deleted}"),
        "manifests/one".to_owned(),
        format!("blobs/{layer}"),
    ] {
        ours.request("GET", &format!("/v2/other/app/{gone}"), &[], b"")
            .expect_status(404);
    }
    ours.get(&format!("/v2/team/app/manifests/{deleted}"));
    ours.get(&format!("/v2/team/app/blobs/{layer}"));
}

fn what_ours_wrote_is_served_and_collected_by_registry2(desk: &Desk) {
    let ours = desk.ours();
    desk.push_samples(&ours);
    let strong = push_sha512_image(&ours, "team/strong", "strong");
    let (subject, artifact) = desk.push_artifact(&ours, "team/app", "one");
    // Deleted where it is not the only copy: what it consists of is still in use.
    for reference in ["two", &desk.layout.digest("one").to_string()] {
        ours.request(
            "DELETE",
            &format!("/v2/other/app/manifests/{reference}"),
            &[],
            b"",
        )
        .expect_status(202);
    }
    let session = ours.open_upload("team/app");
    let (first, rest) = (noise(31, 40_000), noise(32, 20_000));
    let session = ours
        .request("PATCH", &session, &[OCTETS], &first)
        .expect_status(202)
        .location();
    let mut cut = Request::open(ours.address(), "PATCH", &session, &[OCTETS], rest.len());
    cut.send(&rest[..1]);
    drop(cut);
    let orphan = noise(33, 30_000);
    ours.push_blob("team/app", &sha256(&orphan).to_string(), &orphan);
    let untagged = [
        ("team/app", artifact),
        ("other/app", desk.layout.digest("two")),
        ("team/strong", strong),
    ];
    let before = Content::of(&ours, &untagged);
    ours.stop();

    let theirs = desk.registry2();
    before.assert_same(&Content::of(&theirs, &untagged));
    theirs
        .request("GET", "/v2/other/app/manifests/two", &[], b"")
        .expect_status(404);
    theirs
        .request("GET", "/v2/other/app/manifests/one", &[], b"")
        .expect_status(404);
    theirs.get(&format!("/v2/team/app/blobs/{}", sha256(&orphan)));
    theirs.stop();

    let expected = [sha256(&orphan).to_string()];
    assert_eq!(desk.place.collects(&["--dry-run"]), expected);
    assert_eq!(desk.place.collects(&[]), expected);
    assert_eq!(desk.place.collects(&["--dry-run"]), [""; 0]);

    let theirs = desk.registry2();
    before.assert_same(&Content::of(&theirs, &untagged));
    theirs.stop();
    let ours = desk.ours();
    before.assert_same(&Content::of(&ours, &untagged));
    assert_eq!(referrers(&ours, "team/app", &subject), [artifact]);
    ours.request(
        "GET",
        &format!("/v2/team/app/blobs/{}", sha256(&orphan)),
        &[],
        b"",
    )
    .expect_status(404);
    // The session that was left behind stands at least where it was acknowledged, and can be closed.
    let kept = ours.request("GET", &session, &[], b"").expect_status(204);
    let whole = [first, rest].concat();
    let offset = offset(kept.header("range"));
    assert!(
        (40_000..=40_001).contains(&offset),
        "the session stands at {offset}"
    );
    let digest = sha256(&whole);
    ours.request(
        "PUT",
        &closing(&kept.location(), &digest.to_string()),
        &[OCTETS],
        &whole[offset..],
    )
    .expect_status(201);
    assert!(
        ours.get(&format!("/v2/team/app/blobs/{digest}")).body == whole,
        "the resumed blob is whole"
    );
}

fn a_place_goes_there_and_back(desk: &Desk) {
    let untagged = [
        ("team/app", desk.layout.digest("one")),
        ("team/app", desk.layout.digest("two")),
    ];

    // Each writes what the other has to live with: tags of its own, and the other's tags moved.
    let ours = desk.ours();
    desk.copy(&ours, "one", "team/app:ours", &[]);
    desk.copy(&ours, "one", "team/app:moved-by-theirs", &[]);
    ours.stop();
    let theirs = desk.registry2();
    desk.copy(&theirs, "two", "team/app:theirs", &[]);
    desk.copy(&theirs, "two", "team/app:moved-by-theirs", &[]);
    desk.copy(&theirs, "two", "team/app:moved-by-ours", &[]);
    let before = Content::of(&theirs, &untagged);
    theirs.stop();
    let ours = desk.ours();
    before.assert_same(&Content::of(&ours, &untagged));
    desk.copy(&ours, "one", "team/app:moved-by-ours", &[]);
    let before = Content::of(&ours, &untagged);
    ours.stop();

    let theirs = desk.registry2();
    let after = Content::of(&theirs, &untagged);
    before.assert_same(&after);
    for (tag, image) in [
        ("ours", "one"),
        ("theirs", "two"),
        ("moved-by-theirs", "two"),
        ("moved-by-ours", "one"),
    ] {
        assert_eq!(
            after.manifest("team/app", tag),
            desk.layout.blob(&desk.layout.digest(image)),
            "{tag}"
        );
    }
    theirs.stop();
    assert_eq!(desk.place.collects(&["--dry-run"]), [""; 0]);
}

/// A place that two registries use in turns.
enum Place {
    Directory(PathBuf),
    /// A bucket, by the configuration that both registries read.
    Bucket {
        config: PathBuf,
        _store: S3Server,
    },
}

impl Place {
    fn directory(bench: &Workbench) -> Self {
        Self::Directory(bench.path("registry"))
    }

    fn bucket(bench: &Workbench, store: S3Server) -> Self {
        store.bucket("images").unwrap();
        let config = bench.path("bucket.yml");
        let (endpoint, region) = (store.endpoint(), store.region());
        let (key, secret) = (store.access_key(), store.secret());
        let text = format!(
            "version: 0.1\n\
             log: {{ accesslog: {{ disabled: true }} }}\n\
             storage:\n  \
               s3: {{ bucket: images, rootdirectory: /team/registry, regionendpoint: \"{endpoint}\", region: {region}, \
                 forcepathstyle: true, secure: false, accesskey: {key}, secretkey: {secret} }}\n  \
               delete: {{ enabled: true }}\n  \
               redirect: {{ disable: true }}\n\
             http: {{ addr: \"127.0.0.1:0\", secret: exchange }}\n"
        );
        fs::write(&config, text).unwrap();
        Self::Bucket {
            config,
            _store: store,
        }
    }

    fn ours(&self) -> Server {
        match self {
            Self::Directory(root) => Server::under_test(root),
            Self::Bucket { config, .. } => {
                let mut command = program(env!("CARGO_BIN_EXE_registry"));
                command
                    .arg("serve")
                    .arg(config)
                    .env("REGISTRY_STORAGE_MAINTENANCE_COLLECT_ENABLED", "false");
                Server::start(command, "http://")
            }
        }
    }

    fn theirs(&self) -> Server {
        match self {
            Self::Directory(root) => Server::registry2(root),
            Self::Bucket { config, .. } => {
                let mut command = Command::new("registry3");
                command.arg("serve").arg(config);
                Server::start(command, "listening on ")
            }
        }
    }

    /// Runs their collector, and returns the blobs that it reports as eligible for deletion.
    fn collects(&self, options: &[&str]) -> Vec<String> {
        match self {
            Self::Directory(root) => collector_reports("docker-registry", &registry2_config(root), options),
            Self::Bucket { config, .. } => collector_reports("registry3", config, options),
        }
    }
}

/// A test's place for registries, and images to push to them.
struct Desk {
    bench: Workbench,
    layout: Layout,
    place: Place,
}

impl Desk {
    fn with(place: impl FnOnce(&Workbench) -> Place) -> Self {
        let bench = Workbench::new();
        Self {
            layout: Layout::sample(bench.path("layout")),
            place: place(&bench),
            bench,
        }
    }

    fn ours(&self) -> Server {
        self.place.ours()
    }

    fn registry2(&self) -> Server {
        self.place.theirs()
    }

    /// Pushes several repositories, one inside another's name; tags, moved tags, an index of each kind, both formats of
    /// images, mounted layers, and manifests that do not name their own type.
    fn push_samples(&self, server: &Server) {
        self.copy(server, "multi", "team/app:multi", &["--all"]);
        self.copy(server, "one", "team/app:docker", &["--format", "v2s2"]);
        self.copy(server, "one", "team/app:latest", &[]);
        self.copy(server, "two", "team/app:latest", &[]);
        self.copy(server, "one", "team:one", &[]);
        self.copy(
            server,
            "multi",
            "team/app/lists:docker",
            &["--all", "--format", "v2s2"],
        );
        for tag in ["one", "two"] {
            self.copy(server, tag, &format!("other/app:{tag}"), &[]);
        }
        let (app, copy) = (
            server.repository("team/app:multi"),
            server.repository("mirror/app:multi"),
        );
        self.bench.crane(&["copy", &app, &copy]);
        self.bench.crane(&["tag", &app, "2.0"]);

        let mut plain: Value = serde_json::from_slice(&self.layout.blob(&self.layout.digest("one"))).unwrap();
        plain.as_object_mut().unwrap().remove("mediaType");
        server.push_manifest("team/app", "untyped", OCI_MANIFEST, plain.to_string().as_bytes());
    }

    /// Copies an image of the layout to a registry with skopeo.
    fn copy(&self, server: &Server, tag: &str, to: &str, options: &[&str]) {
        let (from, to) = (
            self.layout.oci(tag),
            format!("docker://{}", server.repository(to)),
        );
        self.bench
            .skopeo(&[&["copy", "--dest-tls-verify=false"], options, &[&from, &to]].concat());
    }

    /// Pushes an untagged artifact about an image of the layout. Returns the digests of the image and of the artifact.
    fn push_artifact(&self, server: &Server, repository: &str, about: &str) -> (Digest, Digest) {
        let (config, note) = (b"{}".as_slice(), b"looked at, found good".as_slice());
        for blob in [config, note] {
            server.push_blob(repository, &sha256(blob).to_string(), blob);
        }
        let subject = self.layout.digest(about);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": "application/vnd.example.review",
            "config": descriptor("application/vnd.oci.empty.v1+json", config),
            "layers": [descriptor("text/plain", note)],
            "subject": descriptor(OCI_MANIFEST, &self.layout.blob(&subject)),
        });
        let manifest = manifest.to_string();
        let digest = sha256(manifest.as_bytes());
        server.push_manifest(repository, &digest.to_string(), OCI_MANIFEST, manifest.as_bytes());
        (subject, digest)
    }

    /// Returns the digests of the layers of an image of the layout.
    fn layers(&self, tag: &str) -> Vec<Digest> {
        let manifest: Value = serde_json::from_slice(&self.layout.blob(&self.layout.digest(tag))).unwrap();
        manifest["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(digest_of)
            .collect()
    }
}

/// Pushes an image whose parts and manifest are all addressed by sha512. Returns its digest.
fn push_sha512_image(server: &Server, repository: &str, tag: &str) -> Digest {
    let layer = Layer::new(41, 60_000);
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": [sha256(&layer.archive).to_string()] },
    });
    let config = config.to_string().into_bytes();
    for blob in [&layer.blob, &config] {
        server.push_blob(repository, &sha512(blob).to_string(), blob);
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor_as(Algorithm::Sha512, OCI_CONFIG, &config),
        "layers": [descriptor_as(Algorithm::Sha512, OCI_LAYER, &layer.blob)],
    });
    let manifest = manifest.to_string().into_bytes();
    let digest = sha512(&manifest);
    server.push_manifest(
        repository,
        &format!("{digest}?tag={tag}"),
        OCI_MANIFEST,
        &manifest,
    );
    digest
}

/// Returns the digests of the manifests that name `subject` as theirs.
fn referrers(server: &Server, repository: &str, subject: &Digest) -> Vec<Digest> {
    let index = server.get(&format!("/v2/{repository}/referrers/{subject}")).body;
    references(&index).0.iter().map(digest_of).collect()
}

/// Returns the number of bytes in a session, by its `Range: 0-N`.
fn offset(range: Option<&str>) -> usize {
    let last = range
        .and_then(|range| range.strip_prefix("0-"))
        .expect("an upload's status has a Range");
    last.parse::<usize>().unwrap() + 1
}

fn sha512(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha512, bytes)
}
