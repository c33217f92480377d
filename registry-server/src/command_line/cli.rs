//! Command line: the forms of registry:2, and our own.

pub(crate) use super::storage::Storage;
use super::{buckets, htpasswd, images};
use crate::config;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use std::{ffi::OsString, path::PathBuf, time::Duration};

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
    /// Examine a registry from outside, and report faults: exit code 0 if there are none, 1 if there are some, 2 if the
    /// registry cannot be examined
    Doctor(Doctor),
    /// Examine a configuration
    #[command(subcommand)]
    Config(Config),
    /// Try access rules
    #[command(subcommand)]
    Access(Access),
    /// Apply rules of retention
    #[command(subcommand)]
    Retention(Retention),
    Htpasswd(htpasswd::Options),
    /// List repositories, or the tags of a repository: exit code 1 if something cannot be read
    Ls(List),
    /// Print the space that repositories take: exit code 1 if something cannot be read
    Du(Usage),
    /// Remove a tag, a manifest, all manifests of a repository, or damaged content in quarantine
    Rm(Remove),
    /// List where tags pointed, since when, and who moved them
    History(History),
    /// Undo the deletion of a tag or a manifest
    Restore(Restore),
    /// List open upload sessions, or end one
    Uploads(Uploads),
    /// Read everything stored, and report damage: exit code 0 if nothing is wrong, 1 if something is, 2 if the images
    /// cannot be verified
    Verify(Verify),
    /// Remove content that nothing refers to, also beside a running server
    GarbageCollect(GarbageCollect),
    Import(images::Import),
    Export(images::Export),
    Cp(images::Copy),
    /// Examine where images are stored
    #[command(subcommand)]
    Storage(buckets::Storage),
    CopyStorage(buckets::CopyStorage),
}

impl Command {
    /// Returns true if nothing is left undone when it ends before all is printed.
    pub(crate) const fn only_reads(&self) -> bool {
        matches!(
            self,
            Self::Config(_)
                | Self::Health(_)
                | Self::Doctor(_)
                | Self::Access(_)
                | Self::Ls(_)
                | Self::Du(_)
                | Self::History(_)
                | Self::Storage(_)
        )
    }

    /// Returns true for a command that works on a storage, or on the server that owns it.
    pub(crate) const fn is_of_operators(&self) -> bool {
        match self {
            Self::Ls(_)
            | Self::Du(_)
            | Self::Rm(_)
            | Self::History(_)
            | Self::Restore(_)
            | Self::Uploads(_)
            | Self::Verify(_)
            | Self::GarbageCollect(_)
            | Self::Import(_)
            | Self::Export(_)
            | Self::Cp(_)
            | Self::Storage(_)
            | Self::CopyStorage(_)
            | Self::Retention(_) => true,
            Self::Serve(_)
            | Self::Config(_)
            | Self::Health(_)
            | Self::Doctor(_)
            | Self::Htpasswd(_)
            | Self::Access(_) => false,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Access {
    /// Name the rule that decides: exit code 0 if it allows, 1 if not, 2 after an error
    Explain(Explain),
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// File of access rules
    #[arg(value_name = "RULES.yml")]
    pub(crate) rules: PathBuf,

    /// Name of a user; `-` or `anonymous` stands for a client without a login
    pub(crate) user: String,

    /// Action to check
    pub(crate) action: Action,

    /// Repository
    pub(crate) repository: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Retention {
    /// Print each tag with the rule that keeps or drops it, and change nothing. Works beside a running server
    Explain {
        #[command(flatten)]
        place: RetentionPlace,

        /// Only this repository
        #[arg(value_name = "REPOSITORY")]
        repository: Option<String>,

        /// Print JSON, with one object per tag and line
        #[arg(long)]
        json: bool,
    },
    /// Drop the tags that the rules drop, and the manifests that lose their last tag, also beside a running server
    Run(RetentionRun),
}

#[derive(Debug, Args)]
#[command(
    after_help = "The rules are those of this command; a running server may have others. The exit code is 1 if nothing was \
                        dropped because a rule would drop more than half of its tags, or if something failed."
)]
pub(crate) struct RetentionRun {
    #[command(flatten)]
    pub(crate) place: RetentionPlace,

    /// Only print which tags would be dropped
    #[arg(short, long)]
    pub(crate) dry_run: bool,

    /// Drop tags even if they are more than half of the tags of a rule
    #[arg(long)]
    pub(crate) force: bool,

    /// Print a line of JSON for each tag of a dry run, and for the summary
    #[arg(long)]
    pub(crate) json: bool,
}

/// Storage and rules of retention.
#[derive(Debug, Args)]
pub(crate) struct RetentionPlace {
    #[command(flatten)]
    pub(crate) storage: Storage,

    /// File of rules, in place of the configured one
    #[arg(long, value_name = "RULES.yml")]
    pub(crate) rules: Option<String>,
}

/// Action that access rules decide about.
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
    /// URL of the server, optionally with a path such as http://127.0.0.1:5001/debug/health; by default the address in
    /// the configuration and the environment. Certificates are not checked
    #[arg(value_name = "URL")]
    pub(crate) url: Option<String>,

    /// Configuration file of the server
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
    /// Address of the registry for its clients: a URL, or HOST:PORT as in the name of an image
    #[arg(value_name = "URL")]
    pub(crate) url: String,

    /// Log in as this user
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,

    /// Repository in which an upload is tried, and an image looked for
    #[arg(long, value_name = "NAME", default_value = "registry-doctor/probe")]
    pub(crate) repository: String,

    /// Trust the certificates in this PEM file, too, as clients do if it is their certs.d/HOST/ca.crt
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,

    /// Send the password also to a server with an unknown certificate, or without TLS
    #[arg(long)]
    pub(crate) insecure: bool,

    /// Check the permissions of a web interface at this address: its scheme, host and port, as a browser sends them
    #[arg(long, value_name = "URL")]
    pub(crate) origin: Option<String>,

    /// Look for the registry at this port of the same host, too; 5000 is always tried. May be repeated
    #[arg(long, value_name = "PORT")]
    pub(crate) also: Vec<u16>,

    /// Size of the body that is uploaded, such as 100m; larger sizes are only announced
    #[arg(long, value_name = "SIZE", default_value = "2m", value_parser = config::size)]
    pub(crate) send: u64,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Configuration file in the format of registry:2; without one, images are kept in ./registry-data and served on
    /// 127.0.0.1:5000
    #[arg(value_name = "CONFIG", env = "REGISTRY_CONFIGURATION_PATH")]
    pub(crate) config: Option<PathBuf>,

    /// Listen on this address and port; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) addr: Option<String>,

    /// Keep images in this directory, in the layout of registry:2; it is created if it does not exist
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) root: Option<String>,

