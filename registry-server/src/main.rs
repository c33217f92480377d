//! `registry`: an OCI / Docker registry server.

use std::process::ExitCode;

fn main() -> ExitCode {
    registry_server::command_line::main()
}
