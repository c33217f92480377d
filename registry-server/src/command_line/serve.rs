//! `registry serve`: opens the directory, listens, and drains connections after a signal.

use super::{announce::announce, cli::Serve, files, log, signals::Ending, sources::sources};
use crate::{Config, ServerBuilder, ServerError, Stopped, config::StorageKind};
use std::{env, error::Error, io, path::PathBuf, time::Duration};
use tokio::runtime::Runtime;

pub(crate) fn run(options: Serve) -> Result<(), Box<dyn Error>> {
    let Serve {
        config,
        addr,
        root,
        min_free,
        debug_addr,
        htpasswd,
        realm,
        access,
        max_connections,
        tls_cert,
        tls_key,
        log_level,
        access_log,
    } = options;
    // Without a file somebody tries it out, and is told how.
    let tell_how = config.is_none();
    let flags = [
        ("http.addr", "--addr", addr),
        ("storage.filesystem.rootdirectory", "--root", root),
        ("storage.filesystem.minfree", "--min-free", min_free),
        (
            "http.debug.prometheus.enabled",
            "--debug-addr",
            debug_addr.as_ref().map(|_| "true".to_owned()),
        ),
        ("http.debug.addr", "--debug-addr", debug_addr),
        ("auth.htpasswd.path", "--htpasswd", htpasswd),
        ("auth.htpasswd.realm", "--realm", realm),
        ("access.rules", "--access", access),
        ("http.tls.certificate", "--tls-cert", tls_cert),
        ("http.tls.key", "--tls-key", tls_key),
        ("limits.connections", "--max-connections", max_connections),
        ("log.level", "--log-level", log_level),
        (
            "log.accesslog.disabled",
            "--access-log",
            access_log.then(|| "false".to_owned()),
        ),
    ];
    let given = flags
        .into_iter()
        .filter_map(|(key, flag, value)| Some((key, flag, value?)));
    let sources = given.fold(sources(config), |sources, (key, flag, value)| {
        sources.set(key, flag, value)
    });
    let config = Config::load(sources)?;
    let settings = &config.settings;
    let written = log::start(&settings.log)?;
    for notice in config.notices() {
        notice.log();
    }
    keep_memory_of_uploads();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let StorageKind::Directory { threads, .. } = settings.storage.kind {
        runtime.max_blocking_threads(threads);
    }
    let runtime = runtime.enable_all().build()?;
    files::allow_for(&settings.limits);
    let (stopped, result) = match runtime.block_on(serve(config, tell_how)) {
        Ok(None) => (None, Ok(())),
        Ok(Some(Ok(stopped))) => (Some(stopped), Ok(())),
        Ok(Some(Err(ServerError::Task { reason, stopped }))) => (Some(stopped), Err(reason.into())),
        Err(error) => (None, Err(error)),
    };
    end(runtime, stopped.as_ref());
    // Every request has ended with it, and has its line.
    if let Some(stopped) = stopped {
        stopped.finish_log();
    }
    // Before anything else is written to standard error.
    drop(written);
    result
}

/// Ends the threads, as far as they end in time. One may be in a call that never returns, to a disk that has gone: the
/// process does not wait for it.
fn end(runtime: Runtime, stopped: Option<&Stopped>) {
    runtime.shutdown_timeout(stopped.map_or(Duration::ZERO, Stopped::time_left));
}

/// End of a server that has started.
type Ended = Result<Stopped, ServerError>;

/// Makes glibc keep a few MiB of freed memory.
///
/// By default it returns the memory to the system at once, and each piece of an upload faults it in again, page by
/// page. The retained size follows the largest block that was ever freed (mallopt(3), dynamic mmap threshold). Other
/// allocators are not affected.
fn keep_memory_of_uploads() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(4 << 20)));
}

/// Serves until the process is told to stop. Returns `None` if that happens before the directory is free.
async fn serve(config: Config, tell_how: bool) -> Result<Option<Ended>, Box<dyn Error>> {
    let settings = config.settings.clone();
    // The signals are caught before anybody is told that the server is there, or that it waits.
    let mut ending = Ending::catch()?;
    let mut stop = Box::pin(async move { _ = ending.next().await });
    let builder = ServerBuilder::from_config(config)
        .access_log(io::stdout())
        .runtime_directory(runtime_directory());
    let Ok(server) = builder.start_unless(stop.as_mut()).await? else {
        return Ok(None);
    };
    if let (true, Some(address)) = (tell_how, server.address()) {
        // Nobody may read it, as behind a pipe that has closed.
        if let Err(error) = announce(address, &settings) {
            tracing::warn!(%error, "cannot write to standard output");
        }
    }
    Ok(Some(server.run_until(stop).await))
}

/// Returns the directory that systemd made for this process, or else the one for temporary files.
fn runtime_directory() -> PathBuf {
    let of_service = env::var_os("RUNTIME_DIRECTORY");
    // Several are separated by colons.
    let first = of_service.and_then(|paths| env::split_paths(&paths).next());
    first.unwrap_or_else(env::temp_dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn the_process_does_not_wait_for_a_thread_whose_call_never_returns() {
        let runtime = Runtime::new().unwrap();
        let (disk, answers) = mpsc::channel::<()>();
        let (begins, begun) = mpsc::channel();
        runtime.spawn_blocking(move || {
            begins.send(()).unwrap();
            answers.recv()
        });
        begun.recv().unwrap();

        end(runtime, None);

        // It was still in the call.
        disk.send(()).unwrap();
    }
}
