//! Refusals and their remedies: the key of the configuration that decides, or the command that lets the server read a file.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    process::Command,
};

use libtest_mimic::Trial;
use registry_conformance::tools;

use crate::{
    program::{Workbench, argument},
    server::{self, Server, end_of},
};

const OURS: &str = env!("CARGO_BIN_EXE_registry");
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// User id of programs that must not run as root.
const NOBODY: &str = "65534";

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = trials!([];
        every_refusal_that_a_setting_decides_names_its_key,
    );
    if rustix::process::geteuid().is_root() {
        trials.extend(trials!(["setpriv"];
            what_may_not_be_read_is_told_with_whose_it_is_and_what_helps,
            a_password_file_that_cannot_be_given_to_the_owner_of_its_directory_is_told,
        ));
    } else {
        for name in [
            "remedies::what_may_not_be_read_is_told_with_whose_it_is_and_what_helps",
            "remedies::a_password_file_that_cannot_be_given_to_the_owner_of_its_directory_is_told",
        ] {
            trials.push(tools::unavailable(
                name,
                "only root can start a program as somebody else",
            ));
        }
    }
    trials
}

/// A setting with a value by which a request is refused, with this status and a message that names the key.
struct Refusal<'a> {
    setting: (&'a str, &'a str),
    request: (&'a str, &'a str, &'a str),
    status: u16,
    key: &'a str,
}

const fn refusal<'a>(
    setting: (&'a str, &'a str),
    request: (&'a str, &'a str, &'a str),
    status: u16,
    key: &'a str,
) -> Refusal<'a> {
    Refusal {
        setting,
        request,
        status,
        key,
    }
}

fn every_refusal_that_a_setting_decides_names_its_key() {
    const POST: (&str, &str, &str) = ("POST", "/v2/a/blobs/uploads/", "");
    const DEEP: (&str, &str, &str) = ("POST", "/v2/a/b/c/blobs/uploads/", "");
    const PAGE: (&str, &str, &str) = ("GET", "/v2/_catalog?n=3", "");
    let bench = Workbench::new();
    let rules = bench.path("rules.yml");
    let pulls = "rules:\n  - {repository: '**', who: everyone, allow: pull}\n";
    fs::write(&rules, pulls).unwrap();
    let rules = ("ACCESS_RULES", argument(&rules));
    let sparse = format!(
        r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{{"mediaType":"{INDEX}","digest":"sha256:{:064}","size":2}}]}}"#,
        0
    );
    let put = ("PUT", "/v2/a/manifests/1", &*sparse);
    let whole = ("VALIDATION_MANIFESTS_INDEXES_PLATFORMS", "all");
    let none = "validation.manifests.indexes.platforms: none";
    let reserve = ("STORAGE_FILESYSTEM_MINFREE", "1000000g");
    for refusal in [
        refusal(("CATALOG_MAXENTRIES", "2"), PAGE, 400, "catalog.maxentries"),
        refusal(("LIMITS_NAMECOMPONENTS", "2"), DEEP, 400, "limits.namecomponents"),
        refusal(("LIMITS_UPLOADS", "1"), POST, 429, "limits.uploads"),
        refusal(
            ("LIMITS_REPOSITORYUPLOADS", "1"),
            POST,
            429,
            "limits.repositoryuploads",
        ),
        refusal(("LIMITS_USERUPLOADS", "1"), POST, 429, "limits.useruploads"),
        refusal(whole, put, 400, none),
        refusal(reserve, POST, 403, "storage.filesystem.minfree"),
        refusal(rules, POST, 403, "access.rules"),
    ] {
        is_refused(&bench, &refusal);
    }
}

fn is_refused(bench: &Workbench, refusal: &Refusal<'_>) {
    let ((variable, value), (method, target, body)) = (refusal.setting, refusal.request);
    let mut command = Server::ours_command(&bench.path(variable));
    command.env(format!("REGISTRY_{variable}"), value);
    let server = Server::start(command, "http://");
    let ask = || server.request(method, target, &[("Content-Type", INDEX)], body.as_bytes());

    // The first one may be within a limit.
    let (_, refused) = (ask(), ask());

    let told = String::from_utf8_lossy(&refused.body);
    assert_eq!(refused.status, refusal.status, "{variable}: {told}");
    assert!(told.contains(&format!("`{}`", refusal.key)), "{variable}: {told}");
}

/// This program as somebody who is not root, in a directory that everybody may read.
fn as_nobody(bench: &Workbench, groups: &str) -> Command {
    let program = bench.path("registry");
    if !program.exists() {
        // The directory that it was built in may be closed to others.
        fs::copy(OURS, &program).unwrap();
        let directory = program.parent().unwrap();
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = server::program("setpriv");
    let user = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
    command.args(user).arg(groups).arg(&program);
    command
}

fn what_may_not_be_read_is_told_with_whose_it_is_and_what_helps() {
    let bench = Workbench::new();
    let secret = |name: &str| {
        let path = bench.path(name);
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let config = secret("config.yml");
    let (end, said) = end_of({
        let mut command = as_nobody(&bench, "--clear-groups");
        command.args(["config", "check"]).arg(&config);
        command
    });
    assert!(!end.success(), "{said}");
    assert_told(&said, &config);

    let root = bench.path("data");
    fs::create_dir(&root).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o777)).unwrap();
    for (option, more) in [
        ("--access", &[][..]),
        ("--htpasswd", &[]),
        ("--tls-cert", &["--tls-key", "/nowhere"]),
    ] {
        let path = secret(option);
        let mut command = as_nobody(&bench, "--clear-groups");
        command.args(["serve", "--addr", "127.0.0.1:0", "--root", argument(&root)]);
        command.args([option, argument(&path)]).args(more);
        let (end, said) = end_of(command);
        assert!(!end.success(), "{said}");
        assert_told(&said, &path);
    }
}

fn assert_told(said: &str, path: &Path) {
    let shown = argument(path);
    for part in [
        "it belongs to uid 0 and gid 0, with mode 0600, and the server runs as uid 65534".to_owned(),
        format!("`chown {NOBODY} {shown}`"),
    ] {
        assert!(said.contains(&part), "{part}: {said}");
    }
}

fn a_password_file_that_cannot_be_given_to_the_owner_of_its_directory_is_told() {
    const GROUP: u32 = 12_345;
    let bench = Workbench::new();
    let directory = bench.path("auth");
    fs::create_dir(&directory).unwrap();
    std::os::unix::fs::chown(&directory, Some(0), Some(GROUP)).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
    for (name, groups, group) in [
        ("strangers", "--clear-groups".to_owned(), 65_534),
        // A group that its owner has is given to it.
        ("friends", format!("--groups={GROUP}"), GROUP),
    ] {
        let path = directory.join(name);
        let mut command = as_nobody(&bench, &groups);
        command.args(["htpasswd", "-cb", argument(&path), "ann", "secret"]);

        let (end, said) = end_of(command);

        assert!(end.success(), "{said}");
        let expected = format!(
            "Warning: {} belongs to uid 65534 and gid {group}, and its directory to uid 0 and gid {GROUP}; ",
            argument(&path)
        );
        assert!(said.contains(&expected), "{said}");
        assert!(
            said.contains(&format!("`chown 0:{GROUP} {}`", argument(&path))),
            "{said}"
        );
        let made = fs::metadata(&path).unwrap();
        assert_eq!((made.mode() & 0o7777, made.gid()), (0o640, group));
    }
}
