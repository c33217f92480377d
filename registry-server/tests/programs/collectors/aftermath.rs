//! Directories that commands and accidents leave: rules of retention, a restore, a repair, a collection that keeps the
//! trash, and a full disk. All collectors run on copies of each, and `aftermath.txt` lists the differences.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use libtest_mimic::Trial;
use serde_json::Value;

use super::{
    Collector, Desk, OURS, PROGRAMS, THEIRS,
    differences::Differences,
    idle,
    scenes::{Scenes, Writer},
    served,
    tree::{base, is_directory, items},
};
use crate::{
    content::Content,
    image::{digest_of, noise},
    low_water::{DISK_PROGRAMS, on_a_disk_of, where_disks_are_mounted},
    program::{Workbench, argument, output_of},
    retention::age,
    server::{OCTETS, Server, end_of, program},
};

const LIST: &str = include_str!("aftermath.txt");

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = trials!(PROGRAMS;
        what_retention_leaves_stays,
        what_a_restore_brings_back_stays,
        what_a_repair_leaves_stays,
        what_a_collection_that_keeps_the_trash_leaves_stays,
    );
    let [version_2, version_3] = PROGRAMS;
    let [unshare, mount] = DISK_PROGRAMS;
    trials.extend(where_disks_are_mounted(trials!(
        [version_2, version_3, unshare, mount];
        what_a_full_disk_leaves_stays
    )));
    trials
}

/// A directory that is left, beside what it served.
struct Left {
    desk: Desk,
    /// Name of the scene, which is in the names of all its content.
    scene: &'static str,
    content: Content,
    /// Paths of the content that are lost already.
    lost: Vec<String>,
    /// Options of our collector.
    options: &'static [&'static str],
}

impl Left {
    /// Stops the server of a scene. Everything that it serves has to stay.
    fn by(scenes: Scenes<'_>, scene: &'static str, bench: Workbench, untagged: &[&Value]) -> Self {
        let untagged: Vec<_> = untagged.iter().map(|what| (scene, digest_of(what))).collect();
        let Scenes { server, labels, .. } = scenes;
        let content = Content::of(&server, &untagged);
        server.stop();
        Self {
            desk: Desk { bench, labels },
            scene,
            content,
            lost: Vec::new(),
            options: &[],
        }
    }

    /// Runs each collector of theirs and ours on copies, and compares what they leave. Then runs ours after theirs. Pulls
    /// everything from both servers each time.
    fn collect(&self) {
        let listed = Differences::listed(LIST).of_scene(self.scene);
        let mut found = Differences::default();
        let runs = THEIRS.map(|theirs| {
            let copies = [self.desk.copy(), self.desk.copy()];
            let [by_ours, by_theirs] = copies.each_ref().map(|copy| copy.path("copy"));
            theirs.ours().run_with(self.options, &by_ours);
            theirs.run(&by_theirs);
            (theirs, by_ours, by_theirs, copies)
        });
        for (column, (_, by_ours, by_theirs, _)) in runs.iter().enumerate() {
            let [ours, theirs] = [by_ours, by_theirs].map(|root| items(root, &self.desk.labels));
            found.add(column, &ours, &theirs);
        }
        found.assert_same(&listed);

        for (theirs, by_ours, by_theirs, _copies) in &runs {
            let left_by_ours = items(by_ours, &self.desk.labels);
            self.assert_served(*theirs, by_ours, &BTreeSet::new());
            let paths = self.content.paths();
            let freed = paths.filter(|path| listed.frees(*theirs, &self.desk.item(path)));
            let freed: BTreeSet<&str> = freed.collect();
            self.assert_served(*theirs, by_theirs, &freed);

            theirs.ours().run(by_theirs);
            let freed = &freed | &self.content.named_by(&freed);
            self.assert_served(*theirs, by_theirs, &freed);
            let left = items(by_theirs, &self.desk.labels);
            let came_back = left.difference(&left_by_ours).filter(|item| !is_directory(item));
            assert_eq!(came_back.collect::<Vec<_>>(), [""; 0], "after {theirs:?}");
        }
    }

