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
mod tests;
