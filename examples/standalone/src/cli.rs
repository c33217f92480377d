//! The command line.

use crate::htpasswd;
use clap::{Args, Parser, Subcommand, ValueEnum};
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
    /// Ask a server whether it is alive: exit code 0 if it is, 1 if not
    Health(Health),
    /// Try access rules
    #[command(subcommand)]
    Access(Access),
    Htpasswd(htpasswd::Options),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Access {
    /// Say which rule decides: exit code 0 if it allows, 1 if not, 2 if that cannot be said
    Explain(Explain),
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The rules
    #[arg(value_name = "RULES.yml")]
    pub(crate) rules: PathBuf,

    /// The name of a user; `-` or `anonymous` is somebody who is not logged in
    pub(crate) user: String,

    /// What they want to do
    pub(crate) action: Action,

    /// Where
    pub(crate) repository: String,
}

/// What rules decide.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Action {
    /// Read
    Pull,
    /// Add content and new tags
    Push,
    /// Move a tag that exists
    Overwrite,
    /// Delete
    Delete,
}

impl From<Action> for registry_core::Action {
    fn from(action: Action) -> Self {
        match action {
            Action::Pull => Self::Pull,
            Action::Push => Self::Push,
            Action::Overwrite => Self::Overwrite,
            Action::Delete => Self::Delete,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Health {
    /// The server, or a path of it such as http://127.0.0.1:5001/debug/health. Certificates are not checked
    #[arg(default_value = "http://127.0.0.1:5000", value_name = "URL")]
    pub(crate) url: String,
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

    /// Who can log in: users and their passwords, as `registry htpasswd` writes them. The file is read again when it
    /// changes. Whoever logs in may do everything, and nobody else anything, unless there are access rules
    #[arg(long, value_name = "FILE")]
    pub(crate) htpasswd: Option<PathBuf>,

    /// What people are told they log in to
    #[arg(long, value_name = "NAME", default_value = "Registry", requires = "htpasswd")]
    pub(crate) realm: String,

    /// Who may do what: access rules, which are read again when they change
    #[arg(long, value_name = "RULES.yml")]
    pub(crate) access: Option<PathBuf>,

    /// How many connections there may be at once; those on top are answered 503
    #[arg(long, default_value_t = 4096, value_name = "NUMBER")]
    pub(crate) max_connections: usize,

    /// A PEM file with the certificate and those above it: serve HTTPS; waited for, and reloaded when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// A PEM file with the private key of the certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
}
