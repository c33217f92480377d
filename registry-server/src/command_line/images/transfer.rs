//! [`Transfer`]: copies of batches to a target.

use super::{
    failure::Failure,
    name::File,
    nothing::Nothing,
    options::{Increment, Running, Selection},
    output::Output,
    plan::shown,
    report::Reporter,
    source::Batch,
};
use crate::control::ImageStorage;
use registry_client::{Client, Host};
use registry_core::{Digest, RepositoryName, storage::StoredManifest};
use registry_image::{BlobList, CopyItem, Export, ImageCopy, LayoutWriter, Names, Target};
use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    os::fd::AsFd as _,
    path::PathBuf,
    sync::Arc,
};

/// Place to which images are copied.
#[derive(Debug)]
pub(super) enum Place {
    Layout(PathBuf),
    Archive(File),
    Remote(Client, Host),
    Storage(ImageStorage),
    /// A storage that does not exist, in a dry run.
    Absent,
    /// No place, as in a dry run.
    Nothing,
}

/// Copies to one place.
pub(super) struct Transfer {
    pub(super) place: Place,
    pub(super) batches: Vec<Batch>,
    pub(super) selection: Selection,
    pub(super) running: Running,
    /// True if no tag is moved before everything has been copied.
    pub(super) is_whole: bool,
    /// Blobs that an archive leaves out.
    pub(super) base: Option<BlobList>,
    /// File for the list of the blobs of an archive.
    pub(super) write_list: Option<PathBuf>,
    pub(super) reporter: Arc<Reporter>,
}

impl Place {
    /// Returns true if every image has a repository in it.
    pub(super) const fn has_repositories(&self) -> bool {
        matches!(self, Self::Remote(..) | Self::Storage(_) | Self::Absent)
    }
}

impl Transfer {
    /// Makes an archive an incremental one.
    pub(super) fn since(self, increment: Increment) -> Result<Self, Failure> {
        let Increment { since, write_list } = increment;
        if !matches!(self.place, Place::Archive(_)) && (since.is_some() || write_list.is_some()) {
            return Err("--since and --write-list are for archives; copy to a file"
                .to_owned()
                .into());
        }
        if let Some(path) = &write_list {
            // Nothing is written if the list cannot be.
            Output::list(path)?;
        }
        Ok(Self {
            base: since.map(BlobList::open).transpose()?,
            write_list,
            ..self
        })
    }

    /// Warns of images that have no tag in a registry.
    fn warn_of_untagged(&self) {
        if !self.place.has_repositories() {
            return;
        }
        for batch in &self.batches {
            for item in batch.items.iter().filter(|item| item.tags.is_empty()) {
                let name = shown(batch.repository.as_deref(), None, &item.from);
                self.reporter.warn(&format!(
                    "{name} has no tag, and neither has its copy; name one, as in --as REPOSITORY:TAG"
                ));
            }
        }
    }

    /// Copies everything.
    pub(super) async fn run(mut self) -> Result<(), Failure> {
        self.warn_of_untagged();
        if self.running.dry_run && !self.place.has_repositories() {
            self.place = Place::Nothing;
        }
        if let Place::Archive(file) = &self.place {
            let file = file.clone();
            return self.export(&file).await;
        }
        let images: usize = self.batches.iter().map(|batch| batch.items.len()).sum();
        if self.is_whole && images > 1 && !self.running.keep_going && !self.running.dry_run {
            let mut all = Vec::new();
            for (number, batch) in self.batches.iter().enumerate() {
                self.verify_base(number).await?;
                let untagged: Vec<_> = batch
                    .items
                    .iter()
                    .map(|item| item.clone().with_tags([]))
                    .collect();
                let target = self.target(batch)?;
                let report = self.copy(batch, &*target).run(&untagged).await?;
                self.reporter.add(&report);
                // A tag that moves meanwhile is not resolved again.
                let found = report.copied.iter().map(|copied| copied.source);
                let found = found.zip(&batch.items).map(|(digest, item)| {
                    let tags = item.tags.iter().cloned();
                    CopyItem::digest(digest).with_tags(tags)
                });
                all.push(found.collect::<Vec<_>>());
            }
            for (batch, items) in self.batches.iter().zip(&all) {
                let target = self.target(batch)?;
                let report = self.copy(batch, &*target).on_event(|_| {}).run(items).await?;
                self.warn().await?;
                for copied in &report.copied {
                    self.reporter.image(batch, copied)?;
                }
            }
            return Ok(());
        }
        for (number, batch) in self.batches.iter().enumerate() {
            self.verify_base(number).await?;
            let target = self.target(batch)?;
            let report = self.copy(batch, &*target).run(&batch.items).await?;
            self.reporter.add(&report);
            self.warn().await?;
            for copied in &report.copied {
                self.reporter.image(batch, copied)?;
            }
            for failed in report.failed {
                self.reporter.failed(batch, failed)?;
            }
        }
        Ok(())
    }

