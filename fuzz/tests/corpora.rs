//! Replays the inputs that fuzzing found useful.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use registry_fuzz::{Head, TARGETS};
use std::{fs, path::PathBuf};

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

#[test]
fn every_input_of_every_corpus_keeps_its_promise() {
    for (name, target) in TARGETS {
        let inputs = corpus(name);
        assert!(
            inputs.len() >= 10,
            "the corpus of {name} has {} inputs",
            inputs.len()
        );
        for (path, input) in inputs {
            // The name of the input that fails is worth more than a list of those that do not.
            std::panic::catch_unwind(|| target(&input))
                .unwrap_or_else(|_| panic!("{name} breaks with {}", path.display()));
        }
    }
}

#[test]
fn every_corpus_has_a_target_and_all_are_small() {
    let all = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut bytes = 0;
    for entry in fs::read_dir(all).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            TARGETS.iter().any(|(target, _)| *target == name),
            "no target is called {name}"
        );
        bytes += corpus(&name).iter().map(|(_, input)| input.len()).sum::<usize>();
    }
    assert!(bytes < 200 << 10, "the corpora have {bytes} bytes");
}

#[test]
fn the_requests_of_the_corpus_are_requests() {
    let inputs = corpus("request");
    let heads = inputs
        .iter()
        .filter(|(_, input)| Head::parse(input).is_some())
        .count();
    assert!(heads >= 50, "only {heads} of {} can be sent", inputs.len());
}
