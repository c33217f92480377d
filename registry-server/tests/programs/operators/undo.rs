//! `registry history` and `registry restore`, and the commands of "Undo a mistake" in `docs/operating.md`.

use std::fs;

use libtest_mimic::Trial;
use serde_json::json;

use super::{Desk, INDEX, Pushed, of_manifest};
use crate::{guide::block, server::Server};

const GUIDE: &str = include_str!("../../../../docs/operating.md");

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = trials!([];
        a_deleted_tag_comes_back_beside_a_server_and_without_one,
        a_deleted_manifest_comes_back_with_its_tags,
        a_tag_that_was_overwritten_comes_back_under_another_name,
        what_can_be_restored_is_listed,
        what_cannot_be_restored_is_said,
        a_removed_repository_comes_back_with_all_its_tags,
        the_guide_restores_what_was_deleted,
        the_guide_deletes_for_good,
    );
    trials.extend(trials!(["crane"]; the_guide_moves_a_tag_back));
    trials
}

/// A server whose configuration the commands of the guide find.
struct Guided {
    desk: Desk,
    server: Server,
}

impl Guided {
    fn new() -> Self {
        let desk = Desk::new();
        let configuration = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n",
            desk.root().display()
        );
        fs::write(desk.bench.path("config.yml"), configuration).unwrap();
        Self {
            server: desk.serve(),
            desk,
        }
    }

    /// Runs a block of the guide about a manifest.
    fn follows(&self, name: &str, digest: &str) -> Result<String, String> {
        let commands = block(GUIDE, name).replace("localhost:5000", &self.server.address().to_string());
        let variables = [("DIGEST", digest), ("REGISTRY_CONFIGURATION_PATH", "config.yml")];
        self.desk.attempt_sh(&commands, &variables)
    }

    /// Returns the status of a request for a manifest or blob of `team/app`.
    fn status(&self, what: &str) -> u16 {
        let target = format!("/v2/team/app/{what}");
        self.server.request("GET", &target, &[], b"").status
    }

    fn delete(&self, reference: &str) {
        let target = format!("/v2/team/app/manifests/{reference}");
        let deleted = self.server.request("DELETE", &target, &[], b"");
        deleted.expect_status(202);
    }

    /// Asserts that an image is pulled by a tag as it was pushed.
    #[track_caller]
    fn assert_pulled(&self, tag: &str, image: &Pushed) {
        let manifest = self.server.get(&format!("/v2/team/app/manifests/{tag}"));
        assert_eq!(String::from_utf8_lossy(&manifest.body), image.manifest);
        for blob in [&image.config, &image.layer] {
            self.server.get(&format!("/v2/team/app/blobs/{blob}"));
        }
    }
}

fn the_guide_restores_what_was_deleted() {
    let guided = Guided::new();
    let image = Pushed::to(&guided.server, "team/app", "v1", 1);
    Pushed::to(&guided.server, "team/app", "v2", 1);
    let parts = [of_manifest(&image)];
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": parts}).to_string();
    guided
        .server
        .push_manifest("team/app", "multi", INDEX, index.as_bytes());
    let index = super::digest(&index);

    guided.delete("v1");
    guided.follows("restore-tag", "").unwrap();
    guided.assert_pulled("v1", &image);

    guided.delete(&index);
    guided.delete(&image.digest);
    let deleted = guided.follows("deleted", "").unwrap();
    for digest in [&index, &image.digest] {
        assert!(deleted.contains(digest), "{deleted}");
    }
    guided.follows("restore-manifest", &index).unwrap();
    assert_eq!(guided.status("manifests/multi"), 200);
    guided.follows("restore-manifest", &image.digest).unwrap();
    guided.assert_pulled("v1", &image);
    guided.assert_pulled("v2", &image);

    guided.delete("v1");
    let other = Pushed::to(&guided.server, "team/app", "v1", 2);
    let refused = guided.follows("restore-tag", "").unwrap_err();
    assert!(refused.contains("points at"), "{refused}");
    guided.follows("restore-as", "").unwrap();
    guided.assert_pulled("v1-old", &image);
    guided.assert_pulled("v1", &other);
}