    /// Verifies that the target has what an incremental archive leaves out, before its first batch is copied.
    async fn verify_base(&self, number: usize) -> Result<(), Failure> {
        let (before, after) = self.batches.split_at(number);
        let Some(source) = after.first().map(|batch| &batch.source) else {
            return Ok(());
        };
        let is_same = |batch: &&Batch| Arc::ptr_eq(&batch.source, source);
        if source.left_out().is_none() || before.iter().any(|batch| is_same(&batch)) {
            return Ok(());
        }
        for batch in after.iter().filter(is_same) {
            let target = self.target(batch)?;
            self.copy(batch, &*target).verify_base(&batch.items).await?;
        }
        Ok(())
    }

    fn copy<'a>(&'a self, batch: &'a Batch, target: &'a dyn Target) -> ImageCopy<'a> {
        let reporter = Arc::clone(&self.reporter);
        let mut copy = ImageCopy::new(&*batch.source, target)
            .jobs(self.running.jobs)
            .platforms(self.selection.platform.iter().cloned())
            .referrers(self.selection.referrers)
            .strict(self.selection.strict)
            .keep_going(self.running.keep_going)
            .dry_run(self.running.dry_run)
            .on_event(move |event| reporter.event(event));
        if let Some(compression) = self.selection.compress {
            copy = copy.compress(compression.into());
        }
        if let Some(format) = self.selection.format {
            copy = copy.format(format.into());
        }
        copy
    }

    /// Opens the target of a batch.
    fn target(&self, batch: &Batch) -> Result<Box<dyn Target>, Failure> {
        let repository = || {
            let name = batch.repository.as_deref().unwrap_or_default();
            let parsed = RepositoryName::parse(name);
            parsed.map_err(|error| format!("{name}: {error}; name the copy with --as, --map or --prefix"))
        };
        Ok(match &self.place {
            Place::Layout(directory) => Box::new(LayoutWriter::create(directory)?.named(self.names(batch))),
            Place::Remote(client, host) => Box::new(client.repository_of(host.clone(), repository()?)),
            Place::Storage(storage) => storage.target(&repository()?),
            Place::Absent => {
                repository()?;
                Box::new(Nothing)
            }
            Place::Archive(_) | Place::Nothing => Box::new(Nothing),
        })
    }

    /// Returns the names of images in a layout or an archive.
    fn names(&self, batch: &Batch) -> Names {
        match &batch.repository {
            Some(repository) if self.batches.len() > 1 => Names::of_repository(repository).full(),
            Some(repository) => Names::of_repository(repository),
            None => Names::tags(),
        }
    }

    /// Writes an archive.
    async fn export(&self, file: &File) -> Result<(), Failure> {
        if *file == File::Pipe && io::stdout().is_terminal() {
            return Err(
                "an archive is not written to a terminal; redirect standard output, or name a file"
                    .to_owned()
                    .into(),
            );
        }
        let items = self.exportable().await?;
        if items.iter().all(Vec::is_empty) {
            // Each failure is reported, and decides on the exit code.
            return Ok(());
        }
        let mut export = Export::new()
            .platforms(self.selection.platform.iter().cloned())
            .referrers(self.selection.referrers)
            .strict(self.selection.strict);
        for (batch, items) in self.batches.iter().zip(&items) {
            export = export.add(&*batch.source, items, self.names(batch));
        }
        if let Some(platform) = self.selection.platform.first() {
            export = export.docker_platform(platform.clone());
        }
        if let Some(compression) = self.selection.compress {
            export = export.compress(compression.into());
        }
        if let Some(format) = self.selection.format {
            export = export.format(format.into());
        }
        if let Some(base) = &self.base {
            export = export.since(base.clone());
        }
        let reporter = Arc::clone(&self.reporter);
        let export = export.on_event(move |event| reporter.event(event));
        let exported = match file {
            File::Path(path) => {
                let output = Output::archive(path)?;
                let exported = export.write_file(output.path()).await?;
                output.complete()?;
                exported
            }
            File::Pipe => {
                let out = fs::File::from(io::stdout().as_fd().try_clone_to_owned()?);
                let mut out = io::BufWriter::new(out);
                let exported = export.write(&mut out).await?;
                out.flush()?;
                exported
            }
        };
        drop(export);
        if let Some(path) = &self.write_list {
            let output = Output::list(path)?;
            exported.contents.write_file(output.path())?;
            output.complete()?;
        }
        self.reporter.add_archive(exported.blobs, exported.bytes);
        let mut copied = exported.copied.iter();
        for (batch, items) in self.batches.iter().zip(&items) {
            self.warn().await?;
            for copied in copied.by_ref().take(items.len()) {
                self.reporter.image(batch, copied)?;
            }
        }
        Ok(())
    }

    /// Returns the items of each batch that can be read. Others end the export, or are reported with `--keep-going`.
    async fn exportable(&self) -> Result<Vec<Vec<CopyItem>>, Failure> {
        let mut all = Vec::new();
        for batch in &self.batches {
            if !self.running.keep_going {
                all.push(batch.items.clone());
                continue;
            }
            let mut items = Vec::new();
            for item in &batch.items {
                let report = self
                    .copy(batch, &Nothing)
                    .on_event(|_| {})
                    .dry_run(true)
                    .run(std::slice::from_ref(item))
                    .await?;
                if report.failed.is_empty() {
                    items.push(item.clone());
                }
                for failed in report.failed {
                    self.reporter.failed(batch, failed)?;
                }
            }
            all.push(items);
        }
        Ok(all)
    }

    /// Warns of everything that was not copied although no copy failed.
    async fn warn(&self) -> Result<(), Failure> {
        for (subject, left) in self.reporter.take_left() {
            let referrers: Vec<_> = left.iter().map(ToString::to_string).collect();
            self.reporter.warn(&format!(
                "--referrers: the copy of {subject} has another digest, so signatures and other referrers of the original do not fit and are not copied: {}; leave out --platform, --format and --compress to copy them",
                referrers.join(", ")
            ));
        }
        self.warn_of_absent().await
    }

    /// Warns of each image that an index lists and the source lacks.
    async fn warn_of_absent(&self) -> Result<(), Failure> {
        for (index, digest) in self.reporter.take_absent() {
            let mut place = None;
            let mut platform = None;
            for batch in &self.batches {
                if let Some(listed) = batch.source.manifest(&index).await? {
                    place = Some(batch.source.describe());
                    platform = platform_in(&listed, &digest);
                    break;
                }
            }
            // An index that was narrowed is in no source.
            let place = place.map_or_else(String::new, |place| format!("{place}: "));
            let image = match platform {
                Some(platform) => format!("the image for {platform}, {digest},"),
                None => format!("the image {digest}"),
            };
            self.reporter.warn(&format!(
                "{place}{image} is absent, and the index {index} is copied without it; --platform selects an image that is there"
            ));
        }
        Ok(())
    }
}

