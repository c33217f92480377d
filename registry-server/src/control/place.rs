//! [`Place`]: where the operations of a command run.

use super::{
    client::Connection,
    image_storage::{ImageStorage, NotOpened},
    line::{Line, WAITING},
    operation::{self, Access, BoxError, Operation, Operator},
    user::{become_owner_of, becomes_owner_of},
};
use crate::{
    backend,
    bucket::{self, OpenBucket, Use},
    clock::TrustedClock,
    config::{Bucket, Settings, StorageKind},
    retention::Immutable,
    wiring,
};
use registry_core::{Registry, Storage, storage::StorageError};
use registry_storage_fs::{FsStorage, OpenError, OwnerRecord};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};
use tokio::{
    join,
    sync::mpsc::channel,
    time::{Instant, sleep_until, timeout},
};

/// Maximum wait for a process that owns the storage and takes no commands.
const WAIT: Duration = Duration::from_secs(30);

/// Message for a command that would write what the configuration makes read-only.
const READ_ONLY: &str = "`storage.maintenance.readonly.enabled` is set, and no server that accepts pushes uses the directory: commands that change something work beside such a server; unset the key, or pass --root DIRECTORY if nothing writes there";

/// The same for a bucket.
const READ_ONLY_BUCKET: &str =
    "`storage.maintenance.readonly.enabled` is set; unset the key to change something";

/// Maximum wait for a store that gets back what a command holds.
const RELEASE: Duration = Duration::from_secs(5);

/// Interval of attempts meanwhile.
const LOOKS: Duration = Duration::from_millis(100);

/// Storage on which the operations of a command run: that of a running server, or a directory or bucket that this process
/// opens.
///
/// A directory has one owner. In a bucket, a command is a further replica beside the servers.
#[derive(Debug)]
pub(crate) struct Place {
    at: At,
    settings: Settings,
    /// User who runs the command.
    user: u32,
    /// Directory that this process owns until the command ends.
    owned: Option<Operator>,
    /// Bucket that was opened to change something, or to see what a change would do.
    bucket: OnceLock<OpenBucket>,
}

/// Place of the images.
#[derive(Clone, Debug)]
enum At {
    Directory(PathBuf),
    Bucket(Box<Bucket>),
}

impl At {
    fn of(settings: &Settings) -> Result<Self, String> {
        match &settings.storage.kind {
            StorageKind::Directory { root, .. } => Ok(Self::Directory(root.clone())),
            StorageKind::Bucket(bucket) => Ok(Self::Bucket(bucket.clone())),
            StorageKind::Memory => Err(
                "the configuration keeps images in the memory of the server, where commands cannot reach them".into(),
            ),
        }
    }
}

impl Place {
    /// Chooses the storage of a configuration.
    ///
    /// # Errors
    ///
    /// If it is in memory, or in a directory that holds no registry.
    pub(crate) fn of(settings: Settings) -> Result<Self, String> {
        Self::holding(settings, "pass --root DIRECTORY or --config FILE")
    }

    /// Chooses the storage in a directory that the command line names as `registry:DIR`.
    ///
    /// # Errors
    ///
    /// As for [`of`](Self::of).
    pub(crate) fn named(settings: Settings) -> Result<Self, String> {
        Self::holding(
            settings,
            "name the storage of a server, as in registry:/var/lib/registry",
        )
    }

    fn holding(settings: Settings, advice: &str) -> Result<Self, String> {
        let at = At::of(&settings)?;
        if let At::Directory(root) = &at
            && !top(root).is_dir()
        {
            return Err(format!(
                "{} holds no registry: there is no docker/registry/v2 in it; {advice}",
                root.display()
            ));
        }
        Ok(Self::at(at, settings))
    }

    fn at(at: At, settings: Settings) -> Self {
        Self {
            at,
            settings,
            user: rustix::process::getuid().as_raw(),
            owned: None,
            bucket: OnceLock::new(),
        }
    }

    /// Gives back what other processes would wait for. Nothing is run afterwards.
    pub(crate) async fn release(&mut self) {
        self.owned = None;
        if let Some(bucket) = self.bucket.take() {
            // A store that does not answer costs the next command a wait.
            let _ = timeout(RELEASE, bucket.release()).await;
        }
    }

    /// Runs an operation on the server that owns the directory, or else in this process. Passes each item on.
    ///
    /// An operation that only reads runs beside any other process. Other operations wait for a process that takes no
    /// commands, for 30 s. `told` reports this, and a server that does not answer for some seconds.
    pub(crate) async fn run<O: Operation>(
        &mut self,
        operation: O,
        mut told: impl FnMut(String) + Send,
        each: impl FnMut(O::Item) -> Result<(), BoxError> + Send,
    ) -> Result<(), BoxError> {
        if let Some(operator) = &self.owned {
            return run_here(operation, operator.clone(), each).await;
        }
        match self.find(operation.access(), true, &mut told).await? {
            Found::Server(server) => server.run(operation, told, each).await,
            Found::Here(operator) => {
                if operation.access() == Access::Own {
                    self.owned = Some(operator.clone());
                }
                run_here(operation, operator, each).await
            }
        }
    }

