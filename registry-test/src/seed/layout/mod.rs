//! Images of an OCI layout: a directory with `oci-layout`, `index.json` and `blobs/`.
//!
//! All of it is read and checked before anything is stored, and stays in memory until then. A layout may come from
//! anywhere: it names no file outside its directory, and no content larger than a test registry holds.
//!
//! Specification: image-spec, "OCI Image Layout Specification".

mod problem;

pub(crate) use self::problem::LayoutProblem;

use self::problem::{MAX_DESCRIPTORS, MAX_MANIFESTS, MAX_TOTAL};
use super::{error::SeedError, name::SeedName, parts::Part};
use bytes::Bytes;
use registry_core::{
    Digest, MediaType, RepositoryName,
    manifest::{Child, Manifest},
};
use serde_json::Value;
use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

/// Maximum size of a document.
const MAX_DOCUMENT: u64 = 4 << 20;

/// Annotations with the name of an image: containerd's whole name, and the specification's, often only a tag.
const NAMES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

/// Repository of tags, if the directory's name is no name of a repository.
const REPOSITORY: &str = "layout";

/// The checked content of a layout.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(in crate::seed) entries: Vec<Entry>,
}

/// An image of a layout, or other content with its manifest.
#[derive(Debug)]
pub(in crate::seed) struct Entry {
    /// Name to put it under.
    pub(in crate::seed) name: SeedName,
    pub(in crate::seed) blobs: Vec<Part>,
    /// Each manifest after those that it names; its own is the last.
    pub(in crate::seed) manifests: Vec<Part>,
}

impl Layout {
    /// Reads the layout in the directory `path`.
    ///
    /// An image with a whole name, such as `example.com/team/app:v1`, keeps it without the host. One with a tag gets the
    /// repository with the name of the directory, and one without either has only its digest there.
    pub(crate) fn read(path: &Path) -> Result<Self, SeedError> {
        let mut files = Files::open(path)?;
        files.check_marker()?;
        let index_path = path.join("index.json");
        let bytes = files.read(&index_path, MAX_DOCUMENT)?;
        let media_type =
            MediaType::parse(MediaType::OCI_INDEX).expect("a constant media type is well-formed");
        let index = Manifest::parse(&bytes, Some(&media_type));
        let index = index.map_err(|error| refused(&index_path, error.into()))?;
        let repository = repository(&files.root);
        let mut entries = Vec::new();
        for child in index.manifests() {
            let (blobs, manifests) = files.walk(&index_path, child)?;
            let root = manifests.last();
            let root = root.ok_or_else(|| refused(&index_path, LayoutProblem::Form("list of manifests")))?;
            let name = match name(child) {
                Some(name) => whole_name(&name, &repository),
                None => format!("{repository}@{}", root.digest),
            };
            entries.push(Entry {
                name: SeedName::parse(&name)?,
                blobs,
                manifests,
            });
        }
        Ok(Self { entries })
    }
}

/// Returns the name that the annotations of an entry give.
fn name(entry: &Child) -> Option<String> {
    let annotations = entry.annotations.as_ref()?.to_map();
    let mut names = NAMES.iter().filter_map(|key| annotations.get(*key));
    names.next().map(|name| name.to_string())
}

/// Removes the host of a whole name, or adds the repository to a tag.
fn whole_name(name: &str, repository: &str) -> String {
    match name.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => rest.to_owned(),
        Some(_) => name.to_owned(),
        None if name.contains(':') => name.to_owned(),
        None => format!("{repository}:{name}"),
    }
}

fn repository(root: &Path) -> String {
    let directory = root.file_name().and_then(|name| name.to_str());
    let name = directory.filter(|name| RepositoryName::parse(name).is_ok());
    name.unwrap_or(REPOSITORY).to_owned()
}

/// The files of a layout.
struct Files {
    path: PathBuf,
    /// The directory without links.
    root: PathBuf,
    read: HashMap<Digest, Bytes>,
    total: u64,
    /// Number of descriptors of all images, counted in each of them.
    descriptors: usize,
    /// Size of the manifests of all images, counted in each of them.
    manifests: u64,
}

impl Files {
    fn open(path: &Path) -> Result<Self, SeedError> {
        let root = path.canonicalize().map_err(|error| refused(path, error.into()))?;
        Ok(Self {
            path: path.to_owned(),
            root,
            read: HashMap::new(),
            total: 0,
            descriptors: 0,
            manifests: 0,
        })
    }