/// Returns the platform that an index gives for an image.
fn platform_in(index: &StoredManifest, digest: &Digest) -> Option<String> {
    let index: serde_json::Value = serde_json::from_slice(&index.bytes).ok()?;
    let digest = digest.to_string();
    let entries = index.get("manifests")?.as_array()?;
    let entry = entries
        .iter()
        .find(|entry| entry.get("digest").and_then(|found| found.as_str()) == Some(&*digest))?;
    let platform = entry.get("platform")?;
    let part = |key: &str| platform.get(key).and_then(serde_json::Value::as_str);
    let variant = part("variant").map(|variant| format!("/{variant}"));
    Some(format!(
        "{}/{}{}",
        part("os")?,
        part("architecture")?,
        variant.unwrap_or_default()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::images::report::Form;
    use async_trait::async_trait;
    use registry_core::{Algorithm, Descriptor, MediaType, Reference, Registry, Tag, storage::MemoryStorage};
    use registry_image::{Blob, Error, Page, Source};
    use std::{collections::BTreeSet, sync::Mutex};

    /// Source whose tags move to another image after the first look at each of them.
    #[derive(Debug)]
    struct Moving {
        source: Box<dyn Source>,
        seen: Mutex<BTreeSet<String>>,
        new: Digest,
    }

    #[async_trait]
    impl Source for Moving {
        fn describe(&self) -> String {
            self.source.describe()
        }

        async fn resolve(&self, reference: &Reference) -> Result<Option<Descriptor>, Error> {
            let is_first = self.seen.lock().unwrap().insert(reference.to_string());
            match reference {
                Reference::Tag(_) if !is_first => self.source.resolve(&self.new.into()).await,
                _ => self.source.resolve(reference).await,
            }
        }

        async fn manifest(&self, digest: &Digest) -> Result<Option<StoredManifest>, Error> {
            self.source.manifest(digest).await
        }

        async fn blob(&self, digest: &Digest, from: u64) -> Result<Option<Blob>, Error> {
            self.source.blob(digest, from).await
        }

        async fn tags(&self, after: Option<&Tag>) -> Result<Page<Tag, Tag>, Error> {
            self.source.tags(after).await
        }

        async fn referrers(
            &self,
            subject: &Digest,
            after: Option<&Digest>,
        ) -> Result<Page<Descriptor, Digest>, Error> {
            self.source.referrers(subject, after).await
        }
    }

    fn index(number: u8) -> StoredManifest {
        let bytes = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[],"annotations":{{"number":"{number}"}}}}"#,
            MediaType::OCI_INDEX
        );
        let digest = Digest::of(Algorithm::Sha256, bytes.as_bytes());
        let media_type = MediaType::parse(MediaType::OCI_INDEX).unwrap();
        StoredManifest::new(digest, media_type, bytes.into())
    }

    #[tokio::test]
    async fn tags_that_move_during_a_copy_of_several_images_keep_what_was_copied_first() {
        let tags = ["v1", "v2"].map(|tag| Tag::parse(tag).unwrap());
        let [first, second, new] = [1, 2, 3].map(index);
        let registry = Registry::builder(MemoryStorage::new()).build();
        let repository = registry.repository("team/app").unwrap();
        for (manifest, tags) in [(&first, &tags[..1]), (&second, &tags[1..]), (&new, &[])] {
            Target::put_manifest(&repository, manifest, tags).await.unwrap();
        }
        let directory = tempfile::tempdir().unwrap();
        let reporter = Arc::new(Reporter::new(Form::Quiet, false));
        let transfer = Transfer {
            place: Place::Layout(directory.path().join("layout")),
            batches: vec![Batch {
                source: Arc::new(Moving {
                    source: Box::new(repository),
                    seen: Mutex::default(),
                    new: new.digest,
                }),
                repository: Some("team/app".to_owned()),
                items: tags.iter().cloned().map(CopyItem::tag).collect(),
            }],
            selection: Selection::default(),
            running: Running {
                dry_run: false,
                jobs: 1,
                keep_going: false,
                digest_file: None,
                quiet: true,
                json: false,
            },
            is_whole: true,
            base: None,
            write_list: None,
            reporter: Arc::clone(&reporter),
        };

        transfer.run().await.unwrap();

        assert_eq!(reporter.digests(), [first.digest, second.digest]);
        let listed = fs::read_to_string(directory.path().join("layout/index.json")).unwrap();
        assert!(listed.contains("v1") && listed.contains("v2"), "{listed}");
        assert!(!listed.contains(&new.digest.to_string()), "{listed}");
    }
}
