//! Options of the commands about buckets.

use clap::{Args, Subcommand};

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

/// Copy a registry between a directory and a bucket, with tags, histories and records of deletions: exit code 1 if something
/// was not copied
#[derive(Debug, Args)]
#[command(
    after_help = "A place is a directory, a configuration file, or a URL such as s3://BUCKET/DIRECTORY?region=eu-central-1 \
                  (see `registry storage check --help`).\n\n\
                  Every blob is compared with its digest. A copy that was interrupted continues when it is repeated; blobs that \
                  are there are not copied again. Files of the target that the source does not have stay.\n\n\
                  Stop the servers of the target before, and start them afterwards. Stop those of the source, or set \
                  `storage.maintenance.readonly.enabled`, before the last copy."
)]
pub(crate) struct CopyStorage {
    /// Place to read
    #[arg(value_name = "FROM")]
    pub(crate) from: String,

    /// Place to write
    #[arg(value_name = "TO")]
    pub(crate) to: String,
}
