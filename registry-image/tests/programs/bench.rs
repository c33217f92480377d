//! [`Bench`]: a directory in which programs run, and an image to exchange with them.

use registry_core::{
    Algorithm, Digest, Registry, Repository, Tag, manifest::Manifest, service::ManifestPush,
    storage::MemoryStorage,
};
use registry_image::{CopyItem, Export, ImageCopy, Layout, Names, Source as _};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// Repository of the image, as engines name it.
pub(crate) const NAME: &str = "registry.example.com/team/app";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

pub(crate) struct Bench {
    directory: TempDir,
    /// Has the image under `v1` and `latest`, and an index of two platforms under `multi`.
    pub(crate) repository: Repository,
    pub(crate) image: Digest,
    pub(crate) index: Digest,
    pub(crate) config: Digest,
    pub(crate) layers: Vec<Digest>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let registry = Registry::builder(MemoryStorage::new()).build();
        let repository = registry.repository("team/app").unwrap();
        let (image, config, layers) = wait(put_image(&repository, "amd64", &["v1", "latest"]));
        let (other, ..) = wait(put_image(&repository, "arm64", &[]));
        let entries = [(image, "amd64"), (other, "arm64")].map(|(digest, architecture)| {
            let size = wait(repository.manifest(digest)).unwrap().unwrap().bytes.len();
            format!(
                r#"{{"mediaType":"{MANIFEST}","digest":"{digest}","size":{size},"platform":{{"architecture":"{architecture}","os":"linux"}}}}"#
            )
        });
        let index = format!(
            r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]}}"#,
            entries.join(",")
        );
        let push = ManifestPush::new(Tag::parse("multi").unwrap(), index);
        let index = wait(repository.put_manifest(push)).unwrap().digest;
        Self {
            directory: TempDir::new().unwrap(),
            repository,
            image,
            index,
            config,
            layers,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Exports these tags to a file.
    pub(crate) fn export(&self, tags: &[&str]) -> PathBuf {
        self.export_as(tags, |export| export)
    }

    /// Exports these tags to a file, with options.
    pub(crate) fn export_as<'a>(
        &'a self,
        tags: &[&str],
        options: impl FnOnce(Export<'a>) -> Export<'a>,
    ) -> PathBuf {
        let path = self.path("exported.tar");
        let items = tags.iter().map(|tag| CopyItem::tag(Tag::parse(tag).unwrap()));
        let items: Vec<_> = items.collect();
        let export = Export::new().add(&self.repository, &items, Names::of_repository(NAME));
        wait(options(export).write_file(&path)).unwrap();
        path
    }

    /// Returns the images that have a digest: the one under `v1`, and the index.
    pub(crate) fn tagged(&self) -> [(&'static str, Digest); 2] {
        [("v1", self.image), ("multi", self.index)]
    }

    /// Checks that an engine's `image inspect` has the config as the id of each tag.
    pub(crate) fn assert_loaded(&self, tags: &[&str], id: &str, run: impl Fn(&[&str]) -> String) {
        for tag in tags {
            let name = format!("{NAME}:{tag}");
            assert_eq!(run(&["image", "inspect", "--format", "{{.Id}}", &name]), id);
        }
    }

    /// Runs a program that must succeed, in a home of its own, and returns its standard output.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Vec<u8> {
        let mut command = self.command(program);
        command.args(arguments);
        output(command)
    }

    pub(crate) fn skopeo(&self, arguments: &[&str]) -> Vec<u8> {
        self.run("skopeo", &[&["--insecure-policy"], arguments].concat())
    }

    /// Runs podman with a storage of its own.
    pub(crate) fn podman(&self, arguments: &[&str]) -> String {
        let mut command = self.command("podman");
        command.args([
            "--storage-driver",
            "vfs",
            "--cgroup-manager",
            "cgroupfs",
            "--events-backend",
            "none",
        ]);
        for (option, directory) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(option).arg(self.path("podman").join(directory));
        }
        command.args(arguments);
        text(output(command))
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.directory.path());
        for (variable, directory) in [
            ("HOME", "home"),
            ("TMPDIR", "tmp"),
            ("XDG_RUNTIME_DIR", "runtime"),
        ] {
            fs::create_dir_all(self.path(directory)).unwrap();
            command.env(variable, self.path(directory));
        }
        for variable in [
            "DOCKER_CONFIG",
            "DOCKER_CONTEXT",
            "DOCKER_HOST",
            "REGISTRY_AUTH_FILE",
        ] {
            command.env_remove(variable);
        }
        command
    }

    /// Imports an archive that has one image of another program, and returns its manifest.
    pub(crate) fn import(&self, archive: &Layout) -> Manifest {
        let registry = Registry::builder(MemoryStorage::new()).build();
        let to = registry.repository("imported").unwrap();
        let digest = archive.entries()[0].descriptor.digest;
        wait(ImageCopy::new(archive, &to).run(&[CopyItem::digest(digest)])).unwrap();
        let found = wait(to.manifest(digest)).unwrap().unwrap();
        Manifest::parse(&found.bytes, Some(&found.media_type)).unwrap()
    }

    /// Checks that an image has the config and the layers of the bench's.
    pub(crate) fn assert_is_image(&self, manifest: &Manifest) {
        let digests: Vec<_> = manifest
            .blobs()
            .iter()
            .map(|blob| *blob.digest.known().unwrap())
            .collect();
        assert_eq!(digests[0], self.config, "the config is kept");
        assert_eq!(digests[1..], self.layers, "the layers are kept");
    }

    /// Checks that a tag of a layout or archive has this digest, with everything that belongs to it.
    pub(crate) fn assert_has(&self, layout: &Layout, tag: &str, digest: Digest) {
        let tag = Tag::parse(tag).unwrap();
        let found = wait(layout.resolve(&(&tag).into())).unwrap();
        assert_eq!(found.expect("the tag exists").digest, digest);
        let registry = Registry::builder(MemoryStorage::new()).build();
        let to = registry.repository("imported").unwrap();
        wait(ImageCopy::new(layout, &to).run(&[CopyItem::tag(tag)])).unwrap();
    }
}

