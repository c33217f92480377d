//! Choice of the pair to serve: that of the files while they are valid, else the last valid one.
//!
//! [`Followed`] finds changes by comparing contents. This notices a symbolic link that is replaced anywhere on the path
//! (certbot's `live/`, Kubernetes' `..data`), also on a network file system.

use crate::{
    certificate::utc,
    error::TlsError,
    exposed,
    pair::{File, Pair},
    status::Status,
};
use registry_reload::{self as reload, Change, Followed, Reading, Unreadable};
use rustls::crypto::CryptoProvider;
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

/// Default interval between two checks of the files.
pub(crate) const CHECK_EVERY: Duration = Duration::from_secs(2);

/// Maximum size of a file, far more than any chain or list of authorities needs.
pub(crate) const MAX_BYTES: u64 = 16 << 20;

/// Files with a certificate and its private key: PEM, a chain in any order, optionally one file for both.
///
/// ```
/// use registry_tls::{Files, Options, Status, Tls};
/// use std::time::Duration;
///
/// let files = Files::new("/certs/none.crt", "/certs/none.key").check_every(Duration::from_secs(10));
/// let (tls, upkeep) = Tls::from_files(files, Options::new())?;
///
/// // The files may come later, while `upkeep.run()` is driven.
/// assert!(matches!(tls.status(), Status::Waiting { .. }));
/// # drop(upkeep);
/// # Ok::<(), registry_tls::TlsError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) check_every: Duration,
}

impl Files {
    /// Names the files, which may not exist yet.
    #[must_use]
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            certificate: certificate.into(),
            key: key.into(),
            check_every: CHECK_EVERY,
        }
    }

    /// Sets the interval between two checks of the files. Default: 2 seconds.
    #[must_use]
    pub fn check_every(mut self, period: Duration) -> Self {
        self.check_every = period;
        self
    }
}

/// Reason why the files are not served.
enum Unusable {
    /// A file does not exist or is empty: it may come later.
    Missing { path: PathBuf, what: &'static str },
    /// The files cannot be used.
    Failed(TlsError),
    /// The pair is not valid now, while the previous one is.
    OutOfDate(String),
}

/// The pair that is served, and the state of the files.
pub(crate) struct CertReloader {
    files: Files,
    provider: Arc<CryptoProvider>,
    /// The pair that is served; `None` until there is one. It is loaded without settling: a pair shows by itself if it
    /// is complete.
    serving: Followed<Option<Pair>>,
    /// Last reported fault of the files, so that it is reported once.
    problem: Option<Problem>,
    /// True if it was reported that the served pair has expired.
    told_expired: bool,
}

#[derive(Clone, PartialEq, Eq)]
enum Problem {
    Missing(String),
    Broken(String),
}

impl Problem {
    fn text(&self) -> &str {
        match self {
            Self::Missing(text) | Self::Broken(text) => text,
        }
    }
}

impl CertReloader {
    /// Reads the files for the first time. Missing files are waited for.
    ///
    /// # Errors
    ///
    /// The files exist but cannot be used. An operator who starts a server sees this error.
    pub(crate) fn start(
        files: Files,
        provider: Arc<CryptoProvider>,
        now: SystemTime,
    ) -> Result<Self, TlsError> {
        let paths = [&files.certificate, &files.key];
        let serving = Followed::new(reload::Files::new(paths, MAX_BYTES), None);
        let mut reloader = Self {
            files,
            provider,
            serving,
            problem: None,
            told_expired: false,
        };
        let reading = reloader.followed_files().read();
        match reloader.change(reading, now) {
            Change::Failed(Unusable::Failed(error)) => Err(error),
            change => {
                reloader.report(change, now);
                Ok(reloader)
            }
        }
    }

    /// Returns the pair to serve, if there was ever one.
    pub(crate) fn pair(&self) -> Arc<Option<Pair>> {
        self.serving.current()
    }

    /// Returns the files to read for a check.
    pub(crate) const fn followed_files(&self) -> &reload::Files {
        self.serving.files()
    }

    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    pub(crate) fn status(&self, now: SystemTime) -> Status {
        let problem = self.problem.as_ref().map(|problem| problem.text().to_owned());
        match (&*self.pair(), &self.problem) {
            (Some(pair), _) => match pair.out_of_date(now) {
                None => Status::Serving {
                    until: pair.validity.until,
                    problem,
                },
                Some(because) => Status::Failing { because },
            },
            (None, Some(Problem::Broken(because))) => Status::Failing {
                because: because.clone(),
            },
            (None, _) => Status::Waiting {
                what_for: problem.unwrap_or_default(),
            },
        }
    }

    /// Checks what was read. Returns true if another pair is to be served from now on.
    pub(crate) fn check(&mut self, reading: Reading, now: SystemTime) -> bool {
        let change = self.change(reading, now);
        let is_loaded = matches!(change, Change::Loaded(_));
        self.report(change, now);
        self.tell_of_expiry(now);
        is_loaded
    }

