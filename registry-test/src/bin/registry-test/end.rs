//! [`End`]: the events that end the program.

use std::{
    io,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};
use tokio::runtime;

/// Waits for a signal, and for the end of standard input.
#[derive(Debug)]
pub(crate) struct End(Receiver<Result<(), String>>);

impl End {
    /// Handles signals from now on. Unless the program is `detached`, standard input is read, too.
    pub(crate) fn expect(detached: bool) -> io::Result<Self> {
        let (end, ended) = channel();
        on_signal(end.clone())?;
        if !detached {
            if input_ends_at_once() {
                crate::report(
                    &"standard input is no pipe, so the registry ends at once; use --detached to keep it",
                );
            }
            thread::Builder::new()
                .name("input".into())
                // If the receiver is gone, the program is ending already.
                .spawn(move || _ = end.send(read_input()))?;
        }
        Ok(Self(ended))
    }

    /// Blocks until one of the events.
    pub(crate) fn wait(self) -> Result<(), String> {
        self.0
            .recv()
            .expect("the thread that waits for signals sends first")
    }
}

fn read_input() -> Result<(), String> {
    match io::copy(&mut io::stdin().lock(), &mut io::sink()) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!(
            "cannot read standard input: {error}; use --detached without one"
        )),
    }
}

/// Sends an event at the first signal that asks the program to end.
fn on_signal(end: Sender<Result<(), String>>) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let signal = signal()?;
    drop(entered);
    let wait = move || {
        runtime.block_on(signal);
        // If the receiver is gone, the program is ending already.
        let _ = end.send(Ok(()));
    };
    thread::Builder::new().name("signals".into()).spawn(wait)?;
    Ok(())
}

#[cfg(unix)]
fn signal() -> io::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(std::future::poll_fn(move |context| {
        if interrupt.poll_recv(context).is_pending() && terminate.poll_recv(context).is_pending() {
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(())
    }))
}

#[cfg(not(unix))]
fn signal() -> io::Result<impl Future<Output = ()> + Send> {
    Ok(async {
        // Without a handler, the system ends the process.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    })
}

/// Returns true if standard input is a file or `/dev/null`, which shells give to programs in the background.
#[cfg(unix)]
fn input_ends_at_once() -> bool {
    use std::{
        fs::File,
        io::IsTerminal as _,
        os::{fd::AsFd as _, unix::fs::FileTypeExt as _},
    };

    let input = io::stdin();
    let file = input.as_fd().try_clone_to_owned().map(File::from);
    file.and_then(|file| file.metadata()).is_ok_and(|metadata| {
        let kind = metadata.file_type();
        kind.is_file() || kind.is_char_device() && !input.is_terminal()
    })
}

#[cfg(not(unix))]
const fn input_ends_at_once() -> bool {
    false
}