    /// Refuse uploads that would leave less than this size free on the disk, such as 10g; other requests still work
    #[arg(long, value_name = "SIZE")]
    pub(crate) min_free: Option<String>,

    /// Serve health and metrics on this address and port, without a login: only operators should reach it
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) debug_addr: Option<String>,

    /// Let the users in this file log in, as `registry htpasswd` writes it. The file is read again when it changes.
    /// Logged-in users may do everything, and others nothing, unless there are access rules
    #[arg(long, value_name = "FILE")]
    pub(crate) htpasswd: Option<String>,

    /// Realm that clients show when they ask for a login
    #[arg(long, value_name = "NAME", requires = "htpasswd")]
    pub(crate) realm: Option<String>,

    /// Apply the access rules in this file, which is read again when it changes
    #[arg(long, value_name = "RULES.yml")]
    pub(crate) access: Option<String>,

    /// Maximum number of concurrent connections; a further one replaces one that is idle, or is answered with 503
    #[arg(long, value_name = "NUMBER")]
    pub(crate) max_connections: Option<String>,

    /// Serve HTTPS with the certificate chain in this PEM file, which is waited for, and read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<String>,

    /// PEM file with the private key of the certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<String>,

    /// Level of the log: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,

    /// Print a line per request, in the Combined Log Format, as with a configuration file
    #[arg(long)]
    pub(crate) access_log: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Print the effective configuration, the origin of each value, and what is ignored: exit code 0 if it can be used,
    /// 1 if not. The files of users and access rules are checked, too; certificates, the directory or bucket of images,
    /// and the port are not
    Check {
        /// A configuration file
        #[arg(value_name = "CONFIG", env = "REGISTRY_CONFIGURATION_PATH")]
        config: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
#[command(after_help = OPERATORS)]
pub(crate) struct List {
    /// Repository whose tags to list
    pub(crate) repository: Option<String>,

    /// Print sizes and counts, too
    #[arg(short, long)]
    pub(crate) long: bool,

    /// List manifests without a tag, too
    #[arg(short, long, requires = "repository")]
    pub(crate) all: bool,

    /// Print a line of JSON for each item
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) storage: Storage,
}

#[derive(Debug, Args)]
#[command(
    after_help = "CHARGED counts everything that the manifests of a repository refer to. PHYSICAL counts what only this \
                  repository holds, and what is freed with it. Bytes that repositories share count once in the total."
)]
pub(crate) struct Usage {
    /// Repository to measure; by default all of them, and the total
    pub(crate) repository: Option<String>,

