//! [`Failure`]: reasons for which images were not copied, and their exit codes.

use crate::{causes::with_causes, control::NotOpened};
use registry_client::{ConfigError, Error as ClientError};
use registry_image::Error as ImageError;
use std::{error::Error, io, process::ExitCode};

/// Exit code for wrong usage, as of the parser of the command line.
pub(super) const WRONG_USAGE: u8 = 2;
/// Exit code if some images failed with `--keep-going`.
pub(super) const SOME_FAILED: u8 = 3;
/// Exit code if a later attempt may succeed: `EX_TEMPFAIL` of sysexits.h.
pub(super) const TRANSIENT: u8 = 75;

/// Reason for which images were not copied.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) message: String,
    /// True if a later attempt may succeed although nothing is changed.
    pub(super) is_transient: bool,
}

impl Failure {
    fn lasting(error: &(dyn Error + 'static)) -> Self {
        Self {
            message: described(error) + advice(error),
            is_transient: false,
        }
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        match self.is_transient {
            true => ExitCode::from(TRANSIENT),
            false => ExitCode::FAILURE,
        }
    }
}

/// Returns the options that help against an error of a registry.
fn advice(error: &(dyn Error + 'static)) -> &'static str {
    let mut errors = std::iter::successors(Some(error), |error| (*error).source());
    match errors.find_map(|error| error.downcast_ref::<ClientError>()) {
        Some(ClientError::Unauthorized { .. }) => {
            "; pass --src-creds for the source or --dest-creds for the target, or log in with `podman login` or `docker login`"
        }
        Some(ClientError::Tls { .. }) => {
            "; trust its certificate with --cert-dir, or accept any, and plain HTTP, with --src-tls-verify=false for the source or --dest-tls-verify=false for the target"
        }
        _ => "",
    }
}

/// Renders an error and those of its sources that its own text does not end with.
fn described(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = with_causes(error);
        if !text.contains(&error.to_string()) {
            text = format!("{text}: {cause}");
            break;
        }
        source = error.source();
    }
    text
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        Self {
            is_transient: error.is_transient(),
            ..Self::lasting(&error)
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self {
            is_transient: error.is_transient(),
            ..Self::lasting(&error)
        }
    }
}

impl From<NotOpened> for Failure {
    fn from(error: NotOpened) -> Self {
        Self {
            is_transient: error.is_transient,
            ..Self::lasting(&error)
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::lasting(&error)
    }
}

impl From<crate::ConfigError> for Failure {
    fn from(error: crate::ConfigError) -> Self {
        Self::lasting(&error)
    }
}

impl From<registry_core::Error> for Failure {
    fn from(error: registry_core::Error) -> Self {
        let status = error.wire().0;
        Self {
            is_transient: status.is_server_error() || status == 429,
            ..Self::lasting(&error)
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::lasting(&error)
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self {
            message,
            is_transient: false,
        }
    }
}
