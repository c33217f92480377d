//! [`verify`]: reads everything that is stored, reports damage, and repairs it if asked to.
//!
//! First the content is compared with its digests. Then each repository is walked: its records, the manifests with
//! everything that they name, and the tags. The damage of the content is reported last, because only then it is known
//! which images need it.

mod affected;
mod contents;
mod driver;
mod finding;
mod options;
mod repository;
mod run;
pub(super) mod schedule;
#[cfg(test)]
mod tests;
mod window;

pub use self::{
    affected::Affected,
    driver::verify,
    finding::{Finding, FindingKind, Remedy, Repaired},
    options::VerifyOptions,
    run::{VerifyEvent, VerifyReport},
    schedule::{LastVerification, VerifySchedule, VerifyStatus},
    window::{InvalidWindow, Window},
};
