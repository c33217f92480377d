//! Certificates per registry, in directories like `/etc/docker/certs.d`.
//!
//! Format: `HOST[:PORT]/*.crt` are trusted authorities; `NAME.cert` and `NAME.key` are a certificate to present.

use crate::{config_error::ConfigError, host::Host, options::HostOptions};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// Maximum size of a file, in bytes.
const FILE: u64 = 4 << 20;

/// Adds the certificates in `directory` to the options of hosts. A missing directory has none. A host whose files the user may
/// not read cannot be connected to.
pub(crate) fn add(directory: &Path, hosts: &mut BTreeMap<Host, HostOptions>) -> Result<(), ConfigError> {
    for entry in entries(directory)? {
        // Others keep further files beside the directories of hosts.
        let name = entry.file_name().and_then(|name| name.to_str());
        let Some(host) = name.and_then(|name| Host::parse(name).ok()) else {
            continue;
        };
        if entry.is_dir() {
            let earlier = hosts.remove(&host).unwrap_or_default();
            let read = unless_denied(files(&entry))?;
            hosts.insert(host, read.over(earlier));
        }
    }
    Ok(())
}

/// Keeps an error of permissions for the time when the host is connected to. The client may need other hosts only.
fn unless_denied(read: Result<HostOptions, ConfigError>) -> Result<HostOptions, ConfigError> {
    match read {
        Err(error) if is_denied(&error) => Ok(HostOptions::new().unreadable(error.to_string())),
        read => read,
    }
}

fn is_denied(error: &ConfigError) -> bool {
    matches!(error, ConfigError::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
}

fn files(directory: &Path) -> Result<HostOptions, ConfigError> {
    let mut options = HostOptions::new();
    for path in entries(directory)? {
        let named = |error| match error {
            ConfigError::Pem(problem) => ConfigError::Malformed {
                place: path.display().to_string(),
                problem,
            },
            other => other,
        };
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => options = options.trust_pem(&read(&path)?).map_err(named)?,
            Some("cert") => {
                let (chain, key) = (read(&path)?, read(&path.with_extension("key"))?);
                options = options.identity_pem(&chain, &key).map_err(named)?;
            }
            _ => {}
        }
    }
    Ok(options)
}

/// Returns the paths in a directory, in order.
fn entries(directory: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let failed = |source| ConfigError::File {
        path: directory.to_owned(),
        source,
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let paths: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(failed)?;
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, ConfigError> {
    let mut bytes = zeroize::Zeroizing::new(Vec::new());
    let read = File::open(path).and_then(|file| file.take(FILE).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(bytes),
        Err(source) => Err(ConfigError::File {
            path: path.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_files_are_named_and_others_are_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let host = folder.path().join("registry.example:5000");
        fs::create_dir(&host).unwrap();
        fs::write(folder.path().join("a.example"), "a file").unwrap();
        fs::write(host.join("README"), "text").unwrap();
        let mut hosts = BTreeMap::new();
        add(folder.path(), &mut hosts).unwrap();
        assert_eq!(hosts.len(), 1);

        fs::write(host.join("ca.crt"), "text").unwrap();
        let error = add(folder.path(), &mut hosts).unwrap_err().to_string();
        assert!(
            error.contains("ca.crt") && error.contains("no certificate"),
            "{error}"
        );
        fs::remove_file(host.join("ca.crt")).unwrap();
        fs::write(host.join("client.cert"), "text").unwrap();
        let error = add(folder.path(), &mut hosts).unwrap_err().to_string();
        assert!(error.contains("client.key"), "{error}");
        add(&folder.path().join("missing"), &mut hosts).unwrap();
    }

    #[test]
    fn only_an_error_of_permissions_waits_for_the_connection() {
        let failed = |kind: io::ErrorKind| {
            let path = PathBuf::from("/etc/docker/certs.d/a/client.key");
            let source = kind.into();
            unless_denied(Err(ConfigError::File { path, source }))
        };

        let options = failed(io::ErrorKind::PermissionDenied).unwrap();

        let problem = options.tls.unwrap().unreadable.unwrap();
        assert!(problem.contains("client.key"), "{problem}");
        assert!(failed(io::ErrorKind::NotFound).is_err());
    }
}
