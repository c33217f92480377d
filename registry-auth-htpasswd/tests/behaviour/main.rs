//! Behaviour of an [`Htpasswd`](registry_auth_htpasswd::Htpasswd), seen through a registry and its log.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; the harness reports where"
)]

mod caching;
mod limiting;
mod logging;
mod opening;
mod reloading;
mod restricting;
mod scene;
