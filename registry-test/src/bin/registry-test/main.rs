//! `registry-test`: a registry for tests of programs in any language.

mod arguments;
mod end;
mod serve;

use self::arguments::{Command, HELP};
use std::{
    env,
    io::{self, Write as _},
    process::ExitCode,
};

/// Exit code of a wrong command line.
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    let done = match Command::parse(env::args_os().skip(1)) {
        Ok(Command::Help) => print(HELP),
        Ok(Command::Version) => print(concat!("registry-test ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Command::Serve(options)) => serve::run(&options),
        Err(wrong) => {
            report(&wrong);
            return ExitCode::from(WRONG_USAGE);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            report(&reason);
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> Result<(), String> {
    let written = io::stdout().lock().write_all(text.as_bytes());
    written.map_err(|error| format!("cannot write to standard output: {error}"))
}

fn report(reason: &impl ToString) {
    // Without a standard error, the exit code is all that is left.
    let _ = writeln!(io::stderr().lock(), "registry-test: {}", reason.to_string());
}
