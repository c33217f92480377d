//! Commands about buckets: `registry storage check` and `registry copy-storage`.

mod check;
mod named;

use clap::{Args, Subcommand};
use std::{error::Error, process::ExitCode};

/// `registry storage`.
#[derive(Debug, Subcommand)]
pub(crate) enum Storage {
    /// Find out by trying what an object store can do, and print which lifecycle rule to set: exit code 0 if it suits the
    /// configuration, 1 if not, 2 if it cannot be examined
    Check(Check),
}

#[derive(Debug, Args)]
#[command(
    after_help = "A URL is s3://BUCKET/DIRECTORY, gs://BUCKET/DIRECTORY or az://ACCOUNT/CONTAINER/DIRECTORY. Keys of \
                  the configuration follow as its query, such as `?regionendpoint=http://127.0.0.1:9000`. Who asks is said by \
                  variables of the vendor, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.\n\n\
                  Nothing of a registry is changed: everything is tried in a directory of its own, which is removed."
)]
pub(crate) struct Check {
    /// Configuration file of the server, or URL of a bucket; by default as for other commands
    #[arg(value_name = "CONFIG or URL")]
    pub(crate) place: Option<String>,
}

/// Runs `registry storage`.
pub(crate) fn storage(command: Storage) -> Result<ExitCode, Box<dyn Error + Send + Sync>> {
    match command {
        Storage::Check(options) => check::run(options),
    }
}
