//! `registry import`, `registry export` and `registry cp`.

mod increments;
mod interrupted;
mod output;
mod registries;

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::{Desk, INDEX, Pushed, digest, of_manifest};
use crate::{image::Layout, server::Server};

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = trials!([];
        an_archive_moves_images_to_another_storage,
        an_import_and_an_export_can_be_joined_by_a_pipe,
        several_repositories_keep_their_names_in_an_archive,
        a_layout_is_read_and_written,
        an_image_goes_to_a_registry_and_comes_from_it,
        copies_can_be_renamed,
        a_dry_run_prints_the_copies_and_writes_nothing,
        a_failed_import_moves_no_tag,
        a_failed_export_leaves_no_file,
        an_archive_replaces_only_regular_files,
        what_an_interrupted_command_has_begun_is_a_new_storage,
        a_warning_names_an_image_without_a_tag,
        a_warning_names_the_signatures_of_a_converted_image,
        exit_codes_tell_failures_apart,
        nothing_is_copied_if_the_file_of_digests_cannot_be_written,
        images_are_converted_on_request,
        an_index_without_some_of_its_images_is_imported_with_a_warning,
        a_platform_can_be_selected,
        beside_a_server_images_go_through_it,
    );
    trials.extend(trials!(["podman"]; podman_and_the_command_load_the_archives_of_each_other));
    trials.extend(increments::trials());
    trials.extend(interrupted::trials());
    trials.extend(output::trials());
    trials.extend(registries::trials());
    trials.extend(trials!(["skopeo"]; skopeo_and_the_command_read_the_archives_of_each_other));
    trials
}

impl Desk {
    /// Stores an image that no server serves any more.
    fn with_images(images: &[(&str, &str, u64)]) -> (Self, Vec<Pushed>) {
        let desk = Self::new();
        let server = desk.serve();
        let pushed = images
            .iter()
            .map(|(repository, tag, seed)| Pushed::to(&server, repository, tag, *seed))
            .collect();
        server.stop();
        (desk, pushed)
    }

    /// Imports images that engines can load, as `team/app:one`, `two` and `multi`.
    fn with_sample() -> (Self, Layout) {
        let desk = Self::new();
        let layout = Layout::sample(desk.bench.path("sample"));
        desk.registry(&["import", "sample", "--as", "team/app", "--root", "images"]);
        (desk, layout)
    }

    /// Runs `registry` in the directory of the test.
    #[track_caller]
    fn registry(&self, arguments: &[&str]) -> String {
        self.bench
            .run(env!("CARGO_BIN_EXE_registry"), arguments)
            .text()
            .to_owned()
    }

    /// Runs `registry`, and returns its exit code and what it prints on standard error.
    fn ended(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = self.bench.command(env!("CARGO_BIN_EXE_registry"));
        let done = command.args(arguments).output().unwrap();
        let log = String::from_utf8(done.stderr).unwrap();
        (done.status.code().unwrap(), log)
    }

    /// Returns the tags with their digests of a repository in a storage.
    fn tags(&self, root: &str, repository: &str) -> Vec<String> {
        let printed = self.registry(&["ls", "--all", repository, "--root", root]);
        printed.lines().map(str::to_owned).collect()
    }

    fn assert_verified(&self, root: &str) {
        self.registry(&["verify", "--root", root]);
    }
}

fn an_archive_moves_images_to_another_storage() {
    let (desk, pushed) = Desk::with_images(&[("team/app", "v1", 1), ("team/app", "v2", 2)]);

    let exported = desk.registry(&[
        "export",
        "--root",
        "images",
        "team/app",
        "--all-tags",
        "-o",
        "app.tar",
    ]);
    let imported = desk.registry(&["import", "app.tar", "--root", "new"]);

    let expected = format!(
        "team/app:v1\t{}\nteam/app:v2\t{}",
        pushed[0].digest, pushed[1].digest
    );
    assert_eq!(exported, expected);
    assert_eq!(imported, expected);
    assert_eq!(
        desk.tags("new", "team/app"),
        [
            format!("v1\t{}", pushed[0].digest),
            format!("v2\t{}", pushed[1].digest)
        ]
    );
    desk.assert_verified("new");
    // What is there already does no harm.
    assert_eq!(desk.registry(&["import", "app.tar", "--root", "new"]), expected);
    assert!(!desk.bench.path("app.tar.partial").exists());
}

