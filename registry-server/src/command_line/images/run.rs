//! The commands.

use super::{
    clients::Side,
    failure::{Failure, SOME_FAILED, WRONG_USAGE},
    name::{File, Image, InvalidName, Name},
    naming::{Naming, Rename},
    options::{Copy, Export, Import, Increment, Names, Running, Selection},
    plan::{Fixed, named},
    report::{Form, Reporter},
    source::{Batch, nothing_selected, of_layout, of_repository, of_storage},
    transfer::{Place, Transfer},
};
use crate::{
    Config, Sources,
    command_line::{operator::chosen, storage::Storage},
    config::{Location, Settings},
    control::{self, Access},
};
use registry_client::{Client, Host};
use registry_core::{Digest, Reference, RepositoryName, Tag};
use registry_image::{ArchiveReader, Layout};
use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};
use tokio::runtime::{Builder, Runtime};

/// Maximum number of repositories of a registry.
const REPOSITORIES: usize = 1_000_000;

/// Copies images into the storage of the server.
pub(crate) fn import(options: Import) -> ExitCode {
    let running = options.running.clone();
    ended(&running, false, Ok(()), |reporter, ()| {
        let Import {
            sources,
            mut selection,
            names,
            running,
            access,
            from,
            storage,
        } = options;
        let side = Side::source(&access, &from, sources.iter().any(Name::is_pipe))?;
        // An archive has the referrers that belong to it.
        let is_local = |name: &Name| matches!(name, Name::Layout(..) | Name::Archive(..));
        selection.referrers |= sources.iter().all(is_local);
        let mut place = place_of(settings_of(storage)?, &selection)?;
        let sources = sources.into_iter();
        let sources = sources.map(|source| Opening::of(source, &side, place.becomes_owner()));
        let sources = sources.collect::<Result<Vec<_>, _>>()?;
        let runtime = runtime()?;
        let done = runtime.block_on(async {
            let place = storage_place(&place, &running).await?;
            let mut batches = Vec::new();
            for source in sources {
                batches.extend(source.batches(&side, &selection).await?);
            }
            let target = Target {
                place,
                fixed: Fixed::default(),
                is_whole: true,
            };
            let batches = target.named(batches, names)?;
            let transfer = target.transfer(batches, selection, running, reporter);
            transfer.run().await
        });
        runtime.block_on(place.release());
        done
    })
}

/// Copies images from the storage of the server into an archive or a layout.
pub(crate) fn export(options: Export) -> ExitCode {
    let running = options.running.clone();
    let output = Name::parse_output(&options.output);
    let is_pipe = output.as_ref().is_ok_and(Name::is_pipe);
    let checked = distinct(output, &running, &options.increment);
    ended(&running, is_pipe, checked, |reporter, output| {
        let Export {
            images,
            output: _,
            selection,
            mut names,
            running,
            increment,
            storage,
        } = options;
        let settings = settings_of(storage)?;
        if let (Location::Absolute(url), None) = (&settings.http.location, &names.prefix) {
            names.prefix = url.split_once("://").map(|(_, host)| host.to_owned());
        }
        let target = Target::of_files(output)?;
        runtime()?.block_on(async {
            let place = control::Place::of(settings)?;
            let storage = place.images(Access::Read, |waits| told(&waits)).await?;
            let batches = of_storage(&storage, &images, &selection).await?;
            if batches.is_empty() {
                return Err(nothing_selected("the storage"));
            }
            let batches = target.named(batches, names)?;
            let transfer = target.transfer(batches, selection, running, reporter);
            transfer.since(increment)?.run().await
        })
    })
}

