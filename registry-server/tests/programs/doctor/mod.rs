//! `registry doctor` before real proxies, with common mistakes and without.

use std::{
    net::Ipv4Addr,
    process::{Command, Stdio},
};

use libtest_mimic::Trial;
use registry_conformance::tools;
use serde_json::Value;

mod answers;
mod certificates;
mod doors;
mod limits;
mod locations;
mod logins;

pub(crate) fn trials() -> Vec<Trial> {
    let trials = [
        answers::trials(),
        certificates::trials(),
        doors::trials(),
        limits::trials(),
        locations::trials(),
        logins::trials(),
    ];
    let trials = trials.into_iter().flatten();
    if rustix::process::geteuid().is_root() {
        return trials.collect();
    }
    // The proxies listen on the ports of the web.
    trials
        .map(|trial| tools::unavailable(trial.name(), "ports below 1024 are for root"))
        .collect()
}

/// Results of an examination.
struct Examined {
    code: Option<i32>,
    report: Value,
}

/// Runs `registry doctor` with these arguments, and optionally a user with a password.
fn examine(arguments: &[&str], login: Option<(&str, &str)>) -> Examined {
    let (code, report, log) = run(&[arguments, &["--json"]].concat(), login);
    let report = serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report:?} {log:?}"));
    Examined { code, report }
}

/// Returns the exit code, the report and the log.
fn run(arguments: &[&str], login: Option<(&str, &str)>) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_registry"));
    command.arg("doctor").args(arguments).stdin(Stdio::null());
    command.env_remove("SSL_CERT_FILE");
    if let Some((user, password)) = login {
        command
            .args(["--user", user])
            .env("REGISTRY_DOCTOR_PASSWORD", password);
    }
    let output = command.output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("reports are UTF-8");
    let (out, log) = (text(output.stdout), text(output.stderr));
    if let Some((_, password)) = login {
        assert!(!out.contains(password) && !log.contains(password), "{out}{log}");
    }
    (output.status.code(), out, log)
}

impl Examined {
    /// Returns all findings as `check: verdict`, without those that passed or were skipped.
    fn wrong(&self) -> Vec<String> {
        let checks = self.report["checks"].as_array().unwrap();
        checks
            .iter()
            .filter(|found| found["verdict"] == "fault" || found["verdict"] == "warning")
            .map(|found| {
                format!(
                    "{}: {}",
                    found["check"].as_str().unwrap(),
                    found["verdict"].as_str().unwrap()
                )
            })
            .collect()
    }

    /// Returns the faults only.
    fn faults(&self) -> Vec<String> {
        let mut faults = self.wrong();
        faults.retain_mut(|found| {
            let fault = found.ends_with(": fault");
            found.truncate(found.find(": ").unwrap());
            fault
        });
        faults
    }

    /// Returns all messages of a check, with its verdict before and its fixes after them.
    fn said(&self, check: &str) -> String {
        let checks = self.report["checks"].as_array().unwrap();
        let found = checks.iter().filter(|found| found["check"] == check);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        found
            .map(|found| {
                ["verdict", "seen", "client", "server"]
                    .map(|part| text(&found[part]))
                    .join("\n")
            })
            .collect()
    }

    /// Asserts that the messages of this check contain all these words.
    #[track_caller]
    fn says(&self, check: &str, words: &[&str]) {
        let said = self.said(check);
        for word in words {
            assert!(
                said.contains(word),
                "{check} does not say {word:?}: {:#}",
                self.report
            );
        }
    }

    /// Asserts that exactly these checks are at fault, and that the exit code says so.
    #[track_caller]
    fn is_at_fault(&self, checks: &[&str]) {
        assert_eq!(self.faults(), checks, "{:#}", self.report);
        assert_eq!(self.code, Some(i32::from(!checks.is_empty())));
    }
}

fn https(host: Ipv4Addr) -> String {
    format!("https://{host}")
}
