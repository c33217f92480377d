//! Files that change while they are followed.
#![cfg(unix)]
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; the harness reports where"
)]

use registry_reload::{Change, Files, Followed, Loaded, Reading};
use std::{
    cell::Cell,
    fs,
    os::unix::fs::symlink,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const SETTLING: Duration = Duration::from_millis(200);

/// A followed file, and a clock that the test sets.
struct Scene {
    directory: TempDir,
    followed: Followed<String>,
    now: Cell<Instant>,
}

impl Scene {
    /// Follows a file with the text `one`.
    fn new(options: impl FnOnce(Followed<String>) -> Followed<String>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "one").unwrap();
        Self {
            followed: options(Followed::open(Files::new([path], 100), text).unwrap()),
            directory,
            now: Cell::new(Instant::now()),
        }
    }

    fn settling() -> Self {
        Self::new(|followed| followed.settling(SETTLING))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, text: &str) {
        fs::write(self.path("file"), text).unwrap();
    }

    fn check(&self) -> Change<String, String> {
        self.followed
            .check(self.now.get(), |reading, _| text(reading).map(Arc::new))
    }

    fn check_after(&self, time: Duration) -> Change<String, String> {
        self.now.set(self.now.get() + time);
        self.check()
    }

    fn current(&self) -> String {
        (*self.followed.current()).clone()
    }
}

/// Loads a text, which must not contain a question mark.
fn text(reading: Reading) -> Result<String, String> {
    let contents = reading.map_err(|error| error.source.kind().to_string())?;
    let text = registry_reload::utf8(contents.concat()).map_err(|error| error.to_string())?;
    match text.contains('?') {
        true => Err(format!("a question: {text}")),
        false => Ok(text),
    }
}

