//! The authorities that sign the certificates of clients, from files that change.

use crate::{error::TlsError, options::Options, shelf::Shelf};
use rustls::{ServerConfig, crypto::CryptoProvider, server::ResolvesServerCert};
use std::sync::Arc;

/// What handshakes need beside a certificate: the options, and whom they trust to vouch for clients.
pub(crate) struct ClientCas {
    options: Options,
    provider: Arc<CryptoProvider>,
    shelf: Arc<Shelf>,
    /// What the files held when they were last taken.
    contents: Vec<Vec<u8>>,
    /// What is wrong with the files as they are, once it was said.
    problem: Option<String>,
}

impl ClientCas {
    /// Reads the files, all of which have to be there: a server that waits for them would let nobody in, or everybody.
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

    /// Judges what was read; the configuration to use from now on, if it is another.
    ///
    /// A new configuration has no sessions to resume: nobody gets in by an authority that is gone.
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
