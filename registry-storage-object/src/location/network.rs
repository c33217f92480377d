//! [`Network`]: settings of the connections to a store, of whichever vendor.

use crate::bucket::{Clients, Connecting, Dialect, LARGEST_COPY, Observed, Observing, Signing, Silence};
use http::HeaderMap;
use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, RetryConfig, client::HttpConnector as _,
    list::PaginatedListStore, multipart::MultipartStore, signer::Signer,
};
use registry_core::storage::StorageError;
use std::{sync::Arc, time::Duration};

/// Name under which requests are sent.
const USER_AGENT: &str = concat!("registry-storage-object/", env!("CARGO_PKG_VERSION"));

/// Number of retries that is not reached within some minutes.
const RETRIES: usize = 1000;

/// Longest pause before a request is sent again.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Settings of the connections to a store.
#[derive(Clone, Debug, Default)]
pub(super) struct Network {
    /// Text after our own name.
    pub(super) user_agent: Option<String>,
    pub(super) accept_invalid_certificates: bool,
}

impl Network {
    /// Returns the settings of connections.
    fn connecting(&self) -> Result<Connecting, StorageError> {
        let agent = match self.user_agent.as_deref() {
            Some(text) => format!("{USER_AGENT} {text}"),
            None => USER_AGENT.to_owned(),
        };
        let user_agent = http::HeaderValue::from_str(&agent).map_err(|error| {
            StorageError::failed(
                "the user agent for the object store cannot be sent in a header",
                error,
            )
        })?;
        Ok(Connecting {
            user_agent,
            accept_invalid_certificates: self.accept_invalid_certificates,
            timeout: Duration::from_secs(3),
        })
    }
}

/// The way in which requests are sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asking {
    observed: Arc<Observed>,
    patience: Option<Duration>,
}

impl Asking {
    /// Returns the same for requests that are repeated for this time, while the store does not answer.
    pub(crate) fn patiently(&self, patience: Duration) -> Self {
        Self {
            observed: Arc::clone(&self.observed),
            patience: Some(patience),
        }
    }

    /// Returns how requests are repeated that may be.
    pub(super) fn retries(&self) -> RetryConfig {
        let Some(patience) = self.patience else {
            return RetryConfig {
                max_retries: 4,
                retry_timeout: Duration::from_secs(10),
                ..RetryConfig::default()
            };
        };
        RetryConfig {
            // The time is over before.
            max_retries: RETRIES,
            retry_timeout: patience,
            backoff: BackoffConfig {
                max_backoff: LONGEST_PAUSE,
                ..BackoffConfig::default()
            },
        }
    }
}

/// Connections to a store, before its clients are made.
pub(super) struct Connections {
    observed: Arc<Observed>,
    connecting: Connecting,
    /// The settings of a client, with what it is made of.
    pub(super) options: ClientOptions,
    pub(super) connector: Observing,
}

impl Connections {
    /// Returns connections whose answers are observed, if they are from the host of `address`.
    pub(super) fn to(address: &str, network: &Network, asking: &Asking) -> Result<Self, StorageError> {
        let observed = Arc::clone(&asking.observed);
        let connecting = network.connecting()?;
        let silence = match asking.patience {
            None => Silence::Final,
            Some(_) => Silence::Asked,
        };
        Ok(Self {
            connector: Observing::of(Arc::clone(&observed), host(address), silence),
            observed,
            options: options(&connecting),
            connecting,
        })
    }

    /// Returns the clients of a bucket, all of which `store` is.
    pub(super) fn clients<S>(
        self,
        dialect: Dialect,
        bucket: &str,
        store: &Arc<S>,
    ) -> object_store::Result<Clients>
    where
        S: ObjectStore + MultipartStore + PaginatedListStore + Signer,
    {
        Ok(Clients {
            dialect,
            objects: Arc::clone(store) as _,
            parts: Arc::clone(store) as _,
            pages: Some(Arc::clone(store) as _),
            signer: Some(Signing {
                bucket: bucket.to_owned(),
                signer: Arc::clone(store) as _,
                http: self.connector.connect(&self.options)?,
                headers: HeaderMap::new(),
                connecting: self.connecting,
            }),
            observed: self.observed,
            largest_copy: LARGEST_COPY,
            one: Arc::default(),
        })
    }
}

/// Returns the settings of a client. The bucket bounds the time for an answer, by what was asked.
fn options(connecting: &Connecting) -> ClientOptions {
    ClientOptions::new()
        .with_user_agent(connecting.user_agent.clone())
        .with_allow_invalid_certificates(connecting.accept_invalid_certificates)
        .with_allow_http(true)
        .with_connect_timeout(connecting.timeout)
        .with_timeout_disabled()
        .with_read_timeout_disabled()
}

/// Names the store whose settings are refused.
pub(super) fn misfit(store: &str, error: object_store::Error) -> StorageError {
    StorageError::failed(format!("the settings of {store} do not fit together"), error)
}

/// Returns the host of a URL, without its port.
fn host(url: &str) -> Option<String> {
    url.parse::<http::Uri>().ok()?.host().map(str::to_owned)
}
