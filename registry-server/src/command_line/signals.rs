//! Signals that ask the process to end.

use std::{fs, future::pending, io, thread};
use tokio::{
    runtime::Builder,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

/// The signals of [`Ending::next`], which do not end the process any more.
pub(super) struct Ending {
    hangup: Option<Signal>,
    interrupt: Signal,
    terminate: Signal,
}

impl Ending {
    /// Catches SIGHUP, SIGINT and SIGTERM. `nohup` ignores the first one, and so it stays.
    pub(super) fn catch() -> io::Result<Self> {
        Ok(Self {
            hangup: match is_hangup_ignored() {
                true => None,
                false => Some(signal(SignalKind::hangup())?),
            },
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one, and returns the exit code of a process that it ends, as shells report it.
    pub(super) async fn next(&mut self) -> u8 {
        let hung_up = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => pending().await,
            }
        };
        128 + tokio::select! {
            _ = hung_up => 1,
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
        }
    }
}

/// Catches the first signal, and sends the exit code. A later one ends the process at once, also while it waits for a reader of its
/// output. There is another thread from then on.
#[expect(
    clippy::exit,
    reason = "the main thread may be in a call that does not return"
)]
pub(super) fn first() -> io::Result<oneshot::Receiver<u8>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut ending = {
        let _entered = runtime.enter();
        Ending::catch()?
    };
    let (tell, told) = oneshot::channel();
    thread::spawn(move || {
        runtime.block_on(async move {
            // Nobody waits for it if the command has just ended.
            let _ = tell.send(ending.next().await);
            let code = ending.next().await;
            std::process::exit(code.into());
        });
    });
    Ok(told)
}

/// Returns true if whoever started this process made it ignore SIGHUP, as `nohup` does. False where the system does not
/// tell.
fn is_hangup_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // Of the mask, the lowest bit is signal 1.
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
}
