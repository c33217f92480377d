//! Commands about buckets: `registry storage check` and `registry copy-storage`.

mod check;
#[cfg(feature = "object-storage")]
mod copy;
#[cfg(feature = "object-storage")]
mod history;
mod named;
mod options;
#[cfg(feature = "object-storage")]
mod side;

pub(crate) use self::options::{CopyStorage, Storage};

use std::{error::Error, process::ExitCode};

/// Runs `registry copy-storage`.
#[cfg(feature = "object-storage")]
pub(crate) fn copy_storage(options: &CopyStorage) -> Result<ExitCode, Box<dyn Error + Send + Sync>> {
    copy::run(options)
}

/// Refuses `registry copy-storage`.
#[cfg(not(feature = "object-storage"))]
pub(crate) fn copy_storage(_: &CopyStorage) -> Result<ExitCode, Box<dyn Error + Send + Sync>> {
    Err("this program was built without the feature `object-storage`".into())
}

/// Runs `registry storage`.
pub(crate) fn storage(command: &Storage) -> Result<ExitCode, Box<dyn Error + Send + Sync>> {
    match command {
        Storage::Check(options) => check::run(options),
    }
}
