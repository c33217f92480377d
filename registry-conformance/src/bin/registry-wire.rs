//! `registry-wire`: the wire suite against any registry, on the command line.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program's report goes to its output"
)]

use clap::Parser;
use registry_conformance::wire::{self, KnownFailures, Options, Verdict};
use std::{fs, path::PathBuf, process::ExitCode};

/// Test a registry against the OCI Distribution Specification, from outside.
///
/// The exit code is 0 only if every case ends as expected: it passes, or it fails and is listed as a known failure.
/// The registry has to allow push and delete; the repositories of the run are left behind.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Base URL of the registry: `http://host[:port][/prefix]`
    #[arg(required_unless_present = "list")]
    base_url: Option<String>,
    /// Credentials for every request
    #[arg(long, value_name = "USER:PASSWORD")]
    user: Option<String>,
    /// Run only cases whose name contains this
    #[arg(long, value_name = "SUBSTRING", default_value = "")]
    filter: String,
    /// Print the names of the cases, and run none
    #[arg(long)]
    list: bool,
    /// File with the names of the cases that must fail
    #[arg(long, value_name = "FILE")]
    known_failures: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut options = Options::default();
    options.user = arguments.user;
    options.filter = arguments.filter;
    if let Some(path) = &arguments.known_failures {
        let read = fs::read_to_string(path).map_err(|error| error.to_string());
        match read.and_then(|text| text.parse::<KnownFailures>().map_err(|error| error.to_string())) {
            Ok(known_failures) => options.known_failures = known_failures,
            Err(error) => {
                eprintln!("{}: {error}", path.display());
                return ExitCode::from(2);
            }
        }
    }
    let selected = || {
        wire::cases()
            .iter()
            .filter(|case| case.name().contains(&options.filter))
    };
    let Some(base_url) = arguments.base_url.filter(|_| !arguments.list) else {
        selected().for_each(|case| println!("{}", case.name()));
        return ExitCode::SUCCESS;
    };
    if selected().next().is_none() {
        eprintln!("no case has {:?} in its name", options.filter);
        return ExitCode::from(2);
    }
    let report = wire::run_observed(&base_url, &options, print).await;
    println!("{report}");
    if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn print(name: &str, verdict: &Verdict) {
    match verdict {
        Verdict::Passed => println!("ok      {name}"),
        Verdict::FailedAsKnown(_) => println!("ok      {name} (fails, as known)"),
        Verdict::Failed(failure) => println!("FAILED  {name}\n{failure}"),
        Verdict::PassedUnexpectedly => {
            println!("FAILED  {name}\n  the case passes, but is listed as a known failure")
        }
        _ => {}
    }
}
