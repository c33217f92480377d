//! Examines a container registry from outside, as its clients see it, and reports faults with remedies.
//!
//! It looks for common mistakes of deployments: proxies that drop a header, limits on bodies, certificates that clients
//! refuse, open ports that bypass the login. It works with any registry, and changes nothing: it opens an upload and
//! cancels it.
//!
//! ```no_run
//! use registry_doctor::{Doctor, User, Verdict};
//!
//! # async fn examine() -> Result<(), registry_doctor::InvalidOption> {
//! let report = Doctor::new("https://registry.example.com")?
//!     .trust_system()
//!     .login(User::parse("ann")?, "password")
//!     .repository("team/app")?
//!     .check()
//!     .await;
//!
//! for finding in report.findings() {
//!     if finding.verdict == Verdict::Fault {
//!         println!("{}: {}", finding.check.title(), finding.seen);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | to | use |
//! |---|---|
//! | examine a registry | [`Doctor`], with an option per method |
//! | log in | [`Doctor::login`] with a [`User`] |
//! | trust certificates | [`Doctor::trust_system`], [`Doctor::trust_file`] |
//! | read the result | [`Report`], its [`Finding`]s, each with its [`Check`] and [`Verdict`] |
//! | show the result | [`Report::text`] for people, [`Report::json`] for programs |
//! | ask a server if it is alive | [`Probe`] with a [`ServerUrl`] |
//!
//! Checks run on the tokio runtime of the caller. Nothing is printed, and nothing runs afterwards.

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

pub use self::{
    credentials::User,
    error::InvalidOption,
    examination::Doctor,
    finding::{Check, Finding, Verdict},
    probe::{Alive, InvalidServerUrl, NotAlive, Probe, ServerUrl, Transport},
    report::Report,
};