fn an_import_and_an_export_can_be_joined_by_a_pipe() {
    let (desk, pushed) = Desk::with_images(&[("team/app", "v1", 1)]);

    let printed = desk.sh(
        "registry export team/app:v1 -o - --root images | registry import - --root new",
        &[],
    );

    assert_eq!(printed.trim_end(), format!("team/app:v1\t{}", pushed[0].digest));
    desk.assert_verified("new");
}

fn several_repositories_keep_their_names_in_an_archive() {
    let (desk, pushed) = Desk::with_images(&[("team/app", "v1", 1), ("other", "v1", 2)]);

    desk.registry(&[
        "export",
        "--all-tags",
        "-o",
        "all.tar",
        "--prefix",
        "registry.example.com/",
        "--root",
        "images",
    ]);

    let imported = desk.registry(&["import", "all.tar", "--root", "new"]);
    let expected = format!(
        "other:v1\t{}\nteam/app:v1\t{}",
        pushed[1].digest, pushed[0].digest
    );
    assert_eq!(imported, expected);
    let one = desk.registry(&[
        "import",
        "oci-archive:all.tar:registry.example.com/other:v1",
        "--root",
        "one",
    ]);
    assert_eq!(one, format!("other:v1\t{}", pushed[1].digest));
    let (code, log) = desk.ended(&["import", "oci-archive:all.tar:absent", "--root", "one"]);
    assert_eq!(code, 1);
    assert!(log.contains("it has registry.example.com/other:v1, "), "{log}");
}

fn a_layout_is_read_and_written() {
    let (desk, pushed) = Desk::with_images(&[("team/app", "v1", 1)]);

    desk.registry(&[
        "export",
        "team/app:v1",
        "-o",
        "oci:layout:stable",
        "--root",
        "images",
    ]);
    let copied = desk.registry(&["cp", "layout", "registry:new:copy/app"]);

    assert_eq!(copied, format!("copy/app:stable\t{}", pushed[0].digest));
    desk.assert_verified("new");
}

fn an_image_goes_to_a_registry_and_comes_from_it() {
    let (desk, pushed) = Desk::with_images(&[("team/app", "v1", 1), ("team/app", "v2", 2)]);
    let server = Server::ours(&desk.bench.path("remote"));
    let address = |name: &str| format!("docker://{}", server.repository(name));

    desk.registry(&["cp", "registry:images:team/app:v1", &address("mirror/app:stable")]);
    desk.registry(&[
        "cp",
        "registry:images:team/app",
        &address("team/app"),
        "--tags",
        "v?",
    ]);
    desk.registry(&[
        "cp",
        "registry:images",
        address("").trim_end_matches('/'),
        "--prefix",
        "all",
    ]);
    let back = desk.registry(&["cp", &address("mirror/app:stable"), "back.tar"]);

    assert_eq!(
        back,
        format!("{}\t{}", server.repository("mirror/app:stable"), pushed[0].digest)
    );
    for (target, image) in [
        ("mirror/app/manifests/stable", &pushed[0]),
        ("team/app/manifests/v1", &pushed[0]),
        ("team/app/manifests/v2", &pushed[1]),
        ("all/team/app/manifests/v2", &pushed[1]),
    ] {
        let served = server.get(&format!("/v2/{target}"));
        assert_eq!(String::from_utf8_lossy(&served.body), image.manifest, "{target}");
    }
    assert!(desk.bench.path("back.tar").exists());
}

