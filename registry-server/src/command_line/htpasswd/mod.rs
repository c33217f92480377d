//! `registry htpasswd`, or this program under the name `htpasswd`: a replacement for Apache's program in containers.
//!
//! It differs from Apache's program: bcrypt is the default, at registry:2's cost; plain text and DES crypt are refused;
//! files are replaced atomically.

mod file;
mod message;
mod options;
mod password;

pub(crate) use options::{Options, Program};

use file::UserFile;
use message::{Failure, say};
use options::{Job, Task};
use registry_auth_htpasswd::{Kind, MakeError, PasswordHash, Scheme, hash};
use std::{
    io::{self, Write as _},
    process::ExitCode,
};

/// Runs the command.
pub(crate) fn run(options: Options) -> ExitCode {
    match options.job().and_then(run_job) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(failure.message);
            ExitCode::from(failure.code)
        }
    }
}

fn run_job(Job { task, user, password }: Job) -> Result<(), Failure> {
    match task {
        Task::Print(scheme) => {
            let line = line(&user, &password.chosen()?, scheme)?;
            // Nothing but the line: it is redirected to files.
            writeln!(io::stdout(), "{line}")
                .map_err(|error| Failure::file(format!("cannot print the line: {error}")))?;
            warn_of(scheme.kind());
            Ok(())
        }
        Task::Set { file, create, scheme } => {
            // Before anybody types a password for nothing.
            let mut users = if create {
                UserFile::create(file)
            } else {
                UserFile::open(file)?
            };
            let line = line(&user, &password.chosen()?, scheme)?;
            let added = users.set(&user, &line);
            users.save()?;
            say(format_args!(
                "{} password for user {user}",
                if added { "Adding" } else { "Updating" }
            ));
            warn_of(scheme.kind());
            Ok(())
        }
        Task::Delete { file } => {
            let mut users = UserFile::open(file)?;
            if users.delete(&user) {
                users.save()?;
                say(format_args!("Deleting password for user {user}"));
            } else {
                say(format_args!("User {user} not found"));
            }
            Ok(())
        }
        Task::Verify { file } => {
            let users = UserFile::open(file)?;
            let kept = users.hash_of(&user);
            let kept = kept.ok_or_else(|| Failure::plain(6, format!("User {user} not found")))?;
            let kept = PasswordHash::parse(kept).map_err(|error| {
                Failure::new(
                    3,
                    format!("the password of user {user} cannot be verified: {error}"),
                )
            })?;
            if kept.verify(&password.known()?) {
                say(format_args!("Password for user {user} correct."));
                warn_of(kept.kind());
                Ok(())
            } else {
                Err(Failure::plain(3, "password verification failed"))
            }
        }
    }
}

/// Warns if a format is weak, with its name in the configuration.
fn warn_of(kind: Kind) {
    if kind.is_weak() {
        say(format_args!(
            "Warning: {kind} is a weak format, `{}` in `auth.htpasswd.formats` of a server; use -B",
            kind.key()
        ));
    }
}

/// Returns the line of a user.
fn line(user: &str, password: &[u8], scheme: Scheme) -> Result<String, Failure> {
    const READ_BY_BCRYPT: usize = 72;
    if matches!(scheme, Scheme::Bcrypt { .. }) && password.len() > READ_BY_BCRYPT {
        say(format_args!(
            "Warning: bcrypt reads the first {READ_BY_BCRYPT} bytes of a password, and this one is longer."
        ));
    }
    match hash(password, scheme) {
        Ok(hash) => Ok(format!("{user}:{hash}")),
        Err(error @ MakeError::Random(_)) => Err(Failure::file(error)),
        Err(error) => Err(Failure::usage(error)),
    }
}
