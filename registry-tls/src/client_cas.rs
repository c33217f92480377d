//! Authorities that sign client certificates, from files that change.

use crate::{error::TlsError, options::Options, shelf::Shelf};
use rustls::{ServerConfig, crypto::CryptoProvider, server::ResolvesServerCert};
use std::sync::Arc;

/// Settings of handshakes besides the certificate: the options, and the authorities for client certificates.
pub(crate) struct ClientCas {
    options: Options,
    provider: Arc<CryptoProvider>,
    shelf: Arc<Shelf>,
    /// Contents of the files when they were last accepted.
    contents: Vec<Vec<u8>>,
    /// Last reported fault of the files, so that it is reported once.
    problem: Option<String>,
}

impl ClientCas {
    /// Reads the files, all of which must exist. A server that waited for them would admit no client, or every client.
    pub(crate) fn start(
        options: Options,
        provider: Arc<CryptoProvider>,
        shelf: Arc<Shelf>,
    ) -> Result<(Self, ServerConfig), TlsError> {
        options.warn();
        let contents = options.read_client_cas()?;
        let this = Self {
            options,
            provider,
            shelf,
            contents,
            problem: None,
        };
        let config = this.config(&this.contents)?;
        Ok((this, config))
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Checks what was read, and returns a new configuration if the authorities changed.
    ///
    /// A new configuration has no sessions to resume, so that a removed authority admits no client.
    pub(crate) fn check(&mut self, read: Result<Vec<Vec<u8>>, TlsError>) -> Option<ServerConfig> {
        let taken = read.and_then(|contents| match contents == self.contents {
            true => Ok(None),
            false => Ok(Some((self.config(&contents)?, contents))),
        });
        match taken {
            Ok(changed) => {
                self.problem = None;
                let (config, contents) = changed?;
                tracing::info!("TLS: the authorities for client certificates were changed and are in force");
                self.contents = contents;
                Some(config)
            }
            Err(error) => {
                let story = error.story();
                if self.problem.as_ref() != Some(&story) {
                    tracing::error!(
                        "TLS: {story}; the authorities for client certificates stay as they were"
                    );
                    self.problem = Some(story);
                }
                None
            }
        }
    }

    fn config(&self, contents: &[Vec<u8>]) -> Result<ServerConfig, TlsError> {
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Shelf>::clone(&self.shelf);
        self.options.config(&self.provider, contents, resolver)
    }
}
