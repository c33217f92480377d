//! Authorities that sign client certificates, from files that change.

use crate::{cert_resolver::CertResolver, error::TlsError, options::Options};
use registry_reload::{self as reload, Change, Followed, Reading, Unreadable};
use rustls::{ServerConfig, crypto::CryptoProvider, server::ResolvesServerCert};
use std::{sync::Arc, time::Instant};

/// Settings of handshakes besides the certificate: the options, and the authorities for client certificates.
pub(crate) struct ClientCas {
    source: Source,
    followed: Followed<Loaded>,
    /// Last reported fault of the files, so that it is reported once.
    problem: Option<String>,
}

/// Everything from which a configuration is made, besides the contents of the files.
struct Source {
    options: Options,
    provider: Arc<CryptoProvider>,
    resolver: Arc<CertResolver>,
}

/// A configuration, and the contents of the files that it was made from.
struct Loaded {
    contents: Vec<Vec<u8>>,
    config: Arc<ServerConfig>,
}

impl ClientCas {
    /// Reads the files, all of which must exist. A server that waited for them would admit no client, or every client.
    pub(crate) fn start(
        options: Options,
        provider: Arc<CryptoProvider>,
        resolver: Arc<CertResolver>,
    ) -> Result<Self, TlsError> {
        options.warn();
        let files = options.client_ca_files();
        let source = Source {
            options,
            provider,
            resolver,
        };
        Ok(Self {
            followed: Followed::open(files, |reading| source.load(contents(reading)?))?,
            source,
            problem: None,
        })
    }

    /// Returns the files to read for a check.
    pub(crate) const fn files(&self) -> &reload::Files {
        self.followed.files()
    }

    /// Returns the configuration with the authorities as last read.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.followed.current().config)
    }

    pub(crate) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Checks what was read, and returns a new configuration if the authorities changed.
    ///
    /// A new configuration has no sessions to resume, so that a removed authority admits no client.
    pub(crate) fn check(&mut self, reading: Reading) -> Option<Arc<ServerConfig>> {
        let source = &self.source;
        let load = |reading, before: &Arc<Loaded>| {
            let contents = contents(reading)?;
            Ok(match contents == before.contents {
                true => Arc::clone(before),
                false => Arc::new(source.load(contents)?),
            })
        };
        match self.followed.check_read(reading, Instant::now(), load) {
            Change::Loaded(loaded) => {
                self.problem = None;
                // They may be the same as before a failure.
                if Arc::ptr_eq(&loaded.value, &loaded.previous) {
                    return None;
                }
                tracing::info!("TLS: the authorities for client certificates have changed and are in effect");
                return Some(Arc::clone(&loaded.value.config));
            }
            Change::Failed(error) => self.complain(TlsError::story(&error)),
            Change::Panicked(message) => {
                self.complain(format!("the check of their files panicked: {message}"))
            }
            _ => {}
        }
        None
    }

    fn complain(&mut self, problem: String) {
        if self.problem.as_ref() != Some(&problem) {
            tracing::error!(
                "TLS: {problem}; the previous authorities for client certificates stay in effect"
            );
            self.problem = Some(problem);
        }
    }
}

impl Source {
    fn load(&self, contents: Vec<Vec<u8>>) -> Result<Loaded, TlsError> {
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<CertResolver>::clone(&self.resolver);
        let config = self.options.config(&self.provider, &contents, resolver)?;
        Ok(Loaded {
            contents,
            config: Arc::new(config),
        })
    }
}

fn contents(reading: Reading) -> Result<Vec<Vec<u8>>, TlsError> {
    reading.map_err(|Unreadable { path, source, .. }| TlsError::Read { path, source })
}
