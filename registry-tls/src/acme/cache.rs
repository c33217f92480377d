//! Account and certificates on disk, so that a restart needs no authority.
//!
//! ```text
//! CACHE/
//!   acme-v02.api.letsencrypt.org_directory/   one for each authority: trying things out spoils nothing
//!     account.json                            the account and its key
//!     registry.example.com.pem                the private key and the chain: one file, so that they always match
//! ```
//!
//! Directories are 0700 and files 0600. A file appears whole or not at all.

use crate::error::TlsError;
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

const ACCOUNT: &str = "account.json";

/// Part of the cache that belongs to one authority.
#[derive(Clone, Debug)]
pub(super) struct Cache(PathBuf);

impl Cache {
    /// Opens the cache in `root`, creates missing directories, and checks that it is writable.
    pub(super) fn open(root: &Path, directory_url: &str) -> Result<Self, TlsError> {
        let authority: String = directory_url
            .trim_start_matches("https://")
            .trim_end_matches('/')
            .chars()
            .map(|c| match c {
                'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' => c,
                _ => '_',
            })
            .collect();
        let path = root.join(authority);
        let failed = |source| TlsError::Write {
            path: path.clone(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(|error| match root.is_file() {
                true => failed(io::Error::new(
                    io::ErrorKind::NotADirectory,
                    format!(
                        "{} is a file, but must be a directory (the cachefile of registry:2 cannot be used)",
                        root.display()
                    ),
                )),
                false => failed(error),
            })?;
        let cache = Self(path.clone());
        let probe = cache.path("write-test");
        write(&probe, b"")
            .and_then(|()| fs::remove_file(&probe))
            .map_err(failed)?;
        if let Ok(metadata) = fs::metadata(&path)
            && metadata.permissions().mode() & 0o077 != 0
        {
            tracing::warn!(
                "{} contains private keys, but users other than its owner can enter it: run `chmod 700` on it",
                path.display()
            );
        }
        Ok(cache)
    }

    pub(super) fn certificate_path(&self, host: &str) -> PathBuf {
        self.path(&format!("{}.pem", host.to_ascii_lowercase()))
    }

    /// Returns the key and chain of `host`, if they exist.
    pub(super) fn certificate(&self, host: &str) -> Result<Option<Vec<u8>>, TlsError> {
        read(&self.certificate_path(host))
    }

    pub(super) fn store_certificate(&self, host: &str, pem: &str) -> Result<(), TlsError> {
        store(&self.certificate_path(host), pem.as_bytes())
    }

    /// Returns the account, if it exists.
    pub(super) fn account(&self) -> Result<Option<Vec<u8>>, TlsError> {
        read(&self.path(ACCOUNT))
    }

    pub(super) fn store_account(&self, json: &[u8]) -> Result<(), TlsError> {
        store(&self.path(ACCOUNT), json)
    }

    /// Removes an account that the authority does not know.
    pub(super) fn forget_account(&self) -> Result<(), TlsError> {
        let path = self.path(ACCOUNT);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(TlsError::Write { path, source }),
            _ => Ok(()),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, TlsError> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(TlsError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

fn store(path: &Path, content: &[u8]) -> Result<(), TlsError> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    let stored = write(Path::new(&aside), content).and_then(|()| {
        fs::rename(&aside, path)?;
        match path.parent() {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    });
    stored.map_err(|source| TlsError::Write {
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    // A file that a crash left behind may have other permissions.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn only_the_owner_reads_what_is_kept() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::open(&root.path().join("acme"), "https://acme.example:14000/dir").unwrap();

        cache.store_certificate("A.example", "key and chain").unwrap();
        cache.store_account(b"{}").unwrap();

        let directory = root.path().join("acme/acme.example_14000_dir");
        assert_eq!(mode(&root.path().join("acme")), 0o700);
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&directory.join("a.example.pem")), 0o600);
        assert_eq!(mode(&directory.join("account.json")), 0o600);
        assert_eq!(cache.certificate("a.example").unwrap().unwrap(), b"key and chain");
    }

    #[test]
    fn what_a_crash_left_does_not_matter_and_is_not_read() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::open(root.path(), "https://acme.example/").unwrap();
        fs::write(cache.path("a.example.pem.new"), "half").unwrap();

        assert_eq!(cache.certificate("a.example").unwrap(), None);
        cache.store_certificate("a.example", "whole").unwrap();
        assert_eq!(cache.certificate("a.example").unwrap().unwrap(), b"whole");
        assert_eq!(mode(&cache.certificate_path("a.example")), 0o600);
    }

    #[test]
    fn authorities_do_not_share_accounts() {
        let root = tempfile::tempdir().unwrap();
        let open = |url| Cache::open(root.path(), url).unwrap();
        open("https://staging.example/directory")
            .store_account(b"{}")
            .unwrap();

        assert_eq!(open("https://acme.example/directory").account().unwrap(), None);
        assert!(
            open("https://staging.example/directory")
                .account()
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn a_file_in_place_of_the_directory_is_named() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("letsencrypt.cache");
        fs::write(&file, "{}").unwrap();

        let refused = Cache::open(&file, "https://acme.example/").unwrap_err().story();

        assert!(
            refused.contains("is a file, but must be a directory"),
            "{refused}"
        );
    }
}
