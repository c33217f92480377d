//! [`Name`]: the place of images on the command line, such as `oci-archive:app.tar` or `docker://registry.example.com/app`.
//!
//! The schemes are those of skopeo, with `registry:` for a data directory of this server.

use registry_client::Host;
use registry_core::{Reference, RepositoryName, Tag};
use std::{
    fmt,
    path::{Path, PathBuf},
};

/// Name of Docker Hub in names of images.
const DOCKER_HUB: &str = "docker.io";

/// Place from which images are read, or to which they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// `oci:DIR[:REF]`: an OCI layout in a directory.
    Layout(PathBuf, Option<String>),
    /// `oci-archive:FILE[:REF]`, `docker-archive:FILE[:REF]`, or `-` for standard input and output.
    Archive(File, Option<String>),
    /// `docker://HOST[/REPO[:TAG|@DIGEST]]`: a registry on the network.
    Remote(Host, Option<Image>),
    /// `registry:DIR[:REPO[:TAG|@DIGEST]]`: a data directory.
    Storage(PathBuf, Option<Image>),
}

/// File of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum File {
    /// Standard input or output.
    Pipe,
    Path(PathBuf),
}

/// A repository, or a tag or manifest in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) repository: RepositoryName,
    pub(super) reference: Option<Reference>,
}

/// Error for a text that is no such name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}: {problem}")]
pub(super) struct InvalidName {
    text: String,
    problem: String,
}

impl Name {
    /// Parses a name. A text without a scheme is a file or a directory, which has to exist.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidName> {
        Self::read(text).map_err(|problem| InvalidName {
            text: text.to_owned(),
            problem,
        })
    }

    /// Parses the name of a target. A text without a scheme is a file whose name ends with `.tar`, or exists.
    pub(super) fn parse_target(text: &str) -> Result<Self, InvalidName> {
        let path = Path::new(text);
        if text.ends_with(".tar") && !text.contains(':') && !path.exists() {
            return Ok(Self::Archive(File::Path(path.to_owned()), None));
        }
        Self::parse(text).map_err(|error| match text.contains(':') || path.exists() {
            true => error,
            false => InvalidName {
                problem: format!("{}; a new archive is oci-archive:FILE", error.problem),
                ..error
            },
        })
    }

    /// Parses the name of a file or layout for an export. A text without a scheme is a file, unless it is a directory.
    pub(super) fn parse_output(text: &str) -> Result<Self, InvalidName> {
        let has_scheme = ["oci:", "oci-archive:", "docker-archive:", "docker:", "registry:"]
            .iter()
            .any(|scheme| text.starts_with(scheme));
        let invalid = |problem: &str| InvalidName {
            text: text.to_owned(),
            problem: problem.to_owned(),
        };
        match Path::new(text) {
            path if path.is_dir() => Ok(Self::Layout(path.to_owned(), None)),
            path if !has_scheme && text != "-" => Ok(Self::Archive(File::Path(path.to_owned()), None)),
            _ => match Self::parse(text)? {
                Self::Remote(..) | Self::Storage(..) => Err(invalid(
                    "an export goes to a file or a layout; `registry cp` copies to other places",
                )),
                file => Ok(file),
            },
        }
    }

    fn read(text: &str) -> Result<Self, String> {
        if text == "-" {
            return Ok(Self::Archive(File::Pipe, None));
        }
        if let Some(rest) = text.strip_prefix("docker://") {
            return remote(rest);
        }
        match text.split_once(':') {
            Some(("oci", rest)) => {
                let (path, reference) = path(rest, "oci:DIR, or oci:DIR:TAG, such as oci:images:v1")?;
                Ok(Self::Layout(path, reference))
            }
            Some((scheme @ ("oci-archive" | "docker-archive"), rest)) => {
                let expected = format!("{scheme}:FILE, or {scheme}:FILE:NAME, such as {scheme}:app.tar:v1");
                let (path, reference) = path(rest, &expected)?;
                let file = if path == Path::new("-") {
                    File::Pipe
                } else {
                    File::Path(path)
                };
                Ok(Self::Archive(file, reference))
            }
            Some(("registry", rest)) => {
                let expected = "registry:DIR, or registry:DIR:REPOSITORY:TAG, such as registry:/var/lib/registry:team/app:v1";
                let (path, image) = path(rest, expected)?;
                let image = image.map(|image| Image::parse(&image)).transpose()?;
                Ok(Self::Storage(path, image))
            }
            Some(("docker", _)) => Err("write docker://HOST/REPOSITORY:TAG, with two slashes".into()),
            Some(("containers-storage" | "docker-daemon" | "dir" | "ostree" | "sif" | "tarball", _)) => {
                Err(format!("this scheme is not supported; {SCHEMES}"))
            }
            _ => plain(text),
        }
    }

    /// Returns true for standard input or output.
    pub(super) const fn is_pipe(&self) -> bool {
        matches!(self, Self::Archive(File::Pipe, _))
    }
}

