//! [`Repeat`]: requests that the test sends again.

use crate::http1;
use bytes::Bytes;
use http::{Request, StatusCode};
use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::runtime::Handle;

/// Records requests, so that the test sends the last of them again, as a network does that doubles a message. Clones
/// are the same record.
#[derive(Clone, Default)]
pub struct Repeat(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    store: Option<(Handle, SocketAddr)>,
    last: Option<Request<Bytes>>,
}

impl Repeat {
    /// Returns a record without a request.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends the last recorded request to the store again, byte for byte, and returns the status of the answer.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if no request was recorded, or an error of the connection.
    pub async fn send(&self) -> io::Result<StatusCode> {
        let (store, last) = {
            let state = self.state();
            (state.store.clone(), state.last.clone())
        };
        let (Some((proxy, store)), Some(request)) = (store, last) else {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no request was recorded"));
        };
        let response = proxy
            .spawn(http1::send(store, request))
            .await
            .map_err(io::Error::other)??;
        Ok(response.status())
    }

    /// Tells where requests are sent, and by which runtime.
    pub(super) fn attach(&self, proxy: &Handle, store: SocketAddr) {
        self.state().store = Some((proxy.clone(), store));
    }

    pub(super) fn record(&self, request: &Request<Bytes>) {
        self.state().last = Some(request.clone());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Repeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repeat")
            .field("last", &self.state().last)
            .finish_non_exhaustive()
    }
}
