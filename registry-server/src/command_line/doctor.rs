//! `registry doctor`: examines a registry from outside, as its clients see it, and reports faults with remedies.

use super::{cli, prompt};
use registry_core::RepositoryName;
use registry_doctor::{Doctor, InvalidOption, User};
use rustix::termios::tcgetwinsize;
use std::{
    env,
    error::Error,
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
};

/// Environment variable of the password, read before a prompt.
const VARIABLE: &str = "REGISTRY_DOCTOR_PASSWORD";

/// Maximum width of a report, and its width outside of a terminal.
const WIDTH: usize = 100;

/// Examines a registry and prints what was found: success if nothing is at fault, 1 if something is.
///
/// # Errors
///
/// If it cannot be examined: the arguments make no sense, a file cannot be read, or there is no password.
pub(crate) fn run(options: cli::Doctor) -> Result<ExitCode, Box<dyn Error>> {
    let json = options.json;
    let doctor = doctor(options)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(doctor.check());
    // A name that is still being looked up, on a thread of its own, is not waited for.
    runtime.shutdown_background();
    let mut out = io::stdout().lock();
    let text = if json {
        report.json()
    } else {
        let (width, colours) = screen(&out);
        report.text(width, colours)
    };
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(if report.faults() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Returns a doctor with these options. Asks for the password last, as typing takes time.
fn doctor(options: cli::Doctor) -> Result<Doctor, Box<dyn Error>> {
    let mut doctor = Doctor::new(&options.url).map_err(|error| match error {
        InvalidOption::UserInUrl => format!("{error}; use --user"),
        _ => error.to_string(),
    })?;
    let repository = RepositoryName::parse(&options.repository)
        .map_err(|error| format!("--repository {}: {error}", options.repository))?;
    doctor = doctor.repository(repository.as_str())?;
    if let Some(origin) = options.origin {
        doctor = doctor
            .origin(&origin)
            .map_err(|error| format!("--origin {origin}: {error}"))?;
    }
    doctor = doctor.trust_system();
    if let Some(path) = options.ca {
        doctor = doctor
            .trust_file(&path)
            .map_err(|error| format!("--ca {error}"))?;
    }
    if let Some(user) = options.user {
        let user = User::parse(user).map_err(|error| format!("--user: {error}"))?;
        let password = password_of(user.as_str())?;
        doctor = doctor.login(user, password);
    }
    for port in options.also {
        doctor = doctor.also(port);
    }
    if options.insecure {
        doctor = doctor.insecure();
    }
    Ok(doctor.send(options.send))
}

/// Reads the password of a user from the environment, a terminal, or a line of standard input.
fn password_of(user: &str) -> Result<Vec<u8>, String> {
    let password = match env::var_os(VARIABLE) {
        Some(password) => password.into_encoded_bytes(),
        None if io::stdin().is_terminal() => prompt::ask(&format!("Password of {user}: "))
            .and_then(|typed| typed.ok_or_else(|| io::ErrorKind::Interrupted.into()))
            .map_err(|error| format!("cannot read the password: {error}"))?,
        None => prompt::line_of(&mut io::stdin().lock())
            .map_err(|error| format!("cannot read the password: {error}"))?,
    };
    if password.is_empty() {
        return Err(format!(
            "there is no password for {user}: set {VARIABLE}, or write it to standard input"
        ));
    }
    Ok(password)
}

/// Returns the width of lines, and true if the output can show colours.
fn screen(out: &io::StdoutLock<'_>) -> (usize, bool) {
    if !out.is_terminal() {
        return (WIDTH, false);
    }
    let width = tcgetwinsize(out).map_or(WIDTH, |size| usize::from(size.ws_col));
    (width.clamp(40, WIDTH), env::var_os("NO_COLOR").is_none())
}