const SCHEMES: &str = "write oci:DIR, oci-archive:FILE, docker-archive:FILE, docker://HOST/REPOSITORY:TAG or registry:DIR:REPOSITORY:TAG";

/// Parses a file or a directory without a scheme.
fn plain(text: &str) -> Result<Name, String> {
    let path = PathBuf::from(text);
    if path.join("docker/registry/v2").is_dir() {
        return Ok(Name::Storage(path, None));
    }
    if path.is_dir() {
        return Ok(Name::Layout(path, None));
    }
    if path.exists() {
        return Ok(Name::Archive(File::Path(path), None));
    }
    Err(format!("there is no such file or directory; {SCHEMES}"))
}

/// Splits the part after a scheme: a path, and what is selected there.
fn path(rest: &str, expected: &str) -> Result<(PathBuf, Option<String>), String> {
    let at_digest = rest.rsplit_once('@').filter(|(path, digest)| {
        !path.contains(':') && matches!(Reference::parse(digest), Ok(Reference::Digest(_)))
    });
    let (path, selected) = match at_digest.or_else(|| rest.split_once(':')) {
        Some((path, selected)) => (path, Some(selected)),
        None => (rest, None),
    };
    if path.is_empty() || selected.is_some_and(str::is_empty) {
        return Err(format!("write {expected}"));
    }
    Ok((PathBuf::from(path), selected.map(str::to_owned)))
}

fn remote(rest: &str) -> Result<Name, String> {
    let expected = "write docker://HOST/REPOSITORY:TAG, such as docker://registry.example.com/team/app:v1";
    let (host, image) = match rest.split_once('/') {
        Some((host, image)) => (host, Some(image).filter(|image| !image.is_empty())),
        None => (rest, None),
    };
    // As in every client: anything else is the first component of a name on Docker Hub.
    if !host.contains(['.', ':']) && host != "localhost" {
        return Err(format!(
            "the name of the registry is missing; {expected}, or docker://docker.io/{rest}"
        ));
    }
    let host = Host::parse(host).map_err(|error| error.to_string())?;
    let image = image.map(|image| match image.contains('/') || host.as_str() != DOCKER_HUB {
        true => Image::parse(image),
        // Official images of Docker Hub are below `library`.
        false => Image::parse(&format!("library/{image}")),
    });
    let image = image
        .transpose()
        .map_err(|error| format!("{error}; {expected}"))?;
    Ok(Name::Remote(host, image))
}

