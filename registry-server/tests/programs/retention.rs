//! Rules of retention: the commands of the guide, `docs/retention.md`.

use std::{
    fs::{self, File},
    path::Path,
    time::{Duration, SystemTime},
};

use libtest_mimic::Trial;

use crate::{
    guide::block,
    image::{OCI_INDEX, sha256},
    program::{Workbench, argument},
    server::{Server, end_of, program},
};

const GUIDE: &str = include_str!("../../../docs/retention.md");

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) fn trials() -> Vec<Trial> {
    trials!([];
        the_commands_of_the_guide_keep_the_last_tags,
        a_rule_that_drops_most_of_its_tags_has_to_be_forced,
        no_tag_is_too_old_before_a_server_has_run_for_a_day,
        a_damaged_manifest_is_named_by_every_command,
        rules_that_cannot_be_used_prevent_the_start,
    )
}

/// Runs a command of the guide, with other paths. Returns its output, and whether it succeeded.
fn follows(name: &str, root: &Path, rules: &Path) -> (bool, String) {
    let line = block(GUIDE, name);
    let mut words = line.split_whitespace();
    assert_eq!(words.next(), Some("registry"));
    let mut command = program(env!("CARGO_BIN_EXE_registry"));
    for word in words {
        command.arg(match word {
            "data" => argument(root),
            "retention.yml" => argument(rules),
            word => word,
        });
    }
    let (status, output) = end_of(command);
    (status.success(), output)
}

fn index(note: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[],"annotations":{{"note":"{note}"}}}}"#
    )
}

/// Makes a tag older, if there is no history.
pub(crate) fn age(root: &Path, repository: &str, tag: &str, days: u32) {
    let link = format!("docker/registry/v2/repositories/{repository}/_manifests/tags/{tag}/current/link");
    let link = File::options()
        .write(true)
        .open(root.join(link))
        .expect("the tag exists");
    link.set_modified(SystemTime::now() - days * DAY)
        .expect("the time can be set");
}

