//! Copies from and to registries that require a login, or TLS.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::PathBuf,
};

use libtest_mimic::Trial;
use rcgen::{CertificateParams, KeyPair};

use super::super::{Desk, Pushed};
use crate::{program::argument, server::Server};

pub(super) fn trials() -> Vec<Trial> {
    trials!([];
        a_password_comes_from_the_command_line_a_variable_or_standard_input,
        logins_of_other_programs_are_used,
        certificates_of_a_directory_are_trusted,
        an_import_reads_a_registry,
        root_imports_into_the_storage_of_another_user,
        a_whole_registry_moves_to_another,
    )
}

/// Serves a registry for the user `ann` with the password `secret`.
fn guarded(desk: &Desk) -> Server {
    let users = desk.bench.path("users");
    let mut command = desk.bench.command(env!("CARGO_BIN_EXE_registry"));
    let made = command
        .args(["htpasswd", "-nb", "ann", "secret"])
        .output()
        .unwrap();
    fs::write(&users, made.stdout).unwrap();
    Server::ours_with(&desk.bench.path("guarded"), &["--htpasswd", argument(&users)])
}

/// Copies an image to a registry. Returns the exit code and the messages.
fn copy_to(
    desk: &Desk,
    target: &str,
    options: &[&str],
    variables: &[(&str, &str)],
    input: &str,
) -> (i32, String) {
    let input_file = desk.bench.path("input");
    fs::write(&input_file, input).unwrap();
    let mut command = desk.bench.command(env!("CARGO_BIN_EXE_registry"));
    command
        .args(["cp", "registry:images:team/app:v1", target])
        .args(options)
        .envs(variables.iter().copied())
        .stdin(fs::File::open(input_file).unwrap());
    let done = command.output().unwrap();
    (
        done.status.code().unwrap(),
        String::from_utf8_lossy(&done.stderr).into_owned(),
    )
}

fn a_password_comes_from_the_command_line_a_variable_or_standard_input() {
    let (desk, _) = Desk::with_images(&[("team/app", "v1", 1)]);
    let server = guarded(&desk);
    let target = format!("docker://{}", server.repository("app:v1"));
    let variable = |password| [("REGISTRY_DEST_PASSWORD", password)];

    for (expected, login, variables, input) in [
        (0, Some("ann:secret"), &[][..], ""),
        (0, Some("ann"), &variable("secret"), ""),
        (0, Some("ann"), &[], "secret\n"),
        (1, Some("ann"), &[], ""),
        (1, Some("ann"), &variable("wrong"), ""),
        (1, None, &[], ""),
    ] {
        let options: Vec<_> = login
            .into_iter()
            .flat_map(|login| ["--dest-creds", login])
            .collect();
        let (code, log) = copy_to(&desk, &target, &options, variables, input);
        assert_eq!(code, expected, "{login:?}, {variables:?}, {input:?}: {log}");
        assert!(!log.contains("secret"), "{log}");
    }
}

