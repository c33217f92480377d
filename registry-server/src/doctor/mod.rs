//! Examines a registry from outside, as its clients see it, and reports faults with remedies.
//!
//! It looks for common mistakes of deployments: proxies that drop a header, limits on bodies, certificates that clients
//! refuse, open ports that bypass the login. It changes nothing: it opens an upload and cancels it.

mod any_certificate;
mod approach;
mod base;
mod certificate;
mod challenge;
mod client;
mod content;
mod cors;
mod credentials;
mod error;
mod escape;
mod examination;
mod finding;
mod limits;
mod location;
mod login;
mod origin;
mod probe;
mod report;
mod strangers;
mod target;
mod trial;
mod upload;

pub(crate) use self::{
    credentials::User,
    examination::Doctor,
    probe::{Probe, ServerUrl, Transport},
};
