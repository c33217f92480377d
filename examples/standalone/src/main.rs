//! `registry`: an OCI / Docker registry server, made from the public API of the registry crates.

mod cli;
mod debug;
mod serve;

use clap::Parser as _;
use std::{io::Write as _, process::ExitCode};

fn main() -> ExitCode {
    let cli::Cli { command } = cli::Cli::parse();
    let result = match command {
        cli::Command::Serve(options) => serve::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut message = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                message.push_str(&format!(": {cause}"));
                source = cause.source();
            }
            // Nothing is left to tell it to if standard error is gone.
            let _ = writeln!(std::io::stderr(), "registry: {message}");
            ExitCode::FAILURE
        }
    }
}
