//! `registry history` and `registry restore`, as "Undo a mistake" in `docs/operating.md` uses them.

use libtest_mimic::Trial;
use serde_json::json;

use super::{Desk, Pushed};

pub(super) fn trials() -> Vec<Trial> {
    trials!([];
        a_deleted_tag_comes_back_beside_a_server_and_without_one,
        a_deleted_manifest_comes_back_with_its_tags,
        a_tag_that_was_overwritten_comes_back_under_another_name,
        what_can_be_restored_is_listed,
        what_cannot_be_restored_is_said,
    )
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
