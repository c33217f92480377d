//! Behaviour of a [`CertReloader`] whose files change.

use super::*;
use crate::{
    provider::provider,
    test_certificates::{Authority, Issued},
};
use rustls::{crypto::KeyProvider, pki_types::PrivateKeyDer, sign::SigningKey};
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

struct Scene {
    directory: tempfile::TempDir,
    authority: Authority,
}

impl Scene {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            authority: Authority::new("root"),
        }
    }

    fn files(&self) -> Files {
        Files::new(self.path("tls.crt"), self.path("tls.key"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, directory: &str, issued: &Issued) {
        fs::create_dir_all(self.path(directory)).unwrap();
        fs::write(self.path(directory).join("tls.crt"), issued.pem()).unwrap();
        fs::write(self.path(directory).join("tls.key"), issued.key_pem()).unwrap();
    }

    fn start(&self) -> CertReloader {
        CertReloader::start(self.files(), provider().unwrap(), SystemTime::now()).unwrap()
    }
}

fn check(reloader: &mut CertReloader) -> bool {
    let reading = reloader.followed_files().read();
    reloader.check(reading, SystemTime::now())
}

fn holder(reloader: &CertReloader) -> String {
    (*reloader.pair()).as_ref().unwrap().holder.clone()
}

fn problem(reloader: &CertReloader) -> String {
    match reloader.status(SystemTime::now()) {
        Status::Serving { problem, .. } => problem.unwrap_or_default(),
        other => panic!("{other:?}"),
    }
}

/// Keeps what is written to any clone of it.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns what is logged while something is done.
fn logged(act: impl FnOnce()) -> String {
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // With a single subscriber, `tracing` decides whether an event is logged by the thread that reaches it first,
    // which may be another test's. With two it asks both.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    tracing::subscriber::with_default(subscriber, act);
    let written = written.0.lock().unwrap();
    String::from_utf8_lossy(&written).into_owned()
}

#[test]
fn a_key_that_everybody_may_read_is_told_when_it_is_loaded() {
    let scene = Scene::new();
    scene.write("", &scene.authority.issue(&["a.example"]));
    let key = scene.path("tls.key");
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(scene.directory.path(), 0o755);
    for (of_key, may_be_read) in [(0o644, true), (0o600, false)] {
        mode(&key, of_key);
        // A directory above that of the test may deny access to other users.
        let told = exposed::warning(&key);
        assert!(may_be_read || told.is_none());

        let log = logged(|| drop(scene.start()));

        assert!(log.contains("TLS: serves the certificate for a.example"), "{log}");
        assert_eq!(log.contains("this private key"), told.is_some(), "{log}");
        assert!(told.is_none_or(|told| log.contains(&told)), "{log}");
    }
}

#[test]
fn missing_files_are_waited_for_and_picked_up() {
    let scene = Scene::new();
    let mut reloader = scene.start();
    assert_eq!(
        reloader.status(SystemTime::now()),
        Status::Waiting {
            what_for: format!("{}, which does not exist yet", scene.path("tls.crt").display())
        }
    );
    assert!(!check(&mut reloader));

    scene.write("", &scene.authority.issue(&["a.example"]));

    assert!(check(&mut reloader));
    assert!(reloader.status(SystemTime::now()).is_serving());
    assert!(!check(&mut reloader), "nothing changed since");
}

#[test]
fn files_that_cannot_be_used_at_the_start_are_refused() {
    let scene = Scene::new();
    let [one, other] = [scene.authority.issue(&["one"]), scene.authority.issue(&["other"])];
    scene.write("", &one);
    fs::write(scene.path("tls.key"), other.key_pem()).unwrap();

    let refused = CertReloader::start(scene.files(), provider().unwrap(), SystemTime::now());

    assert!(matches!(refused, Err(TlsError::Mismatch { .. })));
}

#[test]
fn a_renewed_pair_replaces_the_old_one_only_when_it_is_whole() {
    let scene = Scene::new();
    scene.write("", &scene.authority.issue(&["old.example"]));
    let mut reloader = scene.start();
    let renewed = scene.authority.issue(&["new.example"]);

    fs::write(scene.path("tls.crt"), renewed.pem()).unwrap();
    assert!(!check(&mut reloader));
    assert_eq!(holder(&reloader), "old.example");
    assert!(
        problem(&reloader).contains("does not belong"),
        "{}",
        problem(&reloader)
    );

    fs::write(scene.path("tls.key"), renewed.key_pem()).unwrap();
    assert!(check(&mut reloader));
    assert_eq!(holder(&reloader), "new.example");
    assert_eq!(problem(&reloader), "");
}

#[test]
fn files_that_vanish_or_break_keep_the_old_pair() {
    let scene = Scene::new();
    scene.write("", &scene.authority.issue(&["old.example"]));
    let mut reloader = scene.start();

    fs::remove_file(scene.path("tls.key")).unwrap();
    assert!(!check(&mut reloader));
    assert!(
        problem(&reloader).ends_with("tls.key does not exist yet"),
        "{}",
        problem(&reloader)
    );

    fs::write(scene.path("tls.key"), "rubbish").unwrap();
    assert!(!check(&mut reloader));
    assert!(
        problem(&reloader).contains("contains no PEM"),
        "{}",
        problem(&reloader)
    );
    assert_eq!(holder(&reloader), "old.example");
}

#[test]
fn a_swapped_symlink_is_noticed_although_no_file_changed() {
    let scene = Scene::new();
    scene.write("first", &scene.authority.issue(&["first.example"]));
    scene.write("second", &scene.authority.issue(&["second.example"]));
    symlink("first", scene.path("..data")).unwrap();
    for name in ["tls.crt", "tls.key"] {
        symlink(format!("..data/{name}"), scene.path(name)).unwrap();
    }
    let mut reloader = scene.start();
    assert_eq!(holder(&reloader), "first.example");

    symlink("second", scene.path("..data_tmp")).unwrap();
    fs::rename(scene.path("..data_tmp"), scene.path("..data")).unwrap();

    assert!(check(&mut reloader));
    assert_eq!(holder(&reloader), "second.example");
}

#[test]
fn an_expired_pair_does_not_replace_one_that_holds_and_is_served_if_there_is_no_other() {
    let scene = Scene::new();
    scene.write("", &scene.authority.issue(&["valid.example"]));
    let mut reloader = scene.start();
    let expired = scene.authority.issue_from(&["expired.example"], |params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });

    scene.write("", &expired);
    assert!(!check(&mut reloader));
    assert_eq!(holder(&reloader), "valid.example");
    assert!(
        problem(&reloader).contains("expired at 2020-01-01 00:00:00 UTC"),
        "{}",
        problem(&reloader)
    );

    let reloader = scene.start();
    assert_eq!(holder(&reloader), "expired.example");
    assert!(matches!(
        reloader.status(SystemTime::now()),
        Status::Failing { .. }
    ));
}

