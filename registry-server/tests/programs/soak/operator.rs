//! The operator: commands beside the server and without one.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use super::Place;
use crate::program::output_of;

pub(super) struct Operator {
    place: Place,
    turn: usize,
    pub(super) collections: u64,
    /// Collections of what has no tag.
    pub(super) untagged: u64,
    pub(super) verifications: u64,
    pub(super) retentions: u64,
}

const COMMANDS: [&[&str]; 5] = [
    &["garbage-collect", "--keep-trash", "--quiet"],
    &["verify"],
    &["garbage-collect", "--quiet"],
    &["retention", "run", "--force"],
    &["verify", "--repair"],
];

impl Operator {
    pub(super) const fn new(place: Place) -> Self {
        Self {
            place,
            turn: 0,
            collections: 0,
            untagged: 0,
            verifications: 0,
            retentions: 0,
        }
    }

    /// Runs one command after the other until the server is killed. Collections remove what has no tag if that is allowed.
    pub(super) fn work(&mut self, untagged: bool) {
        while !self.place.is_killed() {
            let mut arguments = COMMANDS[self.turn % COMMANDS.len()].to_vec();
            self.turn += 1;
            let is_collection = arguments[0] == "garbage-collect";
            if is_collection && untagged {
                arguments.push("--delete-untagged");
            }
            let done = output_of(self.place.command(&arguments));
            if self.place.is_killed() {
                return;
            }
            match done {
                Ok(_) => {
                    *self.count(arguments[0]) += 1;
                    self.untagged += u64::from(is_collection && untagged);
                }
                // Only one run removes at a time, and the server has runs of its own.
                Err(said) if said.contains("another collection is running") => {}
                Err(said) => panic!("{arguments:?}: {said}"),
            }
        }
    }

    fn count(&mut self, command: &str) -> &mut u64 {
        match command {
            "garbage-collect" => &mut self.collections,
            "verify" => &mut self.verifications,
            _ => &mut self.retentions,
        }
    }

    /// Runs a collection without a server, and kills it after some lines, if it prints so many.
    pub(super) fn kill_a_collection(&self, lines: u64) {
        let mut command = self.place.command(&["garbage-collect", "--json"]);
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary was built");
        let printed = BufReader::new(process.stdout.take().expect("stdout is piped"));
        for line in printed.lines().take(usize::try_from(lines).unwrap_or(0)) {
            line.expect("it prints lines");
        }
        process.kill().expect("a child can be killed");
        process.wait().expect("a child can be waited for");
    }
}
