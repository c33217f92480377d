//! [`HostConnectors`]: the user's own functions that open connections to some hosts, such as a Unix socket.

use crate::url;
use http::Uri;
use hyper_util::rt::TokioIo;
use registry_core::BoxError;
use std::{collections::HashMap, fmt, future::Future, pin::Pin, sync::Arc};
use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes in both directions.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

type Connecting = Pin<Box<dyn Future<Output = Result<Box<dyn Io>, BoxError>> + Send>>;

/// Opens connections to one host.
#[derive(Clone)]
pub(crate) struct HostConnector(Arc<dyn Fn() -> Connecting + Send + Sync>);

impl HostConnector {
    pub(crate) fn new<F, C, S, E>(connect: F) -> Self
    where
        F: Fn() -> C + Send + Sync + 'static,
        C: Future<Output = Result<S, E>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        E: Into<BoxError>,
    {
        Self(Arc::new(move || {
            let connecting = connect();
            Box::pin(async move {
                let stream = connecting.await.map_err(Into::into)?;
                Ok(Box::new(stream) as Box<dyn Io>)
            })
        }))
    }

    pub(super) async fn connect(&self) -> Result<TokioIo<Box<dyn Io>>, BoxError> {
        Ok(TokioIo::new((self.0)().await?))
    }
}

impl fmt::Debug for HostConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostConnector")
    }
}

/// Connectors of hosts that have one, by host and port. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostConnectors(Arc<HashMap<String, HostConnector>>);

impl HostConnectors {
    pub(crate) fn new(hosts: HashMap<String, HostConnector>) -> Self {
        Self(Arc::new(hosts))
    }

    pub(super) fn of(&self, url: &Uri) -> Option<&HostConnector> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&url::authority(url))
    }
}