    /// Asserts that both servers have everything that was there, but for what was freed, byte for byte.
    #[track_caller]
    fn assert_served(&self, theirs: Collector, root: &Path, freed: &BTreeSet<&str>) {
        let lost = self.lost.iter().map(String::as_str).collect();
        for collector in [theirs.ours(), theirs] {
            let server = collector.serve(root);
            assert_eq!(
                self.content.lost_in(&server),
                freed | &lost,
                "{}: {theirs:?}, by {}",
                self.scene,
                collector.program
            );
            server.stop();
        }
    }
}

/// Runs a command on a directory, beside its server. It succeeds, or finds damage.
fn command(arguments: &[&str], root: &Path) -> String {
    let mut command = program(OURS);
    command.args(arguments).arg("--root").arg(root);
    let (status, said) = end_of(command);
    let expected = i32::from(arguments.contains(&"--repair"));
    assert_eq!(status.code(), Some(expected), "{arguments:?}: {said}");
    said
}

fn what_retention_leaves_stays() {
    let bench = Workbench::new();
    let root = bench.path("written");
    let mut server = idle(&root);
    server.env("REGISTRY_STORAGE_MAINTENANCE_COLLECT_GRACE", "0s");
    let mut scenes = Scenes::new(Server::start(server, "http://"), &root, Writer::Ours);
    let dropped = scenes.image("retention", Some("build-1"), "retention-dropped");
    scenes.referrer("retention", "retention-dropped-referrer", &dropped);
    let kept = scenes.image("retention", Some("build-2"), "retention-kept");
    let referrer = scenes.referrer("retention", "retention-referrer", &kept);
    scenes.image("retention", Some("v1"), "retention-other");
    fs::remove_dir_all(base(&root).join("_history")).unwrap();
    age(&root, "retention", "build-1", 2);
    let rules = bench.path("rules.yml");
    fs::write(
        &rules,
        "rules:\n- {repository: '**', tags: build-*, keep: {newest: 1}}\n",
    )
    .unwrap();

    let said = command(&["retention", "run", "--rules", argument(&rules)], &root);

    assert!(said.contains("dropped 1 tag and 2 manifests"), "{said}");
    Left::by(scenes, "retention", bench, &[&referrer]).collect();
}

fn what_a_restore_brings_back_stays() {
    let bench = Workbench::new();
    let root = bench.path("written");
    let mut scenes = Scenes::new(served(&root), &root, Writer::Ours);
    let parts = ["amd64", "arm64"].map(|part| scenes.image("restored", None, &format!("restored-{part}")));
    let index = scenes.index("restored", Some("v1"), "restored", &parts);
    let referrer = scenes.referrer("restored", "restored-referrer", &index);
    scenes.image("restored", Some("v2"), "restored-tag");
    for manifest in [&index, &referrer, &parts[0], &parts[1]] {
        scenes.delete("restored", "manifests", manifest);
    }
    scenes.delete_tag("restored", "v2");
    scenes
        .server
        .request("GET", "/v2/restored/manifests/v1", &[], b"")
        .expect_status(404);

    command(&["garbage-collect", "--keep-trash"], &root);
    command(&["restore", &format!("restored@{}", digest_of(&index))], &root);
    command(&["restore", "restored:v2", "--as", "v3"], &root);

    for tag in ["v1", "v3"] {
        scenes.server.get(&format!("/v2/restored/manifests/{tag}"));
    }
    Left::by(scenes, "restored", bench, &[&referrer]).collect();
}

/// Content in quarantine is lost for both, and nothing else is.
fn what_a_repair_leaves_stays() {
    let bench = Workbench::new();
    let root = bench.path("written");
    let mut scenes = Scenes::new(served(&root), &root, Writer::Ours);
    scenes.image("repaired", Some("damaged"), "repaired-damaged");
    scenes.image("repaired", Some("healed"), "repaired-healed");
    let parts = [scenes.image("repaired", None, "repaired-part")];
    scenes.index("repaired", Some("multi"), "repaired", &parts);
    let mut left = Left::by(scenes, "repaired", bench, &[]);
    let damaged = left.desk.digest("repaired-damaged.layer");
    for digest in [damaged, left.desk.digest("repaired-healed.layer")] {
        let data = format!("blobs/sha256/{}/{}/data", &digest.hex()[..2], digest.hex());
        fs::write(base(&root).join(data), "damaged").unwrap();
    }

    let server = served(&root);
    let said = command(&["verify", "--repair", "--force"], &root);
    assert!(said.contains("2 things are wrong, 2 repaired"), "{said}");
    let mut scenes = Scenes::new(server, &root, Writer::Ours);
    scenes.image("repaired", Some("healed"), "repaired-healed");
    scenes.server.stop();

    left.lost = vec![format!("/v2/repaired/blobs/{damaged}")];
    left.collect();
}

