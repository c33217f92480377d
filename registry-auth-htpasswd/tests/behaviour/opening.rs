//! Errors for an operator who starts a server without usable users.

use crate::scene::{Log, lines};
use registry_auth_htpasswd::{Htpasswd, LoadError, Problem};
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Barrier, thread};

fn refused(path: &Path) -> LoadError {
    Htpasswd::open(path).unwrap_err()
}

#[test]
fn a_missing_file_names_what_looks_like_one_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let missing = at("registry.password");
    assert_eq!(
        refused(&missing).to_string(),
        format!(
            "there is no htpasswd file {0}; `htpasswd -Bc {0} USER` creates one",
            missing.display()
        )
    );

    // The file of the guide, some other files, and a directory.
    fs::write(at("passwordfile"), "username:$apr1$abc$1HIID6dRDE3JjjvFeprjb.\n").unwrap();
    fs::write(at("config.yml"), "version: 0.1\n").unwrap();
    fs::write(at("notes.txt"), "to do\n").unwrap();
    fs::create_dir(at("data")).unwrap();
    let error = refused(&missing);

    assert_eq!(
        error.to_string(),
        format!(
            "there is no htpasswd file {}, but {} looks like one",
            missing.display(),
            at("passwordfile").display()
        )
    );
    fs::write(at("another"), lines(&[("alice", "right")])).unwrap();
    let LoadError::Missing { similar, .. } = refused(&missing) else {
        panic!("not missing");
    };
    assert_eq!(similar, [at("another"), at("passwordfile")]);
    assert!(refused(&missing).to_string().ends_with(&format!(
        "but these look like one: {}, {}",
        at("another").display(),
        at("passwordfile").display()
    )));
}

#[test]
fn a_directory_in_its_place_is_what_a_container_engine_made() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(
        refused(directory.path()).to_string(),
        format!(
            "the htpasswd file {} is a directory; if it is mounted into a container, the host path did not exist \
             when the container was created",
            directory.path().display()
        )
    );
}

#[test]
fn a_file_in_another_encoding_is_named_and_a_mark_is_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("users");
    let text = lines(&[("alice", "right")]);
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(&path, utf16).unwrap();
    let expected = format!(
        "the htpasswd file {}: this file is UTF-16: save it as UTF-8",
        path.display()
    );
    assert_eq!(refused(&path).to_string(), expected);

    fs::write(&path, format!("\u{feff}{text}")).unwrap();
    assert!(Htpasswd::open(&path).unwrap().snapshot().contains("alice"));
}

#[test]
fn a_snapshot_knows_who_can_log_in() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("users");
    fs::write(&path, lines(&[("alice", "right")]) + "plain:secret\n").unwrap();
    let users = Htpasswd::open(&path).unwrap();

    let snapshot = users.snapshot();

    assert!(snapshot.contains("alice"));
    assert!(!snapshot.contains("plain"), "this line lets nobody in");
    assert!(!snapshot.contains("Alice"));
    assert!(snapshot.is_same_reading(&users.snapshot()));
    assert!(!snapshot.is_same_reading(&Htpasswd::open(&path).unwrap().snapshot()));
}

#[test]
fn a_malformed_line_is_named_with_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("users");
    fs::write(&path, lines(&[("alice", "right")]) + "what is this\n").unwrap();

    let error = refused(&path);

    assert!(matches!(
        error,
        LoadError::Malformed {
            line: 2,
            problem: Problem::NoColon,
            ..
        }
    ));
    assert_eq!(
        error.to_string(),
        format!(
            "the htpasswd file {}, line 2: not of the form `user:hash`",
            path.display()
        )
    );
}

#[test]
fn a_file_is_made_on_demand_with_a_user_whose_password_is_logged_once() {
    let log = Log::capture();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auth/htpasswd");

    let users = Htpasswd::builder(&path).create_if_missing().open().unwrap();

    let lines = log.take();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let password = lines[0]
        .split("password=\"")
        .nth(1)
        .unwrap()
        .trim_end_matches('"');
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("docker:$2y$10$"));
    assert_eq!(users.users(), 1);
    assert!(
        registry_auth_htpasswd::PasswordHash::parse(text.trim_start_matches("docker:").trim_end())
            .unwrap()
            .verify(password.as_bytes())
    );

    // An existing file is not changed.
    Htpasswd::builder(&path).create_if_missing().open().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    assert_eq!(log.take(), [""; 0]);
}

#[test]
fn of_several_that_start_together_one_makes_the_file_and_logs_its_password() {
    const STARTS: usize = 4;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("users");
    // Empty, and readable by all.
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let together = Barrier::new(STARTS);
    let start = || {
        let log = Log::capture();
        together.wait();
        let users = Htpasswd::builder(&path).create_if_missing().open().unwrap();
        assert_eq!(users.users(), 1);
        log.take()
    };

    let logged = thread::scope(|scope| {
        let starts: Vec<_> = (0..STARTS).map(|_| scope.spawn(start)).collect();
        let logged = starts.into_iter().map(|start| start.join().unwrap());
        logged.collect::<Vec<_>>().concat()
    });

    assert_eq!(logged.len(), 1, "{logged:?}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}