fn loaded(change: Change<String, String>) -> Loaded<String> {
    match change {
        Change::Loaded(loaded) => loaded,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_that_is_written_in_place_is_loaded_when_it_has_settled() {
    let scene = Scene::settling();
    assert_eq!(scene.check(), Change::Unchanged);

    scene.write("tw");
    assert_eq!(scene.check(), Change::Settling);
    assert_eq!(scene.check_after(SETTLING / 2), Change::Settling);
    scene.write("two");
    assert_eq!(scene.check_after(SETTLING), Change::Settling);
    assert_eq!(scene.check_after(SETTLING / 2), Change::Settling);
    assert_eq!(scene.current(), "one");

    let loaded = loaded(scene.check_after(SETTLING / 2));

    assert_eq!((&**loaded.previous, &**loaded.value), ("one", "two"));
    assert!(!loaded.after_failure);
    assert_eq!(scene.current(), "two");
    assert_eq!(scene.check_after(SETTLING), Change::Unchanged);
}

#[test]
fn a_change_that_is_taken_back_while_it_settles_is_none() {
    let scene = Scene::settling();
    scene.write("two");
    assert_eq!(scene.check(), Change::Settling);
    scene.write("one");
    assert_eq!(scene.check_after(SETTLING), Change::Unchanged);
    scene.write("two");

    assert_eq!(scene.check_after(SETTLING), Change::Settling);
}

#[test]
fn a_gap_between_two_files_is_not_a_failure() {
    let scene = Scene::settling();
    fs::remove_file(scene.path("file")).unwrap();
    assert_eq!(scene.check(), Change::Settling);
    scene.write("one");

    assert_eq!(scene.check_after(SETTLING), Change::Unchanged);
}

#[test]
fn two_checks_have_to_find_the_same_contents_however_short_the_time() {
    let scene = Scene::new(|followed| followed.settling(Duration::ZERO));
    scene.write("two");

    assert_eq!(scene.check(), Change::Settling);
    assert_eq!(&**loaded(scene.check()).value, "two");
}

#[test]
fn without_settling_contents_are_loaded_at_once() {
    let scene = Scene::new(|followed| followed);
    let new = scene.path("new");
    fs::write(&new, "two").unwrap();
    fs::rename(new, scene.path("file")).unwrap();

    assert_eq!(&**loaded(scene.check()).value, "two");
}

#[test]
fn contents_of_the_same_size_and_time_are_found() {
    let scene = Scene::new(|followed| followed);
    let time = fs::metadata(scene.path("file")).unwrap().modified().unwrap();
    scene.write("two");
    let file = fs::File::options().write(true).open(scene.path("file"));
    file.unwrap().set_modified(time).unwrap();

    assert_eq!(&**loaded(scene.check()).value, "two");
}

#[test]
fn a_symbolic_link_on_the_path_that_changes_is_found() {
    // As Kubernetes mounts it: `file -> ..data/file`, `..data -> <a directory for each version>`.
    let scene = Scene::new(|followed| followed);
    for (version, text) in [("v1", "one"), ("v2", "two")] {
        fs::create_dir(scene.path(version)).unwrap();
        fs::write(scene.path(version).join("file"), text).unwrap();
    }
    fs::remove_file(scene.path("file")).unwrap();
    symlink("v1", scene.path("..data")).unwrap();
    symlink("..data/file", scene.path("file")).unwrap();
    assert_eq!(scene.check(), Change::Unchanged);

    symlink("v2", scene.path("..next")).unwrap();
    fs::rename(scene.path("..next"), scene.path("..data")).unwrap();

    assert_eq!(&**loaded(scene.check()).value, "two");
}

#[test]
fn each_problem_is_returned_once_and_the_value_stays() {
    let scene = Scene::new(|followed| followed);
    scene.write("what?");
    assert_eq!(scene.check(), Change::Failed("a question: what?".into()));
    assert_eq!(scene.check(), Change::Unchanged);
    scene.write("why?");
    assert_eq!(scene.check(), Change::Failed("a question: why?".into()));
    fs::remove_file(scene.path("file")).unwrap();
    assert_eq!(scene.check(), Change::Failed("entity not found".into()));
    assert_eq!(scene.check(), Change::Unchanged);
    fs::create_dir(scene.path("file")).unwrap();
    assert_eq!(scene.check(), Change::Failed("is a directory".into()));
    assert_eq!(scene.current(), "one");

    fs::remove_dir(scene.path("file")).unwrap();
    scene.write("one");

    assert!(loaded(scene.check()).after_failure);
    scene.write("two");
    assert!(!loaded(scene.check()).after_failure);
}

#[test]
fn after_a_panic_the_next_check_loads_the_file() {
    let scene = Scene::settling();
    scene.write("two");
    assert_eq!(scene.check(), Change::Settling);
    scene.now.set(scene.now.get() + SETTLING);

    assert_eq!(panicking(&scene), Change::Panicked("as a test".into()));
    assert_eq!(scene.current(), "one");
    assert_eq!(panicking(&scene), Change::Unchanged, "it was returned before");

    let loaded = loaded(scene.check());
    assert_eq!(&**loaded.value, "two");
    assert!(loaded.after_failure);
    assert_eq!(scene.check(), Change::Unchanged);
}

#[test]
fn a_panic_for_other_contents_is_another_problem() {
    let scene = Scene::new(|followed| followed);
    for text in ["two", "three"] {
        scene.write(text);
        assert_eq!(panicking(&scene), Change::Panicked("as a test".into()));
    }
    scene.write("one");

    assert!(loaded(scene.check()).after_failure);
}

#[test]
fn contents_are_loaded_again_on_demand() {
    let scene = Scene::new(|followed| followed);
    assert_eq!(scene.check(), Change::Unchanged);

    scene.followed.load_again();

    assert_eq!(&**loaded(scene.check()).value, "one");
    assert_eq!(scene.check(), Change::Unchanged);
}

fn panicking(scene: &Scene) -> Change<String, String> {
    scene.followed.check(scene.now.get(), |_, _| panic!("as a test"))
}
