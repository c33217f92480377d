//! `registry doctor`: examines a registry from outside, as its clients see it, and reports faults with remedies.
//!
//! It looks for common mistakes of deployments: proxies that drop a header, limits on bodies, certificates that clients
//! refuse, open ports that bypass the login. It changes nothing: it opens an upload and cancels it.

mod approach;
mod base;
mod certificate;
mod challenge;
mod client;
mod content;
mod cors;
mod credentials;
mod finding;
mod limits;
mod location;
mod login;
mod origin;
mod report;
mod strangers;
mod target;
mod trial;
mod upload;

use self::{
    client::{Client, Trust, time_for},
    credentials::Credentials,
    finding::{Check, Finding},
    login::{Login, Standing},
    origin::{Origin, Scheme},
    report::Report,
    target::Target,
};
use crate::cli::Doctor;
use axum::http::HeaderValue;
use registry_core::RepositoryName;
use rustix::termios::tcgetwinsize;
use std::{
    error::Error,
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
    time::Duration,
};

/// Maximum duration of all checks together, without the time for the body that is sent.
const TIME: Duration = Duration::from_secs(60);

/// Examines a registry and prints what was found: success if nothing is at fault, 1 if something is.
///
/// # Errors
///
/// If it cannot be examined: the arguments make no sense, a file cannot be read, or there is no password.
pub(crate) fn run(options: Doctor) -> Result<ExitCode, Box<dyn Error>> {
    let json = options.json;
    let examination = Examination::new(options)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(examination.run());
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
    Ok(if report.faults == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Returns the width of lines, and true if the output can show colours.
fn screen(out: &io::StdoutLock<'_>) -> (usize, bool) {
    if !out.is_terminal() {
        return (report::WIDTH, false);
    }
    let width = tcgetwinsize(out).map_or(report::WIDTH, |size| usize::from(size.ws_col));
    (
        width.clamp(40, report::WIDTH),
        std::env::var_os("NO_COLOR").is_none(),
    )
}

/// Examination of one registry.
#[derive(Debug)]
struct Examination {
    target: Target,
    client: Client,
    credentials: Option<Credentials>,
    repository: String,
    interface: Option<HeaderValue>,
    also: Vec<u16>,
    send: u64,
    insecure: bool,
}

impl Examination {
    fn new(options: Doctor) -> Result<Self, Box<dyn Error>> {
        let target = Target::parse(&options.url)?;
        let repository = RepositoryName::parse(&options.repository)
            .map_err(|error| format!("--repository {}: {error}", options.repository))?;
        let interface = options
            .origin
            .map(|origin| {
                let shaped = origin.contains("://") && !origin.ends_with('/');
                let value = HeaderValue::try_from(&origin).ok().filter(|_| shaped);
                value.ok_or_else(|| {
                    format!("--origin {origin}: must be an origin such as https://ui.example.com")
                })
            })
            .transpose()?;
        let trust = Trust::load(options.ca.as_deref())?;
        let credentials = options.user.map(Credentials::ask).transpose()?;
        Ok(Self {
            target,
            // Last: what somebody types takes its time.
            client: Client::new(trust, TIME + time_for(options.send)),
            credentials,
            repository: repository.to_string(),
            interface,
            also: options.also,
            send: options.send,
            insecure: options.insecure,
        })
    }

    async fn run(&self) -> Report {
        let mut found = Vec::new();
        let door = self.examine(&mut found).await;
        // Where nobody was found, what was looked for.
        let origin = door.unwrap_or_else(|| self.target.origin.clone());
        let url = format!("{origin}{}", self.target.prefix);
        if !self.client.has_time() {
            found.push(Finding::skipped(
                Check::Base,
                format!(
                    "the time of {} s is over, because answers take too long; further checks were skipped",
                    TIME.as_secs()
                ),
            ));
        }
        Report::new(url, found)
    }

    /// Runs the checks. Returns the origin of the registry, or `None` if nothing answers.
    async fn examine(&self, found: &mut Vec<Finding>) -> Option<Origin> {
        let client = &self.client;
        let mut door = approach::find(client, &self.target, found).await?;
        if door.origin.scheme == Scheme::Https {
            door.peers = certificate::examine(client, &door, found).await;
        }
        let port_80 = approach::port_80(client, &door, found).await;
        let Some(base) = base::examine(client, &door, found).await else {
            return Some(door.origin);
        };
        let standing = match &self.credentials {
            None => Standing::Stranger,
            Some(credentials) => {
                let login = Login {
                    client,
                    credentials,
                    repository: &self.repository,
                    insecure: self.insecure,
                };
                login.at(&door, &base, found).await
            }
        };
        let authorization = standing.authorization();
        strangers::examine(client, &door, &self.repository, base.open, found).await;
        strangers::other_doors(client, &door, &self.also, &self.repository, base.open, found).await;
        let trial = trial::Trial {
            client,
            door: &door,
            standing: &standing,
            repository: &self.repository,
            size: self.send,
            port_80,
        };
        trial.run(found).await;
        content::examine(client, &door, authorization, &self.repository, found).await;
        cors::examine(client, &door, authorization, self.interface.as_ref(), found).await;
        Some(door.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Verdict;
    use std::net::TcpListener;
    use tokio::time::Instant;

    fn examination(url: &str, time: Duration) -> Examination {
        Examination {
            target: Target::parse(url).unwrap(),
            client: Client::new(Trust::load(None).unwrap(), time),
            credentials: None,
            repository: "a".to_owned(),
            interface: None,
            also: Vec::new(),
            send: 1,
            insecure: false,
        }
    }

    /// Starts a server that accepts connections in the kernel and never answers.
    fn silent_server() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = listener.local_addr().unwrap().to_string();
        (listener, url)
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_is_at_fault_within_the_time() {
        let (_listener, url) = silent_server();
        let start = Instant::now();

        let report = examination(&url, TIME).run().await;

        assert!(start.elapsed() <= TIME);
        assert_eq!(report.faults, 1, "{}", report.json());
    }

    #[tokio::test(start_paused = true)]
    async fn what_there_was_no_time_for_is_no_fault() {
        let (_listener, url) = silent_server();

        let report = examination(&url, Duration::from_secs(1)).run().await;

        assert_eq!(report.faults, 0, "{}", report.json());
        let skipped = |finding: &Finding| finding.verdict == Verdict::Skipped;
        assert!(report.checks.iter().any(skipped), "{}", report.json());
    }
}