fn copies_can_be_renamed() {
    let (desk, pushed) = Desk::with_images(&[("team/app", "v1", 1)]);
    let archive = ["export", "team/app:v1", "-o", "app.tar", "--root", "images"];
    desk.registry(
        &[
            &archive[..],
            &["--as", "registry.example.com:5000/public/app:stable"],
        ]
        .concat(),
    );

    let imported = |names: &[&str]| {
        let printed = desk.registry(&[&["import", "app.tar", "--root", "new"], names].concat());
        printed.split_once('\t').unwrap().0.to_owned()
    };
    assert_eq!(imported(&[]), "public/app:stable");
    assert_eq!(imported(&["--as", "a/b:v2"]), "a/b:v2");
    assert_eq!(imported(&["--name", "a/b"]), "a/b:stable");
    assert_eq!(imported(&["--map", "public=private"]), "private/app:stable");
    assert_eq!(imported(&["--prefix", "mirror"]), "mirror/public/app:stable");
    assert_eq!(desk.tags("new", "a/b").len(), 2);

    desk.registry(&["import", "app.tar", "--root", "new", "--digest-file", "digests"]);
    let digests = fs::read_to_string(desk.bench.path("digests")).unwrap();
    assert_eq!(digests, format!("{}\n", pushed[0].digest));
}

fn a_dry_run_prints_the_copies_and_writes_nothing() {
    let (desk, pushed) = Desk::with_images(&[("team/app", "v1", 1)]);
    let expected = format!("team/app:v1\t{}", pushed[0].digest);
    let export = ["export", "team/app:v1", "-o", "app.tar", "--root", "images"];

    assert_eq!(desk.registry(&[&export[..], &["--dry-run"]].concat()), expected);
    assert!(!desk.bench.path("app.tar").exists());
    desk.registry(&export);
    let import = ["import", "app.tar", "--dry-run", "--root", "new"];
    let digests = [&import[..], &["--digest-file", "digests"]].concat();
    assert_eq!(desk.registry(&digests), expected);
    assert!(!desk.bench.path("digests").exists());
    // A storage has no registry in its names.
    desk.registry(
        &[
            &export[..3],
            &["full.tar", "--root", "images", "--prefix", "registry.example.com"],
        ]
        .concat(),
    );
    assert_eq!(
        desk.registry(&["import", "full.tar", "-n", "--root", "new"]),
        expected
    );
    assert!(!desk.bench.path("new").exists());
    desk.registry(&["cp", "app.tar", "oci:layout", "-n"]);
    assert!(!desk.bench.path("layout").exists());
}

fn a_failed_import_moves_no_tag() {
    let (desk, pushed) = Desk::with_images(&[("team/app", "v1", 1), ("team/app", "v2", 2)]);
    desk.registry(&["export", "--all-tags", "-o", "oci:layout", "--root", "images"]);
    let hex = pushed[1].layer.strip_prefix("sha256:").unwrap();
    let damaged = desk.bench.path("layout").join("blobs/sha256").join(hex);
    let intact = fs::read(&damaged).unwrap();
    fs::write(&damaged, vec![0; intact.len()]).unwrap();

    let (code, log) = desk.ended(&["import", "layout", "--root", "new"]);

    assert_eq!(code, 1, "{log}");
    assert!(log.contains("layout") && log.contains(&pushed[1].layer), "{log}");
    assert_eq!(desk.registry(&["ls", "team/app", "--root", "new"]), "");

    // With --keep-going, the other image is there.
    let (code, log) = desk.ended(&["import", "layout", "--root", "new", "--keep-going"]);
    assert_eq!(code, 3, "{log}");
    assert!(
        desk.tags("new", "team/app")
            .contains(&format!("v1\t{}", pushed[0].digest))
    );

    fs::write(&damaged, intact).unwrap();
    desk.registry(&["import", "layout", "--root", "new"]);
    assert!(
        desk.tags("new", "team/app")
            .contains(&format!("v2\t{}", pushed[1].digest))
    );
    desk.assert_verified("new");
}