fn the_guide_moves_a_tag_back() {
    let guided = Guided::new();
    let old = Pushed::to(&guided.server, "team/app", "v1", 1);
    Pushed::to(&guided.server, "team/app", "v1", 2);

    let history = guided.follows("history", "").unwrap();
    assert!(history.contains(&old.digest), "{history}");
    guided.follows("move-back", &old.digest).unwrap();

    guided.assert_pulled("v1", &old);
}

fn the_guide_deletes_for_good() {
    let guided = Guided::new();
    let secret = Pushed::to(&guided.server, "team/app", "v1", 1);
    let kept = Pushed::to(&guided.server, "team/app", "v2", 2);
    guided.delete(&secret.digest);
    guided.follows("restore-manifest", &secret.digest).unwrap();
    guided.assert_pulled("v1", &secret);

    guided.follows("for-good", &secret.digest).unwrap();
    let refused = guided.follows("restore-manifest", &secret.digest).unwrap_err();
    assert!(refused.contains("there is no record of a deletion"), "{refused}");
    let layer = format!("blobs/{}", secret.layer);
    assert_eq!(guided.status(&layer), 200);

    guided.follows("free-for-good", "").unwrap();
    assert_eq!(guided.status(&layer), 404);
    guided.assert_pulled("v2", &kept);
}

fn a_deleted_tag_comes_back_beside_a_server_and_without_one() {
    let desk = Desk::new();
    let server = desk.serve();
    let image = Pushed::to(&server, "team/app", "v1", 1);
    let delete = || desk.run(&["rm", "--yes", "team/app:v1"]);
    let restore = || desk.run(&["restore", "team/app:v1"]).text().to_owned();
    let restored = format!("team/app:v1 points at {} again", image.digest);

    delete();
    assert_eq!(restore(), restored);
    server.get("/v2/team/app/manifests/v1");
    server.stop();
    delete();
    assert_eq!(restore(), restored);

    let history = desk.items(&["history", "team/app:v1"]);
    let targets: Vec<_> = history.iter().map(|event| event["digest"].as_str()).collect();
    let there = Some(&*image.digest);
    assert_eq!(targets, [there, None, there, None, there]);
    assert!(
        history
            .iter()
            .all(|event| event["time"].is_string() && event["tag"] == "v1")
    );
    let deleted_by = history[1]["by"].as_str().unwrap();
    assert!(deleted_by.starts_with("operator:"), "{deleted_by}");
    assert_eq!(desk.items(&["history", "team/app"]), history);
}

fn a_deleted_manifest_comes_back_with_its_tags() {
    let desk = Desk::new();
    let server = desk.serve();
    let image = Pushed::to(&server, "team/app", "v1", 1);
    Pushed::to(&server, "team/app", "v2", 1);
    let target = format!("/v2/team/app/manifests/{}", image.digest);
    server.request("DELETE", &target, &[], b"").expect_status(202);

    let restored = desk.items(&["restore", &format!("team/app@{}", image.digest)]);

    assert_eq!(
        restored,
        [json!({"digest": image.digest, "tags": ["v1", "v2"], "manifests": 1})]
    );
    for tag in ["v1", "v2"] {
        server.get(&format!("/v2/team/app/manifests/{tag}"));
    }
}

fn what_can_be_restored_is_listed() {
    let desk = Desk::new();
    let server = desk.serve();
    let [one, two] = [("v1", 1), ("v2", 2)].map(|(tag, seed)| Pushed::to(&server, "team/app", tag, seed));
    let nothing = desk.attempt(&["history", "--deleted", "team/app"]).unwrap_err();
    assert!(
        nothing.contains("nothing that was deleted in team/app"),
        "{nothing}"
    );
    desk.run(&["rm", "--yes", "team/app:v1"]);
    let target = format!("/v2/team/app/manifests/{}", two.digest);
    server.request("DELETE", &target, &[], b"").expect_status(202);

    let mut listed = desk.items(&["history", "--deleted", "team/app"]);
    let of_tag = desk.items(&["history", "--deleted", "team/app:v2"]);

    assert_eq!(of_tag, listed[1..]);
    for (item, image, tag, manifest) in [(0, &one, "v1", false), (1, &two, "v2", true)] {
        let item = listed[item].as_object_mut().unwrap();
        assert!(item.remove("time").unwrap().is_string());
        item.remove("by");
        let expected = json!({"digest": image.digest, "tags": [tag], "manifest": manifest});
        assert_eq!(Some(&*item), expected.as_object());
    }
    server.stop();
    let table = desk.run(&["history", "--deleted", "team/app"]);
    assert!(
        table.text().contains(&format!("{}\tv2\tmanifest", two.digest)),
        "{}",
        table.text()
    );
}