    fn change(&self, reading: Reading, now: SystemTime) -> Change<Option<Pair>, Unusable> {
        self.serving
            .check_read(reading, Instant::now(), |reading, serving| {
                let pair = self.load(reading)?;
                let serves_valid = (**serving)
                    .as_ref()
                    .is_some_and(|old| old.out_of_date(now).is_none());
                match pair.out_of_date(now) {
                    Some(problem) if serves_valid => Err(Unusable::OutOfDate(problem)),
                    _ => Ok(Arc::new(Some(pair))),
                }
            })
    }

    fn report(&mut self, change: Change<Option<Pair>, Unusable>, now: SystemTime) {
        let certificate = self.files.certificate.display();
        match change {
            Change::Loaded(loaded) => {
                if let Some(pair) = &*loaded.value {
                    self.serves(pair, now);
                }
            }
            Change::Failed(Unusable::Missing { path, what }) => self.missing(&path, what),
            Change::Failed(Unusable::Failed(error)) => self.broken(error.story()),
            Change::Failed(Unusable::OutOfDate(problem)) => {
                // A pair that is not valid yet becomes valid without a change of the files.
                self.serving.load_again();
                self.broken(format!("{certificate}: {problem}"));
            }
            Change::Panicked(message) => {
                self.broken(format!(
                    "{certificate}: the check of the files panicked: {message}"
                ));
            }
            _ => {}
        }
    }

    fn load(&self, reading: Reading) -> Result<Pair, Unusable> {
        let contents = reading.map_err(|Unreadable { path, source, .. }| match source.kind() {
            io::ErrorKind::NotFound => Unusable::Missing {
                path,
                what: "does not exist yet",
            },
            _ => Unusable::Failed(TlsError::Read { path, source }),
        })?;
        let files = self.followed_files().paths().iter().zip(&contents);
        let mut files = files.map(|(path, content)| match content.is_empty() {
            true => Err(Unusable::Missing {
                path: path.clone(),
                what: "is empty",
            }),
            false => Ok(File { path, content }),
        });
        let mut next = || files.next().expect("two files are read");
        let [certificate, key] = [next()?, next()?];
        Pair::parse(certificate, key, &self.provider).map_err(Unusable::Failed)
    }

    /// Reports that a pair is served.
    fn serves(&mut self, pair: &Pair, now: SystemTime) {
        let file = self.files.certificate.display();
        for warning in &pair.warnings {
            tracing::warn!("{file}: {warning}");
        }
        if let Some(warning) = exposed::warning(&self.files.key) {
            tracing::warn!("{warning}");
        }
        tracing::info!(
            "TLS: serves the certificate for {} from {file}, valid until {}",
            pair.holder,
            utc(pair.validity.until)
        );
        if pair.ends_soon(now) && pair.out_of_date(now).is_none() {
            tracing::warn!(
                "{file}: the certificate expires soon, at {}",
                utc(pair.validity.until)
            );
        }
        self.problem = None;
        self.told_expired = false;
        self.tell_of_expiry(now);
    }

    fn missing(&mut self, path: &Path, what: &str) {
        let text = format!("{}, which {what}", path.display());
        if self.pair().is_some() {
            return self.broken(format!("{} {what}", path.display()));
        }
        let problem = Problem::Missing(text);
        if self.problem.as_ref() != Some(&problem) {
            tracing::warn!(
                "TLS: waits for {}; until then handshakes are refused",
                problem.text()
            );
            self.problem = Some(problem);
        }
    }

    fn broken(&mut self, because: String) {
        let problem = Problem::Broken(because);
        if self.problem.as_ref() == Some(&problem) {
            return;
        }
        match &*self.pair() {
            Some(pair) => tracing::error!(
                "TLS: {}; the certificate for {} that was loaded before stays in use, until {}",
                problem.text(),
                pair.holder,
                utc(pair.validity.until)
            ),
            None => tracing::error!("TLS: {}; handshakes are refused", problem.text()),
        }
        self.problem = Some(problem);
    }

    fn tell_of_expiry(&mut self, now: SystemTime) {
        if self.told_expired {
            return;
        }
        let problem = (*self.pair()).as_ref().and_then(|pair| pair.out_of_date(now));
        if let Some(problem) = problem {
            tracing::error!("{}: {problem}", self.files.certificate.display());
            self.told_expired = true;
        }
    }
}

#[cfg(test)]
mod tests {
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
        fn load_private_key(
            &self,
            key: PrivateKeyDer<'static>,
        ) -> Result<Arc<dyn SigningKey>, rustls::Error> {
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
        let mut reloader =
            CertReloader::start(scene.files(), Arc::new(panicking), SystemTime::now()).unwrap();
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
}
