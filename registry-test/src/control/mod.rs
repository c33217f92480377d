//! The control API: HTTP by which programs in any language use a [`TestRegistry`], see [`Control`].

mod answer;
mod calls;
mod content;
mod faults;
mod fields;
mod preset;
mod recorded;
mod route;
mod rule;
mod server;

use self::{calls::Calls, server::Server};
use crate::TestRegistry;
use registry_core::storage::MemoryStorage;
use std::{
    fmt::Write as _,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

/// Control API of a registry, on a port of its own. Dropping it frees the port. If it is the last owner of the registry,
/// the drop checks the faults, as that of a [`TestRegistry`] does.
///
/// The path of each call begins with a random token, so that other users of the machine cannot use it. Bodies and answers
/// are JSON. A call that is refused is answered with 400, and `error` says why.
///
/// | call | effect |
/// |---|---|
/// | `POST seed` | stores `{"name": "app:v1", "image": {"files": [["etc/a", "1"]]}}`, an `index` or an `artifact`; returns its `digest`. `{"layout": "/home/ann/layout"}` stores an OCI layout; returns the `names` |
/// | `POST faults` | adds a [fault](crate::fault): `{"on": "PUT manifest", "first": 2, "status": 429}`; returns its `id`. A `label` is the text of the fault in messages; the default is its JSON |
/// | `POST faults` | adds the faults of a [preset](crate::fault::preset): `{"preset": "bodies_in_chunks"}`; returns their `ids` |
/// | `GET faults` | returns the `faults`, each with `id`, its label as `rule`, `fired`, and a `complaint` if it has to happen and has not |
/// | `DELETE faults` | ends all faults |
/// | `POST gates/NAME/open` | lets the requests go on that a stall with `"gate": "NAME"` holds |
/// | `GET requests` | returns the `requests` so far; with `?take=1` those since the last such call |
/// | `GET state` | returns `repositories`, each with `tags` and `manifests`, and open `uploads` |
/// | `POST assert-pushed` | returns `pushed`, if `{"name": "app:v1"}` is there as a whole, else `missing` |
/// | `POST expire-tokens` | lets all access tokens expire |
/// | `POST restart` | ends all connections; content, uploads and port stay |
/// | `POST pause`, `POST stop` | holds all requests; refuses connections |
/// | `POST resume` | continues after a pause or a stop |
/// | `POST reset` | removes all content, faults and recorded requests, and continues |
///
/// ```
/// use registry_core::storage::MemoryStorage;
/// use registry_test::{TestRegistry, control::Control};
/// use std::{net::Ipv4Addr, sync::Arc};
///
/// let storage = MemoryStorage::new();
/// let registry = Arc::new(TestRegistry::builder().storage(storage.clone()).start());
/// let control = Control::start(Arc::clone(&registry), storage, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
/// println!("curl {}/state", control.url());
/// ```
#[derive(Debug)]
pub struct Control {
    url: String,
    // Dropped in this order: the check of the faults is not left to the server's thread, where no test sees it fail.
    _server: Server,
    _registry: Arc<TestRegistry>,
}

impl Control {
    /// Starts the control API of a registry with this storage.
    ///
    /// # Errors
    ///
    /// An error of listening on the address or of starting a thread, or the system has no random numbers.
    pub fn start(
        registry: Arc<TestRegistry>,
        storage: MemoryStorage,
        listen: SocketAddr,
    ) -> io::Result<Self> {
        let token = token()?;
        let server = Server::start(listen, Calls::new(Arc::clone(&registry), storage, token.clone()))?;
        let mut address = server.address();
        if address.ip().is_unspecified() {
            // Every address of this machine is one to connect to.
            address.set_ip(match address {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        let url = format!("http://{address}/{token}");
        Ok(Self {
            url,
            _server: server,
            _registry: registry,
        })
    }

    /// Returns the URL with the token, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

fn token() -> io::Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|error| io::Error::other(format!("no random numbers for the token: {error}")))?;
    let mut token = String::new();
    for byte in random {
        write!(token, "{byte:02x}").expect("a string takes all text");
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fault::on_any, status};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn the_last_owner_of_a_registry_reports_faults_that_never_happened() {
        let storage = MemoryStorage::new();
        let registry = Arc::new(TestRegistry::builder().storage(storage.clone()).start());
        registry.fault(on_any(), status(500));
        let control = Control::start(registry, storage, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();

        let panic = catch_unwind(AssertUnwindSafe(|| drop(control))).unwrap_err();

        let message = panic.downcast::<String>().unwrap();
        assert!(message.contains("never happened"), "{message}");
    }
}
