//! Rules in a file: accepted and refused texts, warnings, and reloads.

#![cfg(feature = "yaml")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::{collection::vec, prelude::*, sample::select};
use registry_auth_rules::{FileCheck, Rules, RulesFile};
use registry_core::{Action, RepositoryName};
use std::{fs, os::unix::fs::symlink, time::Duration};
use tempfile::TempDir;
use tokio::time::advance;

fn refused(yaml: &str) -> String {
    Rules::parse(yaml, "rules.yml").unwrap_err().to_string()
}

fn warnings(yaml: &str) -> Vec<String> {
    let rules = Rules::parse(yaml, "rules.yml").unwrap();
    rules.warnings().iter().map(ToString::to_string).collect()
}

#[test]
fn the_whole_grammar_is_read() {
    let rules = Rules::parse(
        "\u{feff}groups:\r
  ops: [ann, bob]\r
  ci: robot\r
rules:\r
  # A comment.\r
  - repository: [public/**, library/*]\r
    who: everyone\r
    allow: pull\r
  - {repository: 'users/{user}/**', who: authenticated, allow: all}\r
  - repository: '**'\r
    who:\r
      - group:ops\r
      - user:eve\r
      - 0123\r
      - anonymous\r
    hide: [overwrite, push]\r
  - repository: '**'\r
    who: dan\r
    deny: [delete]\r
",
        "rules.yml",
    )
    .unwrap();
    let read: Vec<String> = rules
        .rules()
        .iter()
        .map(|rule| format!("{}: {rule}", rule.origin().unwrap()))
        .collect();
    assert_eq!(
        read,
        [
            "rules.yml:6: allow pull for everyone in public/**, library/*",
            "rules.yml:9: allow all for authenticated in users/{user}/**",
            "rules.yml:10: hide push, overwrite for group:ops, user:eve, user:0123, anonymous in **",
            "rules.yml:17: deny delete for user:dan in **",
        ]
    );
    assert!(rules.warnings().is_empty());
    let app = RepositoryName::parse("app").unwrap();
    assert_eq!(
        rules.explain(Some("ann"), &[], Action::Push, &app).to_string(),
        "hidden: rule 3 (rules.yml:10): hide push, overwrite for group:ops, user:eve, user:0123, anonymous in **"
    );
    assert_eq!(
        rules.explain(None, &[], Action::Pull, &app).to_string(),
        "denied: no rule allows anonymous clients to pull in app"
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table: one mistake a row")]
fn what_can_be_a_mistake_is_refused_with_its_line() {
    let rule = |text: &str| format!("rules:\n  - repository: a\n    who: ann\n{text}\n");
    for (yaml, message) in [
        (String::new(), "rules.yml: there are no rules: begin with `rules:` and a list"),
        ("# nothing\n".into(), "rules.yml: there are no rules: begin with `rules:` and a list"),
        ("rules: []\n".into(), "rules.yml: there are no rules: begin with `rules:` and a list"),
        (
            "rules:\n  - repository: a\n    whom: ann\n    allow: pull\n".into(),
            "rules.yml:3: unknown key `whom`; the keys here are `repository`, `who`, `allow`, `deny`, `hide`",
        ),
        ("rulez: []\n".into(), "rules.yml:1: unknown key `rulez`; the keys here are `groups`, `rules`"),
        ("rules:\n".into(), "rules.yml: there are no rules: begin with `rules:` and a list"),
        ("---\n".into(), "rules.yml: there are no rules: begin with `rules:` and a list"),
        ("rules: 5\n".into(), "rules.yml:1: a list is expected here"),
        ("- rules\n".into(), "rules.yml:1: a section with lines `key: value` is expected here"),
        ("hello\n".into(), "rules.yml:1: a section with lines `key: value` is expected here"),
        (
            "rules:\n  - repository: a\n    allow: pull\n".into(),
            "rules.yml:3: `who` is missing",
        ),
        (
            "rules:\n  - repository: a\n    who:\n    allow: pull\n".into(),
            "rules.yml:3: a text or a list of texts is expected here; a text that begins with `{` needs quotes",
        ),
        (
            "rules:\n  - {repository: a, who: !ann, allow: pull}\n".into(),
            "rules.yml:2: this type (`!name`) is not supported here; a text that begins with `!` needs quotes",
        ),
        (
            "rules:\n\t- {repository: a, who: ann, allow: pull}\n".into(),
            "rules.yml:2: this is not YAML: tabs disallowed within this context (block indentation); indent lines with spaces, not with tabs",
        ),
        (
            "rules:\n  - {repository: a, who: ann, allow: pull}\n---\nrules: []\n".into(),
            "rules.yml:4: a second document begins above, after `---`; rules must be one document",
        ),
        (
            rule("    allow: [pull,\n      read]"),
            "rules.yml:5: `read` is not an action; the actions are `pull`, `push`, `overwrite`, `delete` and `all`",
        ),
        (rule("    allow: []"), "rules.yml:2: a rule needs at least one action"),
        (
            "rules:\n  - repository: []\n    who: ann\n    allow: pull\n".into(),
            "rules.yml:2: a rule needs at least one repository",
        ),
        (
            "rules:\n  - repository: a\n    who: []\n    allow: pull\n".into(),
            "rules.yml:2: a rule needs at least one user, group or `everyone`",
        ),
        (rule(""), "rules.yml:2: a rule must have exactly one of `allow`, `deny` and `hide`, but this one has 0"),
        (
            rule("    allow: pull\n    deny: push"),
            "rules.yml:2: a rule must have exactly one of `allow`, `deny` and `hide`, but this one has 2",
        ),
        (
            "groups:\n  ops: [ann]\nrules:\n  - repository: a\n    who:\n      - ops\n    allow: pull\n".into(),
            "rules.yml:6: `ops` is a group here: write `group:ops`, or `user:ops` for the user of that name",
        ),
        (
            "groups:\n  everyone: [ann]\nrules:\n  - {repository: a, who: ann, allow: pull}\n".into(),
            "rules.yml:2: a group cannot be named `everyone`",
        ),
        (
            "groups:\n  ops:\n    - ann\n    - group:dev\nrules:\n  - {repository: a, who: ann, allow: pull}\n".into(),
            "rules.yml:4: `group:dev` cannot be a member of a group: members are users, by name",
        ),
        (
            "rules:\n  - {repository: a, who: 'team:x', allow: pull}\n".into(),
            "rules.yml:2: `team:x` must be `everyone`, `anonymous`, `authenticated`, a user, `user:NAME` or \
             `group:NAME`",
        ),
        (
            "rules:\n  - {repository: Team/app, who: ann, allow: pull}\n".into(),
            "rules.yml:2: no repository matches `Team`: names are lower-case letters and digits, joined by `.`, `_`, \
             `__`, `-` or `/`",
        ),
        (
            "rules:\n  - repository: **\n    who: ann\n    allow: pull\n".into(),
            "rules.yml:2: `*name` refers to an anchor `&name`, and there is none; a text that begins with `*` needs quotes",
        ),
        (
            "rules:\n  - repository: a\n    repository: b\n    who: ann\n    allow: pull\n".into(),
            "rules.yml:3: duplicate key `repository`",
        ),
    ] {
        assert_eq!(refused(&yaml), message, "{yaml}");
    }
    let braces = refused("rules:\n  - repository: {user}/**\n    who: ann\n    allow: pull\n");
    assert!(
        braces.starts_with("rules.yml:2: ") && braces.ends_with("needs quotes"),
        "{braces}"
    );
}

#[test]
fn a_document_may_have_a_beginning_and_an_end() {
    for (before, behind) in [
        ("---\n", "---\n"),
        ("%YAML 1.2\n---\n", "...\n"),
        ("\u{feff}", "---\n# nothing\n"),
    ] {
        let rules = Rules::parse(&format!("{before}{ONE}{behind}"), "rules.yml").unwrap();
        assert_eq!(rules.rules().len(), 1);
    }
}

#[test]
fn many_rules_may_be_about_the_same_users() {
    let mut text = String::from("rules:\n  - {repository: a, who: &ops [ann, bob], allow: pull}\n");
    for number in 0..1000 {
        text.push_str(&format!(
            "  - {{repository: a{number}, who: *ops, allow: pull}}\n"
        ));
    }
    assert_eq!(Rules::parse(&text, "rules.yml").unwrap().rules().len(), 1001);
}

#[test]
fn a_keyword_in_another_case_is_no_user() {
    for (who, message) in [
        (
            "Everyone",
            "rules.yml:2: `Everyone` must be written `everyone`; for a user of that name, write `user:Everyone`",
        ),
        (
            "ANONYMOUS",
            "rules.yml:2: `ANONYMOUS` must be written `anonymous`; ",
        ),
        (
            "'Authenticated'",
            "rules.yml:2: `Authenticated` must be written `authenticated`; ",
        ),
        (
            "[ann, EVERYONE]",
            "rules.yml:2: `EVERYONE` must be written `everyone`; ",
        ),
        ("'Group:ops'", "rules.yml:2: `Group:ops` must be "),
    ] {
        let said = refused(&format!(
            "rules:\n  - {{repository: '**', who: {who}, deny: push}}\n"
        ));
        assert!(said.starts_with(message), "{said}");
    }
    assert!(
        Rules::parse(
            "rules:\n  - {repository: '**', who: 'user:Everyone', deny: push}\n",
            "rules.yml"
        )
        .is_ok()
    );
    let member = refused("groups:\n  ops: [Everyone]\nrules:\n  - {repository: a, who: ann, allow: pull}\n");
    assert!(
        member.starts_with("rules.yml:2: `Everyone` cannot be a member"),
        "{member}"
    );
}

#[test]
fn users_that_there_are_not_are_told_with_their_line() {
    let rules = Rules::parse(
        "groups:
  ops: [ann, bo]
rules:
  - {repository: a, who: [group:ops, everyone, anne], allow: pull}
  - repository: b
    who: user:ann
    allow: pull
",
        "rules.yml",
    )
    .unwrap();
    let absent = |known: &[&str]| -> Vec<String> {
        let warnings = rules.absent_users(|name| known.contains(&name));
        warnings.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        absent(&["ann", "bob"]),
        [
            "rules.yml:2: the group `ops` has the member `bo`, and there is no such user",
            "rules.yml:4: rule 1 is about the user `anne`, and there is no such user",
        ]
    );
    assert!(absent(&["ann", "anne", "bo"]).is_empty());
}

#[test]
fn a_file_in_another_encoding_is_named() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("rules.yml");
    let opened = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        RulesFile::open(&path).map_err(|error| error.to_string())
    };
    let units = || ONE.encode_utf16();
    for bytes in [
        units().flat_map(u16::to_le_bytes).collect::<Vec<u8>>(),
        units().flat_map(u16::to_be_bytes).collect(),
        [0xff, 0xfe]
            .into_iter()
            .chain(units().flat_map(u16::to_le_bytes))
            .collect(),
        [0xfe, 0xff]
            .into_iter()
            .chain(units().flat_map(u16::to_be_bytes))
            .collect(),
    ] {
        let error = opened(&bytes).unwrap_err();
        assert!(
            error.ends_with("rules.yml: this file is UTF-16: save it as UTF-8"),
            "{error}"
        );
    }
    let error = opened(b"# one\n# caf\xe9\n").unwrap_err();
    assert!(
        error.ends_with("rules.yml: line 2: this file is not UTF-8: save it as UTF-8"),
        "{error}"
    );
    assert!(opened(format!("\u{feff}{ONE}").as_bytes()).is_ok());
}

#[test]
fn what_is_hardly_meant_is_warned_of_with_its_line() {
    assert_eq!(
        warnings(
            "groups:
  ops: [ann]
  empty: []
rules:
  - {repository: [team/**, '*'], who: [everyone], allow: [pull, push]}
  - {repository: team/app, who: ann, deny: push}
  - {repository: team/app, who: ann, deny: [push, delete]}
  - {repository: [one, team/x-*], who: authenticated, hide: pull}
  - {repository: '**', who: group:ops, allow: all}
  - {repository: x/y, who: user:ann, allow: delete}
  - {repository: x/y, who: user:bob, allow: delete}
  - {repository: '{user}', who: anonymous, allow: delete}
  - {repository: x/y, who: group:others, allow: pull}
"
        ),
        [
            "rules.yml:3: the group `empty` has no members",
            "rules.yml:6: rule 2 never decides: rule 1 decides before it",
            "rules.yml:8: rule 4 never decides: rule 1 decides before it",
            "rules.yml:10: rule 6 never decides: rule 5 decides before it",
            "rules.yml:12: rule 8 never applies: anonymous clients have no `{user}`",
            "rules.yml:13: rule 9 is about the group `others`, which the rules do not define: its members are those that logins provide",
        ]
    );
    assert_eq!(
        warnings(
            "rules:
  - {repository: a/**, who: everyone, allow: pull}
  - {repository: b/**, who: everyone, deny: pull}
  - {repository: [a/x, b/x], who: ann, allow: pull}
"
        ),
        ["rules.yml:4: rule 3 never decides: rules 1, 2 decide before it"]
    );
}

#[test]
fn a_user_without_a_namespace_is_told_why() {
    let rules = "rules:\n  - {repository: 'users/{user}/**', who: authenticated, allow: all}\n";
    let rules = Rules::parse(rules, "rules.yml").unwrap();
    let repository = RepositoryName::parse("users/ann").unwrap();
    let said = |user: &str| {
        rules
            .explain(Some(user), &[], Action::Pull, &repository)
            .to_string()
    };
    assert_eq!(
        said("Ann"),
        "denied: no rule allows Ann to pull in users/ann; `{user}` never matches, as no repository has a component `Ann`"
    );
    assert_eq!(said("bob"), "denied: no rule allows bob to pull in users/ann");
    assert!(said("a/b").ends_with("no repository has a component `a/b`"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_text_makes_it_panic(
        pieces in vec(select(vec![
            "rules:", "groups:", "\n", "\n  ", "\n    ", "- ", "repository: ", "who: ", "allow: ", "deny: ", "hide: ", "all",
            "pull", "[", "]", "{", "}", ",", ": ", "'", "\"", "*", "**", "&a ", "*a", "<<: ", "{user}", "group:", "ann", "é", "0",
            "!!", "---", "#", "|", "null", "\t", "\u{feff}",
        ]), 0..40),
    ) {
        if let Err(error) = Rules::parse(&pieces.concat(), "rules.yml") {
            prop_assert!(error.to_string().starts_with("rules.yml:"));
        }
    }
}

const ONE: &str = "rules:\n  - {repository: one, who: everyone, allow: pull}\n";
const TWO: &str = "rules:\n  - {repository: two, who: everyone, allow: pull}\n";

/// Time for which a file has to stay the same.
const SETTLED: Duration = Duration::from_millis(200);

/// Checks a file after the time in which it settles.
async fn settled(file: &RulesFile) -> FileCheck {
    advance(SETTLED).await;
    file.check_now()
}

/// Returns the first repository of the first rule.
fn first(file: &RulesFile) -> String {
    file.rules()
        .rules()
        .first()
        .unwrap()
        .repositories()
        .first()
        .unwrap()
        .to_string()
}

#[tokio::test(start_paused = true)]
async fn a_file_is_followed_however_it_is_replaced() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("rules.yml");
    fs::write(&path, ONE).unwrap();
    let file = RulesFile::open(&path).unwrap();
    assert_eq!(
        (file.check_now(), first(&file)),
        (FileCheck::Unchanged, "one".into())
    );

    // In place: content is loaded when a check finds it again after some time.
    fs::write(&path, &TWO[..20]).unwrap();
    assert_eq!(file.check_now(), FileCheck::Changing);
    advance(SETTLED).await;
    fs::write(&path, TWO).unwrap();
    assert_eq!(
        (file.check_now(), first(&file)),
        (FileCheck::Changing, "one".into())
    );
    assert_eq!(
        (settled(&file).await, first(&file)),
        (FileCheck::Reloaded, "two".into())
    );
    assert_eq!(file.check_now(), FileCheck::Unchanged);

    // By rename.
    let new = directory.path().join("new.yml");
    fs::write(&new, ONE).unwrap();
    fs::rename(&new, &path).unwrap();
    assert_eq!(
        (file.check_now(), settled(&file).await, first(&file)),
        (FileCheck::Changing, FileCheck::Reloaded, "one".into())
    );
}

#[tokio::test(start_paused = true)]
async fn a_file_behind_swapped_links_is_followed() {
    // As Kubernetes mounts it: `rules.yml -> ..data/rules.yml`, `..data -> <a directory of its own>`.
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    for (version, text) in [("v1", ONE), ("v2", TWO)] {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("rules.yml"), text).unwrap();
    }
    symlink("v1", at("..data")).unwrap();
    symlink("..data/rules.yml", at("rules.yml")).unwrap();
    let file = RulesFile::open(at("rules.yml")).unwrap();

    symlink("v2", at("..next")).unwrap();
    fs::rename(at("..next"), at("..data")).unwrap();
    assert_eq!(
        (file.check_now(), settled(&file).await, first(&file)),
        (FileCheck::Changing, FileCheck::Reloaded, "two".into())
    );
}

#[tokio::test(start_paused = true)]
async fn a_broken_or_vanished_file_keeps_the_rules_and_says_so_once() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("rules.yml");
    fs::write(&path, ONE).unwrap();
    let file = RulesFile::open(&path).unwrap();
    let kept = async |reason: &str| {
        assert_eq!(file.check_now(), FileCheck::Changing);
        let FileCheck::Kept(said) = settled(&file).await else {
            panic!("{reason}: it was not kept")
        };
        assert!(said.contains("rules.yml") && said.contains(reason), "{said}");
        assert_eq!(
            (file.check_now(), first(&file)),
            (FileCheck::Unchanged, "one".into())
        );
    };

    fs::write(
        &path,
        "rules:\n  - {repository: two, who: everyone, permit: pull}\n",
    )
    .unwrap();
    kept(":2: unknown key `permit`").await;
    fs::write(&path, "").unwrap();
    kept("there are no rules").await;
    fs::remove_file(&path).unwrap();
    kept("No such file").await;
    fs::create_dir(&path).unwrap();
    kept("directory").await;

    fs::remove_dir(&path).unwrap();
    fs::write(&path, TWO).unwrap();
    assert_eq!(
        (file.check_now(), settled(&file).await, first(&file)),
        (FileCheck::Changing, FileCheck::Reloaded, "two".into())
    );
}

/// A part of a file can be valid, and lack the denials at its end.
#[tokio::test(start_paused = true)]
async fn checks_in_quick_succession_do_not_load_a_part_of_a_file() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("rules.yml");
    fs::write(&path, ONE).unwrap();
    let file = RulesFile::open(&path).unwrap();

    fs::write(&path, TWO).unwrap();
    for _ in 0..3 {
        assert_eq!(file.check_now(), FileCheck::Changing);
    }
    advance(SETTLED / 2).await;
    assert_eq!(file.check_now(), FileCheck::Changing);
    let denial = "  - {repository: secret, who: everyone, deny: pull}\n";
    fs::write(&path, format!("{TWO}{denial}")).unwrap();
    assert_eq!(file.check_now(), FileCheck::Changing);
    assert_eq!(first(&file), "one");

    assert_eq!(settled(&file).await, FileCheck::Reloaded);
    assert_eq!(file.rules().rules().len(), 2);
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let directory = TempDir::new().unwrap();
    let missing = RulesFile::open(directory.path().join("none.yml"))
        .unwrap_err()
        .to_string();
    assert!(
        missing.starts_with("cannot read the access rules ") && missing.contains("none.yml: No such file"),
        "{missing}"
    );
    let path = directory.path().join("rules.yml");
    fs::write(&path, "rules: [").unwrap();
    let broken = RulesFile::open(&path).unwrap_err().to_string();
    assert!(broken.contains("rules.yml:1: "), "{broken}");
}

#[tokio::test(start_paused = true)]
async fn watching_takes_over_what_changes() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("rules.yml");
    fs::write(&path, ONE).unwrap();
    let file = RulesFile::open(&path).unwrap();
    fs::write(&path, TWO).unwrap();

    // The paused clock advances when all tasks wait, so this takes no time.
    let watched = tokio::time::timeout(Duration::from_secs(5), file.watch()).await;

    assert!(watched.is_err(), "it watches for ever");
    assert_eq!(first(&file), "two");
}
