//! An OCI / Docker registry server, made from the public API of the registry crates.
//!
//! [`command_line::main`] is the binary `registry`.

mod absent;
mod access;
mod access_log;
mod admission;
mod backend;
mod causes;
pub mod command_line;
mod config;
mod debug;
mod denied;
mod headers;
mod health_checks;
mod layer_urls;
mod links;
mod listen;
mod printable;
mod proxies;
mod root;
mod socket;
mod tls;
mod transfers;
mod users;
