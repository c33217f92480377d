//! Incremental archives, and the guide that uses them.

use std::fs;

use libtest_mimic::Trial;

use super::super::{Desk, Pushed};
use crate::{guide::block, server::Server};

const GUIDE: &str = include_str!("../../../../../docs/images.md");

pub(super) fn trials() -> Vec<Trial> {
    trials!([];
        the_guide_carries_images_across_an_air_gap_again_and_again,
        an_incremental_archive_needs_its_base,
        the_guide_mirrors_and_backs_up,
    )
}

fn the_guide_carries_images_across_an_air_gap_again_and_again() {
    let desk = Desk::new();
    let remote = Server::ours(&desk.bench.path("remote"));
    let first = Pushed::to(&remote, "team/app", "v2.0", 1);
    Pushed::to(&remote, "library/alpine", "3.20", 2);
    let host = remote.repository("");
    let run = |name: &str| {
        let commands = block(GUIDE, name)
            .replace("docker.io/", &host)
            .replace("registry.example.com/", &host)
            .replace("/var/lib/registry", "server");
        desk.sh(&commands, &[])
    };

    run("collect");
    run("carry");
    assert_eq!(
        desk.tags("server", "team/app"),
        [format!("v2.0\t{}", first.digest)]
    );
    assert_eq!(desk.tags("server", "library/alpine").len(), 1);

    let second = Pushed::to(&remote, "team/app", "v2.1", 3);
    run("collect");
    run("again");
    run("carry-again");
    assert!(
        desk.tags("server", "team/app")
            .contains(&format!("v2.1\t{}", second.digest))
    );
    desk.assert_verified("server");
    let size = |name: &str| fs::metadata(desk.bench.path(name)).unwrap().len();
    assert!(size("new.tar") < size("images.tar"));
}

fn an_incremental_archive_needs_its_base() {
    let (desk, pushed) = Desk::with_images(&[("team/app", "v1", 1)]);
    let export = ["export", "--all-tags", "--root", "images", "-o"];
    desk.registry(&[&export[..], &["one.tar", "--write-list", "one.list"]].concat());
    desk.registry(&[&export[..], &["two.tar", "--since", "one.list"]].concat());

    let (code, log) = desk.ended(&["import", "two.tar", "--root", "new"]);

    assert_eq!(code, 1, "{log}");
    assert!(log.contains("two.tar") && log.contains(&pushed[0].layer), "{log}");
    assert!(
        desk.attempt_sh("registry ls team/app --root new", &[])
            .map_or(true, |tags| tags.trim().is_empty())
    );
    desk.registry(&["import", "one.tar", "--root", "new"]);
    desk.registry(&["import", "two.tar", "--root", "new"]);
    desk.assert_verified("new");
    let (code, log) = desk.ended(&[
        "export",
        "team/app:v1",
        "-o",
        "oci:layout",
        "--since",
        "one.list",
        "--root",
        "images",
    ]);
    assert_eq!(code, 1, "{log}");
}

fn the_guide_mirrors_and_backs_up() {
    let desk = Desk::new();
    let server = desk.serve();
    let images = [("v2.0", 1), ("v2.1", 2)].map(|(tag, seed)| Pushed::to(&server, "team/app", tag, seed));
    let mirror = Server::ours(&desk.bench.path("mirror"));
    let commands = block(GUIDE, "mirror")
        .replace("registry.example.com/", &server.repository(""))
        .replace("mirror.example.com/", &mirror.repository(""));

    let printed = desk.sh(&commands, &[]);
    desk.sh(
        &block(GUIDE, "backup"),
        &[("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "images")],
    );

    // The dry run prints the same as the copy.
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(lines.len(), 4, "{printed}");
    assert_eq!(lines[..2], lines[2..]);
    let served = mirror.get("/v2/team/app/manifests/v2.1");
    assert_eq!(String::from_utf8_lossy(&served.body), images[1].manifest);
    let restored = desk.registry(&["import", "app.tar", "--root", "restored"]);
    assert_eq!(restored.lines().count(), 2, "{restored}");
}
