//! A trial upload: where it goes, and the requests that it consists of.

use super::{
    approach::Port80,
    client::{Answer, Client, Door, Failure, Question},
    location::Judged,
    login::Standing,
};
use http::{Method, StatusCode, header};

/// Trial upload.
#[derive(Debug)]
pub(super) struct Trial<'a> {
    pub(super) client: &'a Client,
    pub(super) door: &'a Door,
    pub(super) standing: &'a Standing,
    pub(super) repository: &'a str,
    /// Number of bytes that are sent.
    pub(super) size: u64,
    pub(super) port_80: Port80,
}

impl Trial<'_> {
    pub(super) fn question(&self, method: Method, target: &str) -> Question {
        Question::new(method, target).login(self.standing.authorization())
    }

    pub(super) async fn ask(&self, method: Method, target: &str) -> Result<Answer, Failure> {
        self.client.ask(self.door, self.question(method, target)).await
    }

    /// Returns a path of the repository.
    pub(super) fn path(&self, rest: &str) -> String {
        self.door.path(&format!("/v2/{}/{rest}", self.repository))
    }

    pub(super) async fn open(&self) -> Result<Answer, Failure> {
        self.ask(Method::POST, &self.path("blobs/uploads/")).await
    }

    /// Opens a new session.
    pub(super) async fn session(&self) -> Option<String> {
        self.open().await.ok().and_then(|answer| self.session_of(&answer))
    }

    pub(super) fn session_of(&self, answer: &Answer) -> Option<String> {
        let location = answer.header_whole(header::LOCATION)?;
        (answer.status == StatusCode::ACCEPTED).then(|| Judged::of(&location, self.door).target)
    }
}
