//! [`Session`]: an upload session of the registry.
//!
//! Specification: "Pushing a blob in chunks", end-4a, end-5, end-6, end-13 and end-14.

use super::RemoteRepository;
use crate::{
    call::{Call, Payload},
    error::{Error, Result},
    retry::Attempts,
    transport::Answered,
    url,
};
use http::{HeaderName, StatusCode, Uri};
use registry_core::{
    Digest, UploadId,
    protocol::{ContentRange, Request},
};

const MIN_CHUNK: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// An upload session: the latest `Location`, which may hold state of the registry.
#[derive(Debug)]
pub(super) struct Session {
    location: Uri,
    /// True if the registry may be closing the session, after a request whose answer was lost.
    closing: bool,
}

/// Stands in for the id in requests whose URL is the `Location` of a session.
const fn unused() -> UploadId {
    UploadId::from_random([0; 16])
}

impl Session {
    /// Reads the session from a response.
    pub(super) fn of(answered: &Answered) -> Result<Self> {
        let location = answered.answer().location();
        let location = location.and_then(|location| url::resolve(&answered.url, location));
        let location = location
            .ok_or_else(|| Error::protocol(&*answered.named, "the upload session has no usable Location"))?;
        Ok(Self::at(location))
    }

    /// Returns the session of an earlier response, by its location.
    pub(super) const fn at(location: Uri) -> Self {
        Self {
            location,
            closing: false,
        }
    }

    pub(super) const fn location(&self) -> &Uri {
        &self.location
    }

    /// Continues at the `Location` of a later response, if it has one.
    fn follow(&mut self, answered: &Answered) {
        if let Ok(next) = Self::of(answered) {
            self.location = next.location;
        }
    }
}

impl RemoteRepository {
    /// Opens a session, with the attempts of the push.
    pub(super) async fn open_session(&self, attempts: &mut Attempts) -> Result<Session> {
        let request = Request::OpenUpload {
            repository: self.name.clone(),
            algorithm: None,
        };
        let call = Call::new(&self.host, request);
        let answered = loop {
            match self.client.send_once(&call, &[StatusCode::ACCEPTED]).await {
                Ok(answered) => break answered,
                Err(error) => attempts.after(error).await?,
            }
        };
        let min_chunk = answered
            .headers
            .get(MIN_CHUNK)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        self.learned
            .note(|abilities| abilities.min_chunk = min_chunk.or(abilities.min_chunk));
        Session::of(&answered)
    }

    /// Returns the number of bytes that the session holds, with the attempts of the push; `None` if it has ended.
    pub(super) async fn offset_of(
        &self,
        session: &mut Session,
        attempts: &mut Attempts,
    ) -> Result<Option<u64>> {
        match self.ask_offset(session, attempts).await {
            Err(Error::NotFound { .. }) => Ok(None),
            asked => asked.map(Some),
        }
    }

    /// Returns the number of bytes that the session holds, with the attempts of the push. A session with one byte looks like an
    /// empty one, so it counts as empty.
    pub(super) async fn ask_offset(&self, session: &mut Session, attempts: &mut Attempts) -> Result<u64> {
        let request = Request::UploadStatus {
            repository: self.name.clone(),
            id: unused(),
        };
        let call = Call::new(&self.host, request).at(session.location.clone());
        let expected = [StatusCode::NO_CONTENT, StatusCode::OK, StatusCode::ACCEPTED];
        loop {
            match self.client.send_once(&call, &expected).await {
                Ok(answered) => {
                    session.follow(&answered);
                    let last = answered.answer().last_byte().filter(|last| *last > 0);
                    return Ok(last.map_or(0, |last| last.saturating_add(1)));
                }
                // It is an answer, and no failed attempt.
                Err(error @ Error::NotFound { .. }) => return Err(error),
                Err(error) => attempts.after(error).await?,
            }
        }
    }

    /// Sends a chunk once. Returns the offset after it, if the registry says so.
    pub(super) async fn append(
        &self,
        session: &mut Session,
        chunk: Option<ContentRange>,
        payload: Payload,
    ) -> Result<Option<u64>> {
        let request = Request::Append {
            repository: self.name.clone(),
            id: unused(),
            chunk,
        };
        let call = Call::new(&self.host, request).at(session.location.clone());
        let call = call.sending(payload);
        let answered = self.client.send_once(&call, &[StatusCode::ACCEPTED]).await?;
        session.follow(&answered);
        Ok(answered.answer().last_byte().map(|last| last.saturating_add(1)))
    }

    /// Closes a session once, with its last bytes.
    pub(super) async fn close(&self, session: &mut Session, digest: &Digest, rest: Payload) -> Result<()> {
        let request = Request::Close {
            repository: self.name.clone(),
            id: unused(),
            digest: *digest,
            chunk: None,
        };
        let url = url::with_parameter(&session.location, "digest", &digest.to_string())
            .ok_or_else(|| Error::protocol(url::shown(&session.location), "the Location is too long"))?;
        let call = Call::new(&self.host, request).at(url).sending(rest);
        let closed = self.client.send_once(&call, &[StatusCode::CREATED]).await;
        session.closing |= closed.as_ref().is_err_and(Error::may_be_acted_on);
        closed.map(drop)
    }

    /// Ends a session that is not needed, unless the registry may be closing it. The registry ends it later if this fails.
    pub(super) async fn cancel(&self, session: Session) {
        if session.closing {
            return;
        }
        let request = Request::Cancel {
            repository: self.name.clone(),
            id: unused(),
        };
        let call = Call::new(&self.host, request).at(session.location);
        let _ = self.client.send_once(&call, &[StatusCode::NO_CONTENT]).await;
    }
}