/// Copies images from any place to any other.
pub(crate) fn copy(options: Copy) -> ExitCode {
    let running = options.running.clone();
    let to = Name::parse_target(&options.to);
    let is_pipe = to.as_ref().is_ok_and(Name::is_pipe);
    let checked = distinct(to, &running, &options.increment);
    ended(&running, is_pipe, checked, |reporter, to| {
        let Copy {
            from,
            to: _,
            selection,
            names,
            running,
            increment,
            access,
            source,
            target,
        } = options;
        let source = Side::source(&access, &source, from.is_pipe())?;
        let target = Side::target(&access, &target, from.is_pipe())?;
        let becomes_owner = match &to {
            Name::Storage(root, _) => place_of(settings_at(root)?, &selection)?.becomes_owner(),
            _ => false,
        };
        let from = Opening::of(from, &source, becomes_owner)?;
        runtime()?.block_on(async {
            let target = match to {
                Name::Remote(host, image) => Target {
                    place: Place::Remote(target.client(&host).await?, host),
                    fixed: Fixed::of(image)?,
                    is_whole: false,
                },
                Name::Storage(root, image) => Target {
                    place: storage_place(&place_of(settings_at(&root)?, &selection)?, &running).await?,
                    fixed: Fixed::of(image)?,
                    is_whole: false,
                },
                files => Target::of_files(files)?,
            };
            let batches = from.batches(&source, &selection).await?;
            let batches = target.named(batches, names)?;
            let transfer = target.transfer(batches, selection, running, reporter);
            transfer.since(increment)?.run().await
        })
    })
}

/// Returns the target, unless one of the other files would be written over it.
fn distinct(
    target: Result<Name, InvalidName>,
    running: &Running,
    increment: &Increment,
) -> Result<Name, String> {
    let target = target.map_err(|error| error.to_string())?;
    let file = |path: &Path| fs::canonicalize(path).or_else(|_absent| std::path::absolute(path));
    let others = [
        ("--write-list", &increment.write_list),
        ("--digest-file", &running.digest_file),
    ];
    let mut taken = Vec::new();
    if let Name::Archive(File::Path(path), _) = &target {
        taken.extend(file(path).ok());
    }
    for (option, path) in others {
        let Some(path) = path else {
            continue;
        };
        let Ok(found) = file(path) else {
            continue;
        };
        if found.exists() && !found.is_file() {
            // A device can take several.
            continue;
        }
        if taken.contains(&found) {
            return Err(format!(
                "{option}: {} is also the name of another file that the command writes; name a file of its own",
                path.display()
            ));
        }
        taken.push(found);
    }
    Ok(target)
}

/// Runs a command, prints its failure, and returns its exit code. `has_archive` is true if standard output has an archive,
/// and `checked` is what the command takes, or wrong usage.
fn ended<T>(
    running: &Running,
    has_archive: bool,
    checked: Result<T, String>,
    command: impl FnOnce(&Arc<Reporter>, T) -> Result<(), Failure>,
) -> ExitCode {
    let form = match running {
        Running { json: true, .. } => Form::Json,
        Running { quiet: true, .. } => Form::Quiet,
        Running { .. } => Form::Lines,
    };
    let reporter = Arc::new(Reporter::new(form, has_archive));
    let checked = match checked {
        Ok(checked) => checked,
        Err(message) => {
            reporter.failure(&Failure::from(message));
            return ExitCode::from(WRONG_USAGE);
        }
    };
    let ended = DigestFile::of(running).and_then(|file| {
        command(&reporter, checked)?;
        file.write(&reporter.digests())?;
        Ok(reporter.end()?)
    });
    match ended {
        Err(failure) => {
            reporter.failure(&failure);
            failure.exit_code()
        }
        Ok(()) => reporter.exit_code(),
    }
}

/// File of `--digest-file`. It is opened before the command, which may have become another user at its end.
struct DigestFile<'a>(Option<(fs::File, &'a Path)>);

impl<'a> DigestFile<'a> {
    fn of(running: &'a Running) -> Result<Self, Failure> {
        let open = |path: &'a PathBuf| match fs::File::create(path) {
            Ok(file) => Ok((file, path.as_path())),
            Err(error) => Err(format!("--digest-file: cannot write {}: {error}", path.display())),
        };
        let file = running.digest_file.as_ref().filter(|_| !running.dry_run);
        Ok(Self(file.map(open).transpose()?))
    }

    fn write(self, digests: &[Digest]) -> Result<(), Failure> {
        let Some((mut file, path)) = self.0 else {
            return Ok(());
        };
        let digests: String = digests.iter().map(|digest| format!("{digest}\n")).collect();
        let written = file.write_all(digests.as_bytes());
        Ok(written.map_err(|error| format!("--digest-file: cannot write {}: {error}", path.display()))?)
    }
}

