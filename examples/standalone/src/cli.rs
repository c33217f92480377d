//! The command line: registry:2's forms, and our own.

use crate::{config, htpasswd};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{ffi::OsString, path::PathBuf};

/// An OCI / Docker container registry.
#[derive(Debug, Parser)]
#[command(
    name = "registry",
    version,
    about,
    arg_required_else_help = true,
    disable_version_flag = true,
    after_help = "`registry FILE.yml` is short for `registry serve FILE.yml`."
)]
pub(crate) struct Cli {
    /// Print the version
    #[arg(short = 'v', short_alias = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve a registry over HTTP
    Serve(Serve),
    /// Ask a server whether it is alive: exit code 0 if it is, 1 if not
    Health(Health),
    /// Look at a registry from outside, and say what is wrong: exit code 0 if nothing is, 1 if something is, 2 if that cannot
    /// be said
    Doctor(Doctor),
    /// Look at a configuration
    #[command(subcommand)]
    Config(Config),
    /// Try access rules
    #[command(subcommand)]
    Access(Access),
    Htpasswd(htpasswd::Options),
    /// Remove what no manifest refers to (not available yet)
    GarbageCollect(GarbageCollect),
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
    /// The server, or a path of it such as http://127.0.0.1:5001/debug/health; without one, where the configuration and
    /// the environment say that it listens. Certificates are not checked
    #[arg(value_name = "URL")]
    pub(crate) url: Option<String>,

    /// The configuration file of the server
    #[arg(long, value_name = "CONFIG", env = "REGISTRY_CONFIGURATION_PATH")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The password of --user comes from the variable REGISTRY_DOCTOR_PASSWORD, from a terminal, or from the first \
                  line of standard input. It is sent only to a server whose certificate is known, or \
                  in plain HTTP to this machine itself; --insecure sends it all the same.\n\n\
                  Nothing is changed: an upload is begun in a repository, and cancelled."
)]
pub(crate) struct Doctor {
    /// The registry as its clients reach it: a URL, or HOST:PORT as in the name of an image
    #[arg(value_name = "URL")]
    pub(crate) url: String,

    /// Log in as this user
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,

    /// Where an upload is tried, and an image looked for
    #[arg(long, value_name = "NAME", default_value = "registry-doctor/probe")]
    pub(crate) repository: String,

    /// Trust the certificates in this PEM file, too, as clients do that have it in certs.d/HOST/ca.crt
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,

    /// Send the password also to a server with an unknown certificate, or without TLS
    #[arg(long)]
    pub(crate) insecure: bool,

    /// Try what a web interface at this address may do: its scheme, host and port, as a browser sends them
    #[arg(long, value_name = "URL")]
    pub(crate) origin: Option<String>,

    /// Look for the registry at this port of the same host, too; 5000 is always tried. May be repeated
    #[arg(long, value_name = "PORT")]
    pub(crate) also: Vec<u16>,

    /// How much is really uploaded, such as 100m; larger sizes are only announced
    #[arg(long, value_name = "SIZE", default_value = "2m", value_parser = config::size)]
    pub(crate) send: u64,

    /// Print for machines
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// A configuration file, as registry:2 has it; without one images are kept in ./registry-data and served on
    /// 127.0.0.1:5000
    #[arg(value_name = "CONFIG", env = "REGISTRY_CONFIGURATION_PATH")]
    pub(crate) config: Option<PathBuf>,

    /// Where to listen: an address and a port; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) addr: Option<String>,

    /// Where images are kept, in the layout of registry:2; made if it does not exist
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) root: Option<String>,

    /// How much of the disk uploads leave free, such as 10g; everything else goes on
    #[arg(long, value_name = "SIZE")]
    pub(crate) min_free: Option<String>,

    /// Where to tell health and metrics, without a login: an address and a port that only operators reach
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) debug_addr: Option<String>,

    /// Who can log in: users and their passwords, as `registry htpasswd` writes them. The file is read again when it
    /// changes. Whoever logs in may do everything, and nobody else anything, unless there are access rules
    #[arg(long, value_name = "FILE")]
    pub(crate) htpasswd: Option<String>,

    /// What people are told they log in to
    #[arg(long, value_name = "NAME", requires = "htpasswd")]
    pub(crate) realm: Option<String>,

    /// Who may do what: access rules, which are read again when they change
    #[arg(long, value_name = "RULES.yml")]
    pub(crate) access: Option<String>,

    /// How many connections there may be at once; those on top are answered 503
    #[arg(long, value_name = "NUMBER")]
    pub(crate) max_connections: Option<String>,

    /// A PEM file with the certificate and those above it: serve HTTPS; waited for, and reloaded when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<String>,

    /// A PEM file with the private key of the certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<String>,

    /// What is logged: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,

    /// Print a line per request, in the Combined Log Format, as with a configuration file
    #[arg(long)]
    pub(crate) access_log: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Print the configuration that counts, where each value comes from, and what is ignored: exit code 0 if it can be used,
    /// 1 if not, for which the files of users and access rules are read. Certificates, the directory of images and the port
    /// are looked at by the server only
    Check {
        /// A configuration file
        #[arg(value_name = "CONFIG", env = "REGISTRY_CONFIGURATION_PATH")]
        config: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct GarbageCollect {
    /// A configuration file
    #[arg(value_name = "CONFIG")]
    _config: Option<PathBuf>,

    /// Only tell what would be removed
    #[arg(short, long)]
    _dry_run: bool,

    /// Remove manifests without a tag, too
    #[arg(short = 'm', long)]
    _delete_untagged: bool,
}

/// The arguments of this process, with registry:2's short form written out: a configuration alone means to serve it.
pub(crate) fn arguments(given: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = given.into_iter().collect();
    let short = arguments
        .get(1)
        .and_then(|first| first.to_str())
        .is_some_and(|first| {
            !first.starts_with('-') && (first.ends_with(".yml") || first.ends_with(".yaml"))
        });
    if short {
        arguments.insert(1, "serve".into());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments_given: &[&str]) -> Result<Cli, clap::Error> {
        let given = std::iter::once("registry").chain(arguments_given.iter().copied());
        Cli::try_parse_from(arguments(given.map(OsString::from)))
    }

    #[test]
    fn a_configuration_alone_is_served() {
        for arguments in [
            &["/etc/docker/registry/config.yml"][..],
            &["serve", "/etc/docker/registry/config.yml"],
        ] {
            let Command::Serve(serve) = parse(arguments).unwrap().command else {
                panic!("{arguments:?} is not `serve`");
            };
            assert_eq!(
                serve.config.unwrap(),
                PathBuf::from("/etc/docker/registry/config.yml")
            );
        }
    }

    #[test]
    fn garbage_collect_has_registry_2_s_flags() {
        for arguments in [
            &["garbage-collect", "c.yml"][..],
            &["garbage-collect", "-d", "-m", "c.yml"],
            &["garbage-collect", "--dry-run", "--delete-untagged", "c.yml"],
        ] {
            assert!(matches!(
                parse(arguments).unwrap().command,
                Command::GarbageCollect(_)
            ));
        }
    }

    #[test]
    fn the_version_is_asked_for_in_every_way() {
        for flag in ["-v", "-V", "--version"] {
            let asked = parse(&[flag]).unwrap_err();
            assert_eq!(asked.kind(), clap::error::ErrorKind::DisplayVersion);
        }
    }
}