impl Image {
    /// Parses `REPOSITORY`, `REPOSITORY:TAG` or `REPOSITORY@DIGEST`. As in every client, a digest takes precedence over a
    /// tag before it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let (repository, tag) = match name.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (name, None),
        };
        let repository = RepositoryName::parse(repository).map_err(|error| error.to_string())?;
        let tag = tag.map(Tag::parse).transpose();
        let tag = tag.map_err(|error| error.to_string())?;
        let digest = digest.map(Reference::parse).transpose();
        let digest = digest.map_err(|error| error.to_string())?;
        if let Some(Reference::Tag(_)) = digest {
            return Err("a digest follows `@`, such as sha256:… with 64 digits".into());
        }
        Ok(Self {
            repository,
            reference: digest.or_else(|| tag.as_ref().map(Reference::from)),
        })
    }

    /// Returns the tag, if there is one.
    pub(super) const fn tag(&self) -> Option<&Tag> {
        match &self.reference {
            Some(Reference::Tag(tag)) => Some(tag),
            _ => None,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let image = |image: &Option<Image>, before: &str| match image {
            Some(image) => format!("{before}{image}"),
            None => String::new(),
        };
        let selected = |selected: &Option<String>| match selected {
            Some(selected) => format!(":{selected}"),
            None => String::new(),
        };
        match self {
            Self::Layout(path, reference) => write!(f, "oci:{}{}", path.display(), selected(reference)),
            Self::Archive(File::Pipe, reference) => write!(f, "oci-archive:-{}", selected(reference)),
            Self::Archive(File::Path(path), reference) => {
                write!(f, "oci-archive:{}{}", path.display(), selected(reference))
            }
            Self::Remote(host, found) => write!(f, "docker://{host}{}", image(found, "/")),
            Self::Storage(path, found) => write!(f, "registry:{}{}", path.display(), image(found, ":")),
        }
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reference {
            Some(Reference::Tag(tag)) => write!(f, "{}:{tag}", self.repository),
            Some(Reference::Digest(digest)) => write!(f, "{}@{digest}", self.repository),
            None => write!(f, "{}", self.repository),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_have_the_schemes_of_skopeo_and_a_data_directory() {
        for (text, expected) in [
            ("oci:images", "oci:images"),
            ("oci:images:v1", "oci:images:v1"),
            (
                "oci:/a/b:registry.example.com:5000/app:v1",
                "oci:/a/b:registry.example.com:5000/app:v1",
            ),
            ("oci-archive:app.tar:v1", "oci-archive:app.tar:v1"),
            ("docker-archive:app.tar:app:v1", "oci-archive:app.tar:app:v1"),
            ("-", "oci-archive:-"),
            ("docker-archive:-", "oci-archive:-"),
            (&format!("oci:images@{DIGEST}"), &format!("oci:images:{DIGEST}")),
            (
                &format!("oci-archive:a@b.tar@{DIGEST}"),
                &format!("oci-archive:a@b.tar:{DIGEST}"),
            ),
            ("oci:a@b:v1", "oci:a@b:v1"),
            ("docker://registry.example.com", "docker://registry.example.com"),
            (
                "docker://localhost:5000/team/app:v1",
                "docker://localhost:5000/team/app:v1",
            ),
            ("docker://docker.io/alpine", "docker://docker.io/library/alpine"),
            ("docker://docker.io/team/app", "docker://docker.io/team/app"),
            ("registry:/data", "registry:/data"),
            ("registry:/data:team/app", "registry:/data:team/app"),
            ("registry:data:team/app:v1", "registry:data:team/app:v1"),
            (
                &format!("registry:data:app:v1@{DIGEST}"),
                &format!("registry:data:app@{DIGEST}"),
            ),
        ] {
            assert_eq!(Name::parse(text).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn a_refusal_quotes_the_name_and_says_what_is_expected() {
        for (text, helps) in [
            ("oci:", "such as oci:images:v1"),
            ("oci-archive:app.tar:", "such as oci-archive:app.tar:v1"),
            ("registry:", "such as registry:/var/lib/registry"),
            ("docker:localhost:5000/app", "two slashes"),
            ("docker://team/app:v1", "docker://docker.io/team/app:v1"),
            (
                "docker://localhost:5000/App",
                "such as docker://registry.example.com/team/app:v1",
            ),
            ("docker-daemon:app:v1", "not supported"),
            ("no-such-file.tar", "no such file"),
            ("registry:data:app@v1", "digest"),
        ] {
            let refused = Name::parse(text).unwrap_err().to_string();
            assert!(refused.starts_with(&format!("{text}: ")), "{refused}");
            assert!(refused.contains(helps), "{refused}");
        }
    }

    #[test]
    fn a_plain_name_is_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("app"), "").unwrap();
        std::fs::create_dir(path("layout")).unwrap();
        std::fs::create_dir_all(path("data/docker/registry/v2")).unwrap();
        let parsed = |name: &str| Name::parse(path(name).to_str().unwrap()).unwrap();

        assert_eq!(parsed("app"), Name::Archive(File::Path(path("app")), None));
        assert_eq!(parsed("layout"), Name::Layout(path("layout"), None));
        assert_eq!(parsed("data"), Name::Storage(path("data"), None));
    }

    #[test]
    fn an_output_without_a_scheme_is_a_file() {
        let file = |name: &str| Name::Archive(File::Path(name.into()), None);
        assert_eq!(Name::parse_output("new").unwrap(), file("new"));
        assert_eq!(Name::parse_output("a:b.tar").unwrap(), file("a:b.tar"));
        assert_eq!(
            Name::parse_output("oci:new").unwrap(),
            Name::Layout("new".into(), None)
        );
        assert!(Name::parse_output("docker://localhost/app").is_err());
        assert_eq!(Name::parse_target("new.tar").unwrap(), file("new.tar"));
        let refused = Name::parse_target("new.tgz").unwrap_err().to_string();
        assert!(refused.contains("a new archive is oci-archive:FILE"), "{refused}");
    }
}
