//! The two halves of TLS for a server: one speaks handshakes, the other keeps what they need up to date.

use crate::{
    certificate::utc,
    error::TlsError,
    keeper::{Files, Keeper},
    options::Options,
    provider::provider,
    shelf::Shelf,
    status::Status,
};
use rustls::{ServerConfig, crypto::CryptoProvider, server::ResolvesServerCert};
use std::{
    convert::Infallible,
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::SystemTime,
};
use tokio::sync::{Notify, watch};

/// TLS for the connections of a server. Cheap to clone; every clone serves the same certificates.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

/// What handshakes and upkeep share.
struct Shared {
    config: RwLock<Arc<ServerConfig>>,
    shelf: Arc<Shelf>,
    status: watch::Sender<Status>,
    check_now: Notify,
}

/// The work that goes on beside the handshakes: looking at files.
///
/// Nothing happens by itself. [`run`](Self::run) is to be spawned, or raced against the server's end.
#[must_use = "certificates are reloaded by `run`, which the host drives"]
pub struct Upkeep {
    tls: Tls,
    keeper: Keeper,
    options: Options,
    provider: Arc<CryptoProvider>,
    /// What the files with the authorities of clients held when they were last taken.
    client_cas: Vec<Vec<u8>>,
    /// What was wrong with those files, once it was said.
    client_cas_problem: Option<String>,
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
        let client_cas = options.read_client_cas()?;
        let shelf = Arc::new(Shelf::for_any_name());
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Shelf>::clone(&shelf);
        let config = options.config(&provider, &client_cas, resolver)?;
        let tls = Self(Arc::new(Shared {
            config: RwLock::new(Arc::new(config)),
            shelf,
            status: watch::Sender::new(keeper.status(now)),
            check_now: Notify::new(),
        }));
        let upkeep = Upkeep {
            tls: tls.clone(),
            keeper,
            options,
            provider,
            client_cas,
            client_cas_problem: None,
        };
        upkeep.publish(now);
        Ok((tls, upkeep))
    }

    /// Whether handshakes can succeed, for a health check.
    #[must_use]
    pub fn status(&self) -> Status {
        let status = self.0.status.borrow().clone();
        match status {
            Status::Serving { until, .. } if until < SystemTime::now() => Status::Failing {
                because: format!("the certificate expired at {}: renew it", utc(until)),
            },
            other => other,
        }
    }

    /// Ends when there is a certificate to serve.
    pub async fn serving(&self) {
        // The sender lives as long as `self`: there is no error.
        let _ = self.0.status.subscribe().wait_for(Status::is_serving).await;
    }

    /// Has [`Upkeep::run`] look at the files now, on SIGHUP for instance.
    pub fn check_now(&self) {
        self.0.check_now.notify_one();
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn has_certificate_for(&self, name: Option<&str>) -> bool {
        self.0.shelf.get(name).is_some()
    }
}

impl Upkeep {
    /// Keeps certificates up to date, for as long as it is driven.
    pub async fn run(mut self) -> Infallible {
        let period = self.keeper.files().check_every;
        let shared = Arc::clone(&self.tls.0);
        loop {
            tokio::select! {
                () = tokio::time::sleep(period) => {}
                () = shared.check_now.notified() => {}
            }
            self.check().await;
        }
    }

    /// Looks at the files once.
    pub async fn check(&mut self) {
        let files = self.keeper.files().clone();
        let options = self.options.clone();
        // Files may lie on a file system that makes its readers wait.
        let reading = tokio::task::spawn_blocking(move || (files.read(), options.read_client_cas()));
        let Ok((pair, client_cas)) = reading.await else {
            return;
        };
        let now = SystemTime::now();
        self.keeper.check(pair, now);
        self.check_client_cas(client_cas);
        self.publish(now);
    }

    fn check_client_cas(&mut self, read: Result<Vec<Vec<u8>>, TlsError>) {
        let taken = read.and_then(|contents| {
            if contents == self.client_cas {
                return Ok(None);
            }
            let resolver: Arc<dyn ResolvesServerCert> = Arc::<Shelf>::clone(&self.tls.0.shelf);
            let config = self.options.config(&self.provider, &contents, resolver)?;
            Ok(Some((contents, config)))
        });
        match taken {
            Ok(changed) => {
                self.client_cas_problem = None;
                if let Some((contents, config)) = changed {
                    tracing::info!(
                        "TLS: the authorities for client certificates were changed and are in force"
                    );
                    self.client_cas = contents;
                    // A new configuration has no sessions to resume: nobody gets in by an authority that is gone.
                    *self.tls.0.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                }
            }
            Err(error) => {
                let story = error.story();
                if self.client_cas_problem.as_ref() != Some(&story) {
                    tracing::error!(
                        "TLS: {story}; the authorities for client certificates stay as they were"
                    );
                    self.client_cas_problem = Some(story);
                }
            }
        }
    }

    /// Hands what the keeper decided to the handshakes and to those who ask.
    fn publish(&self, now: SystemTime) {
        let shared = &self.tls.0;
        if let Some(pair) = self.keeper.pair() {
            shared.shelf.put("", Arc::clone(&pair.certified));
        }
        let mut status = self.keeper.status(now);
        if let Status::Serving { problem, .. } = &mut status {
            *problem = problem.take().or_else(|| self.client_cas_problem.clone());
        }
        shared.status.send_if_modified(|current| {
            let changed = *current != status;
            *current = status;
            changed
        });
    }
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
            .field("files", self.keeper.files())
            .finish_non_exhaustive()
    }
}