fn runtime() -> Result<Runtime, Failure> {
    // The process has no other thread until a storage is open, see `Place::images`.
    Ok(Builder::new_current_thread().enable_all().build()?)
}

fn settings_of(storage: Storage) -> Result<Settings, Failure> {
    Ok(Config::load(chosen(storage))?.settings)
}

fn settings_at(root: &Path) -> Result<Settings, Failure> {
    let root = root
        .to_str()
        .ok_or_else(|| format!("{}: the name of the directory is not UTF-8", root.display()))?;
    let sources = Sources::new().set("storage.filesystem.rootdirectory", "registry:", root);
    Ok(Config::load(sources)?.settings)
}

/// Chooses a storage for writing.
fn place_of(mut settings: Settings, selection: &Selection) -> Result<control::Place, Failure> {
    // An archive may have one of the platforms of an index.
    settings.storage.whole_indexes &= selection.strict;
    Ok(control::Place::of_new(settings)?)
}

/// Opens a storage for writing. A dry run reads it.
async fn storage_place(place: &control::Place, running: &Running) -> Result<Place, Failure> {
    if !running.dry_run {
        return Ok(Place::Storage(
            place.images(Access::Own, |waits| told(&waits)).await?,
        ));
    }
    match place.is_registry() {
        true => Ok(Place::Storage(
            place.images(Access::Read, |waits| told(&waits)).await?,
        )),
        false => Ok(Place::Absent),
    }
}

/// Reports a wait for the process that uses a storage.
fn told(waits: &str) {
    // Nothing is left to tell it to if standard error is gone.
    _ = writeln!(io::stderr(), "registry: {waits}");
}

/// A source whose files are open, and whose login is known if root then becomes the user who owns the target.
enum Opening {
    Layout(Layout, Option<String>),
    Remote(Option<Client>, Host, Option<Image>),
    Storage(PathBuf, Option<Image>),
}

impl Opening {
    fn of(name: Name, side: &Side, becomes_owner: bool) -> Result<Self, Failure> {
        Ok(match name {
            Name::Layout(directory, selected) => Self::Layout(Layout::open(directory)?, selected),
            Name::Archive(File::Path(path), selected) => {
                Self::Layout(ArchiveReader::new().open(path)?, selected)
            }
            Name::Archive(File::Pipe, selected) => {
                let layout = ArchiveReader::new().read("standard input", io::stdin().lock())?;
                Self::Layout(layout, selected)
            }
            Name::Remote(host, image) if becomes_owner => {
                let repository = image.as_ref().map(|image| &image.repository);
                // This runtime has no thread left when the process changes its user.
                let client = runtime()?.block_on(side.client_with_login(&host, repository))?;
                Self::Remote(Some(client), host, image)
            }
            Name::Remote(host, image) => Self::Remote(None, host, image),
            Name::Storage(root, image) => Self::Storage(root, image),
        })
    }

    async fn batches(self, side: &Side, selection: &Selection) -> Result<Vec<Batch>, Failure> {
        let (batches, place) = match self {
            Self::Layout(layout, selected) => {
                return of_layout(layout, selected.as_deref(), selection).await;
            }
            Self::Remote(client, host, image) => {
                let client = match client {
                    Some(client) => client,
                    None => side.client(&host).await?,
                };
                return of_remote(&client, &host, image, selection).await;
            }
            Self::Storage(root, image) => {
                let place = control::Place::named(settings_at(&root)?)?;
                let storage = place.images(Access::Read, |waits| told(&waits)).await?;
                (of_storage(&storage, image.as_slice(), selection).await?, root)
            }
        };
        match batches.is_empty() {
            true => Err(nothing_selected(&place.display().to_string())),
            false => Ok(batches),
        }
    }
}

