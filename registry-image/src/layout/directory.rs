//! [`Directory`]: the files of a layout in a directory.

use super::files::{Files, OpenFile};
use crate::error::Error;
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

#[derive(Debug)]
pub(super) struct Directory {
    root: PathBuf,
    place: String,
}

impl Directory {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            place: root.display().to_string(),
        }
    }
}

impl Files for Directory {
    fn place(&self) -> &str {
        &self.place
    }

    fn open(&self, path: &str) -> Result<Option<OpenFile>, Error> {
        let full = self.root.join(path);
        // Opening a pipe would wait for a writer, and a link leads out of the layout.
        let metadata = match fs::symlink_metadata(&full) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", full.display())(error)),
        };
        if !metadata.is_file() {
            return Err(Error::layout(
                &self.place,
                path,
                "not a regular file; replace it by its content",
            ));
        }
        let file = File::open(&full).map_err(Error::io("open", full.display()))?;
        Ok(Some(OpenFile {
            size: metadata.len(),
            reader: Box::new(file),
        }))
    }
}
