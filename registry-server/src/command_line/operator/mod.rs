//! Commands of operators: on the server that owns a storage, or on a directory that no server uses.

mod agreement;
mod collect;
mod image;
mod list;
mod progress;
mod quarantine;
mod remove;
mod retention;
mod table;
mod undo;
mod uploads;
mod usage;
mod verify;

use crate::{
    Config, Sources,
    command_line::{cli, signals, sources::sources},
    config::Settings,
    control::{BoxError, Operation, Place},
    printable,
};
use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

pub(crate) use self::{
    collect::collect,
    list::list,
    remove::remove,
    retention::retention,
    undo::{history, restore},
    uploads::uploads,
    usage::usage,
    verify::verify,
};

/// Configuration of an image, which registry:2 has there, too.
const OF_IMAGES: &str = "/etc/docker/registry/config.yml";

/// Runs a command on a storage.
struct Session {
    place: Place,
    runtime: tokio::runtime::Runtime,
}

impl Session {
    fn open(storage: cli::Storage) -> Result<Self, BoxError> {
        Self::of(Config::load(chosen(storage))?.settings)
    }

    fn of(settings: Settings) -> Result<Self, BoxError> {
        Ok(Self {
            place: Place::of(settings)?,
            // The process has no other thread until the directory is open.
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
        })
    }

    /// Runs an operation, and passes each item on.
    fn run<O: Operation>(
        &mut self,
        operation: O,
        each: impl FnMut(O::Item) -> Result<(), BoxError> + Send,
    ) -> Result<(), BoxError> {
        self.runtime
            .block_on(self.place.run(operation, |waits| tell(&waits), each))
    }

    /// Runs an operation on a bucket until a signal asks the process to end, so that [`release`](Place::release) follows. Returns
    /// the exit code after such a signal.
    ///
    /// On a directory, signals end the process at once.
    fn run_or_end<O: Operation>(
        &mut self,
        operation: O,
        each: impl FnMut(O::Item) -> Result<(), BoxError> + Send,
    ) -> Result<Option<ExitCode>, BoxError> {
        if !self.place.is_bucket() {
            return self.run(operation, each).map(|()| None);
        }
        let signal = signals::first()?;
        self.runtime.block_on(async {
            tokio::select! {
                done = self.place.run(operation, |waits| tell(&waits), each) => done.map(|()| None),
                Ok(code) = signal => Ok(Some(ExitCode::from(code))),
            }
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.runtime.block_on(self.place.release());
    }
}

/// Returns the sources of the configuration that names the storage.
pub(super) fn chosen(storage: cli::Storage) -> Sources {
    match storage {
        cli::Storage { root: Some(root), .. } => {
            Sources::new().set("storage.filesystem.rootdirectory", "--root", root)
        }
        cli::Storage {
            config: Some(file), ..
        } => sources(Some(file)),
        cli::Storage { .. } => {
            let of_image = Path::new(OF_IMAGES);
            sources(of_image.exists().then(|| of_image.to_path_buf()))
        }
    }
}

/// Reports what a command waits for.
fn tell(waits: &str) {
    // As below.
    _ = writeln!(io::stderr(), "registry: {waits}");
}

/// Reports an item that cannot be read.
fn report(what: &str, problem: &str) {
    // Nothing is left to tell it to if standard error is gone.
    _ = writeln!(
        io::stderr(),
        "registry: {}: {}",
        printable::Line(what),
        printable::Line(problem)
    );
}

/// Prints an item as a line of JSON.
fn print_json(item: &impl serde::Serialize) -> Result<(), BoxError> {
    let text = printable::json(&serde_json::to_string(item)?);
    Ok(writeln!(io::stdout(), "{text}")?)
}
