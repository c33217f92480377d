//! The two halves of TLS for a server: one performs handshakes, the other keeps certificates up to date.

#[cfg(feature = "acme")]
use crate::{
    acme::{Acme, Renewal},
    keeper::CHECK_EVERY,
};
use crate::{
    certificate::utc,
    challenges::Challenges,
    client_cas::ClientCas,
    error::TlsError,
    keeper::{Files, Keeper},
    options::Options,
    provider::provider,
    shelf::Shelf,
    status::Status,
};
use rustls::{ServerConfig, sign::CertifiedKey};
use std::{
    convert::Infallible,
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};
use tokio::sync::{Notify, watch};

/// TLS for the connections of a server. Cheap to clone; all clones serve the same certificates.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

/// State that handshakes and upkeep share.
struct Shared {
    config: RwLock<Arc<ServerConfig>>,
    /// Configuration for the handshakes of a validating authority, if one is used.
    validation: Option<Arc<ServerConfig>>,
    shelf: Arc<Shelf>,
    challenges: Arc<Challenges>,
    report: watch::Sender<Report>,
    check_now: Notify,
}

/// Current state, for health checks.
#[derive(Clone, PartialEq, Eq)]
struct Report {
    certificates: Status,
    client_cas: Option<String>,
}

/// Background work beside the handshakes: reading files, ordering certificates.
///
/// Nothing runs by itself: spawn [`run`](Self::run), or race it against the server's end.
#[must_use = "certificates are kept up to date by `run`, which the host drives"]
pub struct Upkeep {
    tls: Tls,
    source: Source,
    client_cas: ClientCas,
}

/// Source of the certificates.
enum Source {
    Files(Box<Keeper>),
    #[cfg(feature = "acme")]
    Acme(Box<Renewal>),
}

impl Tls {
    /// Sets up TLS with a certificate from files.
    ///
    /// Missing files are waited for: until they exist, handshakes are refused. Changed files are served after
    /// [`Files::check_every`] at the latest, if they are valid; otherwise the old pair stays in service.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if files exist but cannot be used, or an option has an invalid value.
    pub fn from_files(files: Files, options: Options) -> Result<(Self, Upkeep), TlsError> {
        let provider = provider()?;
        let now = SystemTime::now();
        let keeper = Keeper::start(files, Arc::clone(&provider), now)?;
        let shelf = Arc::new(Shelf::for_any_name());
        let (client_cas, config) = ClientCas::start(options, provider, Arc::clone(&shelf))?;
        let tls = Self::new(config, None, shelf, Arc::default(), keeper.status(now));
        if let Some(pair) = keeper.pair() {
            tls.serve("", &pair.certified);
        }
        let upkeep = Upkeep {
            tls: tls.clone(),
            source: Source::Files(Box::new(keeper)),
            client_cas,
        };
        Ok((tls, upkeep))
    }

    /// Sets up TLS with certificates that an ACME authority signs and renews.
    ///
    /// Certificates in the cache are served at once. Until the first certificate of a host exists, handshakes for it
    /// are refused. Handshakes for other names than the hosts' are always refused.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if the cache cannot be used, or a setting has an invalid value.
    #[cfg(feature = "acme")]
    pub fn from_acme(acme: Acme, options: Options) -> Result<(Self, Upkeep), TlsError> {
        let provider = provider()?;
        let shelf = Arc::new(Shelf::for_known_names());
        let challenges: Arc<Challenges> = Arc::default();
        let validation = Arc::new(crate::acme::validation_config(&provider, &challenges)?);
        let renewal = Renewal::start(
            acme,
            Arc::clone(&provider),
            Arc::clone(&challenges),
            SystemTime::now(),
        )?;
        let (client_cas, config) = ClientCas::start(options, provider, Arc::clone(&shelf))?;
        let status = renewal.status();
        let tls = Self::new(config, Some(validation), shelf, challenges, status);
        for (host, pair) in renewal.pairs() {
            tls.serve(host, &pair.certified);
        }
        let upkeep = Upkeep {
            tls: tls.clone(),
            source: Source::Acme(Box::new(renewal)),
            client_cas,
        };
        Ok((tls, upkeep))
    }

    fn new(
        config: ServerConfig,
        validation: Option<Arc<ServerConfig>>,
        shelf: Arc<Shelf>,
        challenges: Arc<Challenges>,
        certificates: Status,
    ) -> Self {
        let report = Report {
            certificates,
            client_cas: None,
        };
        Self(Arc::new(Shared {
            config: RwLock::new(Arc::new(config)),
            validation,
            shelf,
            challenges,
            report: watch::Sender::new(report),
            check_now: Notify::new(),
        }))
    }