fn a_failed_export_leaves_no_file() {
    let (desk, pushed) = Desk::with_images(&[("team/app", "v1", 1), ("team/app", "v2", 2)]);
    let damaged = desk.blob(&pushed[1].layer);
    let bytes = fs::read(&damaged).unwrap();
    fs::write(&damaged, vec![0; bytes.len()]).unwrap();

    let (code, log) = desk.ended(&["export", "--all-tags", "-o", "all.tar", "--root", "images"]);

    assert_eq!(code, 1, "{log}");
    assert!(log.contains(&pushed[1].layer), "{log}");
    let left: Vec<_> = fs::read_dir(desk.bench.path("."))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("all.tar"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

fn an_archive_replaces_only_regular_files() {
    let (desk, _) = Desk::with_images(&[("team/app", "v1", 1)]);
    desk.bench.run("mkfifo", &["pipe.tar"]);
    let export = ["export", "team/app:v1", "--root", "images", "-o"];

    let (code, log) = desk.ended(&[&export[..], &["pipe.tar"]].concat());
    assert_eq!(code, 1, "{log}");
    assert!(log.contains("pipe.tar") && log.contains("write `-`"), "{log}");
    let (code, log) = desk.ended(&[&export[..], &["app.tar", "--write-list", "pipe.tar"]].concat());
    assert_eq!(code, 1, "{log}");
    assert!(!desk.bench.path("app.tar").exists());
    let found = fs::metadata(desk.bench.path("pipe.tar")).unwrap().file_type();
    assert!(found.is_fifo(), "{found:?}");

    desk.registry(&[&export[..], &["app.tar"]].concat());
    std::os::unix::fs::symlink("app.tar", desk.bench.path("link.tar")).unwrap();
    let before = fs::metadata(desk.bench.path("app.tar")).unwrap().ino();
    desk.registry(&[&export[..], &["link.tar"]].concat());
    assert!(desk.bench.path("link.tar").is_symlink());
    assert_ne!(fs::metadata(desk.bench.path("app.tar")).unwrap().ino(), before);
    assert!(!desk.bench.path("link.tar.partial").exists());

    // The digests would be written over the archive.
    let bytes = fs::read(desk.bench.path("app.tar")).unwrap();
    for option in ["--digest-file", "--write-list"] {
        let (code, log) = desk.ended(&[&export[..], &["app.tar", option, "link.tar"]].concat());
        assert_eq!(code, 2, "{log}");
        assert!(log.contains(option), "{log}");
    }
    assert_eq!(fs::read(desk.bench.path("app.tar")).unwrap(), bytes);
}

fn what_an_interrupted_command_has_begun_is_a_new_storage() {
    let (desk, pushed) = Desk::with_images(&[("team/app", "v1", 1)]);
    desk.registry(&["export", "team/app:v1", "-o", "app.tar", "--root", "images"]);
    fs::create_dir_all(desk.bench.path("half/docker/registry")).unwrap();
    fs::create_dir_all(desk.bench.path("other/files")).unwrap();

    let imported = desk.registry(&["import", "app.tar", "--root", "half"]);
    let (code, log) = desk.ended(&["import", "app.tar", "--root", "other"]);

    assert_eq!(imported, format!("team/app:v1\t{}", pushed[0].digest));
    assert_eq!(code, 1, "{log}");
    desk.assert_verified("half");
}

fn a_warning_names_an_image_without_a_tag() {
    let (desk, pushed) = Desk::with_images(&[("team/app", "v1", 1)]);
    let digest = &pushed[0].digest;
    let app = format!("registry:images:team/app@{digest}");
    desk.registry(&["cp", &app, "oci:layout"]);
    let layout = format!("oci:layout@{digest}");
    let (code, log) = desk.ended(&["cp", &layout, "registry:new:app"]);
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("warning: ") && log.contains("--as"), "{log}");
    let (code, log) = desk.ended(&["cp", &layout, "registry:new:app:v1"]);
    assert_eq!((code, &*log), (0, ""));
}

fn a_warning_names_the_signatures_of_a_converted_image() {
    let (desk, layout) = Desk::with_sample();
    let original = layout.digest("one").to_string();
    // As cosign stores it.
    let signature = format!("registry:images:team/app:{}.sig", original.replace(':', "-"));
    desk.registry(&["cp", "registry:images:team/app:two", &signature]);
    let copy = [
        "cp",
        "registry:images:team/app:one",
        "registry:new",
        "--referrers",
    ];
    let converted = [&copy[..], &["--format", "docker"]].concat();

    let (code, log) = desk.ended(&converted);

    assert_eq!(code, 0, "{log}");
    let signature = layout.digest("two").to_string();
    assert!(log.contains(&original) && log.contains(&signature), "{log}");
    let printed = desk.registry(&[&converted[..], &["--json"]].concat());
    assert!(printed.contains(r#""referrers_not_copied":1"#), "{printed}");
    assert_eq!(desk.ended(&copy), (0, String::new()));
}

fn exit_codes_tell_failures_apart() {
    let (desk, _) = Desk::with_images(&[("team/app", "v1", 1)]);
    let refused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("docker://{}/app:v1", refused.local_addr().unwrap());
    drop(refused);
    let export = ["export", "-o", "app.tar", "--root", "images"];

    for (expected, arguments) in [
        (2, &["cp", "registry:images:team/app:v1"][..]),
        (2, &["cp", "docker:app", "app.tar"]),
        (2, &["cp", "registry:images:team/app:v1", "docker:app"]),
        (1, &[&export[..], &["team/app:absent"]].concat()),
        (1, &[&export[..], &["team/app", "--tags", "x*"]].concat()),
        (
            3,
            &[&export[..], &["team/app:absent", "team/app:v1", "--keep-going"]].concat(),
        ),
        (1, &[&export[..], &["team/app:absent", "--keep-going"]].concat()),
        (
            75,
            &["cp", "registry:images:team/app:v1", &address, "--retry", "0"],
        ),
        (75, &["cp", &address, "none.tar", "--keep-going", "--retry", "0"]),
        (0, &[&export[..], &["team/app:v1"]].concat()),
    ] {
        let (code, log) = desk.ended(arguments);
        assert_eq!(code, expected, "{arguments:?}: {log}");
    }
    assert!(!desk.bench.path("none.tar").exists());
}

fn nothing_is_copied_if_the_file_of_digests_cannot_be_written() {
    let (desk, _) = Desk::with_images(&[("team/app", "v1", 1)]);
    let options = ["--root", "images", "--digest-file", "absent/digests"];
    let (code, log) = desk.ended(&[&["export", "team/app:v1", "-o", "app.tar"][..], &options].concat());
    assert!(code == 1 && log.contains("absent/digests"), "{log}");
    assert!(!desk.bench.path("app.tar").exists());
}

fn images_are_converted_on_request() {
    let (desk, layout) = Desk::with_sample();
    let original = layout.digest("one").to_string();
    let export = ["export", "team/app:one", "--root", "images", "-o", "app.tar"];

    let exported = desk.registry(&[&export[..], &["--compress", "none", "--format", "docker"]].concat());

    let columns: Vec<_> = exported.split('\t').collect();
    assert_eq!((columns[0], columns[2]), ("team/app:one", &*original));
    assert_ne!(columns[1], columns[2]);
    let imported = desk.registry(&["import", "app.tar", "--root", "new"]);
    assert_eq!(imported, format!("team/app:one\t{}", columns[1]));
}

fn podman_and_the_command_load_the_archives_of_each_other() {
    let (desk, layout) = Desk::with_sample();
    let name = "registry.example.com/team/app:one";
    let config = |manifest: &[u8]| {
        let manifest: Value = serde_json::from_slice(manifest).unwrap();
        manifest["config"]["digest"].as_str().unwrap().to_owned()
    };
    let expected = config(&layout.blob(&layout.digest("one")));
    desk.registry(&[
        "export",
        "team/app:one",
        "-o",
        "app.tar",
        "--as",
        name,
        "--root",
        "images",
    ]);

    desk.bench.podman("engine", &["load", "--input", "app.tar"]);
    let id = desk
        .bench
        .podman("engine", &["image", "inspect", "--format", "{{.Id}}", name]);
    desk.bench
        .podman("engine", &["save", "--output", "theirs.tar", name]);
    desk.registry(&["import", "theirs.tar", "--root", "new"]);

    assert_eq!(format!("sha256:{}", id.text()), expected);
    let server = Server::ours(&desk.bench.path("new"));
    assert_eq!(config(&server.get("/v2/team/app/manifests/one").body), expected);
}

/// Stores an index of two images, and writes it to a layout.
fn exported_index(desk: &Desk) -> (Vec<Pushed>, String) {
    let server = desk.serve();
    let images = vec![
        Pushed::to(&server, "team/app", "amd64", 1),
        Pushed::to(&server, "team/app", "arm64", 2),
    ];
    let mut parts: Vec<_> = images.iter().map(of_manifest).collect();
    for (part, architecture) in parts.iter_mut().zip(["amd64", "arm64"]) {
        part["platform"] = json!({"os": "linux", "architecture": architecture});
    }
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": parts}).to_string();
    server.push_manifest("team/app", "multi", INDEX, index.as_bytes());
    server.stop();
    desk.registry(&["export", "team/app:multi", "-o", "oci:layout", "--root", "images"]);
    let digest = digest(&index);
    (images, digest)
}

fn an_index_without_some_of_its_images_is_imported_with_a_warning() {
    let desk = Desk::new();
    let (images, index) = exported_index(&desk);
    let hex = images[1].digest.strip_prefix("sha256:").unwrap();
    fs::remove_file(desk.bench.path("layout").join("blobs/sha256").join(hex)).unwrap();

    let (code, log) = desk.ended(&["import", "layout", "--root", "strict", "--strict"]);
    assert_eq!(code, 1, "{log}");
    let (code, log) = desk.ended(&["import", "layout", "--root", "new"]);

    assert_eq!(code, 0, "{log}");
    assert_eq!(log.matches("warning").count(), 1, "{log}");
    assert!(
        log.contains("linux/arm64") && log.contains(&images[1].digest),
        "{log}"
    );
    assert!(desk.tags("new", "team/app").contains(&format!("multi\t{index}")));

    // An export of several repositories names the right one.
    desk.registry(&[
        "import",
        "layout",
        "--root",
        "new",
        "--as",
        "other",
        "--platform",
        "linux/amd64",
    ]);
    let (code, log) = desk.ended(&["export", "--all-tags", "-o", "all.tar", "--root", "new"]);
    assert_eq!(code, 0, "{log}");
    assert!(
        log.contains("warning: team/app: the image for linux/arm64"),
        "{log}"
    );
}

fn a_platform_can_be_selected() {
    let desk = Desk::new();
    let (images, index) = exported_index(&desk);

    let imported = desk.registry(&["import", "layout", "--root", "new", "--platform", "linux/arm64"]);

    assert_eq!(imported, format!("team/app:multi\t{}\t{index}", images[1].digest));
    assert_eq!(
        desk.tags("new", "team/app"),
        [format!("multi\t{}", images[1].digest)]
    );
}

fn beside_a_server_images_go_through_it() {
    let (desk, pushed) = Desk::with_images(&[("team/app", "v1", 1)]);
    let server = desk.serve();

    let exported = desk.registry(&["export", "team/app:v1", "-o", "app.tar", "--root", "images"]);
    let imported = desk.registry(&["import", "app.tar", "--as", "copy/app:v2", "--root", "images"]);

    assert_eq!(exported, format!("team/app:v1\t{}", pushed[0].digest));
    assert_eq!(imported, format!("copy/app:v2\t{}", pushed[0].digest));
    let served = server.get("/v2/copy/app/manifests/v2");
    assert_eq!(String::from_utf8_lossy(&served.body), pushed[0].manifest);
    desk.assert_verified("images");
}

fn skopeo_and_the_command_read_the_archives_of_each_other() {
    let (desk, pushed) = Desk::with_images(&[("team/app", "v1", 1)]);
    desk.registry(&["export", "team/app:v1", "-o", "app.tar", "--root", "images"]);

    desk.bench
        .skopeo(&["copy", "oci-archive:app.tar:v1", "oci-archive:theirs.tar:v2"]);
    let imported = desk.registry(&["import", "theirs.tar", "--as", "theirs", "--root", "new"]);

    assert_eq!(imported, format!("theirs:v2\t{}", pushed[0].digest));
}
