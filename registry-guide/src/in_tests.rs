//! Tests without a registry in a container.
//!
//! At the end of this page each test starts a registry of its own in a millisecond. Tests run in parallel, need no docker and
//! no port, and cover what a real registry seldom does: a 429, a connection that breaks off, a token that expires.
//!
//! ```sh
//! cargo add --dev registry-test
//! ```
//!
//! | your tests | read |
//! |---|---|
//! | use the registry of a compose file, at a fixed port | [the first diff](#a-compose-file) |
//! | start a container per process, and wait | [the second diff](#a-container-and-a-sleep) |
//! | are ignored, because they need a registry | [the third diff](#a-test-that-is-ignored) |
//!
//! The diffs are whole test files. What they end in is compiled and run with this page. `tool` is the program under test; it
//! uses `oci-client`.
//!
//! # A compose file
//!
//! Such tests share a registry with each other and with earlier runs, so they make up names, and fail on a machine where
//! port 5000 is in use. Delete the service from the compose file, and the step of the CI that starts it:
//!
//! ```diff
//! --- tests/compose.rs
//! +++ tests/compose.rs
//!  //! A published file can be fetched.
//!
//!  mod tool;
//!
//!  use oci_client::secrets::RegistryAuth::Anonymous;
//! -
//! -/// Run `docker compose up -d registry` first.
//! -const REGISTRY: &str = "localhost:5000";
//! +use registry_test::TestRegistry;
//!
//!  #[tokio::test]
//!  async fn what_is_published_is_fetched() {
//! -    // The registry is shared with other tests and with earlier runs.
//! -    let image = format!("{REGISTRY}/test-{}/app:v1", std::process::id());
//! +    let registry = TestRegistry::start();
//! +    let image = registry.reference("app:v1");
//!      tool::publish(&image, b"hello", &Anonymous).await.unwrap();
//!      assert_eq!(tool::fetch(&image, &Anonymous).await.unwrap(), b"hello");
//! +    registry.assert_pushed("app:v1");
//! +    registry.assert_no_open_uploads();
//!  }
//! ```
//!
//! [`assert_pushed`](TestRegistry::assert_pushed) reads the manifest and all that it names, which a client that only gets a
//! 201 does not.
//!
//! # A container and a sleep
//!
//! [`TestRegistry::start`] returns when the port listens, so nothing waits. It is an ordinary function, for tests with and
//! without a runtime. The registry ends when it is dropped, also if the test panics:
//!
//! ```diff
//! --- tests/container.rs
//! +++ tests/container.rs
//!  //! Images are overwritten, and absent ones are errors.
//!
//!  mod tool;
//!
//!  use oci_client::secrets::RegistryAuth::Anonymous;
//! -use std::{process::Command, thread, time::Duration};
//! -use tokio::sync::Mutex;
//! -
//! -/// One test at a time can have port 5000.
//! -static PORT: Mutex<()> = Mutex::const_new(());
//! -
//! -/// A container, which ends with the test.
//! -struct Registry(String);
//! -
//! -impl Registry {
//! -    fn start() -> Self {
//! -        let run = ["run", "-d", "--rm", "-p", "5000:5000", "registry:2"];
//! -        let run = Command::new("docker").args(run).output().unwrap();
//! -        assert!(run.status.success(), "is docker there, and port 5000 free?");
//! -        // The registry needs a moment.
//! -        thread::sleep(Duration::from_millis(500));
//! -        Self(String::from_utf8(run.stdout).unwrap().trim().to_owned())
//! -    }
//! -}
//! -
//! -impl Drop for Registry {
//! -    fn drop(&mut self) {
//! -        let _ = Command::new("docker").args(["rm", "-f", &self.0]).output();
//! -    }
//! -}
//! +use registry_test::TestRegistry;
//!
//!  #[tokio::test]
//!  async fn the_last_one_counts() {
//! -    let _alone = PORT.lock().await;
//! -    let _registry = Registry::start();
//! -    let image = "localhost:5000/app:v1";
//! +    let registry = TestRegistry::start();
//! +    let image = &registry.reference("app:v1");
//!      tool::publish(image, b"first", &Anonymous).await.unwrap();
//!      tool::publish(image, b"last", &Anonymous).await.unwrap();
//!      assert_eq!(tool::fetch(image, &Anonymous).await.unwrap(), b"last");
//!  }
//!
//!  #[tokio::test]
//!  async fn an_absent_image_is_an_error() {
//! -    let _alone = PORT.lock().await;
//! -    let _registry = Registry::start();
//! -    let image = "localhost:5000/app:v2";
//! +    let registry = TestRegistry::start();
//! +    let image = &registry.reference("app:v2");
//!      assert!(tool::fetch(image, &Anonymous).await.is_err());
//!  }
//! ```
//!
//! # A test that is ignored
//!
//! The branch that repeats a push has never run, because no registry is busy on demand. A fault makes it so, once. A fault
//! that does not happen fails the test:
//!
//! ```diff
//! --- tests/ignored.rs
//! +++ tests/ignored.rs
//!  //! A busy registry is asked again.
//!
//!  mod tool;
//!
//!  use oci_client::secrets::RegistryAuth;
//! -use std::env;
//! +use registry_test::{PUT, TestRegistry, on, status};
//!
//!  #[tokio::test]
//! -#[ignore = "needs a registry with a login, in REGISTRY, REGISTRY_USER and REGISTRY_PASSWORD"]
//!  async fn a_busy_registry_is_asked_again() {
//! -    let variable = |name| env::var(name).unwrap();
//! -    let login = RegistryAuth::Basic(variable("REGISTRY_USER"), variable("REGISTRY_PASSWORD"));
//! -    let image = format!("{}/app:v1", variable("REGISTRY"));
//! -    // With luck it is busy now.
//! +    let registry = TestRegistry::builder().bearer("ann", "secret").start();
//! +    registry.fault(on(PUT).manifest(), status(429).retry_after(1));
//! +    let login = RegistryAuth::Basic("ann".into(), "secret".into());
//! +    let image = registry.reference("app:v1");
//!      tool::publish(&image, b"hello", &login).await.unwrap();
//!      assert_eq!(tool::fetch(&image, &login).await.unwrap(), b"hello");
//! +    registry.assert_pushed("app:v1");
//! +    assert_eq!(registry.requests().method("PUT").manifest().count(), 2);
//!  }
//! ```
//!
//! # What to write for what you had
//!
//! | you had | you write |
//! |---|---|
//! | a volume with images | [`Builder::seed`] with [`image()`](registry_test::image) or [`index()`](registry_test::index()), or [`TestRegistry::seed_layout`] with an OCI layout |
//! | `docker push` before the tests | the same: digests of seeds are constants |
//! | an htpasswd file, or a token service | [`Builder::basic`], [`Builder::bearer`]; [`TestRegistry::expire_tokens`] |
//! | a self-signed certificate | the feature `tls`, and `Builder::tls` |
//! | `docker login` before the tests | [`TestRegistry::envs`] for a command: it finds the login and the certificate |
//! | `docker pause`, `docker restart` | [`TestRegistry::pause`], [`TestRegistry::restart`] |
//! | a proxy that injects faults | [`TestRegistry::fault`]; between a client and another registry, [`tap`](registry_test::tap) |
//! | another registry, because of its behaviour | [`Quirk`](registry_test::Quirk): without referrers, ranges, mounts, … |
//! | a grep in the registry's log | [`TestRegistry::requests`] |
//!
//! Tests in Python, Go and shell use the same registry by the program `registry-test`; a GitHub Action starts it for a job.
//! To test your own storage or settings, pass them: [`Builder::storage`].
//!
//! # When a container is still right
//!
//! The fixture speaks the protocol like our server, and like no other one. If you support a certain registry, run a few tests
//! against that registry, too. The suite `registry-wire` of `registry-conformance` shows in what a registry differs.

#[cfg(doc)]
use registry_test::{Builder, TestRegistry};
