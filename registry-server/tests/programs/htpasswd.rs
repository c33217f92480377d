//! `registry htpasswd` compared with Apache's: each reads the other's files, and both give the same answers.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::symlink,
    process::{Command, Output, Stdio},
};

use libtest_mimic::Trial;

use crate::program::{Workbench, argument};

/// Options for each kind of hash that both programs make, and the beginning of the hash.
const KINDS: [(&str, &str); 5] = [
    ("-B", "$2y$"),
    ("-2", "$5$"),
    ("-5", "$6$"),
    ("-m", "$apr1$"),
    ("-s", "{SHA}"),
];

const PASSWORD: &str = "größe:72";

/// Warning about `-s`.
const WEAK: &str = "Warning: SHA-1 without a salt ({SHA}) is a weak format, `sha` in `auth.htpasswd.formats` of a server; use -B";

pub(crate) fn trials() -> Vec<Trial> {
    [
        trials!([];
            prints_the_line_and_nothing_else,
            reads_the_password_from_standard_input,
            refuses_what_nothing_should_read,
            knows_an_option_from_a_file,
            an_empty_password_is_refused_however_it_comes,
            a_file_of_utf_16_is_not_made_worse,
        ),
        trials!(["htpasswd"];
            apache_verifies_what_we_write,
            we_verify_what_apache_writes,
            both_answer_the_same,
        ),
        trials!(["python3"]; asks_at_a_terminal_without_showing_the_answer),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn prints_the_line_and_nothing_else() {
    // As the guides have it: `docker run --entrypoint htpasswd registry:2 -Bbn username password > auth/htpasswd`.
    let bench = Workbench::new();
    let link = bench.path("htpasswd");
    symlink(env!("CARGO_BIN_EXE_registry"), &link).unwrap();

    for mut command in [Command::new(&link), ours()] {
        let output = run(command.args(["-Bbn", "username", "password"]), "");
        let line = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success());
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
        assert!(line.starts_with("username:$2y$10$"), "{line}");
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(line.ends_with('\n'));
    }
}

fn reads_the_password_from_standard_input() {
    let bench = Workbench::new();
    let file = bench.path("users");
    let file = argument(&file);
    // A pipe is no terminal: nobody is asked, with -i or without.
    assert_eq!(
        answer(ours().args(["-ci", file, "alice"]), "secret\r\nmore\n"),
        (0, "Adding password for user alice\n".into())
    );
    assert_eq!(
        answer(ours().args(["-v", file, "alice"]), "secret"),
        (0, "Password for user alice correct.\n".into())
    );
}

fn refuses_what_nothing_should_read() {
    let refused = |options| answer(ours().args([options, "alice", "secret"]), "");
    assert_eq!(
        refused("-pnb"),
        (
            2,
            "htpasswd: -p is refused: plain-text passwords are not accepted anywhere; use -B\n".into()
        )
    );
    assert_eq!(
        refused("-nbd"),
        (
            2,
            "htpasswd: -d is refused: DES crypt uses only eight characters of a password; use -B\n".into()
        )
    );
    for (user, problem) in [
        ("", "is empty"),
        ("#alice", "begins with '#', as comments do"),
        ("al\nice", "contains a control character"),
        (" alice", "begins or ends with a blank"),
    ] {
        let refused = answer(ours().args(["-nb", user, "secret"]), "");
        assert_eq!(refused, (6, format!("htpasswd: username {problem}\n")));
    }
}

fn knows_an_option_from_a_file() {
    let (code, said) = answer(ours().args(["-bx", "alice", "secret"]), "");
    assert_eq!(
        (code, &*said),
        (2, "htpasswd: unknown option -bx; see htpasswd --help\n")
    );
    // What follows the first operand is taken as it is.
    let output = run(ours().args(["-nb", "alice", "-secret"]), "");
    assert!(output.status.success());
}

fn an_empty_password_is_refused_however_it_comes() {
    let bench = Workbench::new();
    let file = bench.path("users");
    let file = argument(&file);
    let refused = (
        2,
        "htpasswd: the password is empty; nothing was changed\n".to_owned(),
    );
    for (arguments, input) in [
        // Standard input that has ended, as `</dev/null` has, or that a variable was to fill.
        (&["-c", file, "ann"][..], ""),
        (&["-ci", file, "ann"], ""),
        (&["-ci", file, "ann"], "\n"),
        (&["-ci", file, "ann"], "\r\n"),
        (&["-cb", file, "ann", ""], ""),
        (&["-nb", "ann", ""], ""),
        (&["-n", "ann"], ""),
    ] {
        assert_eq!(answer(ours().args(arguments), input), refused, "{arguments:?}");
        assert!(!bench.path("users").exists(), "{arguments:?}");
    }

    fs::write(file, "ann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n").unwrap();
    for arguments in [&["-c", file, "bob"][..], &["-b", file, "ann", ""], &[file, "ann"]] {
        assert_eq!(answer(ours().args(arguments), ""), refused, "{arguments:?}");
        assert!(
            fs::read_to_string(file).unwrap().starts_with("ann:{SHA}"),
            "{arguments:?}"
        );
    }
}

fn a_file_of_utf_16_is_not_made_worse() {
    let bench = Workbench::new();
    let file = bench.path("users");
    let text: Vec<u8> = "bob:x\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(&file, &text).unwrap();
    let (code, said) = answer(ours().args(["-b", argument(&file), "ann", "secret"]), "");
    assert_eq!(code, 7, "{said}");
    assert!(said.contains("this file is UTF-16: save it as UTF-8"), "{said}");
    assert_eq!(fs::read(&file).unwrap(), text);
}

fn apache_verifies_what_we_write() {
    let bench = Workbench::new();
    let file = bench.path("users");
    let file = argument(&file);
    fs::write(file, "# users\n").unwrap();
    for (option, mark) in KINDS {
        run_well(ours().args([option, "-b", file, "jörg", PASSWORD]));

        let text = fs::read_to_string(file).unwrap();
        assert!(text.starts_with(&format!("# users\njörg:{mark}")), "{text}");
        assert_eq!(
            answer(apache().args(["-vb", file, "jörg", PASSWORD]), "").0,
            0,
            "{text}"
        );
        assert_eq!(
            answer(apache().args(["-vb", file, "jörg", "wrong"]), "").0,
            3,
            "{text}"
        );
    }
}

fn we_verify_what_apache_writes() {
    let bench = Workbench::new();
    let file = bench.path("users");
    let file = argument(&file);
    fs::write(file, "").unwrap();
    for (option, _) in KINDS.into_iter().chain([("-d", "")]) {
        run_well(apache().args([option, "-b", file, "jörg", PASSWORD]));

        assert_eq!(
            answer(ours().args(["-vb", file, "jörg", PASSWORD]), "").0,
            0,
            "{option}"
        );
        assert_eq!(
            answer(ours().args(["-vb", file, "jörg", "wrong"]), "").0,
            3,
            "{option}"
        );
    }
}

fn both_answer_the_same() {
    let bench = Workbench::new();
    let long = "x".repeat(256);
    // Each on a file of its own, in which the lines before have left their marks.
    let invocations: &[&[&str]] = &[
        &["-b", "new", "alice", "one"],
        &["-bc", "new", "alice", "one"],
        &["-b", "new", "alice", "two"],
        &["-bB", "new", "bob", "one"],
        &["-vb", "new", "alice", "two"],
        &["-vb", "new", "alice", "one"],
        &["-vb", "new", "carol", "one"],
        &["-bv", "none", "alice", "one"],
        &["-D", "new", "carol"],
        &["-D", "new", "alice"],
        &["-vb", "new", "alice", "two"],
        &["-D", "none", "alice"],
        &["-nb", "al:ice", "one"],
        &["-nb", &long, "one"],
        &["-nbc", "alice", "one"],
        &["-cD", "new", "alice"],
        &["-vn", "new", "alice"],
    ];
    for arguments in invocations {
        let [theirs, our] = [("apache", apache()), ("ours", ours())].map(|(name, mut command)| {
            let directory = bench.path(name);
            fs::create_dir_all(&directory).unwrap();
            answer(command.current_dir(directory).args(*arguments), "")
        });
        assert_eq!(our, theirs, "{arguments:?}");
    }
    let users = |name: &str| {
        let text = fs::read_to_string(bench.path(name).join("new")).unwrap();
        let users = text.lines().filter_map(|line| line.split_once(':'));
        users.map(|(user, _)| user.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(users("ours"), users("apache"));

    // Only the code: we say more of what is wrong.
    let broken = bench.path("broken");
    fs::write(&broken, "what is this\n").unwrap();
    for arguments in [
        &["-b", argument(&broken), "alice", "one"][..],
        &["-nb", "alice"],
        &["-n", "alice", "one", "two"],
        &["-nb", "alice", &"x".repeat(300)],
        &["-cb", "broken/new", "alice", "one"],
    ] {
        let codes = [apache(), ours()]
            .map(|mut command| answer(command.current_dir(bench.path("")).args(arguments), "").0);
        assert_eq!(codes[0], codes[1], "{arguments:?}");
    }
}

/// Types `typed` at a terminal, one answer after each prompt, and prints what the terminal shows.
const TERMINAL: &str = r#"
import os, pty, sys
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[1], sys.argv[1:-1])
shown = b""
for typed in sys.argv[-1].split(","):
    while not shown.endswith(b"assword: "):
        shown += os.read(terminal, 1024)
    os.write(terminal, b"\x03" if typed == "^C" else typed.encode() + b"\n")
    shown += b"|"
try:
    while more := os.read(terminal, 1024):
        shown += more
except OSError:
    pass
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(code, shown.decode().replace("\r\n", "/"), end="")
"#;

fn asks_at_a_terminal_without_showing_the_answer() {
    let bench = Workbench::new();
    let file = bench.path("users");
    let at_terminal = |arguments: &[&str], typed: &str| {
        let mut command = Command::new("python3");
        command.args(["-c", TERMINAL, env!("CARGO_BIN_EXE_registry"), "htpasswd"]);
        let output = run(
            command
                .args(arguments)
                .arg(argument(&file))
                .args(["alice", typed]),
            "",
        );
        String::from_utf8(output.stdout).unwrap()
    };

    assert_eq!(
        at_terminal(&["-cs"], "secret,secret"),
        format!("0 New password: |/Re-type new password: |/Adding password for user alice/{WEAK}/")
    );
    assert_eq!(
        at_terminal(&["-v"], "secret"),
        format!("0 Enter password: |/Password for user alice correct./{WEAK}/")
    );
    assert_eq!(
        at_terminal(&["-s"], "secret,other"),
        "3 New password: |/Re-type new password: |/htpasswd: password verification error/"
    );
    assert_eq!(
        at_terminal(&["-s"], ""),
        "2 New password: |/htpasswd: the password is empty; nothing was changed/"
    );
    assert_eq!(
        at_terminal(&["-s"], "^C"),
        "4 New password: |/htpasswd: Interrupted./"
    );
    // Nothing that went wrong has changed the file.
    assert_eq!(at_terminal(&["-v"], "secret").chars().next(), Some('0'));
}

fn ours() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_registry"));
    command.arg("htpasswd");
    command
}

fn apache() -> Command {
    Command::new("htpasswd")
}

/// Runs a command that must succeed.
fn run_well(command: &mut Command) {
    let output = run(command, "");
    assert!(output.status.success(), "{command:?}: {output:?}");
}

/// Returns the exit code of a command, and its output.
fn answer(command: &mut Command, input: &str) -> (i32, String) {
    let output = run(command, input);
    let code = output.status.code().expect("the program is not killed");
    (code, String::from_utf8(output.stderr).unwrap())
}

fn run(command: &mut Command, input: &str) -> Output {
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = process.stdin.take().expect("it is piped");
    // It may have ended without reading any of it.
    _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    process.wait_with_output().unwrap()
}