/// The move of a tag deletes nothing, so that its history is what helps.
fn a_tag_that_was_overwritten_comes_back_under_another_name() {
    let desk = Desk::new();
    let server = desk.serve();
    let old = Pushed::to(&server, "team/app", "v1", 1);
    desk.run(&["rm", "--yes", "team/app:v1"]);
    let new = Pushed::to(&server, "team/app", "v1", 2);

    let refused = desk.attempt(&["restore", "team/app:v1"]).unwrap_err();
    assert!(
        refused.contains(&format!("the tag v1 points at {} now", new.digest)),
        "{refused}"
    );
    desk.run(&["restore", "team/app:v1", "--as", "v1-old"]);

    let (tags, plain) = (
        desk.items(&["ls", "-l", "team/app"]),
        desk.run(&["history", "team/app"]),
    );
    let of = |name: &str| {
        tags.iter()
            .find(|tag| tag["tag"] == name)
            .map(|tag| tag["digest"].clone())
    };
    assert_eq!(of("v1-old"), Some(old.digest.into()));
    assert_eq!(of("v1"), Some(new.digest.into()));
    assert!(
        plain.text().lines().any(|line| line.contains("\tv1\tdeleted\t")),
        "{}",
        plain.text()
    );
}

fn what_cannot_be_restored_is_said() {
    let desk = Desk::new();
    let server = desk.serve();
    Pushed::to(&server, "team/app", "v1", 1);
    desk.run(&["rm", "--yes", "--now", "team/app:v1"]);

    for (arguments, message) in [
        (
            ["restore", "team/app:v1"],
            "there is no record of a deletion of v1",
        ),
        (["restore", "team/app"], "team/app@DIGEST"),
        (["history", "team/app:v2"], "never had a tag v2"),
        (["history", "team/none"], "there is no repository team/none"),
    ] {
        let refused = desk.attempt(&arguments).unwrap_err();
        assert!(
            refused.contains(message) && refused.contains("exit status: 1"),
            "{refused}"
        );
    }
}

fn a_removed_repository_comes_back_with_all_its_tags() {
    for is_served in [true, false] {
        let desk = Desk::new();
        let server = desk.serve();
        let first = Pushed::to(&server, "team/app", "v1", 1);
        let second = Pushed::to(&server, "team/app", "v2", 2);
        Pushed::to(&server, "team/app", "v2-too", 2);
        let parts = [of_manifest(&first)];
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": parts}).to_string();
        server.push_manifest("team/app", "multi", INDEX, index.as_bytes());
        let running = is_served.then_some(server);

        let removed = desk.run(&["rm", "--yes", "--repository", "team/app"]);
        let undo = removed
            .log
            .lines()
            .find_map(|line| line.strip_prefix("undo: registry "));
        let undo: Vec<&str> = undo.unwrap().split(' ').collect();
        desk.run(&undo);

        let server = running.unwrap_or_else(|| desk.serve());
        for (tag, digest) in [
            ("v1", &first.digest),
            ("v2", &second.digest),
            ("v2-too", &second.digest),
            ("multi", &super::digest(&index)),
        ] {
            let found = server.get(&format!("/v2/team/app/manifests/{tag}"));
            assert_eq!(found.header("docker-content-digest"), Some(&**digest), "{tag}");
        }
        let nothing = desk.attempt(&undo).unwrap_err();
        assert!(nothing.contains("nothing that was deleted"), "{nothing}");
        server.stop();
    }
}