/// Returns the selected images of a registry: of one repository, or of all.
async fn of_remote(
    client: &Client,
    host: &Host,
    image: Option<Image>,
    selection: &Selection,
) -> Result<Vec<Batch>, Failure> {
    let batch = async |repository: RepositoryName, reference: Option<&Reference>| {
        let name = format!("{host}/{repository}");
        let source = client.repository_of(host.clone(), repository);
        of_repository(Arc::new(source), name, reference, selection).await
    };
    if let Some(image) = image {
        let batch = batch(image.repository, image.reference.as_ref()).await?;
        return match batch.items.is_empty() {
            true => Err(nothing_selected(&batch.source.describe())),
            false => Ok(vec![batch]),
        };
    }
    if !selection.selects_tags() {
        return Err(format!(
            "docker://{host}: name a repository of the registry, or pass --all-tags for all repositories"
        )
        .into());
    }
    let mut batches = Vec::new();
    for repository in client.catalog(host).all(REPOSITORIES).await? {
        let batch = batch(repository, None).await?;
        batches.extend(Some(batch).filter(|batch| !batch.items.is_empty()));
    }
    match batches.is_empty() {
        true => Err(nothing_selected(host.as_str())),
        false => Ok(batches),
    }
}

/// Target of copies, with the name that it gives them.
struct Target {
    place: Place,
    fixed: Fixed,
    /// True if no tag is moved before everything has been copied.
    is_whole: bool,
}

impl Target {
    /// Returns the target for a layout or an archive.
    fn of_files(name: Name) -> Result<Self, Failure> {
        let (place, name) = match name {
            Name::Layout(directory, name) => (Place::Layout(directory), name),
            Name::Archive(file, name) => (Place::Archive(file), name),
            other => return Err(format!("{other}: neither a layout nor an archive").into()),
        };
        let fixed = match name.as_deref().map(|name| (name, Tag::parse(name))) {
            None => Fixed::default(),
            Some((name, Err(_))) if Digest::parse(name).is_ok() => {
                return Err(format!("{name}: a copy is named by a tag, not by a digest").into());
            }
            Some((_, Ok(tag))) => Fixed {
                repository: None,
                tag: Some(tag),
            },
            Some((name, Err(_))) => {
                Fixed::from(Rename::parse(name).map_err(|problem| format!("{name}: {problem}"))?)
            }
        };
        Ok(Self {
            place,
            fixed,
            is_whole: false,
        })
    }

    /// Names the copies.
    fn named(&self, batches: Vec<Batch>, names: Names) -> Result<Vec<Batch>, Failure> {
        let naming = Naming {
            rules: names.map,
            prefix: names.prefix,
            keeps_registry: !self.place.has_repositories(),
        };
        let fixed = match names.name {
            Some(_) if self.fixed.repository.is_some() || self.fixed.tag.is_some() => {
                return Err("the target names the copies, so leave out --as".to_owned().into());
            }
            Some(name) => Fixed::from(name),
            None => self.fixed.clone(),
        };
        Ok(named(batches, &naming, &fixed, self.place.has_repositories())?)
    }

    fn transfer(
        self,
        batches: Vec<Batch>,
        selection: Selection,
        running: Running,
        reporter: &Arc<Reporter>,
    ) -> Transfer {
        Transfer {
            place: self.place,
            batches,
            selection,
            running,
            is_whole: self.is_whole,
            base: None,
            write_list: None,
            reporter: Arc::clone(reporter),
        }
    }
}

impl Fixed {
    /// Returns the name that a target with a repository gives.
    fn of(image: Option<Image>) -> Result<Self, Failure> {
        let Some(image) = image else {
            return Ok(Self::default());
        };
        if image.reference.is_some() && image.tag().is_none() {
            return Err(format!("{image}: a copy is named by a tag, not by a digest").into());
        }
        Ok(Self {
            tag: image.tag().cloned(),
            repository: Some(image.repository.to_string()),
        })
    }
}

impl From<Rename> for Fixed {
    fn from(name: Rename) -> Self {
        Self {
            repository: Some(name.repository),
            tag: name.tag,
        }
    }
}

impl Reporter {
    /// Returns the exit code of a command that came to its end.
    fn exit_code(&self) -> ExitCode {
        let totals = self.totals();
        match (totals.images, totals.failed) {
            (_, 0) => ExitCode::SUCCESS,
            (0, _) if self.all_transient() => ExitCode::from(super::failure::TRANSIENT),
            (0, _) => ExitCode::FAILURE,
            _ => ExitCode::from(SOME_FAILED),
        }
    }
}
