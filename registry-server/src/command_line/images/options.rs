//! Options of `registry import`, `registry export` and `registry cp`.

use super::{
    glob::Glob,
    name::{Image, Name},
    naming::{Rename, Rule},
};
use crate::command_line::storage::Storage;
use clap::{Args, ValueEnum};
use registry_image::Platform;
use std::path::PathBuf;

/// Explanation that the three commands share.
const NAMES: &str = "Names of images:
  oci:DIR[:TAG]                       an OCI layout in a directory
  oci-archive:FILE[:TAG]              an OCI layout in a tar file
  docker-archive:FILE[:NAME]          what `docker save` writes
  docker://HOST/REPOSITORY[:TAG]      a registry
  registry:DIR[:REPOSITORY[:TAG]]     a data directory of this server
  -                                   an archive on standard input or output
A file or directory without a scheme is recognised by its content. `@DIGEST` can stand for `:TAG`.

Exit codes: 0 if everything was copied, 1 after a failure, 2 for wrong usage, 3 if some images failed with --keep-going, 75 if a later \
attempt may succeed.";

/// Copy images from archives, layouts or registries into the storage of the server
#[derive(Debug, Args)]
#[command(after_help = NAMES)]
pub(crate) struct Import {
    /// Archive, layout or image to import; `-` reads an archive from standard input
    #[arg(value_name = "SOURCE", required = true, value_parser = Name::parse)]
    pub(super) sources: Vec<Name>,

    #[command(flatten)]
    pub(super) selection: Selection,

    #[command(flatten)]
    pub(super) names: Names,

    #[command(flatten)]
    pub(super) running: Running,

    #[command(flatten)]
    pub(super) access: Access,

    #[command(flatten)]
    pub(super) from: SourceAccess,

    #[command(flatten)]
    pub(super) storage: Storage,
}

/// Copy images from the storage of the server into an archive or a layout
#[derive(Debug, Args)]
#[command(after_help = NAMES)]
pub(crate) struct Export {
    /// Image to export: REPOSITORY:TAG, REPOSITORY@DIGEST, or REPOSITORY for its tag `latest`
    #[arg(value_name = "IMAGE", required_unless_present_any = ["all_tags", "tags"], value_parser = Image::parse)]
    pub(super) images: Vec<Image>,

    /// Write to this archive, or to an OCI layout as oci:DIR; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: String,

    #[command(flatten)]
    pub(super) selection: Selection,

    #[command(flatten)]
    pub(super) names: Names,

    #[command(flatten)]
    pub(super) running: Running,

    #[command(flatten)]
    pub(super) increment: Increment,

    #[command(flatten)]
    pub(super) storage: Storage,
}

/// Copy images from any place to any other
#[derive(Debug, Args)]
#[command(after_help = NAMES)]
pub(crate) struct Copy {
    /// Images to copy
    #[arg(value_parser = Name::parse)]
    pub(super) from: Name,

    /// Place to which they are copied
    pub(super) to: String,

    #[command(flatten)]
    pub(super) selection: Selection,

    #[command(flatten)]
    pub(super) names: Names,

    #[command(flatten)]
    pub(super) running: Running,

    #[command(flatten)]
    pub(super) increment: Increment,

    #[command(flatten)]
    pub(super) access: Access,

    #[command(flatten)]
    pub(super) source: SourceAccess,

    #[command(flatten)]
    pub(super) target: TargetAccess,
}

/// Selection of images.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Selection {
    /// Copy only the image for this platform, such as linux/arm64; may be repeated. The digest of an index changes
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", value_parser = Platform::parse)]
    pub(super) platform: Vec<Platform>,

    /// Copy all tags
    #[arg(long)]
    pub(super) all_tags: bool,

    /// Copy the tags that match this pattern, with `*` for any text and `?` for a character
    #[arg(long, value_name = "GLOB", conflicts_with = "all_tags")]
    pub(super) tags: Option<Glob>,

    /// Copy signatures and other referrers, too
    #[arg(long)]
    pub(super) referrers: bool,

    /// Refuse an index whose images are partly absent
    #[arg(long)]
    pub(super) strict: bool,

    /// Compress layers by this method. The digests of images change
    #[arg(long, value_name = "METHOD")]
    pub(super) compress: Option<Compression>,

    /// Convert manifests to these media types. The digests of images change
    #[arg(long, value_name = "FORMAT")]
    pub(super) format: Option<Format>,
}

