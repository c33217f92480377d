//! Output of copies for programs and on a terminal.

use std::{
    fs::{self, File},
    process::Command,
};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::super::Desk;
use crate::program::output_of;

pub(super) fn trials() -> Vec<Trial> {
    let mut trials = trials!([];
        json_has_a_line_for_each_step_and_image,
        json_has_a_line_for_a_failure,
        results_are_not_written_into_an_archive,
        quiet_prints_nothing,
        a_layout_in_use_is_a_failure_that_passes,
    );
    trials.extend(trials!(["python3"]; a_terminal_shows_a_bar_until_the_end));
    trials
}

fn archive() -> (Desk, String) {
    let (desk, pushed) = Desk::with_images(&[("team/app", "v1", 1)]);
    desk.registry(&["export", "team/app:v1", "-o", "app.tar", "--root", "images"]);
    let digest = pushed[0].digest.clone();
    (desk, digest)
}

fn json_has_a_line_for_each_step_and_image() {
    let (desk, digest) = archive();

    let printed = desk.registry(&["import", "app.tar", "--root", "new", "--json"]);

    let lines: Vec<Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let image = lines.iter().find(|line| line["type"] == "image").unwrap();
    assert_eq!(
        *image,
        json!({
            "type": "image",
            "source": "app.tar",
            "source_digest": digest,
            "names": ["team/app:v1"],
            "digest": digest,
        })
    );
    let copied = lines
        .iter()
        .filter(|line| line["type"] == "blob" && line["state"] == "copied");
    assert_eq!(copied.count(), 2);
    let summary = lines.last().unwrap();
    assert_eq!(
        (&summary["type"], &summary["images"], &summary["blobs"]),
        (&json!("summary"), &json!(1), &json!(2))
    );
}

fn json_has_a_line_for_a_failure() {
    let (desk, _) = archive();
    let mut command = desk.bench.command(env!("CARGO_BIN_EXE_registry"));
    command.args(["import", "oci-archive:app.tar:absent", "--root", "new", "--json"]);

    let printed = command.output().unwrap();

    let line: Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!(
        (&line["type"], &line["transient"]),
        (&json!("error"), &json!(false))
    );
    assert!(line["message"].as_str().unwrap().contains("absent"), "{line}");
    assert_eq!(printed.status.code(), Some(1));
}

fn results_are_not_written_into_an_archive() {
    let (desk, digest) = archive();
    for (form, command) in [
        ("--json", "cp app.tar docker-archive:-"),
        ("--json", "cp app.tar oci-archive:-:v1"),
        ("--jobs=1", "export team/app:v1 --root images -o oci-archive:-"),
    ] {
        desk.sh(&format!("registry {command} {form} > printed.tar 2> log"), &[]);

        let archive = fs::read(desk.bench.path("printed.tar")).unwrap();
        let log = fs::read_to_string(desk.bench.path("log")).unwrap();
        assert!(log.contains(&digest), "{command}: {log}");
        // A tar archive ends with zeros.
        assert!(archive.ends_with(&[0; 1024]), "{command}");
        desk.registry(&["cp", "printed.tar", "oci:copy"]);
    }
}

fn quiet_prints_nothing() {
    let (desk, _) = archive();
    let (code, log) = desk.ended(&["import", "app.tar", "--root", "new", "--quiet"]);
    assert_eq!((code, &*log), (0, ""));
    assert_eq!(desk.registry(&["import", "app.tar", "--root", "new", "-q"]), "");
}

fn a_layout_in_use_is_a_failure_that_passes() {
    let (desk, _) = archive();
    desk.registry(&["cp", "app.tar", "oci:layout"]);
    let lock = File::open(desk.bench.path("layout")).unwrap();
    lock.lock().unwrap();

    let (code, log) = desk.ended(&["cp", "app.tar", "oci:layout"]);

    assert_eq!(code, 75, "{log}");
    assert!(log.contains("another process"), "{log}");
}

/// Runs a program on a terminal, and prints its exit code and what the terminal shows.
const TERMINAL: &str = r#"
import os, pty, sys
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[1], sys.argv[1:])
shown = b""
try:
    while more := os.read(terminal, 1024):
        shown += more
except OSError:
    pass
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(code, repr(shown.decode()), end="")
"#;

fn a_terminal_shows_a_bar_until_the_end() {
    let (desk, digest) = archive();
    let on_terminal = |root: &str, options: &[&str]| {
        let mut command: Command = desk.bench.command("python3");
        command
            .args([
                "-c",
                TERMINAL,
                env!("CARGO_BIN_EXE_registry"),
                "import",
                "app.tar",
                "--root",
                root,
            ])
            .args(options)
            .env("TERM", "xterm");
        output_of(command).unwrap().text().to_owned()
    };

    let shown = on_terminal("new", &[]);
    let quiet = on_terminal("other", &["--quiet"]);

    assert!(shown.starts_with("0 ") && shown.contains("KiB"), "{shown}");
    let (_, after) = shown.rsplit_once("KiB").unwrap();
    assert!(
        after.contains("\\x1b[2K") || after.contains("\\x1b[K"),
        "the bar goes: {shown}"
    );
    assert!(shown.contains(&format!("team/app:v1\\t{digest}")), "{shown}");
    assert_eq!(quiet, "0 ''");
}
