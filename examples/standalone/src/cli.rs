//! The command line.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// An OCI / Docker container registry.
#[derive(Debug, Parser)]
#[command(name = "registry", version, about, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve a registry over HTTP, from a directory
    Serve(Serve),
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where to listen: an address and a port; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:5000", value_name = "ADDRESS")]
    pub(crate) addr: String,

    /// Where images are kept, in the layout of registry:2; made if it does not exist
    #[arg(long, default_value = "./registry-data", value_name = "DIRECTORY")]
    pub(crate) root: PathBuf,

    /// Where to tell health and metrics, without a login: an address and a port that only operators reach
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) debug_addr: Option<String>,
}