/// Leaves the note of a server that has run until now, and trusted its clock.
pub(crate) fn note_the_time(root: &Path) {
    let notes = root.join("docker/registry/v2/_notes");
    fs::create_dir_all(&notes).expect("the directory can be made");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seen = now.expect("it is after 1970").as_secs();
    fs::write(notes.join("clock"), format!(r#"{{"seen":{seen}}}"#)).expect("the note can be written");
}

fn the_commands_of_the_guide_keep_the_last_tags() {
    let bench = Workbench::new();
    let (root, rules) = (bench.path("data"), bench.path("retention.yml"));
    fs::write(&rules, block(GUIDE, "retention.yml")).unwrap();
    note_the_time(&root);
    let server = Server::ours(&root);
    let mut tags: Vec<(String, u32)> = (1..=12)
        .map(|number| (format!("v{number:02}"), 121 - number))
        .collect();
    tags.extend([
        ("latest".to_owned(), 500),
        ("pr-7".to_owned(), 20),
        ("pr-8".to_owned(), 1),
    ]);
    for (tag, days) in &tags {
        server.push_manifest("team/app", tag, OCI_INDEX, index(tag).as_bytes());
        age(&root, "team/app", tag, *days);
    }
    // As if they had been pushed to a server that kept no history.
    fs::remove_dir_all(root.join("docker/registry/v2/_history")).expect("the server keeps a history");

    // Beside the running server.
    let (explained, output) = follows("explain", &root, &rules);
    assert!(explained, "{output}");
    for line in [
        "keep  team/app:latest  always kept (rule 1, ",
        "drop  team/app:pr-7  number 2 of the newest, 20d old (rule 3, ",
        "keep  team/app:pr-8  1d old (rule 3, ",
        "drop  team/app:v01  number 12 of the newest, 120d old (rule 2, ",
        "keep  team/app:v03  number 10 of the newest (rule 2, ",
        "12 tags kept, 3 dropped",
    ] {
        assert!(output.contains(line), "{line}\n{output}");
    }
    let (previewed, output) = follows("preview", &root, &rules);
    for line in [
        "drop  team/app:v02  number 11 of the newest, 119d old (rule 2, ",
        "would drop 3 tags and 3 manifests; nothing was changed",
    ] {
        assert!(previewed && output.contains(line), "{line}\n{output}");
    }
    assert!(!output.contains("keep "), "{output}");
    server.get("/v2/team/app/manifests/v01");
    let (ran, output) = follows("run", &root, &rules);
    assert!(
        ran && output.contains("dropped 3 tags and 3 manifests"),
        "{output}"
    );

    for (tag, status) in [
        ("v01", 404),
        ("v02", 404),
        ("pr-7", 404),
        ("v03", 200),
        ("latest", 200),
    ] {
        let response = server.request("GET", &format!("/v2/team/app/manifests/{tag}"), &[], b"");
        assert_eq!(response.status, status, "{tag}");
    }
}

/// Also without a server, and while collections are held.
fn a_rule_that_drops_most_of_its_tags_has_to_be_forced() {
    let bench = Workbench::new();
    let (root, rules) = (bench.path("data"), bench.path("retention.yml"));
    fs::write(
        &rules,
        "rules:\n- {repository: '**', tags: pr-*, keep: {younger: 14d}}\n",
    )
    .unwrap();
    note_the_time(&root);
    let server = Server::ours(&root);
    for tag in ["pr-1", "v1"] {
        server.push_manifest("team/app", tag, OCI_INDEX, index(tag).as_bytes());
        age(&root, "team/app", tag, 30);
    }
    fs::remove_dir_all(root.join("docker/registry/v2/_history")).expect("the server keeps a history");
    let registry = |arguments: &[&str]| {
        let mut command = program(env!("CARGO_BIN_EXE_registry"));
        command.args(arguments).arg("--root").arg(&root);
        let (status, output) = end_of(command);
        (status.success(), output)
    };
    let run =
        |options: &[&str]| registry(&[&["retention", "run", "--rules", argument(&rules)], options].concat());

    let (ran, output) = run(&[]);
    for part in [
        "nothing was dropped: more than half of its tags, 1 of 1, would be dropped by rule 1 (",
        "add --force if that is intended",
    ] {
        assert!(!ran && output.contains(part), "{output}");
    }
    let (held, output) = registry(&["garbage-collect", "--hold", "1h"]);
    assert!(held, "{output}");
    let (previewed, output) = run(&["--dry-run", "--json"]);
    assert!(previewed && output.contains(r#""drops":1,"keeps":0"#), "{output}");
    let (ran, output) = run(&["--force"]);
    assert!(!ran && output.contains("--hold 0"), "{output}");
    server.get("/v2/team/app/manifests/pr-1");

    server.stop();
    let (ran, output) = run(&["--force"]);
    assert!(
        ran && output.contains("dropped 1 tag and 1 manifest\n"),
        "{output}"
    );
    let server = Server::ours(&root);
    let gone = server.request("GET", "/v2/team/app/manifests/pr-1", &[], b"");
    gone.expect_status(404);
    server.get("/v2/team/app/manifests/v1");
}

/// Clients of the registry had no chance to renew their tags. A server for a copy of a directory is new, too.
fn no_tag_is_too_old_before_a_server_has_run_for_a_day() {
    let bench = Workbench::new();
    let (root, rules) = (bench.path("data"), bench.path("retention.yml"));
    fs::write(&rules, "rules:\n- {repository: '**', keep: {younger: 14d}}\n").unwrap();
    let server = Server::ours(&root);
    server.push_manifest("team/app", "v1", OCI_INDEX, index("v1").as_bytes());
    age(&root, "team/app", "v1", 30);
    fs::remove_dir_all(root.join("docker/registry/v2/_history")).expect("the server keeps a history");
    let says_why = |what: &[&str]| {
        let mut command = program(env!("CARGO_BIN_EXE_registry"));
        command.arg("retention").args(what).arg("--rules").arg(&rules);
        command.arg("--root").arg(&root);
        let (status, output) = end_of(command);
        assert!(
            status.success() && output.contains("ages count once a server has run for 24 hours"),
            "{what:?}: {output}"
        );
    };

    says_why(&["explain"]);
    says_why(&["run", "--dry-run", "--json"]);
    says_why(&["run", "--force"]);
    server.get("/v2/team/app/manifests/v1");
    server.stop();
    says_why(&["run", "--force"]);

    Server::ours(&root).get("/v2/team/app/manifests/v1");
}

fn a_damaged_manifest_is_named_by_every_command() {
    let bench = Workbench::new();
    let (root, rules) = (bench.path("data"), bench.path("retention.yml"));
    fs::write(&rules, "rules:\n- {repository: '**', keep: {newest: 1}}\n").unwrap();
    let server = Server::ours(&root);
    for tag in ["v1", "v2"] {
        server.push_manifest("team/app", tag, OCI_INDEX, index(tag).as_bytes());
    }
    for (tag, days) in [("v1", 30), ("v2", 20)] {
        age(&root, "team/app", tag, days);
    }
    fs::remove_dir_all(root.join("docker/registry/v2/_history")).expect("the server keeps a history");
    let digest = sha256(index("v1").as_bytes());
    let hex = digest.hex();
    let data = format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
    fs::write(root.join(data), "damaged").unwrap();
    let expected = format!("registry: team/app: the manifest {digest} is damaged");

    for command in [&["explain"][..], &["run", "--dry-run"], &["run", "--force"]] {
        for json in [false, true] {
            let mut program = program(env!("CARGO_BIN_EXE_registry"));
            program.arg("retention").args(command).arg("--root").arg(&root);
            program.arg("--rules").arg(&rules).args(json.then_some("--json"));

            let (status, output) = end_of(program);

            assert_eq!(status.code(), Some(1), "{output}");
            assert!(output.contains(&expected), "{command:?}: {output}");
            let item = r#"{"failure":{"repository":"team/app","error":"the manifest "#;
            assert_eq!(output.contains(item), json, "{command:?}: {output}");
            assert!(output.contains("its tags stay"), "{output}");
        }
    }
    server.get("/v2/team/app/manifests/v2");
}

fn rules_that_cannot_be_used_prevent_the_start() {
    let bench = Workbench::new();
    let rules = bench.path("retention.yml");
    fs::write(&rules, "rules:\n- repository: team/**\n  keep: {newest: none}\n").unwrap();
    let mut command = Server::ours_command(&bench.path("data"));
    command.env("REGISTRY_STORAGE_MAINTENANCE_RETENTION_RULES", &rules);

    let (status, output) = end_of(command);

    let expected = format!(
        "{}:3: rules[0].keep.newest: `none`: must be a number",
        rules.display()
    );
    assert!(!status.success() && output.contains(&expected), "{output}");
}
