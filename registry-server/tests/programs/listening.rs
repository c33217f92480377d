//! Reachability of the server: the default address of a container, with IPv6 and without.

use std::process::Command;

use libtest_mimic::Trial;
use registry_conformance::tools::Process;

use crate::{
    docker::where_engines_start,
    program::{Workbench, output_of},
};

/// Command that turns off IPv6 on every interface.
const OFF: &str = "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6";

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = where_engines_start(trials!(["curl", "ip", "nsenter", "unshare"];
        both_protocols_find_it,
        ipv4_finds_it_where_ipv6_is_off,
    ));
    trials.extend(where_engines_start(
        trials!(["curl", "ip", "nsenter", "strace", "unshare"];
            ipv4_finds_it_where_the_kernel_has_no_ipv6,
        ),
    ));
    trials
}

fn both_protocols_find_it() {
    let bench = Workbench::new();
    let server = serve(&bench, "true", "");

    assert_eq!(asked(&bench, &server, "http://127.0.0.1:5000/v2/"), "{}");
    assert_eq!(asked(&bench, &server, "http://[::1]:5000/v2/"), "{}");
}

fn ipv4_finds_it_where_ipv6_is_off() {
    let bench = Workbench::new();
    let server = serve(&bench, OFF, "");

    assert_eq!(asked(&bench, &server, "http://127.0.0.1:5000/v2/"), "{}");
}

/// Simulates a kernel booted with `ipv6.disable=1`, which has no sockets for it.
fn ipv4_finds_it_where_the_kernel_has_no_ipv6() {
    let bench = Workbench::new();
    // The first socket is the one to listen on.
    let refuse = "strace -D -f -o trace -e trace=socket -e inject=socket:error=EAFNOSUPPORT:when=1";
    let server = serve(&bench, "true", refuse);

    assert_eq!(asked(&bench, &server, "http://127.0.0.1:5000/v2/"), "{}");
    let trace = std::fs::read_to_string(bench.path("trace")).unwrap();
    let first = trace.lines().next().unwrap_or_default();
    assert!(
        first.contains("AF_INET6") && first.contains("EAFNOSUPPORT"),
        "{trace}"
    );
}

/// Starts a server on a network of its own, after these preparations and under this program.
fn serve(bench: &Workbench, prepare: &str, under: &str) -> Process {
    let mut command = bench.command("unshare");
    let script = format!("ip link set lo up; {prepare}; exec {under} \"$0\" serve --addr :5000 --root data");
    command.args(["--net", "sh", "-ec", &script, env!("CARGO_BIN_EXE_registry")]);
    let server = Process::start(&mut command).unwrap();
    server.wait_for_output("listening on http://").unwrap();
    server
}

/// Returns the answer at a URL on that network.
fn asked(bench: &Workbench, server: &Process, url: &str) -> String {
    let mut command: Command = bench.command("nsenter");
    command.arg(format!("--net=/proc/{}/ns/net", server.id()));
    command.args([
        "curl",
        "--silent",
        "--show-error",
        "--fail",
        "--max-time",
        "60",
        url,
    ]);
    output_of(command)
        .unwrap_or_else(|failed| panic!("{url}: {failed}"))
        .text()
        .to_owned()
}