#[test]
fn a_pair_that_is_not_valid_yet_is_taken_when_its_time_comes() {
    let scene = Scene::new();
    scene.write("", &scene.authority.issue(&["old.example"]));
    let mut reloader = scene.start();
    scene.write(
        "",
        &scene.authority.issue_from(&["new.example"], |params| {
            params.not_before = rcgen::date_time_ymd(2900, 1, 1);
        }),
    );
    assert!(!check(&mut reloader));

    let then = SystemTime::now() + Duration::from_secs(900 * 366 * 24 * 3600);

    let reading = reloader.followed_files().read();
    assert!(reloader.check(reading, then));
    assert_eq!(holder(&reloader), "new.example");
}

/// Loads keys as another provider does, but panics the first time after it was armed.
#[derive(Debug)]
struct PanicsOnce {
    inner: &'static dyn KeyProvider,
    armed: AtomicBool,
}

impl KeyProvider for PanicsOnce {
    fn load_private_key(&self, key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        assert!(!self.armed.swap(false, Ordering::Relaxed), "as a test");
        self.inner.load_private_key(key)
    }
}

#[test]
fn after_a_panic_the_old_pair_is_served_and_the_next_check_loads_the_new_one() {
    let scene = Scene::new();
    scene.write("", &scene.authority.issue(&["old.example"]));
    let provider = provider().unwrap();
    let keys: &'static PanicsOnce = Box::leak(Box::new(PanicsOnce {
        inner: provider.key_provider,
        armed: AtomicBool::new(false),
    }));
    let panicking = CryptoProvider {
        key_provider: keys,
        ..(*provider).clone()
    };
    let mut reloader = CertReloader::start(scene.files(), Arc::new(panicking), SystemTime::now()).unwrap();
    scene.write("", &scene.authority.issue(&["new.example"]));
    keys.armed.store(true, Ordering::Relaxed);

    assert!(!check(&mut reloader));
    assert_eq!(holder(&reloader), "old.example");
    assert!(
        problem(&reloader).ends_with("the check of the files panicked: as a test"),
        "{}",
        problem(&reloader)
    );

    assert!(check(&mut reloader));
    assert_eq!(holder(&reloader), "new.example");
    assert_eq!(problem(&reloader), "");
}
