//! Sources of the configuration that all commands share.

use crate::Sources;
use std::path::PathBuf;

/// Returns the configuration file, if there is one, and the environment of this process.
///
/// Variables that are not Unicode cannot be part of a configuration.
pub(crate) fn sources(file: Option<PathBuf>) -> Sources {
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let sources = Sources::new().variables(variables);
    match file {
        Some(file) => sources.file(file),
        None => sources,
    }
}