    /// Collects the content of a manifest that `parent` names: blobs, and manifests after those that they name.
    fn walk(&mut self, parent: &Path, child: &Child) -> Result<(Vec<Part>, Vec<Part>), SeedError> {
        let (mut blobs, mut manifests) = (Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        // No recursion: a chain of indexes may be longer than the stack is deep.
        let mut steps = vec![Step::Enter(parent.to_owned(), child.clone())];
        while let Some(step) = steps.pop() {
            let (parent, child) = match step {
                Step::Leave(manifest) => {
                    manifests.push(manifest);
                    continue;
                }
                Step::Enter(parent, child) => (parent, child),
            };
            self.descriptors = self.descriptors.saturating_add(1);
            if self.descriptors > MAX_DESCRIPTORS {
                return Err(refused(&parent, LayoutProblem::TooManyDescriptors));
            }
            let part = self.part(&parent, &child)?;
            if !seen.insert(part.digest) {
                continue;
            }
            if !child.is_manifest() {
                blobs.push(part);
                continue;
            }
            let path = self.blob_path(&part.digest);
            self.manifests = self.manifests.saturating_add(child.size);
            if self.manifests > MAX_MANIFESTS {
                return Err(refused(&path, LayoutProblem::ManifestsTooLarge));
            }
            let document = Manifest::parse(&part.bytes, child.media_type.as_ref());
            let document = document.map_err(|error| refused(&path, error.into()))?;
            steps.push(Step::Leave(part));
            let blobs = document.blobs().iter().filter(|blob| !blob.is_nondistributable());
            let children = blobs.chain(document.manifests()).cloned();
            steps.extend(children.map(|child| Step::Enter(path.clone(), child)));
        }
        Ok((blobs, manifests))
    }

    /// Reads the content of a descriptor in `parent`.
    fn part(&mut self, parent: &Path, child: &Child) -> Result<Part, SeedError> {
        let unknown = || refused(parent, LayoutProblem::Algorithm(child.digest.clone()));
        let digest = *child.digest.known().ok_or_else(unknown)?;
        let path = self.blob_path(&digest);
        let bytes = match self.read.get(&digest) {
            Some(bytes) => bytes.clone(),
            None => {
                let limit = if child.is_manifest() {
                    MAX_DOCUMENT
                } else {
                    MAX_TOTAL
                };
                let bytes = Bytes::from(self.read(&path, limit)?);
                let found = Digest::of(digest.algorithm(), &bytes);
                if found != digest {
                    return Err(refused(&path, LayoutProblem::Digest(found)));
                }
                self.read.insert(digest, bytes.clone());
                bytes
            }
        };
        let (expected, found) = (child.size, bytes.len() as u64);
        if expected != found {
            return Err(refused(&path, LayoutProblem::Size { expected, found }));
        }
        let media_type = child.media_type.as_ref();
        Ok(Part {
            media_type: media_type.map(MediaType::to_string).unwrap_or_default(),
            digest,
            bytes,
        })
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        let algorithm = digest.algorithm().as_str();
        self.path.join("blobs").join(algorithm).join(digest.hex())
    }

    /// Checks the file that makes a directory a layout.
    fn check_marker(&mut self) -> Result<(), SeedError> {
        let path = self.path.join("oci-layout");
        let bytes = self.read(&path, MAX_DOCUMENT)?;
        let marker = serde_json::from_slice::<Value>(&bytes).ok();
        let version = marker
            .as_ref()
            .and_then(|marker| marker.get("imageLayoutVersion"));
        match version.and_then(Value::as_str) {
            Some(_) => Ok(()),
            None => Err(refused(&path, LayoutProblem::Form("file of an OCI layout"))),
        }
    }

    fn read(&mut self, path: &Path, limit: u64) -> Result<Vec<u8>, SeedError> {
        self.try_read(path, limit)
            .map_err(|problem| refused(path, problem))
    }

    /// Reads a file of the layout, which is no longer than `limit`.
    fn try_read(&mut self, path: &Path, limit: u64) -> Result<Vec<u8>, LayoutProblem> {
        let target = path.canonicalize()?;
        if !target.starts_with(&self.root) {
            return Err(LayoutProblem::Outside(target));
        }
        // Before it is opened: that of a pipe would wait for another process.
        let metadata = target.metadata()?;
        if !metadata.is_file() {
            return Err(LayoutProblem::NoFile);
        }
        let too_large = |size| LayoutProblem::TooLarge { size, limit };
        let size = metadata.len();
        if size > limit {
            return Err(too_large(size));
        }
        let total = self.total.saturating_add(size);
        if total > MAX_TOTAL {
            return Err(LayoutProblem::TotalTooLarge { size: total });
        }
        self.total = total;
        let mut bytes = Vec::new();
        // A file that grows meanwhile is read only as far as it was.
        File::open(target)?.take(size).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// A step on the way through the content of a manifest.
enum Step {
    /// Read the content of a descriptor in this file.
    Enter(PathBuf, Child),
    /// All that the manifest names has been read.
    Leave(Part),
}

fn refused(path: &Path, problem: LayoutProblem) -> SeedError {
    SeedError::Layout {
        path: path.to_owned(),
        problem: Box::new(problem),
    }
}

#[cfg(test)]
mod tests;
