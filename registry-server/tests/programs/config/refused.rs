//! Configurations that end the start, and `config check`.

use std::{fs, io, path::Path};

use libtest_mimic::Trial;

use super::{OURS, Setup, USERS, with_http};
use crate::server::{self, end_of};

pub(super) fn trials() -> Vec<Trial> {
    trials![[];
        problems_end_the_process_with_their_place,
        a_misspelled_login_ends_the_process,
        check_reads_users_and_rules,
        check_tells_users_that_there_are_not,
        a_file_in_the_place_of_the_directory_is_named,
        a_command_ends_quietly_when_its_reader_has_gone,
    ]
}

fn problems_end_the_process_with_their_place() {
    let setup = with_http("addr: 5000, secret: s3cret");
    for arguments in [["serve", "config.yml"], ["config", "check"]] {
        let mut command = server::program(OURS);
        command
            .args(arguments)
            .current_dir(setup.directory.path())
            .env("REGISTRY_CONFIGURATION_PATH", "config.yml")
            .env_remove("REGISTRY_HTTP_ADDR");
        let (status, said) = end_of(command);
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(
            said.contains("config.yml:2: http.addr: `5000`: must be an address"),
            "{said}"
        );
        assert!(said.contains("no storage configuration provided"), "{said}");
        assert!(
            said.lines()
                .all(|line| line.starts_with("registry: configuration error: ")),
            "{said}"
        );
        assert!(!said.contains("s3cret"));
    }
    // Nothing was listened on, and no directory made.
    assert!(!setup.root().exists());

    let mut check = server::program(OURS);
    check.args(["config", "check"]).arg(setup.config()).envs([
        ("REGISTRY_HTTP_ADDR", ":5000"),
        ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/nowhere"),
        ("REGISTRY_TITLE", "mine"),
    ]);
    let (status, said) = end_of(check);
    assert_eq!(status.code(), Some(0), "{said}");
    for line in [
        "# REGISTRY_HTTP_ADDR",
        "REGISTRY_TITLE: unknown key, ignored",
        "http.secret: accepted without effect",
        " notices above; they do not prevent a start",
    ] {
        assert!(said.contains(line), "{line} is missing in {said}");
    }
    assert!(!said.contains("s3cret"));
    assert!(!Path::new("/nowhere").exists());
}

fn a_command_ends_quietly_when_its_reader_has_gone() {
    let (reader, writer) = io::pipe().expect("a pipe can be made");
    drop(reader);
    let mut check = server::program(OURS);
    let check = check.args(["config", "check"]).stdout(writer);

    let ended = check.output().expect("the binary was built");

    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}

fn a_misspelled_login_ends_the_process() {
    let setup = Setup::new("version: 0.1\nauthentication: {htpasswd: {path: /users}}\n");
    for variables in [&[][..], &[("REGISTRY_AUTH_HTPASSWD_FILE", "/users")]] {
        let (status, said) = end_of(setup.command(OURS, variables));
        assert_eq!(status.code(), Some(1), "{said}");
        assert!(
            said.contains("config.yml:2: authentication: ") && said.contains("did you mean `auth`?"),
            "{said}"
        );
        assert_eq!(
            said.contains("REGISTRY_AUTH_HTPASSWD_FILE: "),
            !variables.is_empty(),
            "{said}"
        );
    }
    assert!(!setup.root().exists());
}

fn check_reads_users_and_rules() {
    let setup = with_http("");
    let file = |name: &str, text: &str| {
        let path = setup.directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let (users, rules) = (
        file("users", USERS),
        file(
            "rules.yml",
            "rules: [{repository: a, who: everyone, allow: pull}]\n",
        ),
    );
    let broken = file("broken.yml", "rules: [{}]\n");
    for (users, rules, create, complains_of) in [
        (&*users, &*rules, "false", None),
        ("/nowhere/users", &rules, "false", Some("/nowhere/users")),
        ("/nowhere/users", &rules, "true", None),
        ("/proc", &rules, "false", Some("/proc")),
        (&users, "/nowhere/rules.yml", "false", Some("/nowhere/rules.yml")),
        (&users, &broken, "false", Some("broken.yml")),
    ] {
        let mut check = server::program(OURS);
        check.args(["config", "check"]).arg(setup.config()).envs([
            ("REGISTRY_STORAGE", "filesystem"),
            ("REGISTRY_AUTH_HTPASSWD_PATH", users),
            ("REGISTRY_AUTH_HTPASSWD_AUTOCREATE", create),
            ("REGISTRY_ACCESS_RULES", rules),
        ]);
        let (status, said) = end_of(check);
        assert_eq!(status.code(), Some(i32::from(complains_of.is_some())), "{said}");
        let complaint = said
            .lines()
            .find(|line| line.starts_with("registry: "))
            .unwrap_or_default();
        assert!(complaint.contains(complains_of.unwrap_or_default()), "{said}");
    }
}

fn check_tells_users_that_there_are_not() {
    let setup = with_http("");
    let file = |name: &str, text: &str| {
        let path = setup.directory.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let users = file("users", USERS);
    let rules = file(
        "rules.yml",
        "rules:\n  - {repository: '**', who: anne, deny: push}\n",
    );
    let mut check = server::program(OURS);
    check.args(["config", "check"]).arg(setup.config()).envs([
        ("REGISTRY_STORAGE", "filesystem".as_ref()),
        ("REGISTRY_AUTH_HTPASSWD_PATH", users.as_os_str()),
        ("REGISTRY_ACCESS_RULES", rules.as_os_str()),
    ]);
    let (status, said) = end_of(check);
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(
        said.contains("rule 1 is about the user `anne`, and there is no such user in the htpasswd file"),
        "{said}"
    );
    assert!(said.contains("1 notice above"), "{said}");
}

fn a_file_in_the_place_of_the_directory_is_named() {
    let setup = with_http("");
    fs::write(setup.root(), "").unwrap();
    let (status, said) = end_of(setup.command(OURS, &[]));
    assert_eq!(status.code(), Some(1), "{said}");
    for part in [
        "storage.filesystem.rootdirectory (--root): ",
        "is a file, but must be a directory",
    ] {
        assert!(said.contains(part), "{said}");
    }
    fs::remove_file(setup.root()).unwrap();
    let (_, said) = end_of(setup.command(OURS, &[("REGISTRY_ACCESS_RULES", "/nowhere/rules.yml")]));
    assert!(
        said.contains("access.rules (--access): ") && said.contains("/nowhere/rules.yml"),
        "{said}"
    );
}
