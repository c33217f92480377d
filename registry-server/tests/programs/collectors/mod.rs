//! Collectors of registry:2 and of its successor beside ours, on copies of one directory.
//!
//! `differences.txt` lists each item that they treat differently, with the reason. `aftermath.txt` is the list for
//! directories that other commands and accidents leave. After each run, everything is pulled from our server and from
//! theirs.

use std::{collections::BTreeSet, path::Path, process::Command};

use libtest_mimic::Trial;
use registry_core::Digest;

use self::{
    differences::Differences,
    scenes::Writer,
    tree::{Items, Labels, is_directory, items},
};
use crate::{
    content::Content,
    program::{Workbench, output_of},
    server::{Server, registry2_config},
};

mod aftermath;
mod differences;
mod scenes;
mod tree;

/// Programs of the collectors of theirs.
pub(crate) const PROGRAMS: [&str; 2] = ["docker-registry", "registry3"];

const LIST: &str = include_str!("differences.txt");

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = trials!(PROGRAMS;
        the_programs_are_the_versions_that_the_list_is_about,
        what_theirs_free_in_a_directory_of_ours_ours_frees,
        what_theirs_free_in_a_directory_of_theirs_ours_frees,
        version_2_runs_between_two_runs_of_ours,
        version_2_runs_between_two_runs_of_ours_without_untagged_manifests,
        version_3_runs_between_two_runs_of_ours,
        version_3_runs_between_two_runs_of_ours_without_untagged_manifests,
        what_registry2_stored_under_two_names_stays,
    );
    trials.extend(aftermath::trials());
    trials
}

const OURS: &str = env!("CARGO_BIN_EXE_registry");

/// A collector, with its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Collector {
    pub(crate) program: &'static str,
    /// True if it removes manifests without a tag: `-m`.
    pub(crate) untagged: bool,
}

/// The collectors in the order of the list.
pub(crate) const THEIRS: [Collector; 4] = [
    Collector::new("docker-registry", false),
    Collector::new("docker-registry", true),
    Collector::new("registry3", false),
    Collector::new("registry3", true),
];

impl Collector {
    const fn new(program: &'static str, untagged: bool) -> Self {
        Self { program, untagged }
    }

    /// Returns our collector with the same options.
    pub(crate) const fn ours(self) -> Self {
        Self::new(OURS, self.untagged)
    }

    pub(crate) fn run(self, root: &Path) {
        self.run_with(&[], root);
    }

    /// Runs it with more options, which only ours may have.
    pub(crate) fn run_with(self, options: &[&str], root: &Path) {
        let mut command = Command::new(self.program);
        command.arg("garbage-collect").args(options);
        command.arg(registry2_config(root));
        if self.untagged {
            command.arg("--delete-untagged");
        }
        output_of(command).unwrap_or_else(|failed| panic!("{self:?}: {failed}"));
    }

    /// Serves a directory with the program whose collector this is.
    pub(crate) fn serve(self, root: &Path) -> Server {
        match self.program {
            OURS => served(root),
            theirs => Server::distribution(theirs, root),
        }
    }
}

/// Returns the command of a server of ours that collects nothing by itself: what it had come to would be free before the
/// collectors run.
fn idle(root: &Path) -> Command {
    let mut command = Server::ours_command(root);
    command.env("REGISTRY_STORAGE_MAINTENANCE_COLLECT_ENABLED", "false");
    command
}

/// Serves a directory with it.
fn served(root: &Path) -> Server {
    Server::start(idle(root), "http://")
}

/// A directory with all scenes, and copies of it.
struct Desk {
    bench: Workbench,
    labels: Labels,
}

impl Desk {
    fn new(writer: Writer) -> Self {
        let bench = Workbench::new();
        let labels = scenes::write(&bench.path("written"), writer);
        Self { bench, labels }
    }

    /// Copies the directory.
    fn copy(&self) -> Workbench {
        copy_of(&self.bench.path("written"))
    }

    /// Returns what a collector leaves of a copy.
    fn left_by(&self, collector: Collector) -> Items {
        let copy = self.copy();
        collector.run(&copy.path("copy"));
        items(&copy.path("copy"), &self.labels)
    }

    /// Returns everything that tags lead to, and the referrers of it.
    fn content(&self, server: &Server) -> Content {
        let referrers = ["signed-referrer", "signed-referrer-of-referrer"];
        Content::of(server, &referrers.map(|label| ("signed", self.digest(label))))
    }

    fn digest(&self, label: &str) -> Digest {
        let (hex, _) = self.labels.iter().find(|(_, known)| *known == label).unwrap();
        Digest::parse(&format!("sha256:{hex}")).unwrap()
    }

