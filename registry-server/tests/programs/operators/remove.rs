//! `registry rm`.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
};

use libtest_mimic::Trial;
use serde_json::json;

use super::{Desk, INDEX, Pushed, digest, of_manifest};
use crate::{image::OCI_MANIFEST, server::Server};

pub(super) fn trials() -> Vec<Trial> {
    trials!([];
        nothing_is_removed_before_the_operator_agrees,
        a_tag_is_removed_by_the_server_although_clients_may_not,
        a_manifest_goes_with_its_tags,
        a_whole_repository_is_removed,
        damaged_manifests_are_removed,
        the_loss_of_tags_is_shown_and_accepted,
        content_in_quarantine_is_shown_and_removed_beside_a_server_and_without_one,
        what_root_removes_stays_of_the_user_of_the_server,
    )
}

/// Pushes an index of an image, and an artifact that has the image as its subject. Returns their digests.
fn push_around(server: &Server, image: &Pushed) -> (String, String) {
    let index =
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [of_manifest(image)]}).to_string();
    server.push_manifest("team/app", "multi", INDEX, index.as_bytes());
    let artifact = json!({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "artifactType": "application/vnd.example.note",
        "manifests": [],
        "subject": of_manifest(image),
    })
    .to_string();
    server.push_manifest("team/app", &digest(&artifact), INDEX, artifact.as_bytes());
    (digest(&index), digest(&artifact))
}

