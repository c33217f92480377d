//! `registry ls`.

use libtest_mimic::Trial;
use serde_json::json;

use super::{Desk, Pushed};
use crate::program::output_of;

pub(super) fn trials() -> Vec<Trial> {
    trials!([];
        it_lists_the_same_beside_a_server_and_without_one,
        it_lists_sizes_for_programs,
        it_tells_what_cannot_be_listed,
        a_storage_without_a_directory_is_named,
    )
}

fn it_lists_the_same_beside_a_server_and_without_one() {
    let desk = Desk::new();
    let server = desk.serve();
    Pushed::to(&server, "team/app", "v1", 1);
    Pushed::to(&server, "team/app", "v2", 2);
    Pushed::to(&server, "other", "latest", 3);
    let list = || {
        let all = desk.run(&["ls"]).text().to_owned();
        (all, desk.run(&["ls", "team/app"]).text().to_owned())
    };

    let beside = list();

    server.says("an operator runs a command");
    assert_eq!(beside, ("other\nteam/app".to_owned(), "v1\nv2".to_owned()));
    server.stop();
    assert_eq!(list(), beside);
}

fn it_lists_sizes_for_programs() {
    let desk = Desk::new();
    let server = desk.serve();
    let (one, two) = (
        Pushed::to(&server, "team/app", "v1", 1),
        Pushed::to(&server, "team/app", "v2", 2),
    );
    // The first manifest has no tag any more.
    let delete = "/v2/team/app/manifests/v1";
    server.request("DELETE", delete, &[], b"").expect_status(202);

    let repositories = desk.items(&["ls", "-l"]);
    let tags = desk.items(&["ls", "-l", "--all", "team/app"]);
    let plain = desk.run(&["ls", "-l", "team/app"]);

    let bytes = one.size + two.size;
    assert_eq!(
        repositories,
        [json!({"repository": "team/app", "tags": 1, "manifests": 2, "bytes": bytes})]
    );
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let item = |tag: Option<&str>, image: &Pushed| json!({"tag": tag, "digest": image.digest, "media_type": media_type, "bytes": image.size});
    assert_eq!(tags, [item(Some("v2"), &two), item(None, &one)]);
    assert_eq!(
        plain.text(),
        format!("v2\t{}\t{}\t{media_type}", two.digest, two.size)
    );
}

fn it_tells_what_cannot_be_listed() {
    let desk = Desk::new();
    let server = desk.serve();
    let image = Pushed::to(&server, "team/app", "v1", 1);

    let unknown = desk.attempt(&["ls", "team/none"]).unwrap_err();
    assert!(unknown.contains("there is no repository team/none"), "{unknown}");
    let malformed = desk.attempt(&["ls", "Team"]).unwrap_err();
    assert!(malformed.contains("exit status: 1"), "{malformed}");

    std::fs::remove_file(desk.blob(&image.digest)).unwrap();
    let lost = desk.attempt(&["ls", "-l", "team/app"]).unwrap_err();
    assert!(lost.contains("exit status: 1"), "{lost}");
    assert!(lost.contains("team/app:v1: the manifest is missing"), "{lost}");
    assert!(lost.contains(&image.digest), "{lost}");
    for command in [&["ls", "-l"][..], &["du"]] {
        let incomplete = desk.attempt(command).unwrap_err();
        assert!(incomplete.contains("exit status: 1"), "{incomplete}");
        assert!(
            incomplete.contains("1 of its tags, links and manifests cannot be read"),
            "{incomplete}"
        );
    }
}

fn a_storage_without_a_directory_is_named() {
    let desk = Desk::new();
    let none = desk.attempt(&["ls"]).unwrap_err();
    assert!(none.contains("holds no registry"), "{none}");
    assert!(!desk.root().exists());

    let config = desk.bench.path("memory.yml");
    std::fs::write(&config, "version: 0.1\nstorage: {inmemory: {}}\n").unwrap();
    let mut command = desk.bench.command(env!("CARGO_BIN_EXE_registry"));
    command.args(["ls", "--config"]).arg(config);
    let memory = output_of(command).unwrap_err();
    assert!(memory.contains("the memory of the server"), "{memory}");
}
