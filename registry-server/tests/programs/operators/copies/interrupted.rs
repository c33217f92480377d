//! Imports that are killed at any moment.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use libtest_mimic::Trial;
use serde_json::Value;

use super::super::Desk;

pub(super) fn trials() -> Vec<Trial> {
    trials!([];
        a_killed_import_loses_nothing_that_it_reported,
        a_killed_import_of_several_images_moves_no_tag,
    )
}

/// Images of the archive.
const IMAGES: usize = 6;

/// Writes an archive of images, and returns the desk and the lines that an import prints.
fn archive() -> (Desk, Vec<String>) {
    let names: Vec<_> = (1..=IMAGES).map(|number| format!("v{number}")).collect();
    let images: Vec<_> = names
        .iter()
        .zip(1..)
        .map(|(tag, seed)| ("team/app", &**tag, seed))
        .collect();
    let (desk, pushed) = Desk::with_images(&images);
    desk.registry(&["export", "--all-tags", "-o", "all.tar", "--root", "images"]);
    let lines = names
        .iter()
        .zip(&pushed)
        .map(|(tag, image)| format!("{tag}\t{}", image.digest));
    (desk, lines.collect())
}

/// Imports the archive, and kills the command after it has printed `steps` lines. Returns these lines, and true if it was
/// killed before its end.
fn killed(desk: &Desk, options: &[&str], steps: usize) -> (Vec<Value>, bool) {
    let mut command = desk.bench.command(env!("CARGO_BIN_EXE_registry"));
    command.args(["import", "all.tar", "--root", "new", "--json", "--jobs", "1"]);
    let mut import = command.args(options).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(import.stdout.take().unwrap()).lines().take(steps);
    let lines: Vec<Value> = lines
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect();
    import.kill().unwrap();
    let status = import.wait().unwrap();
    (lines, !status.success())
}

/// Returns the tags of the new storage with their digests. The storage may not exist yet.
fn tags(desk: &Desk) -> Vec<String> {
    let listed = desk.bench.attempt(
        env!("CARGO_BIN_EXE_registry"),
        &["ls", "--all", "team/app", "--root", "new"],
    );
    let listed = listed
        .map(|printed| printed.text().to_owned())
        .unwrap_or_default();
    listed
        .lines()
        .filter(|line| line.starts_with('v'))
        .map(str::to_owned)
        .collect()
}

fn a_killed_import_loses_nothing_that_it_reported() {
    let (desk, expected) = archive();
    let mut interruptions = 0;
    for steps in [1, 4, 7, 11, 12, 16, 20, 25] {
        let (lines, was_killed) = killed(&desk, &["--keep-going"], steps);
        interruptions += usize::from(was_killed);
        let tags = tags(&desk);
        for image in lines.iter().filter(|line| line["type"] == "image") {
            let tag = image["names"][0]
                .as_str()
                .unwrap()
                .strip_prefix("team/app:")
                .unwrap();
            let line = format!("{tag}\t{}", image["digest"].as_str().unwrap());
            assert!(
                tags.contains(&line),
                "{line} is not in {tags:?} after {steps} steps"
            );
        }
        if desk.bench.path("new/docker/registry/v2").exists() {
            desk.assert_verified("new");
        }
    }
    assert!(
        interruptions > 3,
        "{interruptions} of the imports were killed before their end"
    );

    desk.registry(&["import", "all.tar", "--root", "new"]);

    assert_eq!(tags(&desk), expected);
    desk.assert_verified("new");
}

fn a_killed_import_of_several_images_moves_no_tag() {
    let (desk, expected) = archive();
    let (lines, was_killed) = killed(&desk, &[], IMAGES);

    assert!(
        was_killed && lines.iter().all(|line| line["type"] != "image"),
        "{lines:?}"
    );
    assert_eq!(tags(&desk), <Vec<String>>::new());

    desk.registry(&["import", "all.tar", "--root", "new"]);
    assert_eq!(tags(&desk), expected);
    desk.assert_verified("new");
}
