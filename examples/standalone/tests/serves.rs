//! A client pushes to the example and pulls from it.

#[path = "../../../registry-server/tests/hosts/src/lib.rs"]
mod client;

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

/// Program that ends with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

#[test]
fn it_serves_pushes_and_pulls() {
    let directory = tempfile::tempdir().unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_registry-example-standalone"));
    program
        .arg(directory.path())
        .arg("127.0.0.1:0")
        .stdout(Stdio::piped());
    let mut program = Program(program.spawn().unwrap());
    let mut line = String::new();
    let output = program.0.stdout.take().unwrap();
    BufReader::new(output).read_line(&mut line).unwrap();
    let (_, address) = line.trim_end().rsplit_once("http://").unwrap();

    client::push_and_pull(address.parse().unwrap(), "");
}