    /// Returns the state of the certificates, for a health check.
    #[must_use]
    pub fn status(&self) -> Status {
        let Report {
            certificates,
            client_cas,
        } = self.0.report.borrow().clone();
        match certificates {
            Status::Serving { until, problem } if until < SystemTime::now() => {
                let why = problem.map_or_else(
                    || "renew it".to_owned(),
                    |problem| format!("it was not renewed: {problem}"),
                );
                Status::Failing {
                    because: format!("the certificate expired at {}: {why}", utc(until)),
                }
            }
            Status::Serving { until, problem } => Status::Serving {
                until,
                problem: problem.or(client_cas),
            },
            other => other,
        }
    }

    /// Waits until there is a certificate to serve.
    pub async fn serving(&self) {
        let mut reports = self.0.report.subscribe();
        // The sender lives as long as `self`: there is no error.
        let _ = reports.wait_for(|report| report.certificates.is_serving()).await;
    }

    /// Waits until the status differs from `known`, and returns it.
    pub async fn status_other_than(&self, known: &Status) -> Status {
        let mut reports = self.0.report.subscribe();
        // The sender lives as long as `self`: there is no error.
        let _ = reports.wait_for(|_| self.status() != *known).await;
        self.status()
    }

    /// Makes [`Upkeep::run`] check the files now, on SIGHUP for instance.
    pub fn check_now(&self) {
        self.0.check_now.notify_one();
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn validation(&self) -> Option<Arc<ServerConfig>> {
        self.0.validation.clone()
    }

    pub(crate) fn has_certificate_for(&self, name: Option<&str>) -> bool {
        self.0.shelf.get(name).is_some()
    }

    pub(crate) fn key_authorization(&self, token: &str) -> Option<String> {
        self.0.challenges.key_authorization(token)
    }

    pub(crate) fn serve(&self, host: &str, certificate: &Arc<CertifiedKey>) {
        self.0.shelf.put(host, Arc::clone(certificate));
    }

    pub(crate) fn report(&self, certificates: Status) {
        self.change_report(|report| report.certificates = certificates);
    }

    fn change_report(&self, change: impl FnOnce(&mut Report)) {
        self.0.report.send_if_modified(|report| {
            let before = report.clone();
            change(report);
            *report != before
        });
    }

    /// Waits for the next check of the files.
    async fn next_check(&self, period: Duration) {
        tokio::select! {
            () = tokio::time::sleep(period) => {}
            () = self.0.check_now.notified() => {}
        }
    }
}

impl Upkeep {
    /// Keeps certificates up to date while it is driven. It never ends.
    pub async fn run(mut self) -> Infallible {
        let period = match &self.source {
            Source::Files(keeper) => keeper.files().check_every,
            #[cfg(feature = "acme")]
            Source::Acme(_) => CHECK_EVERY,
        };
        #[cfg(feature = "acme")]
        if let Source::Acme(renewal) = self.source {
            let client_cas = async {
                loop {
                    self.tls.next_check(period).await;
                    check_client_cas(&self.tls, &mut self.client_cas).await;
                }
            };
            return tokio::select! {
                never = renewal.run(&self.tls) => never,
                never = client_cas => never,
            };
        }
        loop {
            self.tls.next_check(period).await;
            self.check().await;
        }
    }

    /// Checks the files once. ([`run`](Self::run) alone contacts an ACME authority.)
    pub async fn check(&mut self) {
        match &mut self.source {
            Source::Files(keeper) => {
                let files = keeper.files().clone();
                let Some(read) = off_the_reactor(move || files.read()).await else {
                    return;
                };
                let now = SystemTime::now();
                if keeper.check(read, now)
                    && let Some(pair) = keeper.pair()
                {
                    self.tls.serve("", &pair.certified);
                }
                self.tls.report(keeper.status(now));
            }
            #[cfg(feature = "acme")]
            Source::Acme(_) => {}
        }
        check_client_cas(&self.tls, &mut self.client_cas).await;
    }
}

async fn check_client_cas(tls: &Tls, client_cas: &mut ClientCas) {
    let options = client_cas.options().clone();
    let Some(read) = off_the_reactor(move || options.read_client_cas()).await else {
        return;
    };
    if let Some(config) = client_cas.check(read) {
        *tls.0.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }
    let problem = client_cas.problem().map(str::to_owned);
    tls.change_report(|report| report.client_cas = problem);
}

/// Runs `work` on a blocking thread: a file system may make its readers wait.
pub(crate) async fn off_the_reactor<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    // It fails only when the runtime ends.
    tokio::task::spawn_blocking(work).await.ok()
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Upkeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upkeep")
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}
