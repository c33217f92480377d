//! Access rules in the server, and the command that explains them.

use std::{fs, path::Path, process::Command};

use libtest_mimic::Trial;

use crate::{
    program::{Workbench, argument},
    server::{Server, end_of},
};

const RULES: &str = "
groups:
  ops: [ann]
rules:
  - repository: public/**
    who: everyone
    allow: pull
  - repository: '**'
    who: group:ops
    allow: all
  - repository: secret/**
    who: everyone
    hide: all
";

pub(crate) fn trials() -> Vec<Trial> {
    trials!([];
        it_says_which_rule_decides,
        what_cannot_be_explained_is_no_answer,
        the_server_does_what_the_rules_say,
        the_server_follows_the_file,
        the_server_tells_users_that_there_are_not_whichever_file_changes,
        a_server_without_its_rules_does_not_start,
    )
}

/// Runs `registry access explain RULES …`; returns its exit code and its output.
fn explain(rules: &Path, question: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_registry"));
    command.args(["access", "explain"]).arg(rules).args(question);
    let (status, said) = end_of(command);
    (status.code(), said)
}

fn rules(bench: &Workbench, text: &str) -> std::path::PathBuf {
    let path = bench.path("rules.yml");
    fs::write(&path, text).unwrap();
    path
}

fn it_says_which_rule_decides() {
    let bench = Workbench::new();
    let path = rules(&bench, RULES);
    let at = |line: u32| format!("({}:{line})", path.display());
    for (question, code, said) in [
        (
            ["-", "pull", "public/app"],
            0,
            format!("allowed: rule 1 {}: allow pull for everyone in public/**", at(5)),
        ),
        (
            ["anonymous", "push", "public/app"],
            1,
            "denied: no rule allows anonymous clients to push in public/app".to_owned(),
        ),
        (
            ["ann", "delete", "secret/app"],
            0,
            format!("allowed: rule 2 {}: allow all for group:ops in **", at(8)),
        ),
        (
            ["eve", "pull", "secret/app"],
            1,
            format!("hidden: rule 3 {}: hide all for everyone in secret/**", at(11)),
        ),
        (
            ["user:anonymous", "overwrite", "team/app"],
            1,
            "denied: no rule allows anonymous to overwrite in team/app".to_owned(),
        ),
    ] {
        assert_eq!(
            explain(&path, &question),
            (Some(code), format!("{said}\n")),
            "{question:?}"
        );
    }
}

fn what_cannot_be_explained_is_no_answer() {
    let bench = Workbench::new();
    let broken = rules(&bench, &RULES.replace("allow: pull", "permit: pull"));
    let (code, said) = explain(&broken, &["ann", "pull", "a"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("rules.yml:7: unknown key `permit`"), "{said}");

    let whole = rules(&bench, RULES);
    for (path, question, reason) in [
        (
            &*whole,
            ["ann", "read", "a"],
            "possible values: pull, push, overwrite, delete",
        ),
        (&whole, ["ann", "pull", "A"], "`A`: a repository name is made of"),
        (&whole, ["everyone", "pull", "a"], "`everyone` is not a user name"),
        (
            &bench.path("none.yml"),
            ["ann", "pull", "a"],
            "none.yml: No such file",
        ),
    ] {
        let (code, said) = explain(path, &question);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(reason), "{said}");
    }
}

fn the_server_does_what_the_rules_say() {
    let bench = Workbench::new();
    let path = rules(&bench, RULES);
    let server = Server::ours_with(&bench.path("root"), &["--access", argument(&path)]);

    server.says("nobody can log in here");
    for (method, target, status) in [
        ("GET", "/v2/", 200),
        ("GET", "/v2/_catalog", 200),
        ("GET", "/v2/public/app/tags/list", 404),
        ("POST", "/v2/public/app/blobs/uploads/", 403),
        ("GET", "/v2/team/app/tags/list", 403),
        ("POST", "/v2/team/app/blobs/uploads/", 403),
        ("POST", "/v2/secret/app/blobs/uploads/", 404),
    ] {
        // Whom a header names is nobody's business while nobody can log in.
        for headers in [&[][..], &[("Authorization", "Basic YW5uOnNlY3JldA==")]] {
            server.request(method, target, headers, b"").expect_status(status);
        }
    }
}

fn the_server_follows_the_file() {
    let bench = Workbench::new();
    let path = rules(&bench, RULES);
    let server = Server::ours_with(&bench.path("root"), &["--access", argument(&path)]);
    let pull = |status| {
        server
            .request("GET", "/v2/team/app/tags/list", &[], b"")
            .expect_status(status);
    };
    pull(403);

    fs::write(&path, "rules: nonsense").unwrap();
    server.says("the previous rules stay in effect");
    pull(403);

    fs::write(&path, RULES.replace("public/**", "team/**")).unwrap();
    server.says("the access rules were reloaded");
    pull(404);
}

fn the_server_tells_users_that_there_are_not_whichever_file_changes() {
    const USERS: &str = "ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\nbob:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n";
    let bench = Workbench::new();
    let path = rules(
        &bench,
        "rules:\n  - {repository: a, who: [ann, bob], allow: all}\n",
    );
    let users = bench.path("users");
    fs::write(&users, USERS.replace("ann", "anna")).unwrap();
    let arguments = ["--access", argument(&path), "--htpasswd", argument(&users)];
    let server = Server::ours_with(&bench.path("root"), &arguments);
    let absent = |name: &str| {
        format!("rule 1 is about the user `{name}`, and there is no such user in the htpasswd file")
    };
    server.says(&absent("ann"));

    fs::write(&users, USERS.replace("bob", "robert")).unwrap();
    server.says(&absent("bob"));

    fs::write(
        &path,
        "rules:\n  - {repository: a, who: [ann, carol], allow: all}\n",
    )
    .unwrap();
    server.says(&absent("carol"));
}

fn a_server_without_its_rules_does_not_start() {
    let bench = Workbench::new();
    let serve = |path: &Path| {
        let mut command = Server::ours_command(&bench.path("root"));
        command.arg("--access").arg(path);
        let (status, said) = end_of(command);
        assert!(!status.success());
        said
    };
    let missing = serve(&bench.path("none.yml"));
    assert!(
        missing.contains("cannot read the access rules") && missing.contains("none.yml"),
        "{missing}"
    );
    let broken = serve(&rules(&bench, "rules:\n  - repository: a\n    who: ann\n"));
    assert!(
        broken.contains("rules.yml:2: a rule must have exactly one of `allow`, `deny` and `hide`"),
        "{broken}"
    );
}
