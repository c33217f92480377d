//! Files that Apache's `htpasswd` and `openssl passwd` make here and now, and logins by them over HTTP.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; the harness reports where"
)]

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{Request, StatusCode, header};
use libtest_mimic::Arguments;
use registry_auth_htpasswd::{FailureLimit, Htpasswd};
use registry_conformance::tools;
use registry_core::{Registry, storage::MemoryStorage};
use std::{
    path::Path,
    process::{Command, ExitCode},
    time::Duration,
};

const USER: &str = "jörg";
const PASSWORD: &str = "größe:72";

/// A program, its options before user and password, and the beginning of its hash.
const ROWS: &[(&str, &[&str], &str)] = &[
    ("htpasswd", &["-b"], "$apr1$"),
    ("htpasswd", &["-bm"], "$apr1$"),
    ("htpasswd", &["-bB"], "$2y$05$"),
    ("htpasswd", &["-bB", "-C", "10"], "$2y$10$"),
    ("htpasswd", &["-bs"], "{SHA}"),
    ("htpasswd", &["-b2"], "$5$"),
    ("htpasswd", &["-b5"], "$6$"),
    ("htpasswd", &["-b2", "-r", "20000"], "$5$rounds=20000$"),
    ("htpasswd", &["-b5", "-r", "20000"], "$6$rounds=20000$"),
    ("openssl", &["-apr1"], "$apr1$"),
    ("openssl", &["-5"], "$5$"),
    ("openssl", &["-6"], "$6$"),
    #[cfg(feature = "legacy")]
    ("htpasswd", &["-bd"], ""),
    #[cfg(feature = "legacy")]
    ("openssl", &["-1"], "$1$"),
];

fn main() -> ExitCode {
    let trials = ROWS.iter().map(|&(program, options, mark)| {
        let name = format!("{program}_{}_lets_in", options.join("_").replace('-', ""));
        tools::trial(name, &[program], move || {
            logs_in(program, options, mark);
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

fn logs_in(program: &str, options: &[&str], mark: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("users");
    if program == "htpasswd" {
        let create = format!("{}c", options.first().unwrap());
        let rest = options.get(1..).unwrap();
        let path = path.to_str().unwrap();
        run(Command::new(program)
            .arg(create)
            .args(rest)
            .args([path, USER, PASSWORD]));
    } else {
        let hash = run(Command::new(program).arg("passwd").args(options).arg(PASSWORD));
        std::fs::write(&path, format!("{USER}:{hash}")).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with(&format!("{USER}:{mark}")), "{text}");

    assert_eq!(answers(&path, PASSWORD), StatusCode::OK);
    assert_eq!(answers(&path, "Größe:72"), StatusCode::UNAUTHORIZED);
    assert_eq!(answers(&path, ""), StatusCode::UNAUTHORIZED);
}

/// Returns the status of a ping with this password, for the users of this file.
fn answers(path: &Path, password: &str) -> StatusCode {
    let limit = FailureLimit::new(1, Duration::from_secs(3600));
    let users = Htpasswd::builder(path).failure_limit(limit).open().unwrap();
    let registry = Registry::builder(MemoryStorage::new())
        .authenticator(users)
        .build();
    let credentials = BASE64_STANDARD.encode(format!("{USER}:{password}"));
    let request = Request::get("/v2/")
        .header(header::AUTHORIZATION, format!("Basic {credentials}"))
        .body(String::new())
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(registry.handle(request)).status()
}

/// Runs a program that must succeed, and returns its output.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