    /// Chooses the storage of a configuration. The directory may be absent, empty, or begun by a command that was
    /// interrupted: what changes it makes it a registry.
    ///
    /// # Errors
    ///
    /// If it is in memory, or in a directory that has other content.
    pub(crate) fn of_new(settings: Settings) -> Result<Self, String> {
        let at = At::of(&settings)?;
        let At::Directory(root) = &at else {
            return Self::of(settings);
        };
        if !top(root).is_dir() && !is_unused(root) {
            return Err(format!(
                "{} holds other files and no registry: there is no docker/registry/v2 in it; name the directory of a registry or a new one",
                root.display()
            ));
        }
        Ok(Self::at(at, settings))
    }

    /// Returns true if the storage is a registry. A bucket is one as it is.
    pub(crate) fn is_registry(&self) -> bool {
        match &self.at {
            At::Directory(root) => top(root).is_dir(),
            At::Bucket(_) => true,
        }
    }

    /// Returns true if the images are in a bucket.
    pub(crate) const fn is_bucket(&self) -> bool {
        matches!(self.at, At::Bucket(_))
    }

    /// Returns true if a command that changes something becomes the user who owns the directory.
    pub(crate) fn becomes_owner(&self) -> bool {
        match &self.at {
            At::Directory(root) => becomes_owner_of(root),
            At::Bucket(_) => false,
        }
    }

    /// Opens the directory for a command that copies images, with the authority of the host, or reaches the server that owns
    /// it. Waits and reports as [`run`](Self::run) does.
    ///
    /// # Errors
    ///
    /// [`NotOpened`] if another process owns the directory and does not serve the command, or it cannot be opened.
    pub(crate) async fn images(
        &self,
        access: Access,
        mut told: impl FnMut(String) + Send,
    ) -> Result<ImageStorage, NotOpened> {
        let reads = access == Access::Read;
        // A command that reads writes files of its user.
        let operator = match (self.find(access, !reads, &mut told).await?, &self.at) {
            (Found::Here(operator), _) => operator,
            (Found::Server(_), At::Bucket(bucket)) => self.opened_bucket(bucket, access).await?,
            (Found::Server(_), At::Directory(root)) => match ImageStorage::of_server(root, told).await {
                Ok(server) => return Ok(server),
                Err(error) if !reads => return Err(error),
                // A directory can be read beside a server that is too old to help.
                Err(error) => self.opened(root, access).await?.map_err(|_in_use| error)?,
            },
        };
        Ok(ImageStorage::here(operator.view()))
    }

    /// Finds the server that owns the directory, or opens the directory, as the user who owns it if `becomes_owner`. Opens a
    /// bucket in any case.
    async fn find(
        &self,
        access: Access,
        becomes_owner: bool,
        told: &mut (impl FnMut(String) + Send),
    ) -> Result<Found, NotOpened> {
        let root = match &self.at {
            At::Directory(root) => root,
            At::Bucket(bucket) => return Ok(Found::Here(self.opened_bucket(bucket, access).await?)),
        };
        let deadline = Instant::now() + WAIT;
        let mut told = Some(told);
        loop {
            let owner = OwnerRecord::read(root);
            let owner =
                owner.map_err(|error| format!("cannot read the lock file of {}: {error}", root.display()))?;
            if let Some(owner) = &owner {
                match Connection::to(owner).await {
                    Ok(Some(server)) => return Ok(Found::Server(server)),
                    Err(error) if access != Access::Read => return Err(error.into()),
                    Ok(None) | Err(_) => {}
                }
            }
            if access == Access::Own && self.settings.storage.read_only {
                return Err(READ_ONLY.to_owned().into());
            }
            if becomes_owner {
                become_owner(root)?;
            }
            let in_use = match self.opened(root, access).await? {
                Ok(operator) => return Ok(Found::Here(operator)),
                Err(in_use) => in_use,
            };
            if Instant::now() >= deadline {
                return Err(NotOpened::later(unreachable(&in_use)));
            }
            if let Some(told) = told.take() {
                told(format!("waiting up to {} s: {in_use}", WAIT.as_secs()));
            }
            sleep_until(deadline.min(Instant::now() + LOOKS)).await;
        }
    }

    /// Opens the directory. Returns the inner error if another process owns it.
    async fn opened(&self, root: &Path, access: Access) -> Result<Result<Operator, OpenError>, String> {
        let options = FsStorage::options();
        let options = match access {
            Access::Own => options,
            Access::Preview => options.preview(),
            Access::Read => options.read_only(),
        };
        let storage = match options.open(root) {
            Ok(storage) => storage,
            Err(in_use @ OpenError::InUse { .. }) => return Ok(Err(in_use)),
            Err(error) => return Err(not_opened(&error)),
        };
        let clock = TrustedClock::start(&storage).await;
        Ok(Ok(self.operator(storage, clock)))
    }

