//! [`Tls`]: certificates and settings as handshakes use them.

use crate::{cert_resolver::CertResolver, certificate::utc, challenges::Challenges, status::Status};
use rustls::{ServerConfig, sign::CertifiedKey};
use std::{
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
    resolver: Arc<CertResolver>,
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

impl Tls {
    pub(crate) fn new(
        config: Arc<ServerConfig>,
        validation: Option<Arc<ServerConfig>>,
        resolver: Arc<CertResolver>,
        challenges: Arc<Challenges>,
        certificates: Status,
    ) -> Self {
        let report = Report {
            certificates,
            client_cas: None,
        };
        Self(Arc::new(Shared {
            config: RwLock::new(config),
            validation,
            resolver,
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
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is changed.
    pub async fn serving(&self) {
        let mut reports = self.0.report.subscribe();
        // The sender lives as long as `self`: there is no error.
        let _ = reports.wait_for(|report| report.certificates.is_serving()).await;
    }

    /// Waits until the status differs from `known`, and returns it.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is changed.
    pub async fn status_other_than(&self, known: &Status) -> Status {
        let mut reports = self.0.report.subscribe();
        // The sender lives as long as `self`: there is no error.
        let _ = reports.wait_for(|_| self.status() != *known).await;
        self.status()
    }

    /// Makes [`Upkeep::run`](crate::Upkeep::run) check the files now, on SIGHUP for instance.
    pub fn check_now(&self) {
        self.0.check_now.notify_one();
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn replace_config(&self, config: Arc<ServerConfig>) {
        *self.0.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    pub(crate) fn validation(&self) -> Option<Arc<ServerConfig>> {
        self.0.validation.clone()
    }

    pub(crate) fn has_certificate_for(&self, name: Option<&str>) -> bool {
        self.0.resolver.get(name).is_some()
    }

    pub(crate) fn key_authorization(&self, token: &str) -> Option<String> {
        self.0.challenges.key_authorization(token)
    }

    pub(crate) fn serve(&self, host: &str, certificate: &Arc<CertifiedKey>) {
        self.0.resolver.put(host, Arc::clone(certificate));
    }

    pub(crate) fn report(&self, certificates: Status) {
        self.change_report(|report| report.certificates = certificates);
    }

    pub(crate) fn report_client_cas(&self, problem: Option<String>) {
        self.change_report(|report| report.client_cas = problem);
    }

    fn change_report(&self, change: impl FnOnce(&mut Report)) {
        self.0.report.send_if_modified(|report| {
            let before = report.clone();
            change(report);
            *report != before
        });
    }

    /// Waits for the next check of the files.
    pub(crate) async fn next_check(&self, period: Duration) {
        tokio::select! {
            () = tokio::time::sleep(period) => {}
            () = self.0.check_now.notified() => {}
        }
    }
}

/// Runs `work` on a blocking thread: a file system may make its readers wait.
pub(crate) async fn off_the_reactor<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    // It fails if the runtime ends, or if `work` panics.
    tokio::task::spawn_blocking(work).await.ok()
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