    /// Print a line of JSON for each item
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) storage: Storage,
}

#[derive(Debug, Args)]
#[command(after_help = OPERATORS)]
pub(crate) struct Remove {
    /// Tag or manifest to remove: REPOSITORY:TAG removes the tag only, REPOSITORY@DIGEST the manifest with its tags
    #[arg(required_unless_present_any = ["repository", "quarantined", "lost"], conflicts_with_all = ["repository", "quarantined", "lost"])]
    pub(crate) image: Option<String>,

    /// Remove all tags and manifests of this repository
    #[arg(long, conflicts_with_all = ["quarantined", "lost"])]
    pub(crate) repository: Option<String>,

    /// Remove damaged content from quarantine, for good: all of it, or that of one digest
    #[arg(long, value_name = "DIGEST", num_args = 0..=1, conflicts_with = "now")]
    pub(crate) quarantined: Option<Option<String>>,

    /// Accept the loss of all tags that are gone although nobody is known to have deleted them
    #[arg(long, conflicts_with = "quarantined")]
    pub(crate) lost: bool,

    /// Remove without showing the consequences and asking
    #[arg(short, long)]
    pub(crate) yes: bool,

    /// Remove for good: keep no record with which the removal could be undone
    #[arg(long)]
    pub(crate) now: bool,

    /// Print a line of JSON for each item
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) storage: Storage,
}

#[derive(Debug, Args)]
#[command(after_help = OPERATORS)]
pub(crate) struct History {
    /// Tag, as REPOSITORY:TAG, or repository for all its tags, including deleted ones
    pub(crate) image: String,

    /// List what was deleted and can be restored, instead of the moves of tags
    #[arg(long)]
    pub(crate) deleted: bool,

    /// Print a line of JSON for each item
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) storage: Storage,
}

#[derive(Debug, Args)]
#[command(after_help = OPERATORS)]
pub(crate) struct Restore {
    /// Deletion to undo: REPOSITORY:TAG restores that tag, REPOSITORY@DIGEST a manifest with all its tags
    #[arg(required_unless_present = "repository")]
    pub(crate) image: Option<String>,

    /// Restore everything that was deleted in this repository
    #[arg(long, value_name = "REPOSITORY", conflicts_with = "image")]
    pub(crate) repository: Option<String>,

    /// Restore only what was deleted at this time or later, such as 2026-05-01T14:30:00Z
    #[arg(long, value_name = "TIME", requires = "repository")]
    pub(crate) since: Option<String>,

    /// Restore under this tag instead of the deleted ones
    #[arg(long = "as", value_name = "TAG", conflicts_with = "repository")]
    pub(crate) under: Option<String>,

    /// Print a line of JSON for each item
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) storage: Storage,
}

#[derive(Debug, Args)]
#[command(after_help = OPERATORS)]
pub(crate) struct Uploads {
    /// End this session and drop its bytes
    #[arg(long, value_name = "ID")]
    pub(crate) end: Option<String>,

    /// Print a line of JSON for each item
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) storage: Storage,
}

/// Explanation that all commands of operators share.
const OPERATORS: &str = "The command runs on the server that owns the directory, through a socket in it, or on the directory if no server \
                         runs. It opens a bucket by itself, beside the servers. It prints a table on a terminal, and otherwise columns that are \
                         separated by tabs.";

#[derive(Debug, Args)]
#[command(after_help = OPERATORS)]
pub(crate) struct Verify {
    /// Configuration file of the server, as with --config
    #[arg(value_name = "CONFIG")]
    pub(crate) file: Option<PathBuf>,

    /// Repair what can be repaired. Without it, nothing is changed
    #[arg(long)]
    pub(crate) repair: bool,

    /// Repair however much is corrupt. Otherwise more than 10 items, or more than 1 % of all, stop every repair
    #[arg(long, requires = "repair")]
    pub(crate) force: bool,

    /// Print a line of JSON for each finding, and a summary as the last line
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) storage: Storage,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Beside a running server, content goes that was deleted, and other content that nobody has used for 24 hours. \
                  Without a server, all content of a directory goes that nothing refers to.\n\n\
                  In a bucket, content goes 24 hours after it was written, and an hour after its removal was announced to all servers, \
                  also if it was deleted. Set REGISTRY_STORAGE_MAINTENANCE_COLLECT_GRACE=10m to shorten both.\n\n\
                  The exit code is 1 if the run ended early, and 128 and the number of the signal if one ended it."
)]
pub(crate) struct GarbageCollect {
    /// A configuration file
    #[arg(value_name = "CONFIG")]
    pub(crate) file: Option<PathBuf>,