/// Compression of layers.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Compression {
    /// No compression
    None,
    /// All programs read it
    Gzip,
    /// Not for docker's manifests
    Zstd,
}

/// Family of media types.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    /// Media types of the OCI image specification
    Oci,
    /// Media types of docker, schema 2
    Docker,
}

impl From<Compression> for registry_image::Compression {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::None,
            Compression::Gzip => Self::Gzip,
            Compression::Zstd => Self::Zstd,
        }
    }
}

impl From<Format> for registry_image::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Oci => Self::Oci,
            Format::Docker => Self::Docker,
        }
    }
}

/// Names of the copies.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Names {
    /// Name the copy REPOSITORY[:TAG]
    #[arg(long = "as", visible_alias = "name", value_name = "NAME", conflicts_with_all = ["map", "prefix"], value_parser = Rename::parse)]
    pub(super) name: Option<Rename>,

    /// Replace the beginning of names of repositories, as in docker.io/library=mirror; may be repeated, and the first one
    /// that fits counts
    #[arg(long, value_name = "FROM=TO", value_parser = Rule::parse)]
    pub(super) map: Vec<Rule>,

    /// Put this before names of repositories, in place of the registry's name
    #[arg(long, value_name = "PREFIX")]
    pub(super) prefix: Option<String>,
}

/// Execution and output.
#[derive(Clone, Debug, Args)]
pub(super) struct Running {
    /// Print what would be copied, and write nothing
    #[arg(short = 'n', long)]
    pub(super) dry_run: bool,

    /// Number of blobs in transfer at the same time
    #[arg(short, long, value_name = "NUMBER", default_value_t = 4)]
    pub(super) jobs: usize,

    /// Continue with the next image after a failure
    #[arg(short, long)]
    pub(super) keep_going: bool,

    /// Write the digests of the copies to this file, one on each line
    #[arg(long, value_name = "FILE")]
    pub(super) digest_file: Option<PathBuf>,

    /// Print errors only
    #[arg(short, long, conflicts_with = "json")]
    pub(super) quiet: bool,

    /// Print a line of JSON for each step, and for each image
    #[arg(long)]
    pub(super) json: bool,
}

/// Incremental archives.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Increment {
    /// Leave out of the archive the blobs in this list, which an earlier export has written. Only a target that has these
    /// blobs can import the archive
    #[arg(long, value_name = "LIST")]
    pub(super) since: Option<PathBuf>,

    /// Write the list of the blobs of the archive, with those that it leaves out, for a later --since
    #[arg(long, value_name = "LIST")]
    pub(super) write_list: Option<PathBuf>,
}

/// Access to registries.
#[derive(Clone, Debug, Args)]
pub(super) struct Access {
    /// File of logins; by default those of podman and docker
    #[arg(long, value_name = "FILE", env = "REGISTRY_AUTH_FILE")]
    pub(super) authfile: Option<PathBuf>,

    /// Directory of certificates for the registries: *.crt are trusted, NAME.cert with NAME.key is presented
    #[arg(long, value_name = "DIR")]
    pub(super) cert_dir: Option<PathBuf>,

    /// Number of further attempts after a transient failure
    #[arg(long, value_name = "NUMBER", default_value_t = 4)]
    pub(super) retry: u32,
}

/// Access to the registry that is read.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct SourceAccess {
    /// Log in at the source. Without a password, it comes from REGISTRY_SRC_PASSWORD, a terminal or standard input
    #[arg(long, value_name = "USER[:PASSWORD]")]
    pub(super) src_creds: Option<String>,

    /// Verify the certificate of the source; `false` accepts any, and plain HTTP if there is no TLS
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) src_tls_verify: Option<bool>,
}

/// Access to the registry that is written.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct TargetAccess {
    /// Log in at the target. Without a password, it comes from REGISTRY_DEST_PASSWORD, a terminal or standard input
    #[arg(long, value_name = "USER[:PASSWORD]")]
    pub(super) dest_creds: Option<String>,

    /// Verify the certificate of the target; `false` accepts any, and plain HTTP if there is no TLS
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) dest_tls_verify: Option<bool>,
}
