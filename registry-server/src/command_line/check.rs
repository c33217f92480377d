//! `registry config check`: prints the effective configuration to standard output, and notices to standard error.

use super::sources::sources;
use crate::{Config, access, printable, users};
use std::{
    error::Error,
    io::{self, Write as _},
    path::PathBuf,
};

/// Prints the effective configuration, and the notices about it.
///
/// Checks that the files of users and rules can be read. A file of users that the server would create may be missing.
pub(crate) fn run(file: Option<PathBuf>) -> Result<(), Box<dyn Error + Send + Sync>> {
    let config = Config::load(sources(file))?;
    let mut out = io::stdout().lock();
    out.write_all(config.effective().as_bytes())?;
    out.flush()?;
    let mut err = io::stderr().lock();
    for notice in config.notices() {
        writeln!(err, "{notice}")?;
    }
    let login = config.settings.login.as_ref();
    let users = users::open(login.filter(|login| !login.autocreate))?;
    let mut notices = config.notices().len();
    if let Some(path) = &config.settings.access {
        let rules = access::open(path)?.rules();
        // What a file of users will hold that the server makes is not known.
        if users.is_some() || login.is_none() {
            for notice in access::notices(&rules, users.as_ref()) {
                writeln!(err, "access rules: {}", printable::Line(notice))?;
                notices += 1;
            }
        }
    }
    match notices {
        0 => {}
        1 => writeln!(err, "1 notice above; it does not prevent a start")?,
        notices => writeln!(err, "{notices} notices above; they do not prevent a start")?,
    }
    Ok(())
}
