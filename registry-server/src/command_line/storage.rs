//! [`Storage`]: the options that choose the storage of a command.

use clap::Args;
use std::path::PathBuf;

/// Storage that a command acts on.
#[derive(Debug, Args)]
pub(crate) struct Storage {
    /// Configuration file of the server; by default /etc/docker/registry/config.yml if that exists, or else
    /// ./registry-data holds the images
    #[arg(long, value_name = "FILE", env = "REGISTRY_CONFIGURATION_PATH")]
    pub(crate) config: Option<PathBuf>,

    /// Directory that holds the images, in place of the one in a configuration
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) root: Option<String>,
}
