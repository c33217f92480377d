//! `registry-test serve`.

use crate::{
    arguments::{Login, Options, Scheme},
    end::End,
    print,
};
use registry_core::storage::MemoryStorage;
use registry_test::{Builder, TestRegistry, control::Control, fault::Handle};
use serde_json::{Map, Value, json};
use std::{ffi::OsStr, sync::Arc};

/// Serves until standard input is closed, or a signal comes.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    // Before anything is created that the end has to remove.
    let end = End::expect(options.detached).map_err(|error| format!("cannot wait for signals: {error}"))?;
    let storage = MemoryStorage::new();
    let registry = builder(options)
        .storage(storage.clone())
        .try_start()
        .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    let registry = Arc::new(registry);
    let control = Control::start(Arc::clone(&registry), storage, options.control)
        .map_err(|error| format!("cannot start the control API on {}: {error}", options.control))?;
    let env = env(&registry)?;
    let identity = |name: &str| match registry.client_certificate() {
        Some(_) => text(registry.docker_config_dir().join(name).as_os_str()).map(Value::from),
        None => Ok(Value::Null),
    };
    let line = json!({
        "url": registry.url(),
        "host": registry.host(),
        "control": control.url(),
        "docker_config_dir": text(registry.docker_config_dir().as_os_str())?,
        // The file has the authority of the registry alone.
        "ca": env.get("SSL_CERT_FILE"),
        "client_certificate": identity("client.cert")?,
        "client_key": identity("client.key")?,
        "env": env,
    });
    print(&format!("{line}\n"))?;
    end.wait()?;
    let complaints: Vec<_> = registry.faults().iter().filter_map(Handle::complaint).collect();
    // They are reported here.
    registry.clear_faults();
    if complaints.is_empty() {
        Ok(())
    } else {
        Err(complaints.join("\n"))
    }
}

fn builder(options: &Options) -> Builder {
    let mut builder = TestRegistry::builder()
        .bind(options.listen.ip())
        .port(options.listen.port());
    if let Some(Login {
        scheme,
        user,
        password,
    }) = &options.login
    {
        builder = match scheme {
            Scheme::Basic => builder.basic(user, password),
            Scheme::Bearer => builder.bearer(user, password),
        };
    }
    if let Some(lifetime) = options.token_lifetime {
        builder = builder.token_lifetime(lifetime);
    }
    for quirk in &options.quirks {
        builder = builder.quirk(*quirk);
    }
    if let Some(host) = &options.host {
        builder = builder.host(host);
    }
    if options.anonymous_pull {
        builder = builder.anonymous_pull();
    }
    if options.tls {
        builder = builder.tls(Arc::new(rustls::crypto::ring::default_provider()));
    }
    if options.client_certificate {
        builder = builder.client_certificate();
    }
    if options.read_only {
        builder = builder.read_only();
    }
    builder
}

fn env(registry: &TestRegistry) -> Result<Map<String, Value>, String> {
    let variables = registry.try_envs().map_err(|error| error.to_string())?;
    let variables = variables.into_iter();
    variables
        .map(|(name, value)| Ok((name.to_owned(), text(&value)?.into())))
        .collect()
}

/// Returns a path as the text that JSON needs.
fn text(path: &OsStr) -> Result<&str, String> {
    path.to_str()
        .ok_or_else(|| format!("the path {path:?} is not UTF-8; set TMPDIR to one that is"))
}
