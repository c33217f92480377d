//! Credential helpers: programs that keep logins, such as `docker-credential-pass`.
//!
//! Protocol: `get` as the only argument, the registry on the standard input, JSON on the standard output.

use super::credential::Credential;
use registry_core::BoxError;
use serde::Deserialize;
use std::{
    io::{self, Read as _, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};
use zeroize::Zeroizing;

/// Maximum size of the output, in bytes.
const OUTPUT: u64 = 256 * 1024;
/// Time within which a helper answers. It may ask the user for a password.
const LIMIT: Duration = Duration::from_secs(60);
/// Time between two looks at a helper that has closed its output.
const POLL: Duration = Duration::from_millis(10);
/// User name that marks an identity token.
const TOKEN: &str = "<token>";
/// Output of every helper that does not have the login.
const NOT_FOUND: &str = "credentials not found";

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username")]
    user: String,
    #[serde(rename = "Secret")]
    secret: Zeroizing<String>,
}

/// Asks the helper `name` for the login at `server`. Returns `None` if it has none.
pub(super) async fn get(name: &str, server: &str) -> Result<Option<Credential>, BoxError> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(legal) {
        return Err(format!("{name:?} is no name of a credential helper").into());
    }
    let program = format!("docker-credential-{name}");
    ask(&program, Command::new(&program), server, LIMIT).await
}

async fn ask(
    program: &str,
    mut command: Command,
    server: &str,
    limit: Duration,
) -> Result<Option<Credential>, BoxError> {
    let spawned = command
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = spawned.map_err(|error| format!("cannot run {program}: {error}"))?;
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let mut running = Running(Some(child));
    let answer = async {
        let text = exchange(input, output, server.to_owned()).await?;
        Ok::<_, io::Error>((running.exited().await?, text))
    };
    let answer = timeout(limit, answer).await;
    let answer = answer.map_err(|_elapsed| format!("{program} did not answer within {limit:?}"))?;
    let (status, text) = answer.map_err(|error| format!("cannot read from {program}: {error}"))?;
    if !status.success() {
        if String::from_utf8_lossy(&text).contains(NOT_FOUND) {
            return Ok(None);
        }
        // The output may be a secret.
        return Err(format!("{program} failed ({status})").into());
    }
    let answer: Answer =
        serde_json::from_slice(&text).map_err(|_secret| format!("{program} wrote no login in JSON"))?;
    let secret = answer.secret.as_str();
    Ok(Some(if answer.user == TOKEN {
        Credential::identity_token(secret)
    } else {
        Credential::password(answer.user, secret)
    }))
}

/// Writes the server to a helper, and reads its output.
async fn exchange(
    input: Option<ChildStdin>,
    output: Option<ChildStdout>,
    server: String,
) -> io::Result<Zeroizing<Vec<u8>>> {
    let (send, receive) = oneshot::channel();
    // A thread of its own: a process that the helper has started may keep the pipe open, and a runtime does not end
    // before its own threads.
    let talk = move || {
        if let Some(mut input) = input {
            // A helper may end before it reads.
            let _ = writeln!(input, "{server}");
        }
        let mut text = Zeroizing::new(Vec::new());
        let read = output.map_or(Ok(0), |output| output.take(OUTPUT).read_to_end(&mut text));
        // Nobody receives it after the time limit.
        let _ = send.send(read.map(|_| text));
    };
    thread::Builder::new().spawn(talk)?;
    receive.await.map_err(io::Error::other)?
}

/// A helper that is ended when it is dropped, which also ends the wait for its output.
struct Running(Option<Child>);

impl Running {
    /// Waits for the end of the helper.
    async fn exited(&mut self) -> io::Result<ExitStatus> {
        loop {
            let child = self.0.as_mut().ok_or(io::ErrorKind::NotFound)?;
            if let Some(status) = child.try_wait()? {
                self.0 = None;
                return Ok(status);
            }
            sleep(POLL).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(mut child) = self.0.take() else {
            return;
        };
        // An error means that it has ended.
        let _ = child.kill();
        // A process that has ended has to be waited for, which may take its time. Without a thread it stays until the end
        // of this one.
        let _ = thread::Builder::new().spawn(move || child.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    async fn run(script: &str, limit: Duration) -> Result<Option<Credential>, BoxError> {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script);
        ask("the script", command, "a:5000", limit).await
    }

    #[tokio::test]
    async fn a_helper_is_asked_for_the_server_on_its_input() {
        let script =
            r#"read server; echo "{\"ServerURL\":\"$server\",\"Username\":\"$0\",\"Secret\":\"$server\"}""#;
        let got = run(script, LONG).await.unwrap().unwrap();
        assert_eq!(
            got.fingerprint(),
            Credential::password("get", "a:5000").fingerprint()
        );
        let token = run(r#"echo '{"Username":"<token>","Secret":"t"}'"#, LONG).await;
        let expected = Credential::identity_token("t").fingerprint();
        assert_eq!(token.unwrap().unwrap().fingerprint(), expected);
    }

    #[tokio::test]
    async fn a_missing_login_is_none_and_other_failures_are_errors() {
        let missing = "echo credentials not found in native keychain; exit 1";
        assert!(run(missing, LONG).await.unwrap().is_none());
        for failing in ["echo secret; exit 2", "echo secret"] {
            let error = run(failing, LONG).await.unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(get("../x", "a").await.is_err());
        assert!(get("does-not-exist-here", "a").await.is_err());
    }

    #[tokio::test]
    async fn a_helper_that_hangs_is_ended() {
        let error = run("exec sleep 600", Duration::from_millis(10))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("did not answer"), "{error}");
    }

    #[tokio::test]
    async fn a_helper_that_closes_its_output_and_hangs_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let script = format!(
            "exec 1>&-; echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600",
            file.display()
        );
        let started = async {
            while !file.exists() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            got = run(&script, LONG) => panic!("it does not end by itself: {got:?}"),
            () = started => {}
        }

        let pid = std::fs::read_to_string(file).unwrap();
        let alive = || {
            Command::new("kill")
                .args(["-0", pid.trim()])
                .stderr(Stdio::null())
                .status()
        };
        while alive().unwrap().success() {}
    }
}