    /// Only report what would be removed
    #[arg(short, long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", hide_default_value = true, value_parser = switch)]
    pub(crate) dry_run: bool,

    /// Remove manifests without a tag, too; parts of tagged images, and signatures of them, stay
    #[arg(short = 'm', long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", hide_default_value = true, value_parser = switch)]
    pub(crate) delete_untagged: bool,

    /// Print the summary only
    #[arg(short, long, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", hide_default_value = true, value_parser = switch)]
    pub(crate) quiet: bool,

    /// Keep deleted images that can still be restored
    #[arg(long)]
    pub(crate) keep_trash: bool,

    /// Go on although most images have gone without a deletion
    #[arg(long)]
    pub(crate) force: bool,

    /// Let no collection of a directory remove anything for this time, such as 6h, for a backup of a running server. Returns
    /// at once; 0 ends it
    #[arg(long, value_name = "TIME", value_parser = hold, conflicts_with_all = ["dry_run", "delete_untagged", "keep_trash", "force"])]
    pub(crate) hold: Option<Duration>,

    /// Print a line of JSON for each item, and for the summary
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) storage: Storage,
}

/// Parses the value of a flag, such as `--dry-run=true`, as registry:2 does.
fn switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("must be true or false".into()),
    }
}

/// Parses the time of a hold.
fn hold(text: &str) -> Result<Duration, String> {
    let time = config::duration(text)?;
    // Numbers without a unit are nanoseconds.
    match time < Duration::from_secs(1) && !time.is_zero() {
        true => Err("must be 0, or at least 1s, such as 6h".into()),
        false => Ok(time),
    }
}

/// Returns the arguments with registry:2's short form expanded: a configuration file alone means to serve it.
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
    use clap::CommandFactory as _;
    use std::collections::BTreeSet;

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
        for (arguments, flags) in [
            (&["c.yml"][..], [false; 3]),
            (&["-d", "-m", "-q", "c.yml"], [true; 3]),
            (&["-dmq", "c.yml"], [true; 3]),
            (&["--dry-run", "--delete-untagged", "c.yml"], [true, true, false]),
            (&["--delete-untagged=true", "c.yml"], [false, true, false]),
            (
                &["-m=T", "--quiet=1", "--dry-run=false", "c.yml"],
                [false, true, true],
            ),
        ] {
            let parsed = parse(&[&["garbage-collect"], arguments].concat());
            let Command::GarbageCollect(parsed) = parsed.unwrap().command else {
                panic!("{arguments:?} is not `garbage-collect`");
            };
            assert_eq!(
                [parsed.dry_run, parsed.delete_untagged, parsed.quiet],
                flags,
                "{arguments:?}"
            );
            assert_eq!(parsed.file.unwrap(), PathBuf::from("c.yml"));
        }
        parse(&["garbage-collect", "--dry-run=maybe"]).unwrap_err();
    }

    #[test]
    fn a_hold_has_a_unit_unless_it_ends_one() {
        for (time, accepted) in [
            ("6h", true),
            ("0", true),
            ("1s", true),
            ("6", false),
            ("6ms", false),
        ] {
            let parsed = parse(&["garbage-collect", "--hold", time]);
            assert_eq!(parsed.is_ok(), accepted, "{time}");
        }
    }

    #[test]
    fn the_entrypoint_of_the_image_has_every_command() {
        // Programs of the base image, which `docker run IMAGE ls` has always run.
        const PROGRAMS: [&str; 4] = ["cp", "du", "ls", "rm"];
        let script = include_str!("../../../image/entrypoint.sh");
        let cases = script
            .lines()
            .filter_map(|line| line.trim().strip_suffix(") set -- registry \"$@\" ;;"));
        let listed: BTreeSet<&str> = cases.flat_map(|case| case.split(" | ")).collect();

        let command = Cli::command();
        let mut expected: BTreeSet<&str> = command
            .get_subcommands()
            .map(clap::Command::get_name)
            .filter(|name| !PROGRAMS.contains(name))
            .collect();
        expected.extend(["help", "-*"]);

        assert_eq!(listed, expected);
    }

    #[test]
    fn the_version_is_asked_for_in_every_way() {
        for flag in ["-v", "-V", "--version"] {
            let asked = parse(&[flag]).unwrap_err();
            assert_eq!(asked.kind(), clap::error::ErrorKind::DisplayVersion);
        }
    }
}
