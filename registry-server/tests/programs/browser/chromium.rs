//! Headless Chromium, controlled over a pipe by its own protocol.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::Ipv4Addr,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::program::{Workbench, argument};

/// Time limit for its start and for one page; only a broken one comes near.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running browser with one page. On drop it is asked to end.
pub(super) struct Chromium {
    process: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    session: Option<String>,
    /// Name and password that its user enters when the browser asks for them.
    login: (String, String),
    /// Number of the last command.
    last: u64,
}

impl Chromium {
    /// Starts a browser with these names for these addresses, which accepts their certificates. Its user has this name
    /// and password.
    pub(super) fn start(bench: &Workbench, hosts: &[(&str, Ipv4Addr)], login: (&str, &str)) -> Self {
        // It reads commands from the third file and writes to the fourth.
        let mut command = bench.command("sh");
        command.args(["-c", r#"exec chromium "$@" 3<&0 4>&1 </dev/null >&2"#, "chromium"]);
        command.args([
            "--headless",
            "--remote-debugging-pipe",
            // It runs as root in a container, where it has no sandbox and little shared memory.
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--no-proxy-server",
            "--ignore-certificate-errors",
        ]);
        let rules: Vec<String> = hosts
            .iter()
            .map(|(name, address)| format!("MAP {name} {address}"))
            .collect();
        command
            .arg(format!("--host-resolver-rules={}", rules.join(", ")))
            .arg(format!("--user-data-dir={}", argument(&bench.path("chromium"))))
            .arg("about:blank");
        let (process, commands, messages) = spawn(command);
        let mut browser = Self {
            process,
            commands,
            messages,
            session: None,
            login: (login.0.to_owned(), login.1.to_owned()),
            last: 0,
        };
        let page = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attached = browser.call(
            "Target.attachToTarget",
            &json!({ "targetId": page["targetId"], "flatten": true }),
        );
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        browser.call("Fetch.enable", &json!({ "handleAuthRequests": true }));
        browser
    }

    /// Opens a page, and returns the result of its script's promise.
    pub(super) fn evaluate(&mut self, page: &str, script: &str) -> Value {
        let opened = self.call("Page.navigate", &json!({ "url": page }));
        assert_eq!(opened["errorText"], Value::Null, "{page}");
        let loaded =
            "new Promise(go => document.readyState === 'complete' ? go() : addEventListener('load', go))";
        let evaluated = self.call(
            "Runtime.evaluate",
            &json!({
                "expression": format!("{loaded}.then(() => {script})"),
                "awaitPromise": true,
                "returnByValue": true,
            }),
        );
        assert_eq!(evaluated["exceptionDetails"], Value::Null, "{page}: {script}");
        evaluated["result"]["value"].clone()
    }

    /// Sends a command and waits for its result; meanwhile the user logs in if asked to.
    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let id = self.send(method, parameters);
        loop {
            let rest = deadline.saturating_duration_since(Instant::now());
            let message = self
                .messages
                .recv_timeout(rest)
                .unwrap_or_else(|error| panic!("{method}: no answer from the browser: {error}"));
            if message["id"] == id {
                assert_eq!(message["error"], Value::Null, "{method}");
                return message["result"].clone();
            }
            self.react(&message);
        }
    }

    fn react(&mut self, message: &Value) {
        let request = &message["params"]["requestId"];
        match message["method"].as_str() {
            Some("Fetch.requestPaused") => {
                self.send("Fetch.continueRequest", &json!({ "requestId": request }));
            }
            Some("Fetch.authRequired") => {
                let (username, password) = &self.login;
                let response = json!({
                    "response": "ProvideCredentials", "username": username, "password": password,
                });
                self.send(
                    "Fetch.continueWithAuth",
                    &json!({ "requestId": request, "authChallengeResponse": response }),
                );
            }
            _ => {}
        }
    }

    fn send(&mut self, method: &str, parameters: &Value) -> u64 {
        self.last += 1;
        let mut command = json!({ "id": self.last, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        let mut bytes = command.to_string().into_bytes();
        bytes.push(0);
        self.commands
            .write_all(&bytes)
            .expect("the browser reads its commands");
        self.last
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // It takes its own processes along, and writes to its directory until then.
        _ = self
            .commands
            .write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let deadline = Instant::now() + PATIENCE;
        while self
            .messages
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            .is_ok()
        {}
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// Starts a browser, whose output arrives message by message until it ends.
fn spawn(mut command: Command) -> (Child, ChildStdin, Receiver<Value>) {
    let mut process = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let commands = process.stdin.take().expect("stdin is piped");
    let output = process.stdout.take().expect("stdout is piped");
    let (sender, messages) = mpsc::channel();
    thread::spawn(move || {
        for message in BufReader::new(output).split(0).map_while(Result::ok) {
            let message = serde_json::from_slice(&message).expect("the browser writes JSON");
            if sender.send(message).is_err() {
                break;
            }
        }
    });
    (process, commands, messages)
}
