//! Where passwords come from: the command line, standard input, or somebody at a terminal who does not see them.

use super::{Failure, options::PasswordFrom, say};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::{
    fs::File,
    io::{self, BufReader, IsTerminal as _, Write as _},
    thread,
};
use tokio::{runtime, signal::unix, sync::oneshot};

/// The longest that is taken, as by Apache's `htpasswd`.
const LONGEST: usize = 255;

impl PasswordFrom {
    /// A new password; a terminal asks for it twice.
    pub(super) fn chosen(self) -> Result<Vec<u8>, Failure> {
        if !self.is_prompt() {
            return self.known();
        }
        let password = prompt("New password: ")?;
        if prompt("Re-type new password: ")? == password {
            checked(password)
        } else {
            Err(Failure::mismatch("password verification error"))
        }
    }

    /// A password that exists.
    pub(super) fn known(self) -> Result<Vec<u8>, Failure> {
        if self.is_prompt() {
            return checked(prompt("Enter password: ")?);
        }
        checked(match self {
            Self::CommandLine(password) => password,
            Self::StandardInput | Self::Terminal => {
                line_of(&mut io::stdin().lock()).map_err(|error| unreadable(&error))?
            }
        })
    }

    fn is_prompt(&self) -> bool {
        matches!(self, Self::Terminal) && io::stdin().is_terminal()
    }
}

fn checked(password: Vec<u8>) -> Result<Vec<u8>, Failure> {
    if password.is_empty() {
        say("Warning: the password is empty.");
    }
    if password.len() > LONGEST {
        return Err(Failure::too_long(format!("password too long (> {LONGEST})")));
    }
    if password.contains(&0) {
        return Err(Failure::usage("a password cannot contain a NUL"));
    }
    Ok(password)
}

fn unreadable(error: &io::Error) -> Failure {
    Failure::file(format!("cannot read the password: {error}"))
}

fn line_of(input: &mut impl io::BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line)?;
    for end in [b'\n', b'\r'] {
        if line.last() == Some(&end) {
            line.pop();
        }
    }
    Ok(line)
}

/// Asks at the terminal, which shows nothing of the answer. Interrupted, the terminal is left as it was.
fn prompt(text: &str) -> Result<Vec<u8>, Failure> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let answer = runtime.and_then(|runtime| runtime.block_on(ask(text)));
    answer
        .map_err(|error| unreadable(&error))?
        .ok_or_else(Failure::interrupted)
}

/// The answer; `None` if an interrupt comes first.
async fn ask(text: &str) -> io::Result<Option<Vec<u8>>> {
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

/// A terminal that shows nothing of what is typed, until this is dropped.
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
