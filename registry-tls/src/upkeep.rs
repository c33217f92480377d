//! The half of TLS that keeps certificates up to date: the host drives it beside the handshakes.

#[cfg(feature = "acme")]
use crate::{
    acme::{Acme, Renewal},
    cert_reloader::CHECK_EVERY,
    challenges::Challenges,
};
use crate::{
    cert_reloader::{CertReloader, Files},
    cert_resolver::CertResolver,
    client_cas::ClientCas,
    error::TlsError,
    options::Options,
    provider::provider,
    tls::{Tls, off_the_reactor},
};
use std::{convert::Infallible, fmt, sync::Arc, time::SystemTime};

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
    Files(Box<CertReloader>),
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
        let reloader = CertReloader::start(files, Arc::clone(&provider), now)?;
        let resolver = Arc::new(CertResolver::for_any_name());
        let client_cas = ClientCas::start(options, provider, Arc::clone(&resolver))?;
        let tls = Self::new(
            client_cas.config(),
            None,
            resolver,
            Arc::default(),
            reloader.status(now),
        );
        if let Some(pair) = &*reloader.pair() {
            tls.serve("", &pair.certified);
        }
        let upkeep = Upkeep {
            tls: tls.clone(),
            source: Source::Files(Box::new(reloader)),
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
        let resolver = Arc::new(CertResolver::for_known_names());
        let challenges: Arc<Challenges> = Arc::default();
        let validation = Arc::new(crate::acme::validation_config(&provider, &challenges)?);
        let renewal = Renewal::start(
            acme,
            Arc::clone(&provider),
            Arc::clone(&challenges),
            SystemTime::now(),
        )?;
        let client_cas = ClientCas::start(options, provider, Arc::clone(&resolver))?;
        let status = renewal.status();
        let tls = Self::new(
            client_cas.config(),
            Some(validation),
            resolver,
            challenges,
            status,
        );
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
}

impl Upkeep {
    /// Keeps certificates up to date while it is driven. It never ends.
    ///
    /// # Cancel safety
    ///
    /// Safe: certificates are then no longer renewed, and those in use stay.
    pub async fn run(mut self) -> Infallible {
        self.keep().await
    }

    /// Does the same as [`run`](Self::run), for a host that drives it again if a future of it panicked.
    ///
    /// # Cancel safety
    ///
    /// Safe: certificates are then no longer renewed, and those in use stay.
    pub async fn keep(&mut self) -> Infallible {
        let period = match &self.source {
            Source::Files(reloader) => reloader.files().check_every,
            #[cfg(feature = "acme")]
            Source::Acme(_) => CHECK_EVERY,
        };
        #[cfg(feature = "acme")]
        if let Source::Acme(renewal) = &mut self.source {
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
    ///
    /// # Cancel safety
    ///
    /// Safe: the next check reads the files again.
    pub async fn check(&mut self) {
        match &mut self.source {
            Source::Files(reloader) => {
                let files = reloader.followed_files().clone();
                let Some(reading) = off_the_reactor(move || files.read()).await else {
                    return;
                };
                let now = SystemTime::now();
                if reloader.check(reading, now)
                    && let Some(pair) = &*reloader.pair()
                {
                    self.tls.serve("", &pair.certified);
                }
                self.tls.report(reloader.status(now));
            }
            #[cfg(feature = "acme")]
            Source::Acme(_) => {}
        }
        check_client_cas(&self.tls, &mut self.client_cas).await;
    }
}

impl fmt::Debug for Upkeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upkeep")
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

async fn check_client_cas(tls: &Tls, client_cas: &mut ClientCas) {
    let files = client_cas.files().clone();
    let Some(reading) = off_the_reactor(move || files.read()).await else {
        return;
    };
    if let Some(config) = client_cas.check(reading) {
        tls.replace_config(config);
    }
    tls.report_client_cas(client_cas.problem().map(str::to_owned));
}
