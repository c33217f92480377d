//! The settings of docker and podman on this machine.

use crate::{
    auth::AuthFile, builder::ClientBuilder, client::Client, config_error::ConfigError, proxies::Proxies,
};
use std::{
    env,
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
};

impl Client {
    /// Returns a client with the settings of docker and podman, see [`ClientBuilder::from_env`].
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if certificates are malformed, or cannot be read for another reason than permissions.
    pub fn from_env() -> Result<Self, ConfigError> {
        ClientBuilder::from_env()?.build()
    }
}

impl ClientBuilder {
    /// Starts with the settings of docker and podman. They are read now, except the logins.
    ///
    /// - Logins: the file that `REGISTRY_AUTH_FILE` names, or else podman's `containers/auth.json` in `XDG_RUNTIME_DIR` and
    ///   `XDG_CONFIG_HOME`, and docker's `config.json` in `DOCKER_CONFIG` or `~/.docker`.
    /// - Certificates: `/etc/docker/certs.d`, `/etc/containers/certs.d` and `~/.config/containers/certs.d`, as far as the user
    ///   may list them.
    /// - Proxies: [`Proxies::from_env`].
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if certificates are malformed, or cannot be read for another reason than permissions.
    pub fn from_env() -> Result<Self, ConfigError> {
        let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let home = env::home_dir();
        let mut builder = Self::default().proxies(Proxies::from_env());
        for path in auth_files(&variable, home.as_deref()) {
            builder = builder.credentials(AuthFile::new(path));
        }
        let own = config(&variable, home.as_deref()).map(|config| config.join("containers/certs.d"));
        let system = ["/etc/docker/certs.d", "/etc/containers/certs.d"].map(PathBuf::from);
        for directory in system.into_iter().chain(own) {
            // As for podman. The host whose certificates are needed fails with its own error.
            let denied = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
            if !fs::read_dir(&directory).is_err_and(denied) {
                builder = builder.certs_dir(directory)?;
            }
        }
        Ok(builder)
    }
}

type Variable<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Returns the directory of the user's settings.
fn config(variable: Variable<'_>, home: Option<&Path>) -> Option<PathBuf> {
    let own = variable("XDG_CONFIG_HOME").map(PathBuf::from);
    own.or_else(|| Some(home?.join(".config")))
}

fn auth_files(variable: Variable<'_>, home: Option<&Path>) -> Vec<PathBuf> {
    if let Some(file) = variable("REGISTRY_AUTH_FILE") {
        return vec![file.into()];
    }
    let below = |directory: Option<PathBuf>, file: &OsStr| Some(directory?.join(file));
    let podman = OsStr::new("containers/auth.json");
    let docker = variable("DOCKER_CONFIG").map(PathBuf::from);
    let docker = docker.or_else(|| Some(home?.join(".docker")));
    let files = [
        below(variable("XDG_RUNTIME_DIR").map(PathBuf::from), podman),
        below(config(variable, home), podman),
        below(docker, OsStr::new("config.json")),
    ];
    files.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(variables: &[(&str, &str)]) -> Vec<String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name)?;
            Some(OsString::from(found.1))
        };
        let files = auth_files(&variable, Some(Path::new("/home/ann")));
        files.into_iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn the_files_of_podman_come_before_those_of_docker() {
        assert_eq!(
            files(&[("XDG_RUNTIME_DIR", "/run/user/1")]),
            [
                "/run/user/1/containers/auth.json",
                "/home/ann/.config/containers/auth.json",
                "/home/ann/.docker/config.json",
            ]
        );
        assert_eq!(
            files(&[("DOCKER_CONFIG", "/d"), ("XDG_CONFIG_HOME", "/c")]),
            ["/c/containers/auth.json", "/d/config.json"]
        );
        assert_eq!(
            files(&[("REGISTRY_AUTH_FILE", "/a.json"), ("DOCKER_CONFIG", "/d")]),
            ["/a.json"]
        );
    }
}
