//! Reads a password from a terminal without echo.

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::{
    fs::File,
    io::{self, BufReader, Write as _},
    thread,
};
use tokio::{runtime, signal::unix, sync::oneshot};

/// Asks at the terminal, without echo. Returns `None` after an interrupt; the terminal is restored in any case.
pub(crate) fn ask(text: &str) -> io::Result<Option<Vec<u8>>> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(answer(text))
}

/// Reads one line, without its end.
pub(crate) fn line_of(input: &mut impl io::BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line)?;
    for end in [b'\n', b'\r'] {
        if line.last() == Some(&end) {
            line.pop();
        }
    }
    Ok(line)
}

async fn answer(text: &str) -> io::Result<Option<Vec<u8>>> {
    // Before the terminal is changed: an interrupt that nobody awaits would leave it so.
    let mut interrupt = unix::signal(unix::SignalKind::interrupt())?;
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    let input = terminal.try_clone()?;
    let silent = Silent::new(terminal.try_clone()?)?;
    terminal.write_all(text.as_bytes())?;

    let (tell, told) = oneshot::channel();
    thread::spawn(move || {
        // After an interrupt nobody waits for it, and the process ends.
        let _ = tell.send(line_of(&mut BufReader::new(input)));
    });
    let answer = tokio::select! {
        line = told => Some(line.map_err(io::Error::other)??),
        _ = interrupt.recv() => None,
    };
    drop(silent);
    // The line feed that was typed was not shown either.
    terminal.write_all(b"\n")?;
    Ok(answer)
}

/// Terminal without echo. Dropping this restores the terminal.
struct Silent {
    terminal: File,
    before: Termios,
}

impl Silent {
    fn new(terminal: File) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // It was set a moment ago; if it cannot be set any more, the terminal is gone.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.before);
    }
}