    /// Returns the item of the list that a path is.
    fn item(&self, path: &str) -> String {
        let path = path.strip_prefix("/v2/").unwrap();
        let label = |reference: &str| {
            let hex = reference.split_once(':').map(|(_, hex)| hex);
            hex.and_then(|hex| self.labels.get(hex))
        };
        if let Some((repository, reference)) = path.rsplit_once("/manifests/") {
            match label(reference) {
                Some(label) => format!("manifest {repository} {label}"),
                None => format!("tag {repository}:{reference}"),
            }
        } else {
            let (_, digest) = path.rsplit_once("/blobs/").unwrap();
            format!("blob {}", label(digest).unwrap())
        }
    }
}

/// Copies a directory to `copy` in a directory of its own.
pub(crate) fn copy_of(root: &Path) -> Workbench {
    let copy = Workbench::new();
    let mut command = Command::new("cp");
    command.arg("-a").arg(root).arg(copy.path("copy"));
    output_of(command).unwrap();
    copy
}

fn the_programs_are_the_versions_that_the_list_is_about() {
    for (program, version) in [("docker-registry", "2.8.2"), ("registry3", "v3.1.1")] {
        let mut command = Command::new(program);
        command.arg("--version");
        let printed = output_of(command).unwrap();
        assert!(
            printed.text().contains(version),
            "{program} is {}",
            printed.text()
        );
    }
}

fn what_theirs_free_in_a_directory_of_ours_ours_frees() {
    compare(Writer::Ours);
}

fn what_theirs_free_in_a_directory_of_theirs_ours_frees() {
    compare(Writer::Registry2);
}

fn compare(writer: Writer) {
    let desk = Desk::new(writer);
    let mut found = Differences::default();

    for (column, theirs) in THEIRS.into_iter().enumerate() {
        found.add(column, &desk.left_by(theirs.ours()), &desk.left_by(theirs));
    }

    found.assert_same(&Differences::listed(LIST));
}

fn version_2_runs_between_two_runs_of_ours() {
    alternate(THEIRS[0]);
}

fn version_2_runs_between_two_runs_of_ours_without_untagged_manifests() {
    alternate(THEIRS[1]);
}

fn version_3_runs_between_two_runs_of_ours() {
    alternate(THEIRS[2]);
}

fn version_3_runs_between_two_runs_of_ours_without_untagged_manifests() {
    alternate(THEIRS[3]);
}

/// Runs ours, theirs, and ours again, and pulls everything from both servers after each run.
fn alternate(theirs: Collector) {
    let listed = Differences::listed(LIST);
    for writer in [Writer::Ours, Writer::Registry2] {
        let desk = Desk::new(writer);
        let root = desk.bench.path("written");
        let server = theirs.ours().serve(&root);
        let before = desk.content(&server);
        server.stop();
        let freed = before
            .paths()
            .filter(|path| listed.frees(theirs, &desk.item(path)));
        let lost: BTreeSet<&str> = freed.collect();
        let check = |lost: &BTreeSet<&str>, when: &str| {
            for collector in [theirs.ours(), theirs] {
                let server = collector.serve(&root);
                assert_eq!(before.lost_in(&server), *lost, "{when}, by {}", collector.program);
                server.stop();
            }
        };

        theirs.ours().run(&root);
        let first = items(&root, &desk.labels);
        check(&BTreeSet::new(), "after ours");
        theirs.run(&root);
        check(&lost, "after theirs");
        theirs.ours().run(&root);
        let last = items(&root, &desk.labels);
        // What only lost manifests have named goes, too.
        check(&(&lost | &before.named_by(&lost)), "after ours again");

        let came_back: Vec<_> = last
            .difference(&first)
            .filter(|item| !is_directory(item))
            .collect();
        assert_eq!(came_back, [""; 0]);
        if lost.is_empty() {
            assert_eq!(first, last);
        }
    }
}

/// Its own collector removes it.
fn what_registry2_stored_under_two_names_stays() {
    let bench = Workbench::new();
    let root = bench.path("registry");
    let server = Server::registry2(&root);
    scenes::push_sha512(&server);
    server.stop();
    let server = served(&root);
    let before = Content::of(&server, &[]);
    server.stop();

    for untagged in [false, true] {
        Collector::new(OURS, untagged).run(&root);
        for program in [OURS, "docker-registry"] {
            let server = Collector::new(program, untagged).serve(&root);
            assert_eq!(before.lost_in(&server), [].into(), "by {program}");
            server.stop();
        }
    }
    Collector::new("docker-registry", false).run(&root);
    let server = served(&root);
    let blobs = before.paths().filter(|path| path.contains("/blobs/"));
    assert_eq!(before.lost_in(&server), blobs.collect());
}