/// Puts an image with two layers. Returns the digests of its manifest, config and layers.
async fn put_image(to: &Repository, architecture: &str, tags: &[&str]) -> (Digest, Digest, Vec<Digest>) {
    let layers = ["base", architecture].map(|name| {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(name.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, name.as_bytes()).unwrap();
        archive.into_inner().unwrap()
    });
    let digests: Vec<_> = layers
        .iter()
        .map(|layer| Digest::of(Algorithm::Sha256, layer))
        .collect();
    let described = layers.iter().zip(&digests).map(|(layer, digest)| {
        let size = layer.len();
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{digest}","size":{size}}}"#
        )
    });
    let described: Vec<_> = described.collect();
    let ids: Vec<_> = digests.iter().map(|digest| format!("\"{digest}\"")).collect();
    let config = format!(
        r#"{{"architecture":"{architecture}","os":"linux","config":{{"Cmd":["/base"]}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        ids.join(",")
    );
    let config_digest = Digest::of(Algorithm::Sha256, config.as_bytes());
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config_digest}","size":{}}},"layers":[{}]}}"#,
        config.len(),
        described.join(",")
    );
    for layer in layers {
        to.push_blob(layer, None).await.unwrap();
    }
    to.push_blob(config, None).await.unwrap();
    let mut push = ManifestPush::new(Digest::of(Algorithm::Sha256, manifest.as_bytes()), manifest);
    push.tags = tags.iter().map(|tag| Tag::parse(tag).unwrap()).collect();
    (
        to.put_manifest(push).await.unwrap().digest,
        config_digest,
        digests,
    )
}

/// Drives a future of the crate, which needs no runtime.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    futures_util::FutureExt::now_or_never(future).expect("nothing here waits for another thread")
}

pub(crate) fn output(mut command: Command) -> Vec<u8> {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
    output.stdout
}

pub(crate) fn text(output: Vec<u8>) -> String {
    String::from_utf8(output).unwrap().trim_end().to_owned()
}

pub(crate) fn argument(path: &Path) -> &str {
    path.to_str()
        .expect("the directory for temporary files has a name in UTF-8")
}
