//! Uploads as docker does: opens a session, sends a body in chunks, and examines each `Location`.
//!
//! The session is cancelled at the end, so that nothing is stored.

use super::{
    client::Answer,
    finding::{Check, Finding},
    limits,
    location::Judged,
    login::Standing,
    trial::Trial,
};
use http::{HeaderName, Method, StatusCode, header};

const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

impl Trial<'_> {
    /// Tries an upload, and determines the sizes of bodies that pass.
    pub(super) async fn run(&self, found: &mut Vec<Finding>) {
        let Some((session, flawed)) = self.opened(found).await else {
            found.push(limits::examine(self, false).await);
            return;
        };
        let after = self.sent(&session, flawed, found).await;
        found.push(self.cancelled(&after).await);
        // Both are mostly waiting for what is not said.
        let (limit, buffering) = tokio::join!(limits::examine(self, true), limits::buffering(self));
        found.push(limit);
        found.extend(buffering);
    }

    /// Opens the session of the trial. Returns it with true if its `Location` is at fault.
    async fn opened(&self, found: &mut Vec<Finding>) -> Option<(String, bool)> {
        let answer = match self.open().await {
            Ok(answer) => answer,
            Err(failure) => {
                found.push(Finding::unanswered(
                    Check::UploadSession,
                    &failure,
                    format!("`POST` has no answer: {failure}"),
                ));
                return None;
            }
        };
        if answer.status != StatusCode::ACCEPTED {
            found.push(self.not_opened(&answer));
            return None;
        }
        found.push(Finding::ok(
            Check::UploadSession,
            format!("opened in {}", self.repository),
        ));
        let Some(session) = self.session_of(&answer) else {
            found.push(
                Finding::fault(
                    Check::UploadLocation,
                    "the answer to `POST` has no `Location`: clients cannot continue",
                )
                .server("forward `Location`"),
            );
            return None;
        };
        let flawed = self.located(&answer, found);
        if !flawed {
            found.push(Finding::ok(Check::UploadLocation, "at the same address"));
        }
        let has_id = answer.headers.contains_key(UPLOAD_ID);
        if !has_id {
            found.push(
                Finding::warning(
                    Check::UploadHeaders,
                    "`Docker-Upload-UUID` is missing; current clients do not need it",
                )
                .server("forward the registry's headers unchanged"),
            );
        }
        Some((session, flawed))
    }

    /// Examines a `Location`. Returns true if it is at fault.
    fn located(&self, answer: &Answer, found: &mut Vec<Finding>) -> bool {
        let Some(location) = answer.header_whole(header::LOCATION) else {
            return false;
        };
        let flaws = Judged::of(&location, self.door).flaws;
        for flaw in &flaws {
            let seen = flaw.consequence(&location, self.door, self.port_80);
            found.push(Finding::fault(Check::UploadLocation, seen).server(flaw.fix(self.door)));
        }
        !flaws.is_empty()
    }

    /// Returns the end of a sentence that explains a missing login; `None` if there is a login.
    const fn no_login(&self) -> Option<&'static str> {
        match self.standing {
            Standing::Stranger => {
                Some(": use --user NAME, and the password in REGISTRY_DOCTOR_PASSWORD or on standard input")
            }
            Standing::Untried => Some(", which was not tried: see `login` above"),
            Standing::Refused => Some(", which was refused: see `login` above"),
            Standing::User { .. } => None,
        }
    }

    fn not_opened(&self, answer: &Answer) -> Finding {
        let summary = answer.summary();
        let repository = self.repository;
        if answer.status == StatusCode::UNAUTHORIZED
            && let Some(why) = self.no_login()
        {
            return Finding::skipped(Check::UploadSession, format!("uploads need a login{why}"));
        }
        match answer.status {
            StatusCode::UNAUTHORIZED => Finding::fault(
                Check::UploadSession,
                format!("{summary} to `POST`, although the login is accepted at `/v2/`"),
            )
            .server(
                "does the proxy forward `Authorization`, and use the same users everywhere below `/v2/`?",
            ),
            StatusCode::FORBIDDEN => Finding::skipped(
                Check::UploadSession,
                format!(
                    "{summary}: not allowed in {repository}; set --repository NAME to one that this user may push to"
                ),
            ),
            StatusCode::METHOD_NOT_ALLOWED if answer.is_of_registry() => Finding::skipped(
                Check::UploadSession,
                format!("{summary}: the registry is read-only"),
            ),
            StatusCode::LENGTH_REQUIRED => length_required(Check::UploadSession, &summary),
            status if status.is_redirection() => Finding::fault(
                Check::UploadSession,
                format!(
                    "`POST` is redirected to `{}` ({}): clients repeat it as a GET",
                    answer.header(header::LOCATION).unwrap_or_default(),
                    status.as_u16()
                ),
            )
            .server("redirect with 308, or not at all below `/v2/`"),
            _ => Finding::fault(Check::UploadSession, format!("{summary} to `POST`")).server(
                "does the proxy forward POST, PATCH, PUT and DELETE (`limit_except`, web application firewall)?",
            ),
        }
    }

    /// Sends a body in chunks. Returns the path of the session afterwards.
    async fn sent(&self, session: &str, flawed: bool, found: &mut Vec<Finding>) -> String {
        let question = self.question(Method::PATCH, session);
        let answer = match self.client.upload(self.door, question, self.size).await {
            Ok(answer) => answer,
            Err(failure) => {
                found.push(
                    Finding::unanswered(
                        Check::UploadBody,
                        &failure,
                        format!("no answer to {} in chunks: {failure}", limits::amount(self.size)),
                    )
                    .server(
                        "see the proxy's error log; allow enough time for a layer: `proxy_read_timeout 900;`",
                    ),
                );
                return session.to_owned();
            }
        };
        if answer.status != StatusCode::ACCEPTED {
            found.push(self.not_sent(&answer));
            return session.to_owned();
        }
        let seen = format!("{} uploaded", limits::amount(self.size));
        found.push(Finding::ok(Check::UploadBody, seen));
        found.push(self.range(&answer));
        if !flawed {
            self.located(&answer, found);
        }
        self.session_of(&answer).unwrap_or_else(|| session.to_owned())
    }

    fn not_sent(&self, answer: &Answer) -> Finding {
        let summary = answer.summary();
        let size = limits::amount(self.size);
        match answer.status {
            StatusCode::PAYLOAD_TOO_LARGE => limits::too_large(
                Check::UploadBody,
                answer,
                &format!("{size} in chunks are refused"),
            ),
            StatusCode::LENGTH_REQUIRED => length_required(Check::UploadBody, &summary),
            StatusCode::NOT_FOUND => Finding::fault(
                Check::UploadBody,
                format!(
                    "{summary} to `PATCH`: the server does not know the session that was just opened"
                ),
            )
            .server(
                "several registries behind one name need the same storage. Proxies must not change paths (Apache: `AllowEncodedSlashes NoDecode`, `nocanon`)",
            ),
            _ => Finding::fault(Check::UploadBody, format!("{summary} to {size} in chunks"))
                .server("see the log of the server that answered"),
        }
    }

    /// Examines `Range`, from which alone docker reads the offset of a session.
    fn range(&self, answer: &Answer) -> Finding {
        let wanted = format!("0-{}", self.size.saturating_sub(1));
        match answer.header(header::RANGE) {
            Some(range) if range == wanted => Finding::ok(Check::UploadHeaders, format!("`Range: {range}`")),
            Some(range) => Finding::fault(
                Check::UploadHeaders,
                format!(
                    "`Range` is `{range}`, but docker expects `{wanted}`: its push fails with `expected integer`, or starts again"
                ),
            )
            .server("forward `Range` unchanged, and do not change bodies"),
            None => Finding::fault(
                Check::UploadHeaders,
                "`Range` is missing in the answer to `PATCH`: `docker push` fails with `EOF`",
            )
            .server("nginx: no `proxy_hide_header Range;` Apache: no `Header unset Range`"),
        }
    }

    async fn cancelled(&self, session: &str) -> Finding {
        let question = self.question(Method::DELETE, session);
        match self.client.tidying().ask(self.door, question).await {
            Ok(answer) if answer.status.is_success() || answer.status == StatusCode::NOT_FOUND => {
                Finding::ok(Check::UploadCancel, "the session is removed")
            }
            Ok(answer) => Finding::warning(
                Check::UploadCancel,
                format!(
                    "`DELETE` is answered with {}: the session stays until the registry ends it",
                    answer.summary()
                ),
            )
            .server("does the proxy forward DELETE?"),
            Err(failure) => Finding::warning(
                Check::UploadCancel,
                format!("`DELETE` has no answer: {failure}; the session stays until the registry ends it"),
            ),
        }
    }
}

fn length_required(check: Check, summary: &str) -> Finding {
    Finding::fault(
        check,
        format!("{summary}: chunked bodies are not accepted, and docker and podman always send them"),
    )
    .server(
        "use a newer proxy (nginx before 1.3.9 does not support them), and let security scanners pass them",
    )
}
