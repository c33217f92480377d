//! The configuration: registry:2's file, its environment and the command line become [`Settings`].
//!
//! - [`load`] reads the file, and reports all problems and notices.
//! - [`overlay`] merges the file, then the environment, then the flags into a tree of values, each with its origin.
//! - [`keys`] is the table of all keys.
//! - [`settings`] lists the values to read, and [`reader`] reads them from the tree.
//! - [`unknown`] reports keys that are not in the table. A key that would have protected something is refused.
//! - [`check`] prints the effective configuration.

mod bucket;
mod check;
mod checks;
#[cfg(test)]
mod docs;
mod keys;
mod load;
mod not_yaml;
mod notice;
mod overlay;
mod problem;
mod protection;
mod reader;
mod remedies;
mod retention;
mod settings;
#[cfg(test)]
mod tests;
mod tls;
mod units;
mod unknown;
mod value;
mod yaml;

pub use self::{
    load::{Config, Sources},
    notice::Notice,
    problem::{ConfigError, Problem},
};

#[cfg(feature = "object-storage")]
pub(crate) use self::bucket::{Azure, AzureLogin, Encryption, Gcs, GcsKey, S3};
pub(crate) use self::{
    bucket::{Bucket, Store},
    keys::key_below,
    remedies::remedies,
    retention::retention_rules,
    settings::{Format, Headers, Htpasswd, Location, Log, Settings, StorageKind},
    units::{duration, size},
};