    /// Opens the bucket beside the servers that use it.
    async fn opened_bucket(&self, bucket: &Bucket, access: Access) -> Result<Operator, NotOpened> {
        if access == Access::Own && self.settings.storage.read_only {
            return Err(READ_ONLY_BUCKET.to_owned().into());
        }
        let usage = match access {
            // A storage that only reads does not know what a collection would remove.
            Access::Preview if !self.settings.storage.read_only => Use::Write,
            Access::Own => Use::Write,
            Access::Preview | Access::Read => Use::Read,
        };
        let opened = bucket::open_for_command(bucket, usage).await.map_err(|error| {
            let why = bucket::explained(bucket, &error);
            match error {
                StorageError::Unavailable { .. } => NotOpened::later(why),
                _ => why.into(),
            }
        })?;
        if usage == Use::Write {
            _ = self.bucket.set(opened.clone());
        }
        let clock = TrustedClock::start(&*opened.notes).await;
        let operator = self.operator(opened.storage, clock);
        // The servers that use it have clients.
        Ok(operator.with_grace(self.settings.storage.collect.grace))
    }

    fn operator(&self, storage: impl Storage, clock: TrustedClock) -> Operator {
        let registry = wiring::configured(Registry::builder(storage), &self.settings).build();
        let immutable = Immutable::of(self.settings.access.as_deref()).unwrap_or(Immutable::Unknown);
        Operator::new(registry, self.user, clock).with_immutable(immutable)
    }
}

enum Found {
    Server(Connection),
    Here(Operator),
}

fn become_owner(root: &Path) -> Result<(), String> {
    let existing = [top(root), root.to_owned()]
        .into_iter()
        .find(|path| path.exists());
    existing
        .map_or(Ok(()), |path| become_owner_of(&path))
        .map_err(|error| {
            format!(
                "cannot become the user who owns {}: {error}; run this command as that user",
                root.display()
            )
        })
}

/// Explains that commands cannot reach the process that owns the directory.
fn unreachable(in_use: &OpenError) -> String {
    let owner = match in_use {
        OpenError::InUse {
            path,
            process: Some(process),
            host: Some(host),
            ..
        } => format!("{} is in use by process {process} on {host}", path.display()),
        other => other.to_string(),
    };
    format!(
        "{owner}, whose control socket cannot be reached from here; run the command where that process runs (`docker exec`), or stop the process"
    )
}

/// Explains that the directory cannot be opened by a command that changes it, or reads it.
fn not_opened(error: &OpenError) -> String {
    match error {
        OpenError::NotWritable { path, source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            format!(
                "{} is on a file system that is mounted read-only: commands that change nothing work there, such as a dry run or `registry verify`; mount it for writing to change something",
                path.display()
            )
        }
        other => backend::explained(other),
    }
}

/// Returns the directory that makes `root` a registry.
fn top(root: &Path) -> PathBuf {
    root.join("docker/registry/v2")
}

/// Returns true if nothing is in `root`, except for the directories that an interrupted command has begun.
fn is_unused(root: &Path) -> bool {
    let begun = [root.to_owned(), root.join("docker"), root.join("docker/registry")];
    let nexts = [Some("docker"), Some("registry"), None];
    begun
        .iter()
        .zip(nexts)
        .all(|(directory, next)| match fs::read_dir(directory) {
            Ok(mut entries) => entries
                .all(|entry| entry.is_ok_and(|entry| next.is_some_and(|next| entry.file_name() == next))),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        })
}

async fn run_here<O: Operation>(
    operation: O,
    operator: Operator,
    mut each: impl FnMut(O::Item) -> Result<(), BoxError> + Send,
) -> Result<(), BoxError> {
    let (lines, mut waiting) = channel(WAITING);
    // An error of the receiver drops its end, which ends the operation.
    let received = async move {
        while let Some(line) = waiting.recv().await {
            match line {
                Line::Item(item) => each(item)?,
                Line::Failed(message) => return Err(message.into()),
                Line::Done => return Ok(()),
            }
        }
        Err("the command ended without an outcome".into())
    };
    let ((), outcome) = join!(operation::run(operation, operator, lines), received);
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_unused_until_it_has_more_than_an_interrupted_command_leaves() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        assert!(is_unused(&root));
        for begun in ["", "docker", "docker/registry"] {
            fs::create_dir_all(root.join(begun)).unwrap();
            assert!(is_unused(&root), "{begun}");
        }
        for other in [
            "other",
            "docker/other",
            "docker/registry/other",
            "docker/registry/v2",
        ] {
            fs::create_dir(root.join(other)).unwrap();
            assert!(!is_unused(&root), "{other}");
            fs::remove_dir(root.join(other)).unwrap();
        }
        fs::write(folder.path().join("file"), "").unwrap();
        assert!(!is_unused(&folder.path().join("file")));
    }

    #[test]
    fn a_command_on_a_read_only_mount_is_told_what_works_there() {
        let error = OpenError::NotWritable {
            path: "/data".into(),
            user: 0,
            source: io::ErrorKind::ReadOnlyFilesystem.into(),
        };

        let told = not_opened(&error);

        assert!(told.contains("/data") && told.contains("dry run"), "{told}");
        assert!(!told.contains("readonly.enabled"), "{told}");
    }
}
