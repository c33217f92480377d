//! Users that can log in: `auth.htpasswd` and `--htpasswd FILE`.

use crate::{causes::with_causes, config, tasks::Tasks};
use registry_auth_htpasswd::{Htpasswd, LoadError};
use std::{error::Error, time::Duration};
use tokio::time::{MissedTickBehavior, interval};

/// Interval at which the file is checked.
const LOOK: Duration = Duration::from_secs(1);

/// Reads the users, if the configuration has any.
pub(crate) fn open(
    login: Option<&config::Htpasswd>,
) -> Result<Option<Htpasswd>, Box<dyn Error + Send + Sync>> {
    let Some(config::Htpasswd {
        path,
        realm,
        autocreate,
        formats,
    }) = login
    else {
        return Ok(None);
    };
    let mut users = Htpasswd::builder(path).realm(realm);
    if *autocreate {
        users = users.create_if_missing();
    }
    if let Some(formats) = formats {
        users = users.formats(formats.iter().copied());
    }
    let users = users.open().map_err(|error| explained(&error))?;
    tracing::info!(path = %path.display(), users = users.users(), "the users of the htpasswd file can log in");
    Ok(Some(users))
}

/// Explains why the file cannot be used, with the key that names it and the command that creates one.
fn explained(error: &LoadError) -> String {
    let what = match error {
        LoadError::Missing { path, similar, .. } => {
            let path = path.display();
            let what = match similar.as_slice() {
                [] => format!("there is no htpasswd file {path}"),
                _ => error.to_string(),
            };
            format!("{what}; `registry htpasswd -c {path} USER` creates one")
        }
        _ => with_causes(error),
    };
    format!("auth.htpasswd.path (--htpasswd): {what}")
}

/// Checks the file periodically. Requests do so as well, but a fault in the file should be logged before the first of
/// them.
pub(crate) fn follow(users: &Htpasswd, tasks: &mut Tasks) {
    let users = users.clone();
    tasks.repeat("htpasswd file", move || {
        let users = users.clone();
        async move {
            let mut looks = interval(LOOK);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                looks.tick().await;
                users.check_now().await;
            }
        }
    });
}