fn what_a_collection_that_keeps_the_trash_leaves_stays() {
    let bench = Workbench::new();
    let root = bench.path("written");
    let mut scenes = Scenes::new(served(&root), &root, Writer::Ours);
    let deleted = scenes.image("kept-trash", Some("v1"), "kept-trash-deleted");
    scenes.image("kept-trash", Some("v2"), "kept-trash-untagged");
    scenes.image("kept-trash", Some("v3"), "kept-trash");
    scenes.delete("kept-trash", "manifests", &deleted);
    scenes.delete_tag("kept-trash", "v2");

    command(&["garbage-collect", "--keep-trash", "-m"], &root);

    let mut left = Left::by(scenes, "kept-trash", bench, &[]);
    left.options = &["--keep-trash"];
    left.collect();

    // Ours keeps what can be restored. Theirs frees it, and a restore says so.
    let image = format!("kept-trash@{}", digest_of(&deleted));
    let copy = left.desk.copy();
    let root = copy.path("copy");
    THEIRS[0].ours().run_with(left.options, &root);
    command(&["restore", &image], &root);
    let copy = left.desk.copy();
    let root = copy.path("copy");
    THEIRS[0].run(&root);
    let mut restore = program(OURS);
    restore.args(["restore", &image, "--root"]).arg(&root);
    let refused = output_of(restore).unwrap_err();
    let gone = format!("content is gone: {}", digest_of(&deleted));
    assert!(refused.contains(&gone), "{refused}");
}

/// The directory is what is left if the machine ends while the disk is full.
fn what_a_full_disk_leaves_stays() {
    const SIZE: usize = 16 << 20;
    let bench = Workbench::new();
    let root = bench.path("disk");
    let server = Server::start(on_a_disk_of(SIZE, &root, &[]), "http://");
    // The disk as the server sees it.
    let seen = PathBuf::from(format!("/proc/{}/root", server.id()));
    let disk = seen.join(root.strip_prefix("/").unwrap());
    let mut scenes = Scenes::new(server, &root, Writer::Ours);
    let parts = [scenes.image("full-disk", None, "full-disk-part")];
    scenes.index("full-disk", Some("multi"), "full-disk", &parts);
    scenes.image("full-disk", Some("v1"), "full-disk-image");
    let deleted = scenes.image("full-disk", Some("v2"), "full-disk-deleted");
    let open = || scenes.server.open_upload("full-disk");
    let sessions = [open(), open()];
    let patch = |session: &str, length| {
        let request = scenes
            .server
            .request("PATCH", session, &[OCTETS], &noise(5, length));
        request.status
    };
    assert_eq!(patch(&sessions[0], 5000), 202);
    assert!(patch(&sessions[1], SIZE) >= 400, "the disk holds all of it");
    let ballast = disk.join("ballast");
    // It ends where the disk is full.
    fs::write(&ballast, noise(6, SIZE)).unwrap_err();

    assert!(patch(&sessions[1], 100_000) >= 400, "the disk is not full");
    scenes.delete("full-disk", "manifests", &deleted);

    let mut command = bench.command("cp");
    command.arg("-a").arg(disk).arg(bench.path("written"));
    output_of(command).unwrap();
    let Scenes { server, labels, .. } = scenes;
    server.kill();
    let root = bench.path("written");
    fs::remove_file(root.join("ballast")).unwrap();
    let mut scenes = Scenes::new(served(&root), &root, Writer::Ours);
    scenes.labels = labels;
    Left::by(scenes, "full-disk", bench, &[]).collect();
}
