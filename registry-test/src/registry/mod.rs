//! [`TestRegistry`]: a registry that a test starts in one line.
//!
//! Clients reach the registry through a [`Tap`], which records their requests. Behind it, [`server`] runs the registry
//! on a thread of its own.

mod builder;
mod environment;
mod faults;
mod files;
mod front;
pub(crate) mod image_name;
mod interruptions;
mod pushed;
mod quirks;
mod requests;
mod seeds;
mod server;
mod state;
#[cfg(feature = "tls")]
mod tls;
mod uploads;
mod users;

pub use self::{builder::Builder, pushed::NotPushed, requests::Requests, uploads::OpenUpload};

use self::{files::Files, server::Server};
use crate::{login::Users, tap::Tap};
use registry_core::Registry;
use std::{
    fmt,
    net::SocketAddr,
    panic::{RefUnwindSafe, UnwindSafe},
    sync::OnceLock,
};

/// A registry for one test. Dropping it stops the registry and frees its port.
///
/// It runs on a thread of its own, so that it works in any test, with or without a runtime:
///
/// ```
/// use registry_test::TestRegistry;
///
/// #[tokio::main(flavor = "current_thread")]
/// async fn main() {
///     let registry = TestRegistry::start();
///
///     // The program under test pushes to an image reference such as 127.0.0.1:40123/team/app:v1.
///     let image = registry.reference("team/app:v1");
///     assert_eq!(image, format!("{}/team/app:v1", registry.host()));
///
///     // The test has the registry in process, and what its clients have requested.
///     registry.registry().repository("team/app").unwrap().push_blob("content", None).await.unwrap();
///     assert_eq!(registry.requests().count(), 0);
/// }
/// ```
///
/// Each test starts its own registry. They listen on different ports and share nothing.
pub struct TestRegistry {
    url: String,
    host: String,
    registry: Registry,
    users: Users,
    files: OnceLock<Files>,
    #[cfg(feature = "tls")]
    certificates: Option<std::sync::Arc<crate::tls::Certificates>>,
    // Dropped in this order: no request arrives at a server that has ended.
    tap: Tap,
    server: Server,
}

impl TestRegistry {
    /// Returns the URL of the registry, without a path: `http://127.0.0.1:40123`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the address on which the registry listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.tap.address()
    }

    /// Returns the host of image references: `127.0.0.1:40123`.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the whole reference of an image: `127.0.0.1:40123/app:v1` for `app:v1`.
    #[must_use]
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.host)
    }

    /// Returns the reference of an image as skopeo and podman write it: `docker://127.0.0.1:40123/app:v1` for `app:v1`.
    #[must_use]
    pub fn transport(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.host)
    }

    /// Returns the certificate of the authority that clients have to trust, in PEM, if the registry serves HTTPS.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        #[cfg(feature = "tls")]
        if let Some(certificates) = &self.certificates {
            return Some(certificates.ca_pem());
        }
        None
    }

    /// Returns the registry in process, with the authority of its host: neither faults nor logins apply.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Returns the requests of all clients so far, in the order in which they began.
    #[must_use]
    pub fn requests(&self) -> Requests {
        Requests::new(self.tap.exchanges())
    }

    /// Returns the requests since the last call of this function, and forgets them.
    ///
    /// The answers of requests in progress are not recorded any more: wait until the clients have ended, or use
    /// [`requests`](Self::requests).
    pub fn take_requests(&self) -> Requests {
        Requests::new(self.tap.take())
    }
}

// A test may catch a panic of its own, for example of an assertion. Other threads than the test's change the registry.
impl UnwindSafe for TestRegistry {}
impl RefUnwindSafe for TestRegistry {}

impl fmt::Debug for TestRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestRegistry")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
