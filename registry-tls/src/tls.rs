//! The two halves of TLS for a server: one speaks handshakes, the other keeps what they need up to date.

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

/// TLS for the connections of a server. Cheap to clone; every clone serves the same certificates.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

/// What handshakes and upkeep share.
struct Shared {
    config: RwLock<Arc<ServerConfig>>,
    /// For the handshakes of a validating authority, where there is one.
    validation: Option<Arc<ServerConfig>>,
    shelf: Arc<Shelf>,
    challenges: Arc<Challenges>,
    report: watch::Sender<Report>,
    check_now: Notify,
}

/// How things are.
#[derive(Clone, PartialEq, Eq)]
struct Report {
    certificates: Status,
    client_cas: Option<String>,
}

/// The work that goes on beside the handshakes: looking at files, asking for certificates.
///
/// Nothing happens by itself. [`run`](Self::run) is to be spawned, or raced against the server's end.
#[must_use = "certificates are kept up to date by `run`, which the host drives"]
pub struct Upkeep {
    tls: Tls,
    source: Source,
    client_cas: ClientCas,
}

/// Where certificates come from.
enum Source {
    Files(Box<Keeper>),
    #[cfg(feature = "acme")]
    Acme(Box<Renewal>),
}

impl Tls {
    /// TLS with a certificate from files.
    ///
    /// Files that do not exist yet are waited for: until they come, handshakes are refused. Later, what is in them is
    /// served from [`Files::check_every`] after it changed, if it can be; otherwise the old pair is served on.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if files exist that cannot be used, or an option has a value that it cannot have.
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

    /// TLS with certificates that an ACME authority signs, and signs anew in time.
    ///
    /// What is in the cache is served at once; until the first certificate of a host comes, handshakes for it are
    /// refused, as they are for every name that is not one of the hosts.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if the cache cannot be used, or a setting has a value that it cannot have.
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

    /// Whether handshakes can succeed, for a health check.
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

    /// Ends when there is a certificate to serve.
    pub async fn serving(&self) {
        let mut reports = self.0.report.subscribe();
        // The sender lives as long as `self`: there is no error.
        let _ = reports.wait_for(|report| report.certificates.is_serving()).await;
    }

    /// The status, as soon as it is another than `known`.
    pub async fn status_other_than(&self, known: &Status) -> Status {
        let mut reports = self.0.report.subscribe();
        // The sender lives as long as `self`: there is no error.
        let _ = reports.wait_for(|_| self.status() != *known).await;
        self.status()
    }

    /// Has [`Upkeep::run`] look at the files now, on SIGHUP for instance.
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

    /// Waits for the next look at the files.
    async fn next_check(&self, period: Duration) {
        tokio::select! {
            () = tokio::time::sleep(period) => {}
            () = self.0.check_now.notified() => {}
        }
    }
}

impl Upkeep {
    /// Keeps certificates up to date, for as long as it is driven.
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

    /// Looks at the files once. (An ACME authority is asked by [`run`](Self::run) alone.)
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

/// Files may lie on a file system that makes its readers wait.
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
