//! Files of a configuration that are reloaded when they change.
//!
//! A host checks a [`Followed`] value at intervals. A check reads the files, and loads a new value if their contents
//! have changed. If that fails, the last valid value stays in use, and each problem is returned once.
//!
//! ```
//! use registry_reload::{Change, Files, Followed, Reading};
//! use std::{fs, sync::Arc, time::{Duration, Instant}};
//!
//! fn parse(reading: Reading) -> Result<u32, String> {
//!     let contents = reading.map_err(|error| error.to_string())?;
//!     let text = String::from_utf8(contents.concat()).map_err(|error| error.to_string())?;
//!     text.trim().parse().map_err(|error| format!("{text:?}: {error}"))
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("workers");
//! fs::write(&path, "4")?;
//! let workers = Followed::open(Files::new([&path], 1024), parse)?.settling(Duration::from_millis(200));
//! assert_eq!(*workers.current(), 4);
//!
//! // The file may still be written: the first check only notes its new contents.
//! fs::write(&path, "8")?;
//! let start = Instant::now();
//! let load = |reading, _previous: &Arc<u32>| parse(reading).map(Arc::new);
//! assert!(matches!(workers.check(start, load), Change::Settling));
//! assert!(matches!(workers.check(start + Duration::from_millis(200), load), Change::Loaded(_)));
//! assert_eq!(*workers.current(), 8);
//!
//! // An unusable file changes nothing.
//! fs::write(&path, "many")?;
//! workers.check(start + Duration::from_secs(1), load);
//! let Change::Failed(problem) = workers.check(start + Duration::from_secs(2), load) else { panic!() };
//! assert_eq!(problem, "\"many\": invalid digit found in string");
//! assert_eq!(*workers.current(), 8);
//! # Ok(())
//! # }
//! ```
//!
//! # Map
//!
//! - [`Files`] reads files that belong together, within bounds: regular files only, and no more than a maximum size.
//! - [`Followed`] keeps the value of such files, and [`Change`] is the result of a check.
//! - [`utf8`] turns contents into text. Its error names UTF-16, and the line of the first invalid byte.
//!
//! # Changes
//!
//! Contents are compared, not time stamps. This finds every kind of change: a file that is rewritten in place, one
//! that is replaced by a rename, and a symbolic link on the path that points elsewhere (mounted secrets of
//! Kubernetes). It also finds a second change within a clock tick, and works on network file systems and after the
//! clock was set back.
//!
//! # Panics
//!
//! A panic while a value is loaded does not end the following of its files. It is returned as [`Change::Panicked`],
//! and the next check loads the files again.

mod files;
mod followed;
mod text;

pub use self::{
    files::{Files, Reading, Unreadable},
    followed::{Change, Followed, Loaded},
    text::{NotUtf8, is_utf16, utf8},
};