fn nothing_is_removed_before_the_operator_agrees() {
    let desk = Desk::new();
    let server = desk.serve();
    let image = Pushed::to(&server, "team/app", "v1", 1);
    let (index, artifact) = push_around(&server, &image);
    let name = format!("team/app@{}", image.digest);

    let refused = desk.attempt(&["rm", &name]).unwrap_err();

    assert!(refused.contains("exit status: 1"), "{refused}");
    assert!(refused.contains("nothing was removed; pass --yes"), "{refused}");
    for consequence in [
        "removes\tteam/app:v1".to_owned(),
        format!("removes\t{name}"),
        format!("breaks the index\tteam/app@{index}"),
        format!("takes the subject of\tteam/app@{artifact}"),
    ] {
        assert!(refused.contains(&consequence), "{consequence}: {refused}");
    }
    server.get("/v2/team/app/manifests/v1");

    let preview = desk.attempt(&["rm", "--json", "team/app:v1"]).unwrap_err();
    assert!(preview.contains(r#""effect":"removes""#), "{preview}");
    assert!(!preview.contains("removed\""), "{preview}");
}

fn a_tag_is_removed_by_the_server_although_clients_may_not() {
    let desk = Desk::new();
    let mut command = Server::ours_command(&desk.root());
    command
        .env("REGISTRY_STORAGE_DELETE_ENABLED", "false")
        .arg("--access-log");
    let server = Server::start(command, "http://");
    let image = Pushed::to(&server, "team/app", "v1", 1);
    server
        .request("DELETE", "/v2/team/app/manifests/v1", &[], b"")
        .expect_status(405);

    let removed = desk.items(&["rm", "--yes", "team/app:v1"]);

    assert_eq!(
        removed,
        [json!({"effect": "removed", "tag": "v1", "digest": image.digest})]
    );
    server.says("- - operator:");
    server.says("\"DELETE /v2/team/app/manifests/v1 control\" 202");
    server
        .request("GET", "/v2/team/app/manifests/v1", &[], b"")
        .expect_status(404);
    server.get(&format!("/v2/team/app/manifests/{}", image.digest));
    let again = desk.attempt(&["rm", "--yes", "team/app:v1"]).unwrap_err();
    assert!(again.contains("team/app has no v1"), "{again}");
    let untagged = format!("team/app@{}", image.digest);
    desk.run(&["rm", "--yes", "--now", &untagged]);
    server
        .request(
            "GET",
            &format!("/v2/team/app/manifests/{}", image.digest),
            &[],
            b"",
        )
        .expect_status(404);
}

fn a_manifest_goes_with_its_tags() {
    let desk = Desk::new();
    let server = desk.serve();
    let image = Pushed::to(&server, "team/app", "v1", 1);
    server.push_manifest("team/app", "latest", OCI_MANIFEST, image.manifest.as_bytes());
    server.stop();

    desk.run(&["rm", "--yes", &format!("team/app@{}", image.digest)]);

    assert_eq!(desk.run(&["ls", "-a", "team/app"]).text(), "");
}

fn a_whole_repository_is_removed() {
    let desk = Desk::new();
    let server = desk.serve();
    let image = Pushed::to(&server, "team/app", "v1", 1);
    push_around(&server, &image);
    Pushed::to(&server, "team/other", "v1", 1);

    let refused = desk.attempt(&["rm", "team/app"]).unwrap_err();
    assert!(refused.contains("--repository team/app"), "{refused}");
    let removed = desk.items(&["rm", "--yes", "--repository", "team/app"]);

    assert_eq!(removed.len(), 3, "{removed:?}");
    assert_eq!(desk.run(&["ls", "-a", "team/app"]).text(), "");
    server.get("/v2/team/other/manifests/v1");
    let unknown = desk
        .attempt(&["rm", "--yes", "--repository", "team/none"])
        .unwrap_err();
    assert!(unknown.contains("there is no repository team/none"), "{unknown}");
}

fn damaged_manifests_are_removed() {
    let desk = Desk::new();
    let server = desk.serve();
    let (lost, damaged) = (
        Pushed::to(&server, "team/app", "lost", 1),
        Pushed::to(&server, "team/app", "damaged", 2),
    );
    fs::remove_file(desk.blob(&lost.digest)).unwrap();
    fs::write(desk.blob(&damaged.digest), "{").unwrap();

    desk.run(&["rm", "--yes", &format!("team/app@{}", lost.digest)]);
    let target = format!("/v2/team/app/manifests/{}", damaged.digest);
    server.request("DELETE", &target, &[], b"").expect_status(202);

    assert_eq!(desk.run(&["ls", "-a", "team/app"]).text(), "");
}

fn the_loss_of_tags_is_shown_and_accepted() {
    let desk = Desk::new();
    let server = desk.serve();
    let images = [
        ("team/app", "v1"),
        ("team/app", "v2"),
        ("other", "v1"),
        ("kept", "v1"),
    ];
    let mut seeds = 1..;
    let images = images.map(|(name, tag)| Pushed::to(&server, name, tag, seeds.next().unwrap()));
    let repositories = desk.root().join("docker/registry/v2/repositories");
    fs::remove_dir_all(repositories.join("team/app/_manifests/tags")).unwrap();
    fs::remove_dir_all(repositories.join("other")).unwrap();
    server.stop();
    let are_there = || images.each_ref().map(|image| desk.blob(&image.layer).exists());

    let kept = desk.run(&["garbage-collect", "-m"]);
    for lost in ["team/app:v1", "team/app:v2", "other:v1"] {
        assert!(
            kept.log.contains(&format!("kept: {lost}: the tag is lost")),
            "{kept:?}"
        );
        assert!(
            kept.log
                .contains(&format!("`registry rm {lost}` accepts the loss")),
            "{kept:?}"
        );
    }
    assert_eq!(are_there(), [true; 4]);
    let found = desk.attempt(&["verify"]).unwrap_err();
    assert_eq!(found.matches("a repair puts it back").count(), 3, "{found}");

    let server = desk.serve();
    let refused = desk.attempt(&["rm", "team/app:v1"]).unwrap_err();
    assert!(refused.contains("removes\tteam/app:v1"), "{refused}");
    desk.run(&["rm", "--yes", "team/app:v1"]);
    let repaired = desk.attempt(&["verify", "--repair"]).unwrap_err();
    assert!(repaired.contains("4 things are wrong, 4 repaired"), "{repaired}");
    for whole in ["team/app/manifests/v2", "other/manifests/v1"] {
        server.get(&format!("/v2/{whole}"));
    }
    desk.run(&["rm", "--yes", "--now", "--repository", "team/app"]);
    fs::remove_dir_all(repositories.join("kept")).unwrap();
    fs::remove_dir_all(repositories.join("other")).unwrap();
    server.stop();

    let refused = desk.attempt(&["rm", "--lost"]).unwrap_err();
    assert!(
        refused.contains("removes\tkept:v1\nremoves\tother:v1"),
        "{refused}"
    );
    let accepted = desk.items(&["rm", "--lost", "--yes"]);
    assert_eq!(accepted.len(), 2);
    assert_eq!(accepted[1]["effect"], "removed");
    assert_eq!(
        (&accepted[1]["repository"], &accepted[1]["tag"]),
        (&json!("other"), &json!("v1"))
    );
    assert!(desk.run(&["rm", "--lost"]).log.contains("no tag is lost"));
    desk.run(&["garbage-collect", "--force"]);
    assert_eq!(are_there(), [false; 4]);
}

fn content_in_quarantine_is_shown_and_removed_beside_a_server_and_without_one() {
    let desk = Desk::new();
    let server = desk.serve();
    let images = [1, 2, 3].map(|seed| Pushed::to(&server, "team/app", "v1", seed));
    for image in &images {
        fs::write(desk.blob(&image.layer), "damaged").unwrap();
    }
    let kept = |digest: &str| {
        let (algorithm, hex) = digest.split_once(':').unwrap();
        let quarantine = desk.root().join("docker/registry/v2/_quarantine");
        quarantine.join(algorithm).join(hex).exists()
    };
    let [first, second, third] = images.each_ref().map(|image| &*image.layer);
    let empty = desk.run(&["rm", "--quarantined"]);
    assert!(empty.log.contains("the quarantine is empty"), "{}", empty.log);
    // Its exit code is that something was wrong.
    desk.attempt(&["verify", "--repair", "--force"]).unwrap_err();

    let refused = desk.attempt(&["rm", "--quarantined"]).unwrap_err();

    assert!(refused.contains("nothing was removed; pass --yes"), "{refused}");
    for digest in [first, second, third] {
        assert!(refused.contains(&format!("removes\t{digest}\t7\t")), "{refused}");
        assert!(kept(digest), "{digest}");
    }
    let removed = desk.items(&["rm", "--yes", "--quarantined", first]);
    let [item] = &removed[..] else {
        panic!("{removed:?}");
    };
    assert_eq!((&item["digest"], &item["bytes"]), (&json!(first), &json!(7)));
    assert!(
        item["reason"]
            .as_str()
            .unwrap()
            .contains("7 bytes with the digest"),
        "{item}"
    );
    server.says("damaged content was removed from quarantine");
    assert_eq!([first, second, third].map(kept), [false, true, true]);
    let absent = desk
        .attempt(&["rm", "--yes", "--quarantined", first])
        .unwrap_err();
    assert!(absent.contains("is not in quarantine"), "{absent}");

    server.stop();
    assert_eq!(desk.items(&["rm", "--quarantined", "--yes"]).len(), 2);
    assert_eq!([second, third].map(kept), [false, false]);
}

fn what_root_removes_stays_of_the_user_of_the_server() {
    const USER: u32 = 65_532;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let desk = Desk::new();
    let server = desk.serve();
    let image = Pushed::to(&server, "team/app", "v1", 1);
    server.stop();
    let paths = || {
        let mut found = vec![desk.root()];
        let mut next = 0;
        while let Some(path) = found.get(next).cloned() {
            next += 1;
            if path.is_dir() {
                found.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
        found
    };
    for path in paths() {
        std::os::unix::fs::lchown(path, Some(USER), Some(USER)).unwrap();
    }
    // The user has to reach it.
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(desk.bench.path(""), open).unwrap();

    desk.run(&["rm", "--yes", &format!("team/app@{}", image.digest)]);

    for path in paths() {
        assert_eq!(fs::metadata(&path).unwrap().uid(), USER, "{}", path.display());
    }
}