fn logins_of_other_programs_are_used() {
    let (desk, _) = Desk::with_images(&[("team/app", "v1", 1)]);
    let server = guarded(&desk);
    let name = server.repository("app");
    let host = name.split_once('/').unwrap().0;
    // ann:secret
    let logins = format!(r#"{{"auths": {{"{host}": {{"auth": "YW5uOnNlY3JldA=="}}}}}}"#);
    let file = desk.bench.path("logins.json");
    fs::write(&file, &logins).unwrap();
    let target = format!("docker://{name}:v1");
    let file = argument(&file);

    assert_eq!(copy_to(&desk, &target, &["--authfile", file], &[], "").0, 0);
    assert_eq!(
        copy_to(&desk, &target, &[], &[("REGISTRY_AUTH_FILE", file)], "").0,
        0
    );
    let docker = desk.bench.path("docker");
    fs::create_dir(&docker).unwrap();
    fs::write(docker.join("config.json"), &logins).unwrap();
    assert_eq!(
        copy_to(&desk, &target, &[], &[("DOCKER_CONFIG", argument(&docker))], "").0,
        0
    );
    let (code, log) = copy_to(&desk, &target, &["--authfile", "absent.json"], &[], "");
    assert!(code == 1 && log.contains("absent.json"), "{log}");
    // Another file replaces it.
    let none = desk.bench.path("none.json");
    fs::write(&none, "{}").unwrap();
    let options = ["--authfile", argument(&none)];
    assert_eq!(
        copy_to(
            &desk,
            &target,
            &options,
            &[("DOCKER_CONFIG", argument(&docker))],
            ""
        )
        .0,
        1
    );
}

fn certificates_of_a_directory_are_trusted() {
    let (desk, _) = Desk::with_images(&[("team/app", "v1", 1)]);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let certificates = desk.bench.path("certificates");
    fs::create_dir(&certificates).unwrap();
    let (chain, private): (PathBuf, PathBuf) = (certificates.join("ca.crt"), desk.bench.path("tls.key"));
    fs::write(&chain, certificate.pem()).unwrap();
    fs::write(&private, key.serialize_pem()).unwrap();
    let mut command = Server::ours_command(&desk.bench.path("secured"));
    command.args(["--tls-cert", argument(&chain), "--tls-key", argument(&private)]);
    let server = Server::start(command, "https://");
    let target = format!("docker://{}", server.repository("app:v1"));

    let trusted = copy_to(&desk, &target, &["--cert-dir", argument(&certificates)], &[], "");
    let unknown = copy_to(&desk, &target, &["--dest-tls-verify", "--retry=0"], &[], "");
    let unverified = copy_to(&desk, &target, &["--dest-tls-verify=false"], &[], "");
    let plain = Server::ours(&desk.bench.path("plain"));
    let target = format!("docker://{}", plain.repository("app:v1"));
    let without_tls = copy_to(&desk, &target, &["--dest-tls-verify=false"], &[], "");
    let with_tls = copy_to(&desk, &target, &["--dest-tls-verify=true"], &[], "");

    assert_eq!(trusted.0, 0, "{}", trusted.1);
    assert_eq!(unverified.0, 0, "{}", unverified.1);
    assert_eq!(without_tls.0, 0, "{}", without_tls.1);
    assert_eq!((unknown.0, with_tls.0), (1, 1));
    assert!(unknown.1.contains("certificate"), "{}", unknown.1);
    assert!(unknown.1.contains("--dest-tls-verify=false"), "{}", unknown.1);
}

fn an_import_reads_a_registry() {
    let (desk, pushed) = Desk::with_images(&[("team/app", "v1", 1)]);
    let server = guarded(&desk);
    let name = server.repository("team/app");
    let target = format!("docker://{name}");
    assert_eq!(
        copy_to(&desk, &target, &["--dest-creds=ann:secret"], &[], "").0,
        0
    );

    let imported = desk.registry(&[
        "import",
        &target,
        "--all-tags",
        "--src-creds=ann:secret",
        "--root",
        "new",
    ]);

    assert_eq!(imported, format!("team/app:v1\t{}", pushed[0].digest));
    desk.assert_verified("new");
}

fn root_imports_into_the_storage_of_another_user() {
    const USER: u32 = 65_532;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (desk, _) = Desk::with_images(&[("team/app", "v1", 1)]);
    let server = guarded(&desk);
    let source = format!("docker://{}", server.repository("app:v1"));
    let options = ["--dest-creds", "ann:secret"];
    assert_eq!(copy_to(&desk, &source, &options, &[], "").0, 0);
    // Only root reads the logins.
    let docker = desk.bench.path("docker");
    fs::create_dir(&docker).unwrap();
    let host = server.repository("app").split_once('/').unwrap().0.to_owned();
    // ann:secret
    let logins = format!(r#"{{"auths": {{"{host}": {{"auth": "YW5uOnNlY3JldA=="}}}}}}"#);
    fs::write(docker.join("config.json"), logins).unwrap();
    fs::set_permissions(&docker, fs::Permissions::from_mode(0o700)).unwrap();
    let new = desk.bench.path("new");
    fs::create_dir(&new).unwrap();
    chown(&new, Some(USER), Some(USER)).unwrap();
    // The user has to reach it.
    fs::set_permissions(desk.bench.path(""), fs::Permissions::from_mode(0o755)).unwrap();

    for command in [
        &["import", &source, "--root", "new"][..],
        &["cp", &source, "registry:new:copy:v1"],
    ] {
        let mut command_line = desk.bench.command(env!("CARGO_BIN_EXE_registry"));
        command_line.args(command).env("DOCKER_CONFIG", &docker);
        let done = command_line.output().unwrap();
        let log = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{command:?}: {log}");
    }

    assert_eq!(fs::metadata(new.join("docker/registry/v2")).unwrap().uid(), USER);
}

fn a_whole_registry_moves_to_another() {
    let desk = Desk::new();
    let (old, new) = (
        Server::ours(&desk.bench.path("old")),
        Server::ours(&desk.bench.path("new")),
    );
    let images = [
        ("team/app", "v1", 1),
        ("team/app", "v2", 2),
        ("other", "latest", 3),
    ];
    let images =
        images.map(|(repository, tag, seed)| (repository, tag, Pushed::to(&old, repository, tag, seed)));
    let address = |server: &Server| format!("docker://{}", server.repository("").trim_end_matches('/'));

    let printed = desk.registry(&["cp", &address(&old), &address(&new), "--all-tags"]);

    assert_eq!(printed.lines().count(), 3, "{printed}");
    for (repository, tag, image) in &images {
        let served = new.get(&format!("/v2/{repository}/manifests/{tag}"));
        assert_eq!(String::from_utf8_lossy(&served.body), image.manifest);
    }
    let (code, log) = desk.ended(&["cp", &address(&old), &address(&new)]);
    assert_eq!(code, 1);
    assert!(log.contains("--all-tags"), "{log}");
}
