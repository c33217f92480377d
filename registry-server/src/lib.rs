//! An OCI / Docker registry server: what the binary `registry` runs, for hosts that run it inside of their own program.
//!
//! The server has a configuration in the format of registry:2, with the origin of each value, users and access rules in
//! files that are followed, TLS, a listener for operators with health and metrics, an access log, and upkeep. A host that
//! needs none of these mounts a registry with `registry-axum` instead.
//!
//! ```
//! use axum::{Router, routing::get};
//! use registry_core::storage::MemoryStorage;
//! use registry_server::{Config, ServerBuilder, Sources};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Also a file, `.file("registry.yml")`, and the environment, `.variables(std::env::vars())`.
//! let config = Config::load(Sources::new().set("http.addr", "my program", "127.0.0.1:0"))?;
//! let server = ServerBuilder::from_config(config)
//!     .storage(MemoryStorage::new())
//!     .routes(Router::new().route("/hello", get(async || "hello")))
//!     .start()
//!     .await?;
//! println!("docker push {}/app", server.address().expect("it is no Unix socket"));
//! # let ctrl_c = async {};
//! server.run_until(ctrl_c).await?;
//! # Ok(())
//! # }
//! ```
//!
//! | to | use |
//! |---|---|
//! | read a configuration | [`Config::load`] with [`Sources`]; [`Config::effective`] prints it with origins |
//! | report what is wrong with it | [`ConfigError`], and [`Config::notices`] |
//! | add routes, hooks, a storage, users or decisions | [`ServerBuilder`] |
//! | start and stop | [`ServerBuilder::start`], [`Server::run_until`], [`Server::shutdown`] |
//! | run the command line | [`command_line::main`] |
//!
//! Outside of [`command_line`] nothing is global: no log is set up, no signal is handled, the environment is not read, and
//! nothing is printed. Background work belongs to the [`Server`], and ends with it.

mod absent;
mod access;
mod access_log;
mod admission;
mod backend;
#[cfg(feature = "object-storage")]
mod bucket;
#[cfg(not(feature = "object-storage"))]
#[path = "bucket_absent.rs"]
mod bucket;
mod builder;
mod causes;
mod clock;
mod collection;
pub mod command_line;
mod config;
mod control;
mod counted;
mod debug;
mod denied;
mod doors;
mod headers;
mod health_checks;
mod layer_urls;
mod links;
mod listen;
mod maintenance;
mod opening;
mod printable;
mod proxies;
mod retention;
mod root;
mod server;
mod socket;
mod start_error;
mod tasks;
mod tls;
mod transfers;
mod users;
mod wiring;

pub use self::{
    builder::ServerBuilder,
    config::{Config, ConfigError, Notice, Problem, Sources},
    server::{Server, ServerError, Stopped},
    start_error::StartError,
};
